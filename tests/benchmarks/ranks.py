# SPDX-License-Identifier: Apache-2.0
"""How the parts of a search scale with the number of processes: a simulation, in which nothing is trained.

    python -m tests.benchmarks.ranks [--history OUT/history.jsonl] [--ranks 1 2 4 8 16 32 64] [--step 0.5] [...]

Times are given, in seconds. How unequal they are is recorded: scores of candidates take what those of a search took, by
its ``history.jsonl``, without one what 40 candidates of the README's first command took. Slices of training, which are
made to cost the same, differ by ``--spread``. Printed for each number of processes:

- the race: ``--contenders`` have a turn each, one in a process, and are scored with the cases dealt among all;
- the race as it would be were each step shared by all processes, as those of the final training are;
- episodes of ``--children``, one candidate in a process, the moves of the weights joined after each round;
- episodes as they would be were each step of each candidate shared, and the cases of its score dealt;
- the final training, whose steps all share.

The efficiency is the work done in a time, by that of a single process and the number of processes: turns, candidates or
crops. A process that waits for the slowest one, or has nothing left to do, loses it. "Ends at" is the number of
processes from which the next larger one saves less than a tenth of the time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

RECORDED = (
    *(1.32, 0.38, 0.72, 0.46, 1.03, 0.75, 1.24, 0.63, 2.54, 2.7),
    *(0.49, 1.35, 1.13, 2.77, 0.76, 0.52, 0.8, 0.31, 0.33, 0.96),
    *(0.4, 1.2, 1.49, 0.72, 1.09, 0.61, 1.02, 0.87, 0.57, 0.44),
    *(0.42, 0.93, 0.55, 0.58, 1.04, 2.21, 1.12, 1.01, 0.7, 1.83),
)
_SAVING, _SEEDS = 0.1, 200


@dataclass(frozen=True)
class Times:
    """What a search's parts take, in seconds where nothing else is said.

    Args:
        step: a step of training.
        slice_steps: steps of a child's slice, and between two looks at the clock.
        spread: of slices, as the standard deviation of the logarithm.
        turn: training of a contender in its turn.
        case: score of a case, on average.
        costs: of children's scores, by their mean.
        children: of an episode.
        cases: on which a child is scored.
        contenders: of the race.
        race_cases: on which a contender is scored.
        weights_gb: of the shared weights, in GB.
        gb_per_second: of the slowest connection.
        latency: of a message.
    """

    step: float = 0.5
    slice_steps: int = 2
    spread: float = 0.15
    turn: float = 60.0
    case: float = 1.0
    costs: tuple[float, ...] = RECORDED
    children: int = 10
    cases: int = 4
    contenders: int = 9
    race_cases: int = 8
    weights_gb: float = 0.02
    gb_per_second: float = 1.0
    latency: float = 1e-4


def rounds(costs: Sequence[float], ranks: int) -> float:
    """Time of jobs that are dealt in their order, where all wait for the slowest of each round.

    Example:
        >>> rounds([3.0, 1.0, 2.0], 1), rounds([3.0, 1.0, 2.0], 2), rounds([3.0, 1.0, 2.0], 4)
        (6.0, 5.0, 3.0)
    """
    return sum(max(costs[first : first + ranks]) for first in range(0, len(costs), ranks))


def dealt(costs: Sequence[float], ranks: int) -> float:
    """Time of jobs of which each process takes every ``n``-th, where all wait at the end.

    Example:
        >>> dealt([3.0, 1.0, 2.0], 2)
        5.0
    """
    return max(sum(costs[rank::ranks]) for rank in range(min(ranks, len(costs))))


def exchange(gigabytes: float, ranks: int, times: Times) -> float:
    """Time in which all have the sum of what each has, in a ring.

    Example:
        >>> round(exchange(1.0, 2, Times(gb_per_second=1.0, latency=0.0)), 3)
        1.0
    """
    hops = 2 * (ranks - 1)
    return hops / ranks * gigabytes / times.gb_per_second + hops * times.latency


def handed_on(gigabytes: float, ranks: int, times: Times) -> float:
    """Time in which all have what one has."""
    steps = math.ceil(math.log2(ranks))
    return steps * times.latency + (gigabytes / times.gb_per_second if ranks > 1 else 0.0)


def race(times: Times, ranks: int, draw: random.Random) -> float:
    """Time of a turn of each contender, one in a process: training, weights, moments and averages to all, scores."""
    late = [times.slice_steps * times.step * draw.random() for _ in range(times.contenders)]  # the last slice's end
    training = rounds([times.turn + more for more in late], ranks)
    given = times.contenders * handed_on(3 * times.weights_gb, ranks, times)
    return training + given + _race_scores(times, ranks, draw)


def race_of_shared_steps(times: Times, ranks: int, draw: random.Random) -> float:
    """Time of a turn of each contender where all processes share each step."""
    late = sum(times.slice_steps * times.step * draw.random() for _ in range(times.contenders))
    return times.contenders * times.turn + late + _race_scores(times, ranks, draw)


def _race_scores(times: Times, ranks: int, draw: random.Random) -> float:
    found = 0.0
    for cost in draw.choices(times.costs, k=times.contenders):
        cases = [times.case * cost * draw.lognormvariate(0, times.spread) for _ in range(times.race_cases)]
        found += dealt(cases, ranks)
    return found


def _children(times: Times, draw: random.Random) -> list[tuple[float, list[float]]]:
    """A slice's time and those of the cases of each child of an episode."""
    found = []
    for cost in draw.choices(times.costs, k=times.children):
        training = times.slice_steps * times.step * draw.lognormvariate(0, times.spread)
        cases = [times.case * cost * draw.lognormvariate(0, times.spread) for _ in range(times.cases)]
        found.append((training, cases))
    return found


def episode(times: Times, ranks: int, draw: random.Random) -> float:
    """Time of an episode, one candidate in a process, with the moves of weights and moments joined after each round."""
    children = [training + sum(cases) for training, cases in _children(times, draw)]
    joined = math.ceil(times.children / ranks) * exchange(4 * times.weights_gb, ranks, times) if ranks > 1 else 0.0
    return rounds(children, ranks) + joined


def episode_of_shared_steps(times: Times, ranks: int, draw: random.Random) -> float:
    """Time of an episode where all processes share each step and the cases of each score."""
    steps = times.children * times.slice_steps * exchange(times.weights_gb, ranks, times)
    return steps + sum(training + dealt(cases, ranks) for training, cases in _children(times, draw))


def final_step(times: Times, ranks: int, draw: random.Random) -> float:
    """Time of a crop's share of a step: all draw crops of their own, and wait for the mean of the gradients."""
    return (times.step + exchange(times.weights_gb, ranks, times)) / ranks


PARTS = {
    "race, a contender a process": race,
    "race, steps shared": race_of_shared_steps,
    "episodes, a candidate a process": episode,
    "episodes, steps shared": episode_of_shared_steps,
    "final training, steps shared": final_step,
}


def seconds(times: Times, ranks: Sequence[int]) -> dict[str, list[float]]:
    """Mean time of each part by number of processes; for the final training that of a step's work."""
    return {
        name: [fmean(part(times, n, random.Random(seed)) for seed in range(_SEEDS)) for n in ranks]
        for name, part in PARTS.items()
    }


def efficiencies(spent: Sequence[float], ranks: Sequence[int]) -> list[float]:
    """Of each number of processes, by the first.

    Example:
        >>> efficiencies([8.0, 4.0, 4.0], [1, 2, 4])
        [1.0, 1.0, 0.5]
    """
    return [spent[0] * ranks[0] / (time * n) for time, n in zip(spent, ranks, strict=True)]


def ends_at(spent: Sequence[float], ranks: Sequence[int]) -> int | None:
    """The number of processes from which the next one saves less than a tenth of the time; None where there is none.

    Example:
        >>> ends_at([8.0, 4.0, 3.9], [1, 2, 4]), ends_at([8.0, 4.0], [1, 2])
        (2, None)
    """
    for n, time, after in zip(ranks, spent, spent[1:], strict=False):
        if after > (1 - _SAVING) * time:
            return n
    return None


def recorded_costs(path: Path) -> tuple[float, ...]:
    """Times of the scores in a ``history.jsonl``, by their mean.

    Raises:
        ValueError: when it has none.
    """
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line["seconds"] for line in lines if line["status"] == "ok"]
    if not found:
        raise ValueError(f"{path} has no child that was scored: give that of a search with episodes.")
    return tuple(time / fmean(found) for time in found)


def table(spent: dict[str, list[float]], ranks: Sequence[int]) -> str:
    """Efficiencies in Markdown."""
    lines = [f"| efficiency | {' | '.join(map(str, ranks))} | ends at |", f"|---|{'---|' * (len(ranks) + 1)}"]
    for name, times in spent.items():
        end = ends_at(times, ranks)
        cells = [f"{value:.2f}" for value in efficiencies(times, ranks)]
        lines.append(f"| {name} | {' | '.join(cells)} | {end or 'beyond'} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    settings = {name: value for name, value in vars(Times()).items() if name != "costs"}
    for name, value in settings.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()
    costs = RECORDED if given.history is None else recorded_costs(given.history)
    times = Times(costs=costs, **{name: getattr(given, name) for name in settings})
    print(table(seconds(times, given.ranks), given.ranks))


if __name__ == "__main__":
    main()
