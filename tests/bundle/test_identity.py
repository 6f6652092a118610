# SPDX-License-Identifier: Apache-2.0
import json
from types import SimpleNamespace

import pytest
import torch
from monai.losses import DiceLoss
from monai.transforms import Compose, RandGaussianNoised, ScaleIntensityd

from monai_ronas.bundle import Settings, search_identity
from monai_ronas.engines import Prior
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace
from monai_ronas.utils import differences

SPACE = RonasSpace((32, 32, 32))
PLAN = SimpleNamespace(strides=((1, 1, 1), (2, 2, 2)), patch=(32, 32, 32), batch_size=2)
STUDY = SimpleNamespace(identity=lambda: {"data set": ["x", "1"], "split": {"test": []}}, flip_axes=(0, 1, 2))


def identity(
    *,
    kind=torch.optim.AdamW,
    lr=0.1,
    steps=20,
    augmentation=None,
    loss=None,
    options=None,
    policy_lr=1.0,
    prior=None,
    space=SPACE,
    **settings,
):
    network = RonasSuperNet(space, 1, 2, channels=(2, 4, 6, 8))
    return search_identity(
        Settings(**settings),
        STUDY,
        PLAN,
        space,
        network,
        kind(network.parameters(), lr=lr, **(options or {})),
        loss=loss or DiceLoss(),
        preprocessing=Compose([ScaleIntensityd(keys="image")]),
        augmentation=augmentation,
        controller=["loss"],
        policy_optimizer=["torch.optim.SGD", policy_lr],
        prior=prior or Prior(),
        iterations_per_epoch=steps,
    )


def test_it_is_plain_and_the_same_again():
    found = identity()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(identity()))
    assert found["data set"] == ["x", "1"]
    assert (found["seed"], found["cost"], found["channels"]) == (0, "[None, -0.07]", "None")


def test_what_may_grow_or_changes_nothing_is_no_part_of_it():
    more = {"episodes": 20, "final_epochs": 90, "time_budget_minutes": 5, "cost": "null", "skip_invalid": True}
    assert identity(**more, resume=False) == identity()
    assert identity(lr=0.2) == identity()  # the rate counts as the setting


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"deterministic": True}, "deterministic"),
        ({"policy_lr": 0.5}, "controller#optimizer"),
        ({"prior": Prior(lead=0.0)}, "controller#race#prior"),
        ({"strategy": "random"}, "strategy"),
        ({"learning_rate": 0.3}, "learning_rate"),
        ({"memory_budget_gb": 4}, "memory_budget_gb"),
        ({"channels": [2, 4]}, "channels"),
        ({"cost": "macs"}, "cost"),
        ({"reward_cases_per_episode": None}, "reward_cases_per_episode"),
        ({"kind": torch.optim.Adam}, "optimizer"),
        ({"options": {"weight_decay": 0.5}}, "optimizer"),
        ({"loss": DiceLoss(batch=True)}, "loss"),
        ({"augmentation": Compose([RandGaussianNoised(keys="image")])}, "augment"),
        ({"steps": 30}, "iterations_per_epoch"),
    ],
)
def test_another_search_differs_by_name(change, name):
    first, other = identity(), identity(**change)
    assert [key for key in first if first[key] != other[key]] == [name]


def test_what_the_race_expects_is_told_by_its_name():
    then, now = (json.loads(json.dumps(identity(prior=Prior(lead=lead)))) for lead in (-0.1, 0.0))
    assert differences(then, now) == ["controller#race#prior lead was -0.1 and is 0.0"]


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        (
            {"overrides": {"stride_4": [[2, 2, 2]]}},
            {"overrides": {"stride_4": [[1, 1, 1]]}},
            "space strides was [2, 2, 2] and is [1, 1, 1]",
        ),
        ({"widths": [1.0]}, {"widths": [0.5]}, "space widths was [1.0] and is [0.5]"),
        (
            {"kernel_sizes": [(3, 3, 1)] * 4},
            {"kernel_sizes": [(3, 3, 1)] * 3 + [(3, 3, 3)]},
            "space kernel_sizes was [3, 3, 1] and is [3, 3, 3]",
        ),
    ],
    ids=["stride", "width", "kernels"],
)
def test_what_a_space_leaves_no_choice_of_tells_searches_apart(first, other, told):
    then, now = (
        json.loads(json.dumps(identity(space=RonasSpace((32, 32, 32), **arguments)))) for arguments in (first, other)
    )
    assert then["space"]["decisions"] == now["space"]["decisions"]
    assert differences(then, now) == [told]
