# SPDX-License-Identifier: Apache-2.0
"""What the README shows runs."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_training_script_runs():
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict = {}
    exec(script, names)  # the README is ours
    assert names["prediction"].shape == (1, 35, 51, 36)
    assert names["loss"].isfinite()
    assert all(p.grad is not None for p in names["net"].parameters())
