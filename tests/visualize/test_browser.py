# SPDX-License-Identifier: Apache-2.0
"""The report as a browser shows it, on a wide and on a narrow screen, light and dark."""

import pytest

from monai_ronas.visualize import write_report
from tests.browser import CHROMIUM, browser
from tests.visualize.cases import make_candidates, make_facts, make_planes, make_result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
WIDER = "document.documentElement.scrollWidth - window.innerWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"
TEXT = "getComputedStyle(document.body).color"
MISSING = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
# how much the sides of a picture of 40 x 80 mm differ from that
SKEWED = (
    "Math.abs(document.querySelector('img.plane').offsetHeight / document.querySelector('img.plane').offsetWidth - 2)"
)
COLUMNS = "(f => f.filter(x => x.offsetTop === f[0].offsetTop).length)([...document.querySelector('.panels').children])"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The pages of a search that has ended, with a long table, and of one that runs."""
    folder = tmp_path_factory.mktemp("reports")
    result = make_result()
    names = [f"a rather long name of a contender, number {n}" for n in range(3)]
    candidates = [*make_candidates(), *({**make_candidates()[0], "origin": name} for name in names)]
    result.candidates = candidates
    ended = make_facts(result=result, candidates=candidates, planes=make_planes())
    running = make_facts(candidates=make_candidates())
    return {"ended": write_report(folder / "e", **ended), "running": write_report(folder / "r", **running)}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.mark.parametrize("which", ["ended", "running"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_the_screen(page, reports, which, width, dark):
    page.open(reports[which], width=width, dark=dark)
    assert page.value("window.innerWidth") == width
    assert page.value(WIDER) <= 0
    assert page.value(MISSING) == 0
    assert page.value(GROUND) == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    assert page.value(TEXT) == ("rgb(230, 230, 230)" if dark else "rgb(27, 31, 36)")
    assert page.complaints == []


@pytest.mark.parametrize(("width", "columns"), [(1200, 4), (400, 2)])
def test_planes_keep_their_proportions(page, reports, width, columns):
    page.open(reports["ended"], width=width)
    assert page.value("document.images.length") == 7 + 36
    assert page.value(SKEWED) < 0.03
    assert page.value(COLUMNS) == columns


def test_wide_tables_scroll_inside_themselves(page, reports):
    page.open(reports["ended"], width=400)
    wider = "[...document.querySelectorAll('.scroll')].filter(d => d.scrollWidth > d.clientWidth).length"
    assert page.value(wider) >= 2  # the contenders and the policy's many panels
    assert page.value("[...document.querySelectorAll('table')].every(t => t.closest('.scroll'))") is True
