# SPDX-License-Identifier: Apache-2.0
"""A data set whose names and descriptions are meant as code."""

import json
import shutil

import pytest
from monai.bundle import ConfigWorkflow

from .conftest import run_bundle, run_search

CODE = "$__import__('os')._exit(77)"


@pytest.fixture(scope="module")
def hostile(small_phantom, tmp_path_factory):
    """Folder of a small search on such a data set."""
    folder = tmp_path_factory.mktemp("hostile")
    data = shutil.copytree(small_phantom, folder / "data")
    content = json.loads((data / "dataset.json").read_text())
    content["name"] = f"{CODE}<script>alert(1)</script>"
    content["description"] = "%dataset_dir::0\n# @network"
    content["licence"] = CODE
    content["labels"] = {
        value: f"@network {value} {CODE}" if value != "0" else "background" for value in content["labels"]
    }
    content["modality"] = {"0": CODE}
    code = {"CodeValue": "1", "CodingSchemeDesignator": "99TOY", "CodeMeaning": CODE}
    content["segmentAttributes"] = [{"labelID": 1, "SegmentedPropertyTypeCodeSequence": code}]
    (data / "dataset.json").write_text(json.dumps(content))
    done = run_search(data, folder / "out")
    assert done.returncode == 0, done.stderr
    return data, folder / "out"


def test_no_text_of_the_data_set_becomes_an_expression(hostile):
    _, output = hostile
    bundle = output / "ronas_segmentation"
    for path in (bundle / "configs").glob("*.json"):
        assert CODE not in path.read_text()
    channels = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert channels["channel_def"]["1"] == "network 1 __import__('os')._exit(77)"
    segment = json.loads((bundle / "configs" / "inference.json").read_text())["dicom_seg"]["segments"][0]
    assert segment["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "__import__('os')._exit(77)"
    report = (output / "search_report.html").read_text()
    assert "<script>" not in report
    assert "&lt;script&gt;" in report
    readme = (bundle / "docs" / "README.md").read_text()
    assert "<script>" not in readme
    assert "alert(1)" in readme


def test_the_bundle_of_such_a_data_set_runs(hostile, tmp_path):
    data, output = hostile
    bundle = output / "ronas_segmentation"
    for name in ("inference", "evaluate", "train"):
        workflow = ConfigWorkflow(
            str(bundle / "configs" / f"{name}.json"), str(bundle / "configs" / "metadata.json"), bundle_root=str(bundle)
        )
        assert workflow.parser.get_parsed_content("network_def") is not None
    arguments = ("--bundle_root", str(bundle), "--dataset_dir", str(data), "--output_dir", str(tmp_path))
    done = run_bundle("run", "--config_file", str(bundle / "configs" / "evaluate.json"), *arguments)
    assert done.returncode == 0, done.stderr
    assert "mean_dice" in done.stdout + done.stderr
