# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.networks import MostLikelyd, PadToStrideInferer, most_likely
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.networks.window_slabs import plan_slabs
from tests.measured_memory import LiveTensors

CLASSES = 64


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return RonasUNet(3, 1, CLASSES, channels=(4, 6), strides=(1, 2), dilations=(1, 1), deep_supervision=False).eval()


@pytest.mark.parametrize(
    ("size", "flips", "transposed_axes", "overlap"),
    [
        ((10, 9, 35), (), None, 0.5),
        ((10, 9, 35), (0, 2), None, 0.5),
        ((31, 8, 5), (0,), None, 0.25),
        ((31, 9, 5), (0, 1), (0, 1), 0.25),
        ((9, 35, 6), (1,), (0, 1), 0.5),
        ((10, 9, 35), (0,), (0, 1), 0.5),
        ((8, 17, 8), (), None, 0.25),
        ((5, 4, 8), (2,), None, 0.5),
    ],
)
def test_slabs_give_the_labels_of_the_whole_volume_bit_for_bit(network, size, flips, transposed_axes, overlap):
    volume = torch.randn(2, 1, *size)
    how = {"roi_size": (8, 6, 8), "max_voxels": 0, "overlap": overlap, "flips": flips}
    how["transposed_axes"] = transposed_axes
    with torch.no_grad():
        expected = PadToStrideInferer(**how, result_gb=1.0)(volume, network)
        found = PadToStrideInferer(**how, result_gb=1e-5)(volume, network)
    assert expected.shape == (2, CLASSES, *size)
    assert found.shape == (2, 1, *size)
    assert found.dtype == torch.uint8
    assert torch.equal(found, expected.argmax(1, keepdim=True).to(torch.uint8))
    assert torch.equal(most_likely(expected), most_likely(found))
    assert len(found.unique()) > 5


@pytest.mark.parametrize("flips", [(), (2,)])
def test_sixty_four_classes_stay_within_the_memory(network, flips):
    volume = torch.randn(1, 1, 20, 20, 88)
    bound = 7 * 2**20
    whole = 4 * CLASSES * volume.numel()
    assert bound < whole
    peaks = []
    for result_gb in (1.0, bound / 2**30):
        segment = PadToStrideInferer(roi_size=(8, 8, 8), max_voxels=0, flips=flips, result_gb=result_gb)
        with torch.no_grad(), LiveTensors() as live:
            segment(volume, network)
        peaks.append(live.peak)
    windows = 4 * CLASSES * 8**3 * 3  # the network's own, for one window
    assert peaks[1] < bound + windows
    assert peaks[0] > whole


def test_the_meta_data_stay_and_training_has_no_slabs(network):
    volume = MetaTensor(torch.randn(1, 1, 16, 16, 40), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
    segment = PadToStrideInferer(roi_size=(16, 16, 16), result_gb=1e-4)
    with torch.no_grad():
        found = segment(volume, network)
    assert torch.equal(found.affine, volume.affine)
    assert found.dtype == torch.uint8
    assert segment(volume, network).shape == (1, CLASSES, 16, 16, 40)


def test_without_a_limit_the_prediction_holds_logits_however_little_memory_there_is(network, monkeypatch):
    """Bundles of version 0.1 take the argmax of what they get."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1, total=1))
    with torch.no_grad():
        found = PadToStrideInferer(roi_size=(8, 8, 8), max_voxels=0)(torch.randn(1, 1, 9, 8, 8), network)
    assert found.shape == (1, CLASSES, 9, 8, 8)


def test_slabs_are_as_thick_as_the_memory_allows():
    size, roi_size = (64, 64, 256), (32, 32, 32)
    thick = [
        plan_slabs(size, roi_size, overlap=0.5, classes=64, flips=flips, most_bytes=most).thickness
        for flips in (False, True)
        for most in (2**10, 2**27, 2**28)
    ]
    assert thick == sorted(thick[:3]) + sorted(thick[3:])
    assert thick[0] == thick[3] == 16
    assert thick[2] > thick[5] > 16
    assert all(t % 16 == 0 for t in thick)
    assert plan_slabs((90, 64, 64), roi_size, overlap=0.5, classes=2, flips=False, most_bytes=1).axis == 0


@pytest.mark.parametrize(("classes", "dtype"), [(2, torch.uint8), (256, torch.uint8), (300, torch.int32)])
def test_the_most_likely_class(classes, dtype):
    logits = torch.randn(classes, 9, 3, 2)
    item = MostLikelyd("pred")({"pred": logits})
    assert item["pred"].dtype == dtype
    assert torch.equal(item["pred"].long(), logits.argmax(0, keepdim=True))
    assert MostLikelyd("pred")(item)["pred"] is item["pred"]
