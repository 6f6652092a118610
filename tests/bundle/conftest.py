# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_ronas.bundle.members import write_members
from monai_ronas.data import make_phantom_dataset, open_study
from tests.bundle.two_members import weights


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    dataset = make_phantom_dataset(root / "data", num_cases=6, size=(28, 32, 20))
    return open_study(dataset, root, fold=0, num_folds=5, reward_fraction=0.3, seed=0)


@pytest.fixture
def bundle(tmp_path):
    """The weights of a bundle with two members."""
    models = tmp_path / "bundle" / "models"
    models.mkdir(parents=True)
    torch.save(weights(0), models / "model.pt")
    write_members(models, [{name: w.half() for name, w in weights(seed).items()} for seed in (1, 2)])
    return models.parent
