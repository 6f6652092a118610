# SPDX-License-Identifier: Apache-2.0
"""A reader of DICOM SEG that shares nothing with the writer: pydicom for the elements, the rest by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.volume_files import FLIP


def labels_on_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The label values of a binary segmentation on a grid, after each frame was seen to lie on it.

    Args:
        path: the file.
        shape: ``(X, Y, Z)`` of the grid.
        affine: of the grid, RAS, mm.
    """
    from pydicom import dcmread

    file = dcmread(path)
    assert (file.SOPClassUID.name, file.SegmentationType, file.BitsAllocated) == ("Segmentation Storage", "BINARY", 1)
    values = {item.SegmentNumber: int(item.SegmentDescription.split()[-1]) for item in file.SegmentSequence}
    size = (int(file.NumberOfFrames), file.Rows, file.Columns)
    bits = np.unpackbits(np.frombuffer(file.PixelData, np.uint8), bitorder="little")[: np.prod(size)].reshape(size)
    shared = file.SharedFunctionalGroupsSequence[0]
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    measures = shared.PixelMeasuresSequence[0]
    rows, columns = map(float, measures.PixelSpacing)
    lps = FLIP @ affine
    np.testing.assert_allclose(along.T * [columns, rows], lps[:3, :2], atol=1e-5)
    if "SpacingBetweenSlices" in measures:
        np.testing.assert_allclose(float(measures.SpacingBetweenSlices), np.cross(*along) @ lps[:3, 2], atol=1e-5)
    found = np.zeros(shape, np.int32)
    assert (file.Columns, file.Rows) == shape[:2]
    for frame, own in zip(bits, file.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        place = np.linalg.solve(lps, [*position, 1])[:3]
        np.testing.assert_allclose(place, [0, 0, round(place[2])], atol=1e-4)
        holder = shared if "SegmentIdentificationSequence" in shared else own
        number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        part = found[:, :, round(place[2])]
        assert not (part * frame.T).any(), "segments overlap"
        part += frame.T.astype(np.int32) * values[number]
    return found


def dice(first: np.ndarray, second: np.ndarray) -> dict[int, float]:
    """Dice of every value but 0 that is in either."""
    values = {int(value) for value in np.unique([*np.unique(first), *np.unique(second)])} - {0}
    return {
        v: 2 * float(((first == v) & (second == v)).sum()) / float((first == v).sum() + (second == v).sum())
        for v in sorted(values)
    }
