# SPDX-License-Identifier: Apache-2.0
"""Imports go down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "monai_ronas"
LAYER = {
    **dict.fromkeys(("space", "utils"), 0),
    **dict.fromkeys(("networks", "controllers", "losses", "metrics", "optimizers", "resources", "data"), 1),
    **dict.fromkeys(("engines", "bundle", "visualize"), 2),
    "handlers": 3,
}
SIDEWAYS = {
    ("utils", "space"),
    *(("resources", room) for room in ("networks", "losses", "optimizers")),  # it times a training step
    ("bundle", "visualize"),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [str(node.module)]
        yield from names


def rooms():
    return sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists())


def test_every_room_has_its_layer():
    assert set(rooms()) == set(LAYER)


@pytest.mark.parametrize("room", rooms())
def test_imports_go_down_only(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "monai_ronas" or len(parts) == 1 or parts[1] in (room, "errors"):  # those import nothing
                continue
            assert LAYER[parts[1]] < LAYER[room] or (room, parts[1]) in SIDEWAYS, f"{path} imports {name}"


def test_the_space_is_pure_python():
    used = {name.split(".")[0] for path in (PACKAGE / "space").glob("*.py") for name in imported(path)}
    assert not used & {"torch", "monai", "numpy", "ignite"}
