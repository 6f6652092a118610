# SPDX-License-Identifier: Apache-2.0
"""``model.ts``: the network as TorchScript, with its metadata and its configuration."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.data import save_net_with_metadata

from monai_ronas.utils import write_atomically


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a network as TorchScript, on the CPU, by the names that the network has for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return dict(torch.jit.load(path, map_location="cpu").state_dict())


def write_torchscript(
    path: Path, network: torch.nn.Module, *, metadata: Mapping[str, Any], inference: Mapping[str, Any]
) -> None:
    """Write a network as MONAI's ``ckpt_export`` does, whole or not at all.

    The folder within the archive is named after the file, as it is where torch writes to a path: MONAI Deploy looks for
    the configuration there.

    Args:
        path: the file, ``.ts``.
        network: the network, in evaluation mode.
        metadata: what ``metadata.json`` says.
        inference: what ``inference.json`` says.

    Raises:
        OSError: when the file cannot be written.
    """
    made, named = io.BytesIO(), io.BytesIO()
    carried = {"inference.json": json.dumps(inference).encode()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch advises against TorchScript, which MONAI Deploy needs
        script = torch.jit.script(network)
        save_net_with_metadata(
            script, made, include_config_vals=False, meta_values=dict(metadata), more_extra_files=carried
        )
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(named, "w") as target:
        for entry in source.infolist():
            place = zipfile.ZipInfo(f"{path.stem}/{entry.filename.partition('/')[2]}")  # without today's date
            target.writestr(place, source.read(entry), compress_type=entry.compress_type)
    write_atomically(path, lambda file: file.write(named.getbuffer()))
