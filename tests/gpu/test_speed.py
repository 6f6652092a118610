# SPDX-License-Identifier: Apache-2.0
"""What takes how long on a card: ratios that are noted, not asserted."""

import torch

from monai_ronas.data import RandElasticd
from monai_ronas.engines import PatchBatch
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.optimizers import Muon
from monai_ronas.space import RonasSpace
from monai_ronas.utils import has_fast_half
from tests.benchmarks.peers import dynunet
from tests.benchmarks.step import Trainee

CONTIGUOUS, LAST = torch.contiguous_format, torch.channels_last_3d


def size_of(device):
    return 128 if device.type == "cuda" else 24


def test_a_step_against_dynunet(device, seconds, record_property):
    """Both in the layout that is faster for them; cuDNN's ways to choose a kernel."""
    size, amp = size_of(device), has_fast_half(device)
    image = torch.randn(2, 1, size, size, size, device=device)
    label = (image > 0.5).float()
    torch.manual_seed(0)
    took = {}
    for name, make in (("ours", lambda: RonasUNet(3, 1, 3)), ("DynUNet", lambda: dynunet(1, 3))):
        for layout in (LAST, CONTIGUOUS):
            trainee = Trainee(make(), device=device, amp=amp, layout=layout)
            took[name, layout] = seconds(lambda t=trainee, x=layout: t.step(image.contiguous(memory_format=x), label))
            record_property(f"{name}, {layout}, seconds a step of 2 x {size}^3", took[name, layout])
    best = [min(took[name, layout] for layout in (LAST, CONTIGUOUS)) for name in ("ours", "DynUNet")]
    record_property("a step of ours by one of DynUNet, each in its faster layout", best[0] / best[1])
    record_property("ours, channels last by contiguous", took["ours", LAST] / took["ours", CONTIGUOUS])
    trainee = Trainee(RonasUNet(3, 1, 3), device=device, amp=amp)
    image = image.contiguous(memory_format=LAST)
    for what, flags in (
        ("deterministic kernels", {"deterministic": True, "benchmark": False, "allow_tf32": True}),
        # cuDNN's choice is kept by shape and settings: TF32, which 16 bits do not use, makes it choose again
        ("kernels chosen by cuDNN's benchmark", {"deterministic": False, "benchmark": True, "allow_tf32": False}),
    ):
        with torch.backends.cudnn.flags(enabled=True, **flags):
            ratio = seconds(lambda: trainee.step(image, label)) / took["ours", LAST]
        record_property(f"a step with {what} by one without", ratio)


def test_what_is_beside_the_network(device, seconds, record_property):
    size = size_of(device)
    space = RonasSpace((size, size, size))
    network = RonasSuperNet(space, 1, 3, channels=(16, 32, 64, 128)).to(device)
    optimizer = Muon(network.parameters())
    for weight in network.parameters():
        weight.grad = torch.randn_like(weight)
    record_property("seconds of Muon's step", seconds(optimizer.step))
    volume = torch.randn(1, size + 40, size + 40, size + 40)
    crops = PatchBatch(network, batch_size=2)
    for where, held in (("the CPU", volume), ("the device", volume.to(device))):
        case = {"image": held, "label": (held > 0).to(torch.uint8)}
        record_property(f"seconds of a batch's crops from {where}", seconds(lambda c=case: crops([c], device)))
    crop = {key: torch.randn(1, size, size, size, device=device) for key in ("image", "label")}
    for where in ("cpu", device):
        deform = RandElasticd(["image", "label"], (1, 1, 1), prob=1.0, mode=("bilinear", "nearest"), device=where)
        record_property(f"seconds of a deformation, its grid made on {where}", seconds(lambda t=deform: t(crop)))


def test_windows_one_by_one_and_four_at_once(device, seconds, record_property):
    window = 64 if device.type == "cuda" else 16
    network = RonasUNet(3, 1, 3).to(device, memory_format=LAST).eval()
    image = torch.randn(1, 1, 2 * window, 2 * window, 2 * window, device=device)
    with torch.no_grad():
        for number in (1, 4):
            run = PadToStrideInferer(
                amp=has_fast_half(device), max_voxels=0, roi_size=(window,) * 3, sw_batch_size=number
            )
            took = seconds(lambda r=run: r(image, network), repeats=3)
            record_property(f"seconds of 27 windows of {window}^3, {number} at once", took)
