# SPDX-License-Identifier: Apache-2.0
"""Peak memory of tensors, by counting what is alive on a CPU, by the allocator's own figures on a CUDA device."""

from __future__ import annotations

import weakref

import torch
from monai.losses import DiceCELoss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from monai_ronas.engines.averaged_weights import AveragedWeights
from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.optimizers import Muon, keep_unused


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the storages that are made while it is active; :attr:`peak` is the most alive at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        given = {t.untyped_storage() for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)}
        for tensor in tree_flatten(outputs)[0]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage(), given)
        return outputs

    def _count(self, storage, given):
        if storage in self._known or storage in given:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, size)

    def _release(self, size):
        self.now -= size


def layout(space):
    """The channels-last memory format for the space's dimensions."""
    return torch.channels_last if len(space.shape) == 2 else torch.channels_last_3d


def peak_bytes(run, device="cpu"):
    """Most bytes alive on a device while a function runs, beside those that were alive before."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with LiveTensors() as live:
        run()
    return live.peak


def training_peak(space, architecture, crops, widths, *, amp, device="cpu", ignore=False):
    """Most bytes alive in two training steps on a supernet."""
    torch.manual_seed(0)
    return peak_bytes(lambda: _train(space, architecture, crops, widths, amp=amp, device=device, ignore=ignore), device)


def _train(space, architecture, crops, widths, *, amp, device, ignore):
    net = RonasSuperNet(space, widths["in_channels"], widths["out_channels"], channels=widths["channels"])
    net = net.to(device, memory_format=layout(space)).train()
    optimizer = Muon(net.parameters())
    keep_unused(optimizer)
    average = AveragedWeights(net)
    average.start()
    loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True), ignore=ignore)
    net.select(architecture)
    for _ in range(2):
        size = space.patch(architecture)
        image = torch.randn(crops, widths["in_channels"], *size, device=device).contiguous(memory_format=layout(space))
        optimizer.zero_grad(set_to_none=True)
        loss(PadToStrideInferer(amp=amp)(image, net), torch.ones(crops, 1, *size, device=device)).backward()
        optimizer.step()
        average.update()
