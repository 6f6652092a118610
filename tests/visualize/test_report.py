# SPDX-License-Identifier: Apache-2.0
import base64
import re
import subprocess
import sys

import pytest
from PIL import Image

from monai_ronas.utils import ChildScore, Reliability, TemperatureFit
from monai_ronas.visualize import write_report
from tests.visualize.cases import NAN, SPACE, SPENT, make_candidates, make_facts, make_planes, make_result, make_study

PICTURES = ("dice_cases", "network", "race", "reward", "probabilities", "dice_seconds", "dice_memory")
HOSTILE = "<script>alert(1)</script>"


def ended(folder, **more):
    result = more.pop("result", None) or make_result()
    facts = make_facts(result=result, candidates=result.candidates, planes=make_planes(), **more)
    return write_report(folder, **facts).read_text(encoding="utf-8")


def test_the_report_needs_no_other_file_and_interprets_no_text(tmp_path):
    study = make_study(name=f"data set {HOSTILE}", labels=("background", HOSTILE, "posterior"))
    page = ended(tmp_path, study=study)
    assert HOSTILE not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert f"<td>base network</td><td>{SPACE.base.id}</td><td>1234</td><td>0.8123</td><td>0.9568</td>" in page
    assert "<td>&lt;b&gt;random&lt;/b&gt;</td><td>other</td><td></td><td></td><td></td>" in page
    assert "http" not in page
    assert '<meta name="viewport"' in page
    charts = re.findall(r'<img class="chart[^>]*src="data:image/png;base64,([^"]+)"', page)
    assert len(charts) == len(PICTURES)
    for name, data in zip(PICTURES, charts, strict=True):
        assert (tmp_path / f"{name}.png").read_bytes() == base64.b64decode(data)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 100
    pictures = re.findall(r"<img[^>]*>", page)
    assert len(pictures) == len(PICTURES) + 3 * 3 * 4
    assert all(re.search(r'alt="[^"]{5,}"', picture) for picture in pictures)
    assert (tmp_path / "pareto.json").exists()


def test_the_end_is_told_with_the_score_of_the_test_cases(tmp_path):
    page = ended(tmp_path, limit=120.0)
    assert "The search has finished. It took 1 min 40 s of 2 min 0 s." in page
    assert "Mean Dice 0.7333, standard error 0.1202, of 3 test cases." in page
    assert re.findall(r"<h3>(\w+): c\d<", page) == ["best", "median", "worst"]
    assert "<td>c2</td><td>0.5000</td><td>0.5000</td><td></td>" in page
    assert "The patch covers 100% of the median volume." in page


def test_scored_test_cases_keep_their_names_in_any_order_and_number(tmp_path):
    study = make_study(test=[f"c{n}" for n in range(8)])
    page = ended(tmp_path, study=study, result=make_result(test_names=("c6", "c3", "c7", "c0"), test_cases=8))
    assert "of 3 of the 8 test cases, as the time did not allow more." in page
    assert re.findall(r"<h3>(\w+): (c\d)<", page) == [("best", "c0"), ("median", "c6"), ("worst", "c3")]
    assert re.findall(r"<td>(c\d)</td>", page) == ["c6", "c3", "c7", "c0"]


def test_a_name_that_is_not_utf_8_is_told_as_far_as_it_is(tmp_path):
    page = ended(tmp_path, result=make_result(test_names=("m\udcfcller", "c2", "c3", "c4")))  # as os.fsdecode gives it
    assert "<td>m?ller</td>" in page


def test_the_time_line_adds_up(tmp_path):
    page = ended(tmp_path)
    rows = re.findall(r"<tr><td>([^<]+)</td><td>([^<]+)</td><td>([\d.]+) %</td>", page)
    assert [(part, share) for part, _, share in rows] == [(part, f"{value:.1f}") for part, value in SPENT.items()]
    assert sum(float(share) for *_, share in rows) == pytest.approx(100)
    assert "<th>in all</th><th>1 min 40 s</th>" in page


def test_a_running_search_says_where_it_is_and_writes_the_page_alone(tmp_path):
    page = write_report(tmp_path, **make_facts(candidates=make_candidates())).read_text(encoding="utf-8")
    assert (
        "The search has not finished. When this page was written, after 1 min 40 s, it was in this part: race." in page
    )
    assert "Learning curves of the contenders" in page
    assert "Reward and entropy" in page
    assert "Segmentations" not in page
    assert [path.name for path in tmp_path.iterdir()] == ["search_report.html"]
    start = make_facts(trace=[], history=[], spent={"start and checks": 1.0}, doing="warm-up")
    page = write_report(tmp_path, **start).read_text(encoding="utf-8")
    assert "after 1.0 s, it was in this part: warm-up." in page
    assert "The race" not in page
    assert "<img" not in page


def test_without_a_score_of_the_test_cases_the_reward_cases_are_shown_or_it_is_said_why_not(tmp_path):
    reward = ChildScore(0.6, (0.6,), 1.0, 1.0, per_class=((0.5, 0.7),))
    page = ended(tmp_path, result=make_result(test=None, score=reward, remark="which the final training has seen"))
    assert "The test cases have no score here" in page
    assert "Mean Dice 0.6000, of 1 reward cases which the final training has seen." in page
    assert "No segmentation is shown" in page  # there are planes of four cases, and one score
    facts = make_facts(result=make_result(test=None, score=reward), planes=make_planes(1), study=make_study(test=()))
    page = write_report(tmp_path, **facts).read_text(encoding="utf-8")
    assert "The test cases" not in page
    assert "<h3>best: b</h3>" in page
    page = ended(tmp_path, result=make_result(test=None, score=None))
    assert "The trained network has no score." in page
    assert "No segmentation is shown" in page


def test_a_search_without_a_race_has_no_table_of_contenders(tmp_path):
    nothing = {"reward": None, "trained": None, "forecast": None, "curve": []}
    page = ended(tmp_path, result=make_result(candidates=[{**c, **nothing} for c in make_candidates()]))
    assert "No contender had a turn" in page
    assert "<th>origin</th>" not in page
    assert "<th>origin</th>" in ended(tmp_path)


def test_the_reliability_of_the_test_cases_is_drawn_where_it_was_measured(tmp_path):
    assert "How sure the network is" not in ended(tmp_path)
    assert not (tmp_path / "reliability.png").exists()
    sure, surer = (Reliability((0, 10, 30), (NAN, 0.6, 0.9), (NAN, right, right), 0.25) for right in (0.6, 0.8))
    fit = TemperatureFit(1.5, 8, 0.1, 0.05)
    page = ended(tmp_path, result=make_result(temperature=fit, reliability=(surer, sure)))
    assert "expected calibration error 0.1250 and Brier score 0.2500, with the temperature 1.50" in page
    assert "fitted on reward cases 0.2250 and 0.2500." in page
    assert (tmp_path / "reliability.png").exists()


def test_cases_without_any_foreground_are_not_shown(tmp_path):
    nothing = ChildScore(NAN, (NAN,), 1.0, 1.0, per_class=((NAN, NAN),))
    facts = make_facts(result=make_result(test=None, score=nothing), planes=make_planes(1), study=make_study(test=()))
    page = write_report(tmp_path, **facts).read_text(encoding="utf-8")
    assert "<h3>best" not in page


@pytest.mark.parametrize("empty", [[], [{"episode": 1, "reward": None, "seconds": 1.0, "peak_memory_mb": 1.0}]])
def test_a_search_without_a_scored_child_still_has_a_report(tmp_path, empty):
    page = ended(tmp_path, trace=[], history=empty)
    assert ("There were no episodes." in page) is (not empty)
    for name in PICTURES:
        assert (tmp_path / f"{name}.png").exists()


def test_matplotlib_is_needed_only_where_a_picture_is_drawn():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"  # as where it is not installed
        "import monai_ronas.bundle, monai_ronas.handlers, monai_ronas.visualize"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
