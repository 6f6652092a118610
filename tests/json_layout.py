# SPDX-License-Identifier: Apache-2.0
"""The layout of the search's configurations: ``python -m tests.json_layout FILE ...`` gives it to files.

Every key of the file has a line of its own. A component that one line does not hold begins with its ``_target_`` beside
its key; its arguments follow, as many on a line as it holds. Components and steps within others have their own lines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

WIDTH = 120
_TARGET = "_target_"


def layout(value: Any, *, indent: int = 0, taken: int = 0, top: bool = True) -> str:
    """A value as text.

    Args:
        value: what JSON can say.
        indent: spaces ahead of the line on which it begins.
        taken: characters of that line beside the value, such as its key.
        top: it is the whole file.
    """
    whole = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value:
        return whole
    if not top and indent + taken + len(whole) <= WIDTH and _parts(value) < 2:
        return whole
    is_component = isinstance(value, dict) and _TARGET in value
    items = list(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
    lines: list[str] = []
    shared = False
    for number, (key, item) in enumerate(items):
        name = "" if key is None else f"{json.dumps(key)}: "
        last = number + 1 == len(items)
        text = name + layout(item, indent=indent + 4, taken=len(name) + 1, top=False) + ("" if last else ",")
        shares = not top and key != _TARGET and not _parts(item if isinstance(value, dict) else [item])
        closing = last and is_component
        if shared and shares and indent + 4 + len(lines[-1]) + 1 + len(text) + 2 * closing <= WIDTH:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
        shared = shares
    first, end = "{}" if isinstance(value, dict) else "[]"
    if is_component:
        return ("\n" + " " * (indent + 4)).join([first + lines[0], *lines[1:]]) + end
    return "\n".join([first, *(" " * (indent + 4) + line for line in lines), " " * indent + end])


def _parts(value: Any) -> int:
    """Number of the components and steps in a value; an argument that is an expression is none."""
    if isinstance(value, dict):
        return (_TARGET in value) + sum(map(_parts, value.values()))
    return sum(_parts(item) or _is_step(item) for item in value) if isinstance(value, list) else 0


def _is_step(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$import ")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
        Path(name).write_text(layout(content) + "\n", encoding="utf-8")
