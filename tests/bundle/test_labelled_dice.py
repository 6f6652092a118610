# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import math

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import MetricsSaver
from monai.transforms import AsDiscrete

from monai_ronas.bundle import LabelledDice

EMPTY, HALF, WHOLE = (torch.tensor(values).reshape(1, 4, 1, 1) for values in ([0] * 4, [0, 0, 1, 1], [1, 1, 1, 1]))


@pytest.mark.parametrize(
    ("labels", "mean", "told"),
    [
        ([HALF, WHOLE], 5 / 6, None),
        ([HALF, EMPTY, WHOLE], 5 / 6, "1 of 3 case(s) have no foreground"),
        ([EMPTY, EMPTY], math.nan, "2 of 2 case(s) have no foreground"),
    ],
)
@pytest.mark.parametrize("form", [AsDiscrete(to_onehot=2), torch.clone], ids=["one-hot", "class indices"])
def test_the_log_and_the_table_say_the_same(tmp_path, caplog, labels, mean, told, form):
    engine = Engine(lambda engine, label: ([form(WHOLE)], [form(label)]))
    engine.state.metric_details = {}
    dice = LabelledDice(num_classes=2, output_transform=lambda output: output)
    dice.attach(engine, "mean_dice")
    MetricsSaver(
        str(tmp_path),
        metrics=["mean_dice"],
        metric_details=["mean_dice"],
        batch_transform=lambda batch: [{"filename_or_obj": "case"}],
        summary_ops=["mean", "notnans"],
        delimiter=",",
    ).attach(engine)
    engine.run(labels)
    assert engine.state.metrics["mean_dice"] == pytest.approx(mean, nan_ok=True)
    assert (told is None) == ("no foreground" not in caplog.text)
    assert told is None or told in caplog.text
    assert float((tmp_path / "metrics.csv").read_text().split(",")[1]) == pytest.approx(mean, nan_ok=True)
    with (tmp_path / "mean_dice_summary.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    assert float(row["mean"]) == pytest.approx(mean, nan_ok=True, abs=1e-4)
    assert float(row["notnans"]) == sum(label is not EMPTY for label in labels)
