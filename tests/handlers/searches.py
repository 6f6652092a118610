# SPDX-License-Identifier: Apache-2.0
"""Searches on toy cases that write checkpoints."""

import signal

from ignite.engine import Events

from monai_ronas.engines import Exploitation, Race, Snapshots
from monai_ronas.engines.forecast import Prior
from monai_ronas.handlers import ChildTraining, SearchCheckpoint, WarmUp
from monai_ronas.space import neighbours
from monai_ronas.utils import ChildScore, SearchResult, TimeBudget
from tests.engines.scripted import Scorer
from tests.toys import toy_slices

IDENTITY = {"seed": 0, "space": "toy"}


def search(make_engine, directory, episodes, *, identity=IDENTITY, resume=True, seed=0):
    slices = toy_slices(seed=seed)
    checkpoint = SearchCheckpoint(directory, slices, TimeBudget(None), identity=identity, resume=resume)
    handlers = [ChildTraining(slices), checkpoint]
    return make_engine(slices, handlers, episodes, seed=seed), slices, checkpoint


def finish(checkpoint, engine, slices):
    score = ChildScore(0.5, (0.5,), 1.0, 1.0)
    checkpoint.keep_final(SearchResult(slices.network.space.largest, score, steps=7))
    checkpoint.finish(engine)


RACE = {"first_turn": 0.1, "least_steps": 1, "prior": Prior(lead=0.0, lead_sd=0.3, noise=0.02, own_sd=0.05)}


def long_search(
    make_engine,
    directory,
    *,
    every_seconds=0.0,
    seed=0,
    stop_at=None,
    episodes=1,
    gain=0.0,
    number=None,
    final_steps=30,
):
    """Warm-up, an episode and the end of a search, each of several slices; interrupted before a step of all made."""
    slices = toy_slices(seed=seed)
    slices.draw_from(2)  # the third case joins the final training
    space, budget = slices.network.space, TimeBudget(None)
    checkpoint = SearchCheckpoint(directory, slices, budget, identity=IDENTITY, every_seconds=every_seconds)
    checkpoint.copy_seconds, checkpoint.final_epochs = 0.0, final_steps
    warm_up = WarmUp(slices, space, budget, steps=10, seed=seed, checkpoint=checkpoint)
    engine = make_engine(slices, [warm_up, ChildTraining(slices), checkpoint], episodes, seed=seed)
    scorer = Scorer(gain=gain, favourite=next(iter(neighbours(space, space.base))))
    scorer.slices = slices
    made = []

    def interrupt(trainer):
        if len(made) + 1 == stop_at:
            if number is None:
                raise KeyboardInterrupt
            signal.raise_signal(number)
        made.append((space.patch(slices.network.architecture), trainer.state.iteration))

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, interrupt)

    race = Race(slices, scorer, space, budget, steps=final_steps, **RACE)

    def run():
        found = checkpoint.load(engine)
        engine.run()
        engine.scorer = scorer
        engine.state.best_child = None  # the base network and one with a smaller patch
        more = {"checkpoint": checkpoint, "snapshots": Snapshots(slices, shares=(0.3, 0.6, 0.9))}
        return found, Exploitation(engine, race, final_cases=3, **more).run()

    return run, slices, checkpoint, made


BEFORE = 14  # 10 steps of warm-up, 4 of children
