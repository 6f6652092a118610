# SPDX-License-Identifier: Apache-2.0
"""The weights of a bundle that is trained on."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_ronas.bundle.torchscript import read_torchscript, write_torchscript
from monai_ronas.utils import write_atomically
from monai_ronas.utils.ranks import is_main

logger = logging.getLogger(__name__)


class BestWeights:
    """Keep the weights with the best key metric in a file, which is the old one or the new one at any time.

    MONAI's ``CheckpointSaver`` removes the file before it writes the next, and writes the weights that the training
    began with as well. Here the file stays as it is, to the last byte, until there are better weights.

    Args:
        network: whose weights are kept, also one that is wrapped for several processes.
        path: the file, such as ``models/model.pt``.

    Example:
        >>> import tempfile
        >>> network, evaluator = nn.Conv3d(1, 2, 1), Engine(lambda engine, batch: None)
        >>> evaluator.state.key_metric_name, evaluator.state.metrics = "val_mean_dice", {"val_mean_dice": 0.9}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     BestWeights(network, f"{folder}/model.pt").attach(evaluator)
        ...     _ = evaluator.run([0])
        ...     sorted(torch.load(f"{folder}/model.pt"))
        ['bias', 'weight']
    """

    def __init__(self, network: nn.Module, path: str | os.PathLike[str]) -> None:
        self.network = network
        self.path = Path(path)
        self.best = -math.inf

    def attach(self, engine: Engine) -> None:
        """Compare after each epoch of ``engine``, an evaluator with a key metric."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights where their key metric is the best so far. One that is not a number is not."""
        metric = float(engine.state.metrics[engine.state.key_metric_name])  # type: ignore[attr-defined]
        if not metric > self.best:
            return
        self.best = metric
        weights = _weights(getattr(self.network, "module", self.network))
        if not self.path.is_file() or not _equal(_read(self.path), weights):
            write_atomically(self.path, lambda file: torch.save(weights, file))
            logger.info("'%s': weights of key metric %.4f", self.path.name, metric)


def renew_torchscript(bundle_root: str | os.PathLike[str], network: nn.Module) -> None:
    """Let ``models/model.ts`` follow ``models/model.pt`` where a training has changed the latter.

    Args:
        bundle_root: the bundle's folder. Without a ``model.ts`` there nothing is done.
        network: the bundle's network, of any weights.
    """
    root = Path(bundle_root)
    script = root / "models" / "model.ts"
    if not is_main() or not script.is_file():
        return
    weights = _read(root / "models" / "model.pt")
    if _equal(read_torchscript(script), weights):
        return
    trained = copy.deepcopy(network).cpu().eval()
    trained.load_state_dict(weights)
    configs = {
        name: json.loads((root / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("metadata", "inference")
    }
    write_torchscript(script, trained, **configs)
    logger.info("'%s' has the new weights too", script.name)


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}


def _read(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
