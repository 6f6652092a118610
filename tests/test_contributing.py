# SPDX-License-Identifier: Apache-2.0
"""What the guide for contributors and the citation say is so."""

import json
import random
import re
from pathlib import Path

import monai_ronas

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_files_that_the_guide_names_are_there():
    named = set(re.findall(r"`((?:monai_ronas|tests|\.ci)/[\w./]*)`", GUIDE))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_decision_is_added_as_the_guide_shows():
    (script,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names: dict = {}
    exec(script, names)  # the guide is ours
    assert names["same"]
    assert names["space"]["dropout"].options == (0.0, 0.2)
    assert names["space"].base["dropout"] == 0.0
    generator = random.Random(0)
    assert {names["space"].sample(generator)["dropout"] for _ in range(20)} == {0.0, 0.2}
    assert names["supernet"].derive(names["chosen"]).encoder[0].conv1.dropout.p == 0.2


def test_version_and_date_are_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", changelog, flags=re.MULTILINE).groups()
    assert version == monai_ronas.__version__
    assert f'\nversion: "{version}"\ndate-released: {date}\n' in citation
    metadata = json.loads((ROOT / "bundles" / "ronas" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["required_packages_version"]["monai-ronas"] == metadata["version"] == monai_ronas.__version__
    assert metadata["version"] in metadata["changelog"]
