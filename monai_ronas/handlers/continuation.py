# SPDX-License-Identifier: Apache-2.0
"""Whether a search may go on from what is in its folder."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.utils import differences

logger = logging.getLogger(__name__)
_TOLD = 5  # differences from another search
Limits = Mapping[str, Any]
"""The lengths of a search that may grow, by name, as numbers; None: no limit."""


def refuse_other_search(
    folder: Path, then: Mapping[str, Any], now: Mapping[str, Any], *, may_differ: Sequence[str] = ()
) -> None:
    """Refuse to go on with another search.

    Args:
        folder: of the search that is there.
        then: its identity, as JSON's types.
        now: that of the search that would go on.
        may_differ: parts of the identity that need not be the same.

    Raises:
        SettingError: with the first differences, settings before what follows from them.
    """
    changed = differences(then, {name: value for name, value in now.items() if name not in may_differ})
    if changed:
        changed.sort(key=lambda text: re.split(" was | is ", text)[0].count(" "))  # settings before what follows
        changed.sort(key=lambda text: bool(re.search(" (was|is) [0-9a-f]{32}", text)))  # digests, which tell least
        more = f", and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
        raise SettingError(
            f"{folder} holds a search of which {', '.join(changed[:_TOLD])}{more}: give the same settings, another "
            "output_dir, or resume=false to start over there."
        )


def has_finished(mark: Path, identity: Mapping[str, Any], limits: Limits) -> bool:
    """Whether this search has come to its end within the limits that it has now.

    Of a search that had a time and has one again, the time alone tells, as it has used it up. One that had none and is
    given a time may go on.

    Args:
        mark: file with the identity and the limits of the search that has ended.
        identity: of this search.
        limits: of this search.
    """
    try:
        content = json.loads(mark.read_text(encoding="utf-8"))
        then = content["limits"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    ruling = ["seconds"] if then.get("seconds") and limits.get("seconds") else list(limits)
    if limits.get("seconds") and then.get("seconds", 0) is None:
        return False
    more = any(then[k] is not None and (limits[k] is None or limits[k] > then[k]) for k in ruling if k in then)
    return bool(content["identity"] == identity) and not more


def steps_at_the_end(mark: Path) -> int | None:
    """Steps of the network of a search that has ended; None where it has not, or does not tell."""
    try:
        return int(json.loads(mark.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def has_other_limits(state: Mapping[str, Any], limits: Limits) -> bool:
    """Whether a stretch was begun under limits with which it would now be another.

    The warm-up before the first episode goes on under any, the final training unless there are to be more episodes than
    all that it was to have and has made. Where only then or only now there is a time, their number tells nothing.

    Args:
        state: of a checkpoint.
        limits: of this search.
    """
    then, interrupted = state["limits"], state["interrupted"]
    if "final training" in interrupted:
        same_kind = (then["seconds"] is None) == (limits["seconds"] is None)
        return bool(same_kind and limits["episodes"] > then["episodes"] == state["engine"]["epoch"])
    later = state["engine"]["epoch"] or "warm-up" not in interrupted
    return bool(interrupted and later and limits != then)


def tell_given_up(name: str, state: Mapping[str, Any], *, has_bundle: bool) -> None:
    """Say what training other limits cost.

    Args:
        name: of the checkpoint that is passed over.
        state: in it.
        has_bundle: the search had ended.
    """
    steps = state["training"]["iteration"]
    if "final training" not in state["interrupted"]:
        logger.warning(
            "%s is of a search with other limits: going on after its last episode, without the training that "
            "followed it (%d steps of the network that was trained last)",
            *(name, steps),
        )
        return
    bundle = ""
    if has_bundle:
        bundle = "; its bundle stays until the new one takes its place, and for good where you give another export_dir"
    logger.warning(
        "%s is of a search with fewer episodes: more follow the last one, and then a new race and a new final "
        "training, as they may propose another network; the one that was chosen, of %d steps, is given up%s",
        *(name, steps, bundle),
    )
