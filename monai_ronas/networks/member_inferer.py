# SPDX-License-Identifier: Apache-2.0
"""The mean of several networks of one architecture, and how far they are from each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import nn

from monai_ronas.networks.inferer import PadToStrideInferer
from monai_ronas.networks.views import add_view, with_memory

_SLABS = 16


class MemberInferer(Inferer):
    """Average the probabilities of a network and of members with other weights, over the views of a volume.

    The members share the work: each run takes the next view of the inferer's and the next member, so that an ensemble
    takes no more time than the network alone where there are as many flips as members. The number of runs is the larger
    of the two numbers.

    Args:
        inferer: segments a volume; its flips and turns are the views.
        members: state dictionaries of the network with other weights, of any floating type. Default: the network alone.

    Attributes:
        mutual_information: of the last volumes, ``(B, 1, H, W[, D])`` in nats: the entropy of the mean less the mean of
            the entropies. It is large where the runs are sure of different classes. None before the first volume, and
            where the memory did not suffice for the probabilities of all classes.

    Example:
        >>> from monai_ronas.networks.nets import RonasUNet
        >>> net, other = (RonasUNet(3, 1, 2, channels=(4, 8), strides=(1, 2), dilations=(1, 1)) for _ in range(2))
        >>> inferer = MemberInferer(PadToStrideInferer(flips=[0]), [other.state_dict()])
        >>> with torch.no_grad():
        ...     said = inferer(torch.zeros(1, 1, 8, 8, 8), net.eval())
        >>> round(float(said.exp().sum(dim=1).mean()), 4)
        1.0
        >>> inferer.mutual_information.shape
        torch.Size([1, 1, 8, 8, 8])
    """

    def __init__(self, inferer: PadToStrideInferer, members: Sequence[Mapping[str, torch.Tensor]] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        self.members = tuple(members)
        self.mutual_information: torch.Tensor | None = None

    @property
    def runs(self) -> int:
        """How often a network runs for a volume."""
        return max(self.inferer.runs, 1 + len(self.members))

    def holds_all_classes(self, inputs: torch.Tensor, network: Callable[..., Any]) -> bool:
        """Whether the memory suffices for the sum of the probabilities of all classes beside those of a run."""
        return self.inferer.holds_all_classes(inputs, network, summed=True)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """The logarithm of the mean probabilities ``(B, C, H, W[, D])``.

        Where the memory does not suffice for the sum of the probabilities of all classes, this is the prediction of the
        network alone, as :class:`~monai_ronas.networks.PadToStrideInferer` gives it: class indices
        ``(B, 1, H, W[, D])``, or logits where it makes no sum.

        Raises:
            RuntimeError: when a member has not the weights of the network.
        """
        self.mutual_information = None
        if not self.holds_all_classes(inputs, network):
            return cast(torch.Tensor, self.inferer(inputs, network, *args, **kwargs))
        home = torch.device(self.inferer.stitch_device or inputs.device)
        views, total, entropies = self.inferer.views, None, None
        with _own_weights(cast(nn.Module, network), self.members) as own:
            states = (own, *self.members)
            for run in range(self.runs):
                view = views[run % len(views)]
                if run and self.members:
                    cast(nn.Module, network).load_state_dict(states[run % len(states)])
                logits = self.inferer.one_run(view.of(inputs), network, *args, **kwargs)
                logits = convert_to_tensor(cast(torch.Tensor, logits), track_meta=False)
                found = view.back(entropy(logits)).to(home)
                entropies = found if entropies is None else entropies.add_(found)
                total = add_view(total, logits, view, home)
                del logits  # before those of the next run are made
        mean = cast(torch.Tensor, total).div_(self.runs).log_()
        spread = entropy(mean).sub_(cast(torch.Tensor, entropies).to(mean.device).div_(self.runs)).clamp_(min=0)
        self.mutual_information = spread
        if isinstance(inputs, MetaTensor):
            mean = convert_to_dst_type(mean, inputs, dtype=mean.dtype, device=mean.device)[0]
        return with_memory(mean.to, home)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of each voxel in nats, at most the logarithm of the number of classes.

    Little memory is needed beside the logits: the probabilities are made for a few planes at a time.

    Args:
        logits: ``(B, C, H, W[, D])``, or logarithms of probabilities, minus infinity allowed.

    Returns:
        ``(B, 1, H, W[, D])``.

    Example:
        >>> entropy(torch.tensor([[[0.5], [0.5]]]).log())
        tensor([[[0.6931]]])
    """
    step = max(1, math.ceil(logits.shape[2] / _SLABS))
    parts = (torch.special.entr(part.softmax(dim=1)).sum(dim=1, keepdim=True) for part in logits.split(step, dim=2))
    return torch.cat(list(parts), dim=2)


@contextmanager
def _own_weights(
    network: nn.Module, members: Sequence[Mapping[str, torch.Tensor]]
) -> Iterator[Mapping[str, torch.Tensor]]:
    """A copy of the weights of the network, which it has again at the end; none where there are no members."""
    if not members:
        yield {}
        return
    own = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    try:
        yield own
    finally:
        network.load_state_dict(own)
