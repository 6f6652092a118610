# SPDX-License-Identifier: Apache-2.0
"""Which cases belong together, such as those of one patient, told by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from monai_ronas.data.errors import DatasetError

_PREFIX = re.compile(r"(.*\d.*)([_\-. ])[^_\-. ]*", re.DOTALL)
_EXAMPLE = "such as '(patient\\d+)_'"


def group_cases(names: Sequence[str], group: str | None) -> dict[str, str]:
    r"""Tell the group of each case.

    Args:
        names: case names.
        group: a regular expression, searched in each name; its first group names the group. ``None``: every case is a
            group of its own.

    Returns:
        the group of each case, in the order of ``names``.

    Raises:
        DatasetError: when ``group`` is not such an expression or does not match a name.

    Example:
        >>> group_cases(["p1_a", "p1_b", "p2_a"], r"(p\d+)_")
        {'p1_a': 'p1', 'p1_b': 'p1', 'p2_a': 'p2'}
    """
    if group is None:
        return {name: name for name in names}
    try:
        expression = re.compile(group)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise DatasetError(f"group must be a regular expression {_EXAMPLE}, received {group!r} ({words}).") from error
    if not expression.groups:
        raise DatasetError(f"group {group!r} has no part in parentheses to name the patient: write one {_EXAMPLE}.")
    found = {name: match[1] if (match := expression.search(name)) else None for name in names}
    without = [name for name, value in found.items() if not value]
    if without:
        raise DatasetError(
            f"group {group!r} finds no patient in {len(without)} of {len(names)} case name(s), such as"
            f" '{without[0]}': give an expression that matches every name."
        )
    return {name: str(value) for name, value in found.items()}


def group_of(name: str, group: str) -> str:
    r"""The group of a case, as :func:`group_cases` tells it; its own name where the expression does not match it.

    Args:
        name: the case's name.
        group: the expression.

    Example:
        >>> group_of("p1_a", r"(p\d+)_"), group_of("other", r"(p\d+)_")
        ('p1', 'other')
    """
    match = re.search(group, name)
    return (match and match[1]) or name


def group_hint(names: Sequence[str]) -> str | None:
    """Say so where cases look as if several were of one patient.

    Names look so where all have a number before their last separator (``_``, ``-``, ``.`` or a space), not all share
    what is before it, but some do.

    Args:
        names: case names.

    Returns:
        a sentence with an expression for ``group``, or ``None``.
    """
    matches = [match for name in names if (match := _PREFIX.fullmatch(name))]
    prefixes = Counter(match[1] for match in matches)
    if len(matches) < len(names) or len(prefixes) < 2 or max(prefixes.values()) < 2:
        return None
    marks = {match[2] for match in matches}
    mark = re.escape(marks.pop()).replace("\\-", "-") if len(marks) == 1 else "[-_. ]"
    shapes = {re.sub(r"\d+", r"\\d+", re.escape(prefix).replace("\\-", "-")) for prefix in prefixes}
    shape = shapes.pop() if len(shapes) == 1 else ".+"
    return (
        f"the names of {len(names)} cases begin in {len(prefixes)} ways, such as '{prefixes.most_common(1)[0][0]}':"
        f" if these are patients, --group '({shape}){mark}' keeps the cases of each on one side of the split."
    )
