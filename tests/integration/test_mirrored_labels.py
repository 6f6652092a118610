# SPDX-License-Identifier: Apache-2.0
"""Labels that are mirror images: no part of the search flips them into each other."""

import json
import shutil

import pytest
from monai.bundle import ConfigWorkflow

from .conftest import SEARCH


@pytest.mark.parametrize(("given", "axes"), [({}, (1, 2)), ({"flip_axes": [0, 1]}, (0, 1)), ({"flip_axes": []}, ())])
def test_the_axes_are_the_same_everywhere(small_phantom, tmp_path, given, axes):
    root = tmp_path / "set"
    shutil.copytree(small_phantom, root)
    content = json.loads((root / "dataset.json").read_text())
    content["labels"] |= {"1": "left kidney", "2": "right kidney"}
    (root / "dataset.json").write_text(json.dumps(content))
    workflow = ConfigWorkflow(
        str(SEARCH), dataset_dir=str(root), output_dir=str(tmp_path / "out"), device="cpu", channels=[2, 3, 4], **given
    )
    workflow.initialize()
    part = workflow.parser.get_parsed_content
    assert part("train#prepare_batch").flip_axes == axes
    assert part("test#inferer").flips == axes
    assert part("controller#export").study.flip_axes == axes
    assert part("controller#checkpoint").identity["flip_axes"] == str(axes)
    case = part("train#dataset")[0]
    assert (case["label_class_counts"] > 0).tolist() == [True] * (len(content["labels"]) - 1)
