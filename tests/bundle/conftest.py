# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.data import make_phantom_dataset, open_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    dataset = make_phantom_dataset(root / "data", num_cases=6, size=(28, 32, 20))
    return open_study(dataset, root, fold=0, num_folds=5, reward_fraction=0.3, seed=0)
