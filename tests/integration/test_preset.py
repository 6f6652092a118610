# SPDX-License-Identifier: Apache-2.0
"""``ronasmis.json``, the paper's setting, on top of ``search.json``."""

import json
import re

from monai.bundle import ConfigWorkflow
from monai.losses import DiceLoss
from torch.optim import Adam

from .conftest import SEARCH, SMALL, run_bundle

FILES = [str(SEARCH), str(SEARCH.with_name("ronasmis.json"))]


def test_the_papers_setting_takes_the_place_of_ours(small_phantom, tmp_path):
    workflow = ConfigWorkflow(FILES, dataset_dir=str(small_phantom), output_dir=str(tmp_path), device="cpu")
    workflow.initialize()
    content = workflow.parser.get_parsed_content
    assert content("channels") == [32, 64, 128, 256]
    assert (content("episodes"), content("child_epochs"), content("children_per_episode")) == (150, 3, 20)
    assert type(content("optimizer")) is Adam
    assert type(content("loss").loss) is DiceLoss
    assert content("network").kwargs["drop_path"] == 0.1
    assert content("train#prepare_batch").flip_axes == (0,)
    assert content("learning_rate") == 0.001
    assert content("controller#trainer").loss_function.entropy_weight == 1e-4
    assert len(content("train#dataset")) == len(content("study").split.train)
    assert content("validate#sampler").per_episode == len(content("study").split.reward)
    assert content("controller#race").is_worth_holding(2)  # nothing is expected of a base network that is not planned
    assert not workflow.check_properties()


def test_a_search_in_the_papers_setting(small_phantom, tmp_path):
    settings = {**SMALL, "dataset_dir": small_phantom, "output_dir": tmp_path, "episodes": 1, "child_epochs": 1}
    flags = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    done = run_bundle("run", "search", "--config_file", str(FILES), *flags)
    assert done.returncode == 0, done.stderr
    assert "reward Dice" in done.stdout
    assert re.search(r"race: \d+ contenders", done.stdout)
    assert "why  the space or the memory says so" in done.stdout
    assert "before the final training" not in done.stdout
    told = json.loads((tmp_path / "ronas_segmentation" / "configs" / "metadata.json").read_text())["eval_metrics"]
    assert told["measured_on"] == "2 test cases"
