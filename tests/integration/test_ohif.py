# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's page with OHIF, in a browser: the released bundle segments a study of a DICOMweb store."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data.reading import read_volume
from tests.browser import CHROMIUM, browser
from tests.dicom_seg_reader import dice, labels_on_grid
from tests.volume_files import FLIP, write_series

from .conftest import ROOT, run_bundle
from .dicom_store import MISSING, DicomStore
from .label_server import LabelServer, has_dcmqi

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]
BUNDLE = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
LABELS = {"anterior": 1, "posterior": 2}

SHOWN = "[...document.querySelectorAll({kind!r})].filter(e => e.innerText.includes({words!r})).pop()"
ADDRESS = "document.getElementById('monailabelServerURL')"
CONNECT = "document.querySelector('.settingsTable button')"
MODELS = "[...document.querySelectorAll('.modelSelector option')].map(e => e.value)"
RUN = "document.querySelector('button[title=\"Run Segmentation\"]')"
VOLUME = "services.segmentationService.getLabelmapVolume('1')"  # MONAI Label calls its segmentation "1"
VOXELS = f"{VOLUME}.voxelManager.getCompleteScalarDataArray()"
FAILED = "document.body.innerText.includes('Failed')"
FOUND = (
    "((v, a) => ({shape: v.dimensions, spacing: v.spacing, origin: v.origin, direction: [...v.direction],"
    f" voxels: btoa([...a].map(x => String.fromCharCode(x)).join(''))}}))({VOLUME}, {VOXELS})"
)


def shown(words: str, kind: str) -> str:
    """The innermost element of a kind that shows these words."""
    return SHOWN.format(words=words, kind=kind)


class Case(NamedTuple):
    """A study in the store.

    Attributes:
        patient: its name.
        series: its identifier.
        truth: the label, ``(X, Y, Z)``.
        expected: what ``inference.json`` finds in the series.
        affine: of both, RAS, mm.
    """

    patient: str
    series: str
    truth: np.ndarray
    expected: np.ndarray
    affine: np.ndarray


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with DicomStore(tmp_path_factory.mktemp("store") / "orthanc") as running:
        yield running


@pytest.fixture(scope="module")
def case(real_data, store, tmp_path_factory):
    """A test case of the bundle as a sagittal series of every second slice, numbered from the last one on.

    It is not oblique: for such, MONAI's ``Spacingd`` shifts its grid by half a voxel or not by the last digits of the
    affine, which differ between DICOM and the NIfTI that the server makes of it.
    """
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    name = json.loads((BUNDLE / "docs" / "data_split.json").read_text())["test"][0]
    image, truth = (_sagittal(nib.load(real_data / part / f"{name}.nii.gz")) for part in ("imagesTr", "labelsTr"))
    voxels, folder = np.asanyarray(image.dataobj), tmp_path_factory.mktemp("studies") / "series"
    names = dict.fromkeys(("PatientID", "PatientName"), name)
    study = {"StudyInstanceUID": generate_uid(), "StudyID": "1", "StudyDate": "20260101", "StudyTime": "120000"}
    shown = {"SeriesDescription": "T1", "WindowCenter": 300, "WindowWidth": 600}
    attributes = {**names, **study, **shown, "AccessionNumber": "", "InstanceNumber": lambda k: voxels.shape[2] - k}
    write_series(folder, np.rint(voxels * (1000.0 / voxels.max())).astype(np.int16), image.affine, **attributes)
    store.add(folder)
    out = tmp_path_factory.mktemp("own")
    done = run_bundle(
        *("run", "--config_file", str(BUNDLE / "configs" / "inference.json"), "--bundle_root", str(BUNDLE)),
        *("--dataset_dir", str(folder), "--output_dir", str(out), "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    expected, affine = read_volume([out / "series_seg.nii.gz"])
    np.testing.assert_allclose(affine, image.affine, atol=1e-4)
    series = str(dcmread(next(folder.iterdir())).SeriesInstanceUID)
    return Case(name, series, np.asanyarray(truth.dataobj), expected, affine)


def _sagittal(volume):
    turned = volume.as_reoriented(nib.orientations.axcodes2ornt("PIR"))
    return nib.Nifti1Image(np.asanyarray(turned.dataobj)[..., ::2], turned.affine @ np.diag([1, 1, 2, 1]))


@pytest.fixture(scope="module")
def server(label_python, store, case, tmp_path_factory):
    if not has_dcmqi(label_python):
        pytest.skip("needs itkimage2segimage for MONAI Label: pip install dcmqi")
    with LabelServer(label_python, tmp_path_factory.mktemp("server"), store.url, BUNDLE, BUNDLE.name) as running:
        yield running


@pytest.fixture(autouse=True)
def _log(server):
    """What the server has said, shown where a test fails."""
    yield
    print(server.log()[-8000:])


def test_the_page_segments_a_study_as_the_bundle_does(server, case, tmp_path):
    """From the list of studies to the segmentation, with mouse and keyboard; voxel by voxel, and in its place."""
    with browser(tmp_path / "profile") as page:
        page.open(f"{server.url}/ohif/", width=1200, height=680)
        page.click(shown("Confirm and Hide", "button"))
        page.click(shown(case.patient, "tr"))
        page.click(shown("MONAI Label", "button"))
        page.write(ADDRESS, f"{server.url}/")
        page.click(CONNECT)
        page.wait(RUN)
        assert page.value(MODELS)[0] == server.name
        page.wait(VOLUME)
        page.click(RUN)
        page.wait(f"{VOXELS}.some(x => x) || {FAILED}")
        assert not page.value(FAILED)
        found = page.value(FOUND)
        page.screenshot(tmp_path / "page.png")
        assert page.errors == []
    labels = np.frombuffer(base64.b64decode(found["voxels"]), np.uint8).reshape(found["shape"], order="F")
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(found["direction"], (3, 3)).T * found["spacing"]
    lps[:3, 3] = found["origin"]
    np.testing.assert_allclose(FLIP @ lps, case.affine, atol=1e-4)
    assert np.array_equal(labels, case.expected)
    scores = dice(labels, case.truth)
    print("Dice", scores)
    assert scores.keys() == set(LABELS.values())
    assert min(scores.values()) > 0.7


def test_the_server_segments_a_series_by_its_identifier(server, case, tmp_path):
    """And scores it for active learning."""
    assert list(server.info()["models"]) == [server.name]
    labels, affine = read_volume([server.infer(case.series, tmp_path / "labels.nii.gz")])
    np.testing.assert_allclose(affine, case.affine, atol=1e-4)
    assert np.array_equal(labels, case.expected)
    assert server.score() == {"scored": 1, "skipped": 0, "failed": 0}
    assert server.next_study() == case.series


def test_a_label_goes_to_the_store_as_dicom_seg(server, store, case, tmp_path):
    path = server.infer(case.series, tmp_path / "labels.nii.gz")
    segments = [{"name": name, "description": f"label {value}"} for name, value in LABELS.items()]
    server.save_label(case.series, path, segments)
    (written,) = store.segmentations(tmp_path)
    assert np.array_equal(labels_on_grid(written, case.expected.shape, case.affine), case.expected)
