# SPDX-License-Identifier: Apache-2.0
"""Events of the search beside Ignite's own."""

from __future__ import annotations

from ignite.engine import EventEnum


class EpisodeEvents(EventEnum):
    """Events of the search beside Ignite's own.

    ``CHILDREN_SAMPLED``: the episode's children are in ``state.children``, none is trained.
    ``ROUND_STARTED``: the next children begin from the same weights, in as many processes as there are.
    ``CHILD_SELECTED``: it is the turn of ``state.architecture``, the child at ``state.position`` of the episode, which
    is scored next; train it now.
    ``ROUND_COMPLETED``: all children of the round are scored; join what they have learnt.
    ``POLICY_UPDATED``: the controller has learnt from the episode; ``state.metrics`` is fresh.
    """

    CHILDREN_SAMPLED = "children_sampled"
    ROUND_STARTED = "round_started"
    CHILD_SELECTED = "child_selected"
    ROUND_COMPLETED = "round_completed"
    POLICY_UPDATED = "policy_updated"
