# SPDX-License-Identifier: Apache-2.0
"""Controllers, which propose architectures: an LSTM policy, and random choice as its control."""

from monai_ronas.controllers.base import Controller
from monai_ronas.controllers.lstm import LSTMController
from monai_ronas.controllers.random import RandomController
from monai_ronas.errors import SettingError
from monai_ronas.space import SearchSpace

STRATEGIES = ("reinforce", "random")


def make_controller(strategy: str, space: SearchSpace, *, seed: int = 0, hidden_size: int = 100) -> Controller:
    """The controller of a ``strategy``: ``"reinforce"`` or ``"random"``.

    Raises:
        SettingError: when the strategy is unknown.
    """
    if strategy not in STRATEGIES:
        raise SettingError(f"strategy must be one of {STRATEGIES}, received {strategy!r}.")
    if strategy == "random":
        return RandomController(space)
    return LSTMController(space, hidden_size=hidden_size, seed=seed)


__all__ = ["STRATEGIES", "Controller", "LSTMController", "RandomController", "make_controller"]
