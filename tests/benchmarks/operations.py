# SPDX-License-Identifier: Apache-2.0
"""Operations that a card is given, each at least a kernel: counted without a card, the updates on fake tensors.

    python -m tests.benchmarks.operations

Counts those of a training step of the base network with 16 to 128 channels, of its kernels' update by Muon, with those
that are alike at once (as on a card) and each by itself (as on a CPU), and of the segmentation of a window.
"""

import torch
from monai.losses import DiceCELoss
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.optimizers import Muon

_LAUNCH_NOTHING = {"_unsafe_view", "empty", "empty_like"}


class Operations(TorchDispatchMode):
    """Counts operations but for views and empty tensors, which launch nothing."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        launches = not function.is_view and function.overloadpacket.__name__ not in _LAUNCH_NOTHING
        self.number += launches and function.namespace == "aten"
        return function(*args, **(kwargs or {}))


def counted(run):
    """Operations of a function."""
    with Operations() as operations:
        run()
    return operations.number


def main() -> None:
    numbers = {}
    network = RonasUNet(3, 1, 3)
    image, label = torch.zeros(2, 2, 1, 16, 16, 16)
    loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True))
    numbers["forward, loss and backward"] = counted(
        lambda: loss(PadToStrideInferer()(image, network), label).backward()
    )
    network.eval()
    with torch.no_grad():
        numbers["a window"] = counted(lambda: PadToStrideInferer()(image[:1], network))
    for device, how in (("cuda", "that are alike at once"), ("cpu", "each by itself")):
        with FakeTensorMode():
            kernels = [weight for weight in network.parameters() if weight.dim() > 2]
            weights = [torch.zeros(kernel.shape, device=device, requires_grad=True) for kernel in kernels]
            for weight in weights:
                weight.grad = torch.zeros_like(weight)
            optimizer = Muon(weights)
            optimizer.step()  # the first makes the moments
            numbers[f"Muon, kernels {how}"] = counted(optimizer.step)
    for what, number in numbers.items():
        print(f"{what:>40} {number:5d}")


if __name__ == "__main__":
    main()
