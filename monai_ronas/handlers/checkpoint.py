# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the whole search."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from ignite.engine import Engine, Events

from monai_ronas.engines import SliceTrainer
from monai_ronas.engines.averaged_weights import on_cpu
from monai_ronas.errors import SettingError
from monai_ronas.handlers.checkpoint_files import FINAL, FINISHED, OURS, checkpoint_files, place
from monai_ronas.handlers.continuation import (
    has_finished,
    has_other_limits,
    refuse_other_search,
    steps_at_the_end,
    tell_given_up,
)
from monai_ronas.space import Architecture
from monai_ronas.utils import (
    RankError,
    SearchResult,
    Stopped,
    TimeBudget,
    accept_reports,
    raise_if_stopped,
    unfinished,
    unstopped,
    write_atomically,
)
from monai_ronas.utils.random_states import random_states, restore_random_states
from monai_ronas.utils.ranks import from_main, is_main

T = TypeVar("T")
logger = logging.getLogger(__name__)
_FORMAT = 3  # of what is saved; to be raised where an older file could not be read


class SearchCheckpoint:
    """Write the state of a search after each episode, keep the two newest, and continue from the newest that is whole.

    Warm-up, race and final training, the long stretches without episodes, have themselves saved from time to time with
    :meth:`save_within`, and find in :attr:`interrupted` where they were. In between, a copy in memory of no more than
    some seconds ago is at hand, which :meth:`guard` writes where a signal stops the search. A turn of the race and an
    episode are not saved within: what is written is the state before them.

    Of many processes rank 0 writes, and all go on from what it has found. Their number may be another then.

    What a command has found of its data, and its plan, take the place of the search's once it goes on with it or starts
    over (:func:`~monai_ronas.utils.accept_reports`).

    Args:
        directory: where the checkpoints are, ``checkpoints`` in the folder of the search.
        slices: the shared weights and their optimiser.
        budget: the time spent so far is part of the state.
        identity: what must be the same for a search to be continued (space, data, seed), as JSON's types.
        final_epochs: length of the final training where counts rule. A search that has ended trains on where it or the
            budget is larger. Where the number of episodes is larger, race and final training follow them anew, which
            a warning says.
        resume: continue from a checkpoint where there is one.
        every_seconds: time between two checkpoints within a stretch without episodes.
        copy_seconds: time between two copies in memory there.

    Attributes:
        interrupted: by the name of the stretch, the state it gave to :meth:`save_within`; filled by :meth:`load`.
    """

    def __init__(
        self,
        directory: str | Path,
        slices: SliceTrainer,
        budget: TimeBudget,
        *,
        identity: dict[str, Any],
        final_epochs: float = 0,
        resume: bool = True,
        every_seconds: float = 120.0,
        copy_seconds: float = 10.0,
    ) -> None:
        self.directory = Path(directory)
        self.slices = slices
        self.budget = budget
        self.identity = json.loads(json.dumps({"format of checkpoints": _FORMAT, **identity}))
        self.final_epochs = final_epochs
        self.resume = resume
        self.every_seconds = every_seconds
        self.copy_seconds = copy_seconds
        self.interrupted: dict[str, Any] = {}
        self._saved = self._copied = time.monotonic()
        self._copy: tuple[str, dict[str, Any]] | None = None

    @property
    def episodes_are_over(self) -> bool:
        """Whether the search was interrupted after its last episode, in the race or in the final training."""
        return not {"race", "final training"}.isdisjoint(self.interrupted)

    def refuse_nothing_new(self) -> None:
        """Refuse to go on where a finished search has not trained since, before its bundle is replaced by its like.

        Raises:
            SettingError: where the steps are those of the search's end.
        """
        steps = from_main(steps_at_the_end(self.directory / FINISHED) if is_main() else None)
        if steps == self.slices.steps:
            more = "time" if self.budget.seconds else "final_epochs"
            raise SettingError(
                f"the search in {self.directory.parent} has finished, and what it is given now leaves nothing to train "
                f"on: give more {more}. Its bundle stays."
            )

    def attach(self, engine: Engine) -> None:
        """Save after each episode of ``engine``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def files(self) -> list[Path]:
        """Checkpoints, newest first."""
        return checkpoint_files(self.directory)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint of the episode just completed."""
        raise_if_stopped()
        if is_main():
            self._write(f"episode_{engine.state.epoch:05d}.pt", self._state(engine, {}))

    def guard(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call ``function``, a part of the search; where a signal stops it, write what is not on the disk yet.

        So it is where another process of the search has ended.

        Raises:
            Stopped: when a signal has come; ``saved`` tells whether there is a checkpoint.
            RankError: when another process has ended.
        """
        try:
            try:
                return function(*args, **kwargs)
            except Exception:  # of others, which may have made it of ours
                raise_if_stopped()
                raise
        except (Stopped, RankError) as stop:
            if self._copy is not None:
                self._write(*self._copy)
            if isinstance(stop, Stopped):
                stop.saved = bool(self.files())
            raise

    def save_within(self, engine: Engine, stretch: str, state: dict[str, Any], *, at_once: bool = False) -> None:
        """Write a checkpoint within a stretch of training between or after the episodes, when it is time to.

        Args:
            engine: the search.
            stretch: name of the stretch.
            state: what it needs to go on beside weights, optimiser and random states, as plain types; what is in it
                must not change any more.
            at_once: it is time.
        """
        raise_if_stopped()
        if not is_main():
            return
        now = time.monotonic()
        due = at_once or now - self._saved >= self.every_seconds
        if not due and now - max(self._saved, self._copied) < self.copy_seconds:
            return
        number = max((place(file)[1] for file in self.files()), default=0) + 1  # steps start anew in a race
        name = f"episode_{engine.state.epoch:05d}_part_{number:08d}.pt"
        if due:
            self._write(name, self._state(engine, {stretch: state}))
        else:
            self._copy = name, {**on_cpu(self._state(engine, {})), "interrupted": {stretch: state}}
            self._copied = time.monotonic()

    def _state(self, engine: Engine, interrupted: dict[str, Any]) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "engine": engine.state_dict(),
            "training": self.slices.state_dict(),
            "elapsed": self.budget.elapsed(),
            **random_states(),
            "interrupted": interrupted,
            "limits": self._limits(engine),
        }

    def _write(self, name: str, state: dict[str, Any]) -> None:
        begin = time.monotonic()
        state["elapsed"] = self.budget.elapsed()
        with unstopped():
            write_atomically(self.directory / name, lambda file: torch.save(state, file))
            self._saved, self._copy = time.monotonic(), None
            logger.info("checkpoint %s in %.2f s", name, self._saved - begin)
            files = self.files()
            episodes = [file for file in files if place(file)[1] < 0]  # for a search that is given more of them
            for old in set(files) - {*files[:2], *episodes[:2]}:
                old.unlink(missing_ok=True)

    def keep_final(self, result: SearchResult) -> None:
        """Keep the last weights and the choice, for :meth:`load_final`."""
        final = {
            "identity": self.identity,
            "network": self.slices.network.state_dict(),
            "architecture": result.architecture.to_json(),
            "race": result.candidates,
            "steps": result.steps,
            "seconds": self.budget.elapsed(),
        }
        write_atomically(self.directory / FINAL, lambda file: torch.save(final, file))

    def finish(self, engine: Engine) -> None:
        """Note that the search has come to its end, bundle included."""
        ended = {"identity": self.identity, "limits": self._limits(engine), "steps": self.slices.steps}
        text = json.dumps(ended)
        write_atomically(self.directory / FINISHED, lambda file: file.write(text.encode()))
        self.budget.end_record()
        for path in self.files()[1:]:  # the newest has the end of the final training
            if place(path)[1] >= 0:
                path.unlink()

    def load_final(self, *, may_differ: Sequence[str] = ("memory_budget_gb",)) -> tuple[Architecture, int, float]:
        """Load the weights that a finished search has left.

        Args:
            may_differ: parts of the identity that need not be those of the search.

        Returns:
            the architecture that the search chose, its training steps, and the seconds that the search took.

        Raises:
            SettingError: when the search has not finished or was another one.
        """
        path = self.directory / FINAL
        if not path.exists():
            raise SettingError(f"{self.directory.parent} holds no finished search: run search there first.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        refuse_other_search(self.directory.parent, state["identity"], self.identity, may_differ=may_differ)
        self._accept()
        self.slices.network.load_state_dict(state["network"])
        return Architecture.from_json(state["architecture"]), int(state["steps"]), float(state["seconds"])

    def _accept(self) -> None:
        """The data and the plan are those of this search."""
        if is_main():
            accept_reports(self.directory.parent)

    def _limits(self, engine: Engine) -> dict[str, Any]:
        seconds = self.budget.seconds
        return {"episodes": engine.state.max_epochs, "seconds": seconds, "final_epochs": self.final_epochs}

    def load(self, engine: Engine) -> bool:
        """Continue from the newest checkpoint that can be read.

        Returns:
            whether there was one.

        Raises:
            SettingError: when the checkpoint is of another search, or the same search has finished.
        """
        found = from_main(self._load_first(engine) if is_main() else None)
        self._accept()
        if found is not None and not is_main():
            if not found.exists():
                raise SettingError(
                    f"'{found}' is not seen by all processes: give an output_dir that all machines share."
                )
            self._restore(engine, torch.load(found, map_location="cpu", weights_only=True))
        return found is not None

    def _load_first(self, engine: Engine) -> Path | None:
        """What :meth:`load` does, for rank 0; the file that has been loaded."""
        for path in unfinished(self.directory, OURS):
            path.unlink()
        if not self.resume:
            for path in (*self.files(), self.directory / FINISHED, self.directory / FINAL):
                path.unlink(missing_ok=True)
            return None
        if has_finished(self.directory / FINISHED, self.identity, self._limits(engine)):
            more = "time" if self.budget.seconds else "time, episodes or final_epochs"
            raise SettingError(
                f"the search in {self.directory.parent} has finished: its bundle is there. Give more {more}, "
                "another output_dir, or resume=false to start over."
            )
        passed_over: list[Path] = []
        found = self._load_newest(engine, passed_over)
        if passed_over and found is None:
            logger.warning("there is no checkpoint after an episode: the search starts over under the new limits")
        for newer in passed_over:  # or they would be taken for newer than what comes now
            newer.unlink()
        if passed_over:
            (self.directory / FINISHED).unlink(missing_ok=True)  # what comes now has an end of its own
        return found

    def _load_newest(self, engine: Engine, passed_over: list[Path]) -> Path | None:
        for path in self.files():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # any damage to the file
                logger.warning("checkpoint %s cannot be read (%s): trying the one before.", path.name, error)
                continue
            refuse_other_search(self.directory.parent, state["identity"], self.identity)
            if has_other_limits(state, self._limits(engine)):
                tell_given_up(path.name, state, has_bundle=(self.directory / FINISHED).exists())
                passed_over.append(path)
                continue
            seconds = state["limits"]["seconds"]
            if seconds and not self.budget.seconds and "final training" in state["interrupted"]:
                raise SettingError(
                    f"the final training of the search in {self.directory.parent} ends with its time: give "
                    f"time_budget_minutes, which was {seconds / 60:g}, or another output_dir."
                )
            self._restore(engine, state)
            logger.info("resuming after episode %d from %s", engine.state.epoch, path.name)
            return path
        return None

    def _restore(self, engine: Engine, state: dict[str, Any]) -> None:
        engine.load_state_dict(state["engine"])
        self.slices.load_state_dict(state["training"])
        self.budget.spent_before = max(self.budget.spent_before, state["elapsed"])
        restore_random_states(state)
        self.interrupted = state["interrupted"]
