# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from torch.utils.data import DataLoader

from monai_ronas.handlers import CasePlanes
from monai_ronas.networks import MostLikelyd
from monai_ronas.utils import TimeBudget
from tests.toys import toy_cases, toy_slices


def test_planes_of_the_last_scores_alone_are_kept():
    network, cases, budget = toy_slices().network, toy_cases(3, seed=1), TimeBudget(None)
    planes = CasePlanes(budget)
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(cases),
        network=network,
        postprocessing=Compose([MostLikelyd("pred")]),
        val_handlers=[planes],
    )
    evaluator.run()
    assert planes.cases == []
    budget.enter("last scores")
    for _ in range(2):  # the second score takes the place of the first
        evaluator.run()
    assert len(planes.cases) == 3
    budget.enter("one shot or windows")
    evaluator.run()
    assert len(planes.cases) == 3
    with torch.no_grad():
        prediction = network.eval()(cases[2]["image"][None]).argmax(dim=1)[0]
    for plane in planes.cases[2]:
        assert np.array_equal(plane.label, cases[2]["label"][0].select(plane.axis, plane.index).numpy())
        assert np.array_equal(plane.prediction, prediction.select(plane.axis, plane.index).numpy())
        assert plane.image.dtype == np.uint8
