# SPDX-License-Identifier: Apache-2.0
"""The network that holds the weights shared by all architectures of a space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch

from monai_ronas.networks.blocks.conv_block import SearchableConvBlock
from monai_ronas.networks.blocks.instance_norm import ChannelsLastInstanceNorm
from monai_ronas.networks.blocks.stages import DecoderStage, EncoderStage
from monai_ronas.networks.blocks.sum_skip import SumSkip
from monai_ronas.networks.nets.ronas_unet import RonasUNet
from monai_ronas.space import Architecture, RonasSpace, scaled_channels, skip_points, total_stride


class RonasSuperNet(RonasUNet):
    """A :class:`RonasUNet` with every weight that any architecture of a space uses, and :meth:`select` to choose one.

    Dilations, strides and the usual activations share all weights, narrower networks have the leading channels of the
    widest; a skip point has a projection of its own. Selecting sets attributes only. Weights that a child does not use
    as a whole are not run, so that their gradients stay ``None`` and an optimiser that is told to set gradients to
    ``None`` does not move them. Of a weight that is used in part, the attribute ``used_shape`` says which leading part
    that is: :class:`~monai_ronas.optimizers.Muon` and :func:`~monai_ronas.optimizers.keep_unused` leave the rest alone.

    Args:
        space: the architectures.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        kwargs: further arguments of :class:`RonasUNet` that the space does not decide (``channels`` at width 1,
            ``norm``, ``deep_supervision``, ``drop_path``, ``dropout``).

    Raises:
        ValueError: when the space has several widths and ``norm`` is not an instance normalisation.

    Example:
        >>> space = RonasSpace((32, 32, 32), widths=(1, 0.5))
        >>> net = RonasSuperNet(space, 1, 3, channels=(8, 16, 32, 64))
        >>> child = net.derive(space.base.replace(width=0.5))
        >>> child.encoder[0].conv1.conv.weight.shape, sorted(set(child.state_dict()) - set(net.state_dict()))
        (torch.Size([4, 1, 3, 3, 3]), [])
    """

    def __init__(self, space: RonasSpace, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        own = {"in_channels": in_channels, "out_channels": out_channels, "channels": (16, 32, 64, 128), **kwargs}
        skips = [(i, j) for i, j in skip_points(space.stages) if True in space[f"skip_{i}_{j}"].options]
        widest = scaled_channels(own["channels"], max(space.widths))
        chosen = {**space.network_kwargs(space.base), "skips": skips, "channels": widest}
        super().__init__(len(space.shape), **{**own, **chosen})
        for module in self.modules():
            if isinstance(module, SearchableConvBlock):
                module.offer(space["activation"].options)
                if len(space.widths) > 1 and not isinstance(module.norm, ChannelsLastInstanceNorm):
                    raise ValueError(
                        f"norm must be an instance normalisation where widths are searched, received {own.get('norm')}."
                    )
        self._offered = set(skips)
        self._shapes: dict[float, dict[str, tuple[int, ...]]] = {}
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
        widths = self.space.channels(architecture, self.kwargs["channels"])
        dims = self.spatial_dims
        missing = joined - self._offered
        if missing:
            raise ValueError(f"the space of this supernet offers no skips {sorted(missing)}.")
        for i, stage in enumerate(cast(Iterable[EncoderStage], self.encoder)):
            stage.select(stride=strides[i], dilation=chosen["dilations"][i], act=act, width=widths[i])
        for level, decoder in zip(
            range(len(strides) - 1, 0, -1), cast(Iterable[DecoderStage], self.decoder), strict=True
        ):
            decoder.select(scale=strides[level], act=act, width=widths[level - 1])
            for skip in cast(Iterable[SumSkip], decoder.skips.values()):
                skip.active = (level, skip.source) in joined
                skip.down.select(total_stride(strides[skip.source : level], dims))
        self.stem_scale = [float(s) for s in strides[0]]
        self.divisor = list(total_stride(strides, dims))
        self.architecture = Architecture(architecture)
        shapes = self._used_shapes(architecture)
        for name, weight in self.named_parameters():
            weight.used_shape = shapes.get(name, tuple(weight.shape))  # type: ignore[attr-defined]

    def _used_shapes(self, architecture: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights of an architecture, by name, with all skips."""
        width = float(architecture.get("width", self.space.widths[0]))
        if width not in self._shapes:
            kwargs = self.network_kwargs(architecture) | {"skips": sorted(self._offered)}
            with torch.device("meta"):
                network = RonasUNet(**kwargs)
            self._shapes[width] = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
        return self._shapes[width]

    def network_kwargs(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments that make the :class:`RonasUNet` of an architecture, as plain types."""
        return {
            "spatial_dims": self.spatial_dims,
            **self.kwargs,
            **self.space.network_kwargs(architecture),
            "channels": list(self.space.channels(architecture, self.kwargs["channels"])),
        }

    def derive(self, architecture: Mapping[str, Any], **changed: Any) -> RonasUNet:
        """The static network of an architecture, with a copy of its weights and of nothing else.

        Args:
            architecture: which one.
            changed: other arguments of :class:`RonasUNet`, such as ``deep_supervision=False`` for a network of one
                head.
        """
        with torch.random.fork_rng(devices=[]):
            network = RonasUNet(**{**self.network_kwargs(architecture), **changed})
        shared = self.state_dict()
        network.load_state_dict({k: _leading(shared[k], v.shape) for k, v in network.state_dict().items()}, strict=True)
        return network.train(self.training)

    @torch.no_grad()
    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put the weights of a derived network in the place of the shared ones; all others stay.

        Args:
            weights: its ``state_dict``.
        """
        shared = self.state_dict()  # of the same storage
        for name, weight in weights.items():
            _leading(shared[name], weight.shape).copy_(weight)


def _leading(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The leading part of a weight that has a shape, as a view."""
    return weight[tuple(slice(size) for size in shape)] if weight.shape != shape else weight
