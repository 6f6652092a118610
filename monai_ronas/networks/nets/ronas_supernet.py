# SPDX-License-Identifier: Apache-2.0
"""The network that holds the weights shared by all architectures of a space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch

from monai_ronas.networks.blocks.conv_block import SearchableConvBlock
from monai_ronas.networks.blocks.stages import DecoderStage, EncoderStage
from monai_ronas.networks.blocks.sum_skip import SumSkip
from monai_ronas.networks.nets.ronas_unet import RonasUNet
from monai_ronas.space import Architecture, RonasSpace, skip_points, total_stride


class RonasSuperNet(RonasUNet):
    """A :class:`RonasUNet` with every weight that any architecture of a space uses, and :meth:`select` to choose one.

    Dilations, strides and the usual activations share all weights; a skip point has a projection of its own. Selecting
    sets attributes only. A child's unused weights are not run, so that their gradients stay ``None`` and an optimiser
    that is told to set gradients to ``None`` does not move them.

    Args:
        space: the architectures.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        kwargs: further arguments of :class:`RonasUNet` that the space does not decide
            (``channels``, ``norm``, ``deep_supervision``, ``drop_path``, ``dropout``).

    Example:
        >>> space = RonasSpace((32, 32, 32))
        >>> net = RonasSuperNet(space, 1, 3, channels=(4, 8, 16, 32))
        >>> child = net.derive(space.base)
        >>> sorted(set(child.state_dict()) - set(net.state_dict()))
        []
    """

    def __init__(self, space: RonasSpace, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        own = {"in_channels": in_channels, "out_channels": out_channels, "channels": (16, 32, 64, 128), **kwargs}
        skips = [(i, j) for i, j in skip_points(space.stages) if True in space[f"skip_{i}_{j}"].options]
        super().__init__(len(space.shape), **{**own, **space.network_kwargs(space.base), "skips": skips})
        for module in self.modules():
            if isinstance(module, SearchableConvBlock):
                module.offer(space["activation"].options)
        self._offered = set(skips)
        self.space = space
        self.kwargs = own
        self.select(space.base)

    @property
    def patch(self) -> tuple[int, ...]:
        """Training patch of the selected architecture."""
        return self.space.patch(self.architecture)

    def select(self, architecture: Mapping[str, Any]) -> None:
        """Make the supernet compute the function of ``architecture``; nothing is allocated or rebuilt.

        Raises:
            ValueError: when a choice is none of the space's options.
        """
        chosen = self.space.network_kwargs(architecture)
        strides, act, joined = chosen["strides"], chosen["act"], set(chosen["skips"])
        dims = self.spatial_dims
        missing = joined - self._offered
        if missing:
            raise ValueError(f"the space of this supernet offers no skips {sorted(missing)}.")
        for i, stage in enumerate(self.encoder):
            cast(EncoderStage, stage).select(stride=strides[i], dilation=chosen["dilations"][i], act=act)
        for level, module in zip(range(len(strides) - 1, 0, -1), self.decoder, strict=True):
            decoder = cast(DecoderStage, module)
            decoder.select(scale=strides[level], act=act)
            for skip in cast(Iterable[SumSkip], decoder.skips.values()):
                skip.active = (level, skip.source) in joined
                skip.down.select(total_stride(strides[skip.source : level], dims))
        self.stem_scale = [float(s) for s in strides[0]]
        self.divisor = list(total_stride(strides, dims))
        self.architecture = Architecture(architecture)

    def network_kwargs(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments that make the :class:`RonasUNet` of an architecture, as plain types."""
        return {
            "spatial_dims": self.spatial_dims,
            **self.kwargs,
            **self.space.network_kwargs(architecture),
        }

    def derive(self, architecture: Mapping[str, Any]) -> RonasUNet:
        """The static network of an architecture, with a copy of its weights and of nothing else."""
        with torch.random.fork_rng(devices=[]):
            network = RonasUNet(**self.network_kwargs(architecture))
        shared = self.state_dict()
        network.load_state_dict({k: shared[k] for k in network.state_dict()}, strict=True)
        return network.train(self.training)
