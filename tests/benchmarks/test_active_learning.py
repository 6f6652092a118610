# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from monai_ronas.bundle import foreground_entropy
from monai_ronas.networks import MemberInferer, PadToStrideInferer
from tests.benchmarks.active_learning import choose, deal
from tests.benchmarks.label_curves import correlations, labels_needed, summarize, table
from tests.benchmarks.study_scores import SCORES, Watch, with_border

GROUPS = {f"p{patient}_{frame}": f"p{patient}" for patient in range(6) for frame in (1, 2)}


def test_test_cases_share_no_group_with_others():
    found = deal(GROUPS, 3, test=3, start=2, pool=5, labels=4)
    assert [len(names) for names in found] == [4, 2, 5]
    tested = {GROUPS[name] for name in found.test}
    assert len(tested) == 2
    assert not tested & {GROUPS[name] for name in found.start + found.pool}
    assert len({*found.test, *found.start, *found.pool}) == 11
    assert deal(GROUPS, 3, test=3, start=2, pool=5, labels=4) == found
    assert deal(GROUPS, 4, test=3, start=2, pool=5, labels=4) != found
    assert len(deal(GROUPS, 3, test=3, start=2, pool=50, labels=4).pool) == 6


def test_too_few_cases_are_refused():
    with pytest.raises(ValueError, match="12 cases and a pool of 5 are too few to test 4 and label 5 and 4"):
        deal(GROUPS, 0, test=4, start=5, pool=5, labels=4)
    with pytest.raises(ValueError, match="too few to test 13"):
        deal(GROUPS, 0, test=13, start=0, pool=0, labels=0)


def test_the_highest_scores_are_chosen():
    rows = {name: {"s": value} for name, value in (("c", 0.5), ("a", 0.5), ("b", 0.7), ("d", 0.1))}
    assert choose(rows, "s", 3) == ["b", "a", "c"]


def test_labels_for_a_dice():
    labels, dice = [4, 8, 12], [0.5, 0.7, 0.65]
    assert labels_needed(labels, dice, 0.6) == pytest.approx(6.0)
    assert labels_needed(labels, dice, 0.4) == 4.0
    assert labels_needed(labels, dice, 0.71) is None


@pytest.fixture
def report():
    curves = {"random": [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]], "foreground_entropy": [[0.5, 0.7, 0.7], [0.4, 0.5, 0.7]]}
    labels = [4, 8, 12]
    pool = {
        name: {**dict.fromkeys(SCORES, n), "dice": -n, "foreground": n % 2, "voxels": n}
        for n, name in enumerate("abcd")
    }
    return {"labels": labels, "arms": summarize(curves, labels), "correlations": correlations([pool, pool])}


def test_differences_are_paired_by_seed(report):
    arms = report["arms"]
    assert arms["random"] == {"dice": pytest.approx([0.45, 0.55, 0.65]), "needed": pytest.approx(12.0)}
    score = arms["foreground_entropy"]
    assert score["needed"] == pytest.approx(8 + 4 * 0.5)
    (mean, error, seeds), (last, _, _) = score["ahead"]
    assert (mean, error, last) == pytest.approx((0.05, 0.05, 0.05))
    assert seeds == pytest.approx([0.1, 0.0])
    assert score["ahead_on_average"][:2] == pytest.approx([0.05, 0.0], abs=1e-9)


def test_what_scores_go_with(report):
    found = report["correlations"]["foreground_entropy"]
    assert (found["dice"], found["voxels"]) == pytest.approx((-1.0, 1.0))
    assert found["foreground"] == pytest.approx(1 / math.sqrt(5))


def test_table(report):
    lines = table(report).splitlines()
    assert lines[0] == "| labels | random | foreground_entropy | foreground_entropy minus random (by seed) |"
    assert lines[2] == "| 4 | 0.4500 | 0.4500 |  |"
    assert lines[3] == "| 8 | 0.5500 | 0.6000 | +0.0500 +- 0.0500 (+0.1000, +0.0000) |"
    assert lines[5] == "| rounds |  |  | +0.0500 +- 0.0000 (+0.0500, +0.0500) |"
    assert lines[6] == "| labels for random's last Dice | 12.0 | 10.0 |  |"
    assert "| foreground_entropy | -1.00 | +0.45 | +1.00 |" in lines


def logits(probability):
    """Two classes; a cube of 4 voxels in 10 is foreground with this probability, and all else background with it."""
    foreground = torch.full((10, 10, 10), 1 - probability)
    foreground[3:7, 3:7, 3:7] = probability
    return torch.stack([1 - foreground, foreground]).log()


def test_scores_of_a_volume():
    said, nothing = logits(0.9), logits(0.9).flip(0)[:, :1, :1, :1].expand(2, 10, 10, 10).flip(0)
    information = torch.zeros(1, 10, 10, 10)
    information[0, 5, 5, 5] = 0.5
    near = with_border(said)
    assert near[1, 5, 5]
    assert not near[0].any()
    doubt = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert SCORES["foreground_entropy"](said, information) == pytest.approx(doubt) == foreground_entropy(said)
    assert SCORES["border_entropy"](said, information) == pytest.approx(doubt)
    assert SCORES["border_information"](said, information) == pytest.approx(0.5 / int(near.sum()))
    inside = 64 * 0.9
    assert SCORES["expected_loss"](said, information) == pytest.approx(
        1 - 2 * inside / (64 + inside + 936 * 0.1), rel=1e-5
    )
    assert [SCORES[name](nothing, information) for name in SCORES] == pytest.approx([1.0, 1.0, math.log(2), 1.0])


def test_the_inferer_notes_scores_and_says_what_the_bundles_own_says():
    network = torch.nn.Conv3d(1, 3, 3, padding=1).eval()
    inferer = PadToStrideInferer(divisor=(1, 1, 1), flips=(0, 2))
    image = torch.randn(1, 1, 6, 6, 4, generator=torch.Generator().manual_seed(0))
    watch = Watch(inferer)
    with torch.no_grad():
        said = watch(image, network)
        own = inferer(image, network)
    torch.testing.assert_close(said.exp(), own.exp())
    assert set(watch.rows[0]) == set(SCORES)
    assert watch.rows[0]["foreground_entropy"] == pytest.approx(foreground_entropy(own[0]), abs=1e-5)
    assert isinstance(watch.inferer, MemberInferer)
