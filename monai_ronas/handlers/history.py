# SPDX-License-Identifier: Apache-2.0
"""The record of every scored child."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import Architecture
from monai_ronas.utils import write_atomically
from monai_ronas.utils.ranks import is_main


class HistoryWriter:
    """Append one line of JSON to ``history.jsonl`` for each scored child.

    Keys: ``episode`` and ``child`` (from 1), ``architecture``, ``id``, ``reward`` (null without one), ``cases``,
    ``seconds`` of the scoring, ``peak_memory_mb`` (on a CPU that of the whole process), ``status``; with ``resources``
    also ``macs``, ``parameters`` and ``memory_mb`` of inference on the data's shape, as estimated. One architecture of
    an episode occurs twice. Of many processes rank 0 writes.

    Args:
        path: the file; its folder is made where it is missing.
        resources: costs of the architectures.
    """

    def __init__(self, path: str | Path, resources: ResourceEstimator | None = None) -> None:
        self.path = Path(path)
        self.resources = resources

    def attach(self, engine: Engine) -> None:
        """Write after each iteration; on start, cut the file back to what the engine has done."""
        engine.add_event_handler(Events.STARTED, self.cut_back)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def cut_back(self, engine: Engine) -> None:
        """Keep the lines of completed episodes only: a resumed search writes the others again."""
        if not is_main():
            return
        kept = [line for line in read_history(self.path) if line["episode"] <= engine.state.epoch]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(self.path, lambda file: file.write(text.encode()))

    def __call__(self, engine: ControllerTrainer) -> None:
        """Append the line of the child just scored."""
        if not is_main():
            return
        state: Any = engine.state
        child = len(state.rewards)
        line = {
            "episode": state.epoch,
            "child": child,
            "architecture": state.architecture.to_dict(),
            "id": state.architecture.id,
            "reward": state.score.reward if math.isfinite(state.score.reward) else None,
            "cases": engine.scorer.cases,
            "seconds": round(state.score.seconds, 4),
            "peak_memory_mb": round(state.score.peak_memory_mb, 1),
            "status": state.score.status,
            **self._costs(state.architecture),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a power cut takes no more than the last line

    def _costs(self, architecture: Architecture) -> dict[str, Any]:
        if self.resources is None:
            return {}
        costs = {name: self.resources.cost(name)(architecture) for name in ("macs", "parameters", "memory")}
        return {"memory_mb": round(costs.pop("memory") / 2**20, 1), **costs}


def read_history(path: str | Path) -> list[dict[str, Any]]:
    r"""All complete lines of a ``history.jsonl``; none without the file, and not a last line cut short by a crash.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history = Path(folder, "history.jsonl")
        ...     _ = history.write_text('{"episode": 1, "reward": 0.5}\n{"episode": 1, "rew')
        ...     read_history(history)
        [{'episode': 1, 'reward': 0.5}]
    """
    if not Path(path).exists():
        return []
    lines = []
    for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
