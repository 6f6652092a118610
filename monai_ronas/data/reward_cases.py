# SPDX-License-Identifier: Apache-2.0
"""The choice of the reward cases, so that they and the training have the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

LEAST = 8
"""Reward cases at least, unless these were more than a third of the cases."""

_RARE = 10  # a class that one in so many cases has is to be among the reward cases

Unit = tuple[str, ...]
"""Cases that stay together."""


def reward_count(number: int, fraction: float) -> int:
    """How many cases to set aside for the reward.

    Args:
        number: cases outside the test fold, at least 2.
        fraction: part of them.

    Returns:
        ``fraction`` of ``number``, rounded, but at least :data:`LEAST` or, where that is less, a third of ``number``;
        at least 1, and at most ``number - 1``.
    """
    return min(max(round(fraction * number), min(LEAST, number // 3), 1), number - 1)


def choose_reward_cases(
    units: Sequence[Unit], *, count: int, classes: Mapping[str, Collection[int]] | None = None
) -> tuple[str, ...]:
    """Choose cases for the reward; the others are for training.

    The first units are taken until there are ``count`` cases; of units of several cases those are passed over with
    which there would be more than ``count`` and more than a third of all. Where the classes are known, only units with
    foreground count, if there are two: on the others there is no Dice, so they are for training. Then as few units as
    possible are swapped, or added where no swap helps: each class that a tenth of the cases have is in the reward
    cases, unless it is in one unit alone, and every class stays in training where possible.

    Args:
        units: cases that stay together, at least two units, in the order of their choice.
        count: cases to choose.
        classes: foreground classes of each case.

    Returns:
        the chosen cases, sorted.
    """
    scorable = [unit for unit in units if classes is None or any(classes.get(name) for name in unit)]
    if len(scorable) < 2:
        scorable = list(units)
    limit = max(count, sum(map(len, scorable)) // 3)
    reward: list[Unit] = []
    train: list[Unit] = []
    size = 0
    for unit in units:
        fits = unit in scorable and size < count and size + len(unit) <= limit
        (reward if fits else train).append(unit)
        size += len(unit) if fits else 0
    if not reward:
        smallest = min(scorable, key=len)
        train.remove(smallest)
        reward.append(smallest)
    if classes is not None:
        _cover(reward, train, classes)
    return tuple(sorted(name for unit in reward for name in unit))


def _cover(reward: list[Unit], train: list[Unit], classes: Mapping[str, Collection[int]]) -> None:
    """Swap units of the two lists, or move some to ``reward``, until both have their classes."""
    has = {unit: {c for name in unit for c in classes.get(name, ())} for unit in (*reward, *train)}
    in_units = Counter(c for found in has.values() for c in found)
    in_cases = Counter(c for unit in has for name in unit for c in set(classes.get(name, ())))
    number = sum(map(len, has))
    wanted = {c for c in in_units if in_units[c] > 1 and _RARE * in_cases[c] >= number}
    while _improve(reward, train, has, wanted=wanted, known=set(in_units)):
        pass


def _improve(
    reward: list[Unit], train: list[Unit], has: Mapping[Unit, set[int]], *, wanted: set[int], known: set[int]
) -> bool:
    """Make the swap after which the fewest classes are lacking, or else add a unit to ``reward``; tell if one did."""
    scored, trained = (Counter(c for unit in side for c in has[unit]) for side in (reward, train))
    unscored = {c for c in wanted if not scored[c]}
    untrained = {c for c in known if not trained[c]}

    def lacking(gone: set[int], come: set[int]) -> tuple[int, int]:
        """Classes that the reward cases and the training would lack with other units in ``reward``."""
        return (
            sum(scored[c] - (c in gone) + (c in come) <= 0 for c in wanted),
            sum(trained[c] + (c in gone) - (c in come) <= 0 for c in known),
        )

    swaps = (
        (lacking(has[out], has[new]), not has[new], abs(len(out) - len(new)), -i, j)
        for i, out in enumerate(reward)
        for j, new in enumerate(train)
        if has[new] & unscored or has[out] & untrained
    )
    best = min(swaps, default=None)
    if best is not None and best[0] < (len(unscored), len(untrained)):
        i, j = -best[3], best[4]
        reward[i], train[j] = train[j], reward[i]
        return True
    adds = ((lacking(set(), has[new]), len(new), j) for j, new in enumerate(train) if has[new] & unscored)
    added = min(adds, default=None)
    if added is not None:
        reward.append(train.pop(added[2]))
    return added is not None
