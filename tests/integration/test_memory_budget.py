# SPDX-License-Identifier: Apache-2.0
"""A search within a memory budget that forbids half of its space."""

import json
import random
import re
import statistics

import pytest
import torch

from monai_ronas.bundle.configs import HALF_OF_MEMORY
from monai_ronas.data import open_study
from monai_ronas.engines import PatchBatch
from monai_ronas.handlers import read_history
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import PlanInputs, ResourceEstimator, plan_for
from monai_ronas.space import Architecture, Plan, RonasSpace
from monai_ronas.utils import has_fast_bfloat16, usable_memory_gb
from tests.measured_memory import training_peak

from .conftest import FINAL_EPOCHS, SMALL, run_search


@pytest.fixture(scope="module")
def whole(small_phantom, tmp_path_factory):
    """The space of the small search and its widths, without a budget."""
    folder = tmp_path_factory.mktemp("study")
    study = open_study(small_phantom, folder, fold=0, num_folds=5, reward_fraction=0.3, seed=0)
    facts = study.fingerprint
    widths = {"channels": SMALL["channels"], "in_channels": facts.in_channels, "out_channels": facts.out_channels}
    plan = plan_for(
        PlanInputs(
            facts.median_shape,
            facts.target_spacing,
            facts.in_channels,
            facts.out_channels,
            memory_gb=usable_memory_gb("cpu"),
            channels=SMALL["channels"],
        )
    )
    return RonasSpace(spacing=facts.target_spacing, **plan.space_arguments()), widths


def test_no_child_needs_more_than_the_budget(whole, small_phantom, tmp_path):
    space, widths = whole
    free = ResourceEstimator(space, **widths)
    budget = statistics.median(free.needed_gb(space.sample(random.Random(s))) for s in range(100))
    done = run_search(
        small_phantom, tmp_path, memory_budget_gb=budget, children_per_episode=8, amp="false", child_epochs=2
    )
    assert done.returncode == 0, done.stderr
    plan = Plan.from_dict(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["plan"])
    space = RonasSpace(spacing=space.spacing, **plan.space_arguments())
    costs = ResourceEstimator(space, **widths, memory_gb=budget)
    children = {Architecture(line["architecture"]) for line in read_history(tmp_path / "history.jsonl")}
    assert len(children) > 8
    assert all(costs.fits(child) for child in children)
    batches = PatchBatch(
        RonasSuperNet(
            costs.limited_space(), **{k: v for k, v in widths.items() if k != "channels"}, channels=widths["channels"]
        ),
        batch_size=SMALL["batch_size"],
        resources=costs,
    )
    for child in sorted(children, key=lambda a: a.id)[:6]:
        peak = training_peak(space, child, batches.crops(child), widths, amp=False)
        assert peak <= budget * 2**30, child


def export(finished, small_phantom, folder, **settings):
    return run_search(
        small_phantom, finished, run_id="export", final_epochs=FINAL_EPOCHS, export_dir=folder, **settings
    )


def test_a_finished_search_gives_another_bundle_for_another_budget(whole, finished, small_phantom, tmp_path):
    """The derived network in smaller windows, within a budget in which nothing could be trained; nothing is."""
    space, widths = whole
    costs = ResourceEstimator(space, **widths, amp=has_fast_bfloat16("cpu"))
    final = torch.load(finished / "checkpoints" / "final.pt", weights_only=True)
    derived = Architecture.from_json(final["architecture"])
    windows = [
        costs.inference_bytes(a, space.patch(a)) for a in space.with_every_patch(derived) if space.is_feasible(a)
    ]
    budget = 1.15 * (min(windows) + 4 * costs.parameters(derived)) / 2**30
    with pytest.raises(ValueError, match="too little"):
        ResourceEstimator(space, **widths, amp=has_fast_bfloat16("cpu"), memory_gb=budget).limited_space()
    before = (finished / "history.jsonl").read_bytes()
    done = export(finished, small_phantom, tmp_path / "small", memory_budget_gb=budget)
    assert done.returncode == 0, done.stderr
    assert (finished / "history.jsonl").read_bytes() == before
    inferers = [
        json.loads((bundle / "configs" / "inference.json").read_text())["inferer"]
        for bundle in (finished / "ronas_segmentation", tmp_path / "small")
    ]
    sides = [inferer["roi_size"] for inferer in inferers]
    assert all(small <= large for large, small in zip(*sides, strict=True))
    assert sides[0] != sides[1]
    assert [inferer["max_voxels"] for inferer in inferers] == [0, 0]  # windows are the rule
    assert inferers[1]["result_gb"] < budget
    assert inferers[0]["result_gb"] == HALF_OF_MEMORY
    told = [
        re.search("The search took .* minutes", (bundle / "docs" / "README.md").read_text())[0]
        for bundle in (finished / "ronas_segmentation", tmp_path / "small")
    ]
    assert told[0] == told[1]
    weights = torch.load(tmp_path / "small" / "models" / "model.pt", weights_only=True)
    final = final["network"]
    for name, weight in weights.items():
        assert torch.equal(weight, final[name][tuple(slice(size) for size in weight.shape)])  # the leading channels


def test_an_existing_bundle_or_an_unfinished_search_ends_in_one_sentence(finished, small_phantom, tmp_path):
    refused = export(finished, small_phantom, finished / "ronas_segmentation", memory_budget_gb=1)
    assert refused.returncode != 0
    assert "exists: give the other bundle a folder of its own" in refused.stderr.strip().splitlines()[-1]
    refused = export(finished, small_phantom, tmp_path / "none", memory_budget_gb=1e-6)
    assert refused.returncode != 0
    assert "cannot tell which other network to take: give more memory" in refused.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "none").exists()
    refused = run_search(small_phantom, tmp_path, run_id="export")
    assert refused.returncode != 0
    assert "holds no finished search" in refused.stderr.strip().splitlines()[-1]
