# SPDX-License-Identifier: Apache-2.0
"""The networks that a person would train instead, on batches of two of the patch that nnU-Net plans for the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from monai_ronas.data import Fingerprint
from monai_ronas.space import Architecture, Plan, RonasSpace, total_stride
from tests.benchmarks.grid import fixed_plan
from tests.benchmarks.nnunet import plan_topology

EIGHT, SIXTEEN = ((1, 1, 1), *[(2, 2, 2)] * 3), ((1, 1, 1), *[(2, 2, 2)] * 4)  # strides of SegResNet and UNet


def cosine(progress: float) -> float:
    """Factor of the learning rate at a part of the training: from 1 to 0 as a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def polynomial(progress: float) -> float:
    """Factor of the learning rate at a part of the training: nnU-Net's, a power of what is left."""
    return float((1 - progress) ** 0.9)


class Levels(DynUNet):
    """A DynUNet that returns its levels as a list in training, as the deeply supervised loss wants them."""

    def forward(self, x: torch.Tensor) -> Any:
        """Map ``(B, C, H, W, D)`` to logits, in training those of all levels."""
        outputs = super().forward(x)
        return list(outputs.unbind(dim=1)) if self.training else outputs


def dynunet(
    in_channels: int,
    out_channels: int,
    *,
    strides: Sequence[Sequence[int]] = EIGHT,
    kernels: Sequence[Sequence[int]] = ((3, 3, 3),) * 4,
    channels: Sequence[int] = (16, 32, 64, 128),
) -> DynUNet:
    """A DynUNet with deep supervision of all levels of its decoder."""
    return Levels(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=channels,
        deep_supervision=True,
        deep_supr_num=len(strides) - 2,
    )


def planned_dynunet(fingerprint: Fingerprint, *, width: float = 1.0) -> DynUNet:
    """The network that nnU-Net plans for the data, with a factor of its channels."""
    planned = _topology(fingerprint)
    return dynunet(
        fingerprint.in_channels,
        fingerprint.out_channels,
        strides=planned.strides,
        kernels=planned.kernels,
        channels=[int(width * c) for c in planned.channels],
    )


def segresnet(fingerprint: Fingerprint) -> SegResNet:
    """MONAI's defaults at 16 filters."""
    return SegResNet(init_filters=16, in_channels=fingerprint.in_channels, out_channels=fingerprint.out_channels)


def unet(fingerprint: Fingerprint) -> UNet:
    """MONAI's tutorials' network: five levels, two residual units each."""
    return UNet(
        3,
        fingerprint.in_channels,
        fingerprint.out_channels,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )


def nnunet_sgd(params: Iterable[nn.Parameter]) -> torch.optim.SGD:
    """nnU-Net's optimiser: momentum of 0.99, decay of 3e-5, gradients of norm 12 at most."""
    weights = list(params)
    optimizer = torch.optim.SGD(weights, lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(weights, 12.0)

    optimizer.register_step_pre_hook(clip)
    return optimizer


ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-3}
AUTO3DSEG = {"_target_": "torch.optim.AdamW", "lr": 2e-4, "weight_decay": 1e-5}
NNUNET = {"_target_": "tests.benchmarks.peers.nnunet_sgd"}


class Peer(NamedTuple):
    """A network made by hand.

    ``strides`` are those of its stages, by which its patch can be divided; None for those of nnU-Net's plan.
    ``optimizer`` is a component of a configuration but for its parameters; None for the search's own.
    """

    title: str
    build: Callable[[Fingerprint], nn.Module]
    strides: Sequence[Sequence[int]] | None = None
    optimizer: dict[str, Any] | None = None
    schedule: Callable[[float], float] = cosine

    def settings(self, name: str) -> dict[str, Any]:
        """The settings of ``search.json`` with which it is trained in place of the search's network."""
        facts = {"name": name, "fingerprint": "$@study.fingerprint"}
        chosen: dict[str, Any] = {
            "plan": {"_target_": "tests.benchmarks.peers.plan_of", **facts},
            "network_def": {"_target_": "tests.benchmarks.peers.Handmade", **facts, "space": "@space"},
        }
        if self.optimizer is not None:
            chosen["optimizer"] = {**self.optimizer, "params": "$@network.parameters()"}
        return chosen


_half = partial(planned_dynunet, width=0.5)
PEERS = {
    "dynunet_half": Peer("DynUNet, nnU-Net's plan at half width, AdamW", _half, optimizer=ADAMW),
    "dynunet_half_muon": Peer("DynUNet, nnU-Net's plan at half width, our optimiser", _half),
    "dynunet": Peer("DynUNet, nnU-Net's plan, AdamW", planned_dynunet, optimizer=ADAMW),
    "dynunet_sgd": Peer(
        "DynUNet, nnU-Net's plan and optimiser", planned_dynunet, optimizer=NNUNET, schedule=polynomial
    ),
    "dynunet_muon": Peer("DynUNet, nnU-Net's plan, our optimiser", planned_dynunet),
    "segresnet": Peer("SegResNet 16, AdamW", segresnet, EIGHT, ADAMW),
    "segresnet_auto3dseg": Peer("SegResNet 16, Auto3DSeg's optimiser", segresnet, EIGHT, AUTO3DSEG),
    "segresnet_muon": Peer("SegResNet 16, our optimiser", segresnet, EIGHT),
    "unet": Peer("UNet 16-256, 2 residual units, AdamW", unet, SIXTEEN, ADAMW),
}


def plan_of(name: str, fingerprint: Fingerprint) -> Plan:
    """The plan of a peer: nnU-Net's patch, rounded up to what its network can take.

    Its channels are none of the peer's: small ones, so that no limit of memory for our network makes batches smaller.
    """
    planned = _topology(fingerprint)
    strides = PEERS[name].strides or planned.strides
    unit = total_stride(strides, len(planned.patch))
    patch = [math.ceil(p / u) * u for p, u in zip(planned.patch, unit, strict=True)]
    return fixed_plan(strides, [8] * len(strides), patch)


class Handmade(nn.Module):
    """A peer's network, with what crops and scores ask of the search's network.

    Args:
        name: of the peer.
        fingerprint: of the data.
        space: of the peer's plan; tells the patch.
    """

    def __init__(self, name: str, fingerprint: Fingerprint, space: RonasSpace) -> None:
        super().__init__()
        self.network = PEERS[name].build(fingerprint)
        self.space, self.architecture = space, space.base
        facts = {"in_channels": fingerprint.in_channels, "out_channels": fingerprint.out_channels}
        self.kwargs: dict[str, Any] = {"channels": (), **facts}
        self.patch, self.divisor = space.patch(space.base), total_stride(space.strides(space.base), len(space.shape))

    def select(self, architecture: Architecture) -> None:
        """There is nothing to choose."""

    def forward(self, x: torch.Tensor) -> Any:
        """Map ``(B, C, H, W, D)`` to logits, or in training to those of several levels."""
        return self.network(x)


def _topology(fingerprint: Fingerprint) -> Any:
    return plan_topology(fingerprint.median_shape, fingerprint.target_spacing, fingerprint.out_channels)
