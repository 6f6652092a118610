# SPDX-License-Identifier: Apache-2.0
"""What fits into a memory budget, by the costs of the architectures."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.resources.costs import SINGLE, ArchitectureCosts
from monai_ronas.space import RonasSpace

_GIB = 2**30
_MOST_INDICES = 2**31 - 1  # elements of a tensor that 32-bit indices reach: kernels of GPUs fall back or fail beyond
_MARGIN = 1.1  # for what the estimate misses on other data and devices


class ResourceEstimator(ArchitectureCosts):
    """Costs of the architectures of a space, and a limit of the memory that they may need.

    Args:
        space: the architectures.
        memory_gb: memory in GiB that training and scoring may need, or None for no limit.
        kwargs: ``channels``, ``in_channels``, ``out_channels``, ``amp``, ``moments`` and ``ignore`` of
            :class:`ArchitectureCosts`.

    Example:
        >>> space = RonasSpace((32, 32, 32))
        >>> sizes = {"channels": (8, 16, 32, 64), "in_channels": 1, "out_channels": 2}
        >>> ResourceEstimator(space, **sizes, memory_gb=0.05).fits(space.base, crops=2)
        True
        >>> ResourceEstimator(space, **sizes, memory_gb=0.03).fits(space.base, crops=2)
        False
    """

    def __init__(
        self,
        space: RonasSpace,
        *,
        memory_gb: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(space, **kwargs)
        self.memory_gb = memory_gb

    def needed_gb(self, architecture: Mapping[str, Any], *, crops: int = 1) -> float:
        """Memory in GiB, margin included, in which an architecture trains with its patch and scores in its windows.

        The sums of the windows of a volume are not counted: where the device has no room for them, they lie in the
        machine's memory. It is infinite where a feature map of the batch has more than ``2**31 - 1`` values, for which
        the kernels of GPUs are not made.
        """
        return math.inf if self._is_beyond_indices(architecture, crops) else self._estimated_gb(architecture, crops)

    def _estimated_gb(self, architecture: Mapping[str, Any], crops: int) -> float:
        window = self.inference_bytes(architecture, self.space.patch(architecture), amp=self.amp)
        need = max(self.training_bytes(architecture, crops=crops), window + self.supernet_bytes())
        return _MARGIN * need / _GIB

    def _is_beyond_indices(self, architecture: Mapping[str, Any], crops: int) -> bool:
        if crops * math.prod(self.space.patch(architecture)) * max(self._widest) <= _MOST_INDICES:  # at any stride
            return False
        maps = self._maps(architecture, None)
        return crops * max(map(operator.mul, maps.counts, maps.channels)) > _MOST_INDICES

    def fits(self, architecture: Mapping[str, Any], *, crops: int = 1) -> bool:
        """Whether training and scoring fit into the memory, with a tenth to spare for what the estimate misses."""
        return self.memory_gb is None or self.needed_gb(architecture, crops=crops) <= self.memory_gb

    def learn_limit(self, architecture: Mapping[str, Any], *, crops: int) -> None:
        """Lower the limit, or set one, below a batch that was too large in fact."""
        self.memory_gb = min(0.99 * self._estimated_gb(architecture, crops), self.memory_gb or math.inf)

    def limited_space(self, *, most_crops: float | None = None) -> RonasSpace:
        """The space without the architectures that do not fit with a single crop; it follows a limit learnt later.

        Args:
            most_crops: a crop of an architecture has no more operations than so many of the base network. Default: no
                limit.

        Raises:
            SettingError: when the base network does not fit with any patch, with the smallest memory that would do, if
                any would.
        """
        if self.memory_gb is not None:
            bases = self.space.with_every_patch(self.space.base)
            least = min(self.needed_gb(a) for a in bases if self.space.is_feasible(a))
            if math.isinf(least):
                raise SettingError(
                    "the base network has a feature map of more than 2**31 - 1 values with every patch: give fewer "
                    "channels or smaller patches."
                )
            if least > self.memory_gb:
                raise SettingError(
                    f"memory_budget_gb {self.memory_gb} is too little: the base network needs "
                    f"{math.ceil(1e6 * least) / 1e6:g} GB; give more memory, fewer channels or smaller patches."
                )
        if most_crops is None:
            return self.space.restrict(self.fits)
        most = most_crops * self.macs(self.space.base)
        return self.space.restrict(lambda architecture: self.macs(architecture) <= most and self.fits(architecture))

    def window_fits(self, architecture: Mapping[str, Any]) -> bool:
        """Whether the derived network segments a window of its patch within the memory."""
        need = self.inference_bytes(architecture, self.space.patch(architecture))
        need += SINGLE * self.parameters(architecture)
        return self.memory_gb is None or _MARGIN * need <= self.memory_gb * _GIB

    def result_gb(
        self,
        memory_gb: float,
        architecture: Mapping[str, Any] | None = None,
        *,
        amp: bool = False,
        search: bool = False,
    ) -> float:
        """Memory in GiB that is left for predictions and sums where windows of the training patch are segmented.

        Args:
            memory_gb: memory in GiB.
            architecture: the architecture. Default: the base network.
            amp: in bfloat16 under autocast instead of float32.
            search: beside the supernet's own memory instead of the network's weights.
        """
        architecture = architecture or self.space.base
        window = self.inference_bytes(architecture, self.space.patch(architecture), amp=amp)
        weights = self.supernet_bytes() if search else SINGLE * self.parameters(architecture)
        return max(0.0, memory_gb / _MARGIN - (window + weights) / _GIB)

    def one_shot_voxels(
        self,
        memory_gb: float,
        architecture: Mapping[str, Any] | None = None,
        *,
        amp: bool = False,
        flips: bool = False,
    ) -> int:
        """Voxels of the largest volume that an architecture segments in one shot, beside the supernet's own memory.

        The volume counts as it is when padded up to the training patch.

        Args:
            memory_gb: memory in GiB.
            architecture: the architecture. Default: the base network.
            amp: in bfloat16 under autocast instead of float32.
            flips: averaged over flips.
        """
        size, architecture = self.space.shape, architecture or self.space.base
        free = max(memory_gb * _GIB / _MARGIN - self.supernet_bytes(), 0.0)
        need = self.inference_bytes(architecture, size, amp=amp)
        if flips:
            kept, most = self.flip_bytes(math.prod(size))
            need = max(need + kept, most)
        most_values = max(self.out_channels, max(self._maps(architecture, size).channels))
        return min(int(free * math.prod(size) / need), _MOST_INDICES // most_values)
