# SPDX-License-Identifier: Apache-2.0
"""One volume written in every format that is read."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS
OBLIQUE = np.array([[1.2, -0.3, 0.4, -20.0], [0.3, 1.25, -0.5, 14.5], [-0.25, 0.45, 2.4, 3.25], [0, 0, 0, 1.0]])
"""Right-handed, at right angles after :func:`orthogonal`, parallel to no axis of the world."""


def orthogonal(affine: np.ndarray = OBLIQUE) -> np.ndarray:
    """The affine with the nearest axes at right angles, of 1.25 x 1.5 x 3 mm, as float32 holds them."""
    left, _, right = np.linalg.svd(affine[:3, :3])
    result = affine.copy()
    result[:3, :3] = left @ right @ np.diag([1.25, 1.5, 3.0])
    return result.astype(np.float32).astype(np.float64)


def write(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Write ``(X, Y, Z)`` or ``(X, Y, Z, C)`` in the format that the ending tells, without one as a DICOM series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        return write_series(path, voxels, affine)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(voxels, affine), path)
        return path
    lps = FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if voxels.ndim == 3:
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    else:
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0, 3), isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def write_series(folder: Path, voxels: np.ndarray, affine: np.ndarray, **changes) -> Path:
    """Write a series of slices, in an order of names that is not that of their positions.

    Args:
        folder: new folder.
        voxels: whole numbers, ``(X, Y, Z)``.
        affine: RAS, mm.
        changes: attributes of all slices; those that are functions are called with the slice's number.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    lps = FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    series = generate_uid()
    slope, intercept = changes.get("RescaleSlope", 1), changes.get("RescaleIntercept", 0)
    for k in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = changes.get("SOPClassUID", MRImageStorage)
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        piece = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        piece.SOPClassUID, piece.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        piece.Modality, piece.PatientID, piece.PatientName = "MR", "1", "Toy"
        piece.StudyInstanceUID = piece.SeriesInstanceUID = piece.FrameOfReferenceUID = series
        piece.InstanceNumber = k + 1
        piece.ImageOrientationPatient = [f"{value:.10f}" for value in [*axes[:, 0], *axes[:, 1]]]
        piece.ImagePositionPatient = [f"{value:.8f}" for value in lps[:3, 3] + k * lps[:3, 2]]
        piece.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        piece.SliceThickness = float(spacing[2])
        piece.SamplesPerPixel, piece.PhotometricInterpretation = 1, "MONOCHROME2"
        piece.BitsAllocated = piece.BitsStored = 16
        piece.HighBit, piece.PixelRepresentation = 15, 1
        for name, value in changes.items():
            setattr(piece, name, value(k) if callable(value) else value)
        own_slope, own_intercept = (v(k) if callable(v) else v for v in (slope, intercept))
        if "PixelData" not in changes:
            stored = np.rint((voxels[:, :, k].T - own_intercept) / own_slope).astype(np.int16)
            piece.Rows, piece.Columns = stored.shape
            piece.PixelData = np.ascontiguousarray(stored).tobytes()
        piece.save_as(folder / f"{(7 * k) % 101:03d}.dcm", enforce_file_format=True)
    return folder
