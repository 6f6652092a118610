# SPDX-License-Identifier: Apache-2.0
from monai_ronas.engines import Phase
from monai_ronas.handlers import SearchProgress, TrainingProgress
from monai_ronas.utils import TimeBudget
from tests.toys import toy_slices


def test_bars_show_reward_and_entropy(make_engine, capsys):
    engine = make_engine(toy_slices(), [SearchProgress(disable=False)])
    engine.run()
    shown = capsys.readouterr().err
    assert "episodes: 100%" in shown
    assert "2/2" in shown
    assert f"entropy={engine.state.metrics['entropy']:.2f}" in shown
    assert "reward=0.000" in shown


def test_nothing_is_shown_where_there_is_no_terminal(make_engine, capsys):
    make_engine(toy_slices(), [SearchProgress()]).run()
    assert "episodes" not in capsys.readouterr().err


def test_a_phase_of_training_has_a_bar_with_the_loss(capsys):
    slices = toy_slices()
    base = slices.network.space.base
    TrainingProgress(slices, disable=False).attach(slices.trainer)
    slices.run(lambda: base)
    assert capsys.readouterr().err == ""
    slices.run(lambda: base, phase=Phase("warm-up", slices, TimeBudget(None), steps=4, until=1.0))
    shown = capsys.readouterr().err
    assert "warm-up: 100%" in shown
    assert "step=6" in shown
    assert "loss=" in shown


def test_an_episode_leaves_a_line_in_the_log(make_engine, caplog):
    with caplog.at_level("INFO", logger="monai_ronas"):
        make_engine(toy_slices(), [SearchProgress()]).run()
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("monai_ronas.handlers")]
    assert [line.split(",")[0] for line in lines] == ["episode 1: mean reward 0.0000", "episode 2: mean reward 0.0000"]
