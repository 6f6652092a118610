# SPDX-License-Identifier: Apache-2.0
import logging
from types import SimpleNamespace

import pytest

from monai_ronas.handlers import CollapseWarning
from tests.toys import toy_space


def engine(*, epoch=2, children=None, entropy=0.001):
    space = toy_space()
    children = [space.base] * 3 if children is None else children
    state = SimpleNamespace(epoch=epoch, max_epochs=10, children=children, metrics={"entropy": entropy})
    return SimpleNamespace(state=state)


def test_a_collapsed_controller_is_told_once(caplog):
    warning = CollapseWarning()
    with caplog.at_level(logging.WARNING):
        warning(engine())
        warning(engine(epoch=3))
    assert caplog.text.count("has collapsed in episode 2 of 10") == 1
    assert toy_space().base.id in caplog.text


@pytest.mark.parametrize(
    "seen",
    [
        engine(epoch=6),
        engine(entropy=0.5),
        engine(children=[toy_space().base, toy_space().largest]),
        engine(children=[toy_space().base]),
    ],
)
def test_a_controller_that_still_chooses_or_is_near_its_end_is_not(seen, caplog):
    CollapseWarning()(seen)
    assert caplog.text == ""
