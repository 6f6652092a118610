# SPDX-License-Identifier: Apache-2.0
"""Whether what is compressed in a volume's file is whole: readers stop at the last voxel, ahead of its checksum."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from monai_ronas.data.formats import ending, files_of

_PIECE, _HEADER = 2**20, 2**16  # bytes
_ANY_FORMAT = 32 + zlib.MAX_WBITS  # of zlib and gzip
_COMPRESSED = re.compile(rb"^(?:CompressedData *= *True|encoding: *gz(?:ip)?) *\r?$", re.MULTILINE | re.IGNORECASE)
_SKIP = re.compile(rb"^(?:line|byte) ?skip:|^HeaderSize *=", re.MULTILINE | re.IGNORECASE)
_END = {
    ".mha": re.compile(rb"^ElementDataFile *= *LOCAL *\r?\n", re.MULTILINE | re.IGNORECASE),
    ".nrrd": re.compile(rb"\r?\n\r?\n"),
}


def check_compression(path: Path) -> None:
    """Decompress the voxels of a file to their end, where the checksum is.

    It looks at ``.nii.gz``, and at what is compressed with zlib or gzip in ``.mha``, ``.mhd``, ``.nrrd`` and ``.nhdr``.

    Args:
        path: a volume of any format.

    Raises:
        Exception: whatever a broken file makes the decompressor raise.
    """
    kind = ending(path)
    if kind == ".nii.gz":
        with gzip.open(path) as stream:
            while stream.read(_PIECE):
                pass
    elif kind in (*_END, ".mhd", ".nhdr") and path.is_file():
        with path.open("rb") as file:
            header = file.read(_HEADER)
        end = _END[kind].search(header) if kind in _END else None
        header = header[: end.end()] if end else header
        if not _COMPRESSED.search(header) or _SKIP.search(header):
            return
        others = files_of(path)[1:]
        if end is not None:
            _check_stream(path, end.end())
        elif len(others) == 1:
            _check_stream(others[0], 0)


def _check_stream(path: Path, begin: int) -> None:
    stream = zlib.decompressobj(_ANY_FORMAT)
    for piece in _pieces(path, begin):
        data = piece
        while data and not stream.eof:
            stream.decompress(data, _PIECE)
            data = stream.unconsumed_tail
        if stream.eof:
            return
    raise EOFError("the compressed voxels end too early")


def _pieces(path: Path, begin: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while piece := file.read(_PIECE):
            yield piece
