# SPDX-License-Identifier: Apache-2.0
"""Predictions written as DICOM SEG, for volumes that are DICOM series."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_ronas import __version__
from monai_ronas.data.dicom_series import ordered_slices
from monai_ronas.data.errors import VolumeError
from monai_ronas.errors import SettingError

_LONGEST = 64  # characters of a text with the value representation LO
_SERIES_NUMBER = 1000  # added to that of the source, so that both stand in order in a study
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime",),
)


@dataclass(frozen=True)
class DicomSegWriter:
    """Writes label volumes as DICOM SEG that refer to the DICOM series they were made from, through highdicom.

    The object has the type BINARY, one segment a label, frames where a segment is not empty, and the source's patient,
    study and frame of reference; each frame refers to the source image it lies on. The standard wants the segments of
    such an object numbered 1, 2, 3 and so on. That is the label's value where the values have no holes. Otherwise
    segments are numbered in the order of the values; ``SegmentDescription`` tells the value in both cases.

    Args:
        segments: one for each foreground label, ascending, in the words of dcmqi: ``labelID`` (the label's value),
            ``SegmentLabel``, and codes as :func:`~monai_ronas.data.segment_codes.segments_of` gives them.
        bundle_root: folder of the bundle, whose name identifies the algorithm beside ``monai_ronas`` and its version.

    Example:
        .. code-block:: python

            writer = DicomSegWriter(segments_of({0: "background", 1: "liver"}), bundle_root="bundles/liver")
            writer.write(Path("a_seg.dcm"), labels, "study/ct")  # (X, Y, Z), of the series in the folder study/ct
    """

    segments: Sequence[Mapping[str, Any]]
    bundle_root: str | os.PathLike[str]

    def check(self, source: str | os.PathLike[str]) -> None:
        """See from the headers of a DICOM series that a DICOM SEG can be made for it.

        Args:
            source: the folder of the series, or one of its files.

        Raises:
            VolumeError: when it cannot.
            SettingError: when highdicom is not installed.
        """
        require_highdicom()
        images = _headers(source)
        numbers = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
        numbers[:, 0, 0] = 1  # a frame for each slice, as each may have a fault of its own
        self._dataset(numbers, images, source)

    def write(self, path: Path, voxels: np.ndarray, source: str | os.PathLike[str]) -> None:
        """Write labels on the grid of a DICOM series.

        Args:
            path: the file; its folder is made where it is missing.
            voxels: values of the labels, ``(X, Y, Z)`` as :class:`~monai_ronas.data.SimpleITKReader` gives the series.
            source: the folder of the series, or one of its files.

        Raises:
            VolumeError: when the series cannot be referred to.
            SettingError: when highdicom is not installed.
            OSError: when the file cannot be written.
        """
        require_highdicom()
        values = [int(segment["labelID"]) for segment in self.segments]
        numbers = np.zeros(max(values) + 1, np.uint8 if len(values) < 2**8 else np.uint16)
        numbers[values] = np.arange(1, len(values) + 1)
        dataset = self._dataset(numbers[voxels.transpose(2, 1, 0)], _headers(source), source)
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)

    def _dataset(self, numbers: np.ndarray, images: Sequence[Any], source: str | os.PathLike[str]) -> Any:
        """The object for segment numbers ``(Z, Y, X)`` and the headers of the slices in that order."""
        import highdicom as hd

        name = Path(self.bundle_root).resolve().name
        kept = len(images) if numbers.any() else 1  # of an empty volume one frame a segment, as there must be frames
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they would write the patient's name into the log
                return hd.seg.Segmentation(
                    source_images=images[:kept],
                    further_source_images=images[kept:],
                    pixel_array=numbers[:kept],
                    segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                    segment_descriptions=self._descriptions(name),
                    series_instance_uid=hd.UID(),
                    series_number=_SERIES_NUMBER + abs(int(images[0].get("SeriesNumber") or 0)),
                    sop_instance_uid=hd.UID(),
                    instance_number=1,
                    manufacturer="monai_ronas",
                    manufacturer_model_name=_short(name),
                    software_versions=__version__,
                    device_serial_number="0",
                    content_label="SEGMENTATION",
                    content_description=_short(f"Segmentation by monai_ronas {name}"),
                    series_description=_short(f"Segmentation by monai_ronas {name}"),
                    omit_empty_frames=bool(numbers.any()),
                    specific_character_set="ISO_IR 192",
                )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise VolumeError(
                f"'{Path(source).name}': no DICOM SEG can refer to this DICOM series ({_line(error)}): mend its headers"
                " or choose another output_ext"
            ) from error

    def _descriptions(self, name: str) -> list[Any]:
        import highdicom as hd
        from pydicom.sr.codedict import codes

        algorithm = hd.AlgorithmIdentificationSequence(
            name=_short(f"monai_ronas {name}"),
            family=codes.DCM.ArtificialIntelligence,
            version=__version__,
            source="monai_ronas",
        )
        return [_description(n, segment, algorithm) for n, segment in enumerate(self.segments, start=1)]


def require_highdicom() -> None:
    """See that highdicom is installed, which brings pydicom.

    Raises:
        SettingError: when it is not.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise SettingError("DICOM SEG is written by highdicom, which is not installed: pip install monai-ronas[dicom]")


def _description(number: int, segment: Mapping[str, Any], algorithm: Any) -> Any:
    import highdicom as hd

    def concept(key: str) -> Any:
        code = segment[key]
        return hd.sr.CodedConcept(code["CodeValue"], code["CodingSchemeDesignator"], code["CodeMeaning"])

    region, modifier = "AnatomicRegionSequence", "SegmentedPropertyTypeModifierCodeSequence"
    found = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=_short(segment["SegmentLabel"]),
        segmented_property_category=concept("SegmentedPropertyCategoryCodeSequence"),
        segmented_property_type=concept("SegmentedPropertyTypeCodeSequence"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=[concept(region)] if region in segment else None,
    )
    found.SegmentDescription = f"label value {segment['labelID']}"
    if modifier in segment:
        found.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [concept(modifier)]
    return found


def _headers(source: str | os.PathLike[str]) -> list[Any]:
    """The headers of the slices of a series, in their order, with all that must be in a DICOM SEG and may be empty."""
    from pydicom import dcmread

    files, affine = ordered_slices(source)
    images = [dcmread(file, stop_before_pixels=True, force=True) for file in files]
    for image in images:
        image.decode()  # texts may be in another character set than that of the DICOM SEG
        for name in _MAY_BE_EMPTY:
            if name not in image:
                setattr(image, name, "")
    if not images[0].get("FrameOfReferenceUID"):
        raise VolumeError(
            f"'{Path(source).name}': the DICOM series does not tell its frame of reference, which a DICOM SEG needs:"
            " choose another output_ext"
        )
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    gap = round(float(normal @ affine[:3, 2] / np.linalg.norm(normal)), 6)  # mm
    images[0].SpacingBetweenSlices = gap  # what the header says may be wrong, or missing
    if not images[0].get("SliceThickness"):
        images[0].SliceThickness = gap
    return images


def _short(text: str) -> str:
    """Text as DICOM's value representation LO takes it."""
    return " ".join(text.replace("\\", "/").split())[:_LONGEST].strip()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
