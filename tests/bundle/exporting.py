# SPDX-License-Identifier: Apache-2.0
"""What a small search may end with, to be exported."""

import torch

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore, SearchResult

FACTS = {"one_shot_voxels": 10**6, "crops": lambda a: 3, "amp": False}
CASES = {"cases": ("a|1", "b"), "one_shot": (0.7, 0.74), "in_windows": (0.75, 0.8), "seconds": 2.0}


def supernet_of(study):
    torch.manual_seed(3)
    facts = study.fingerprint
    space = RonasSpace(study.search_shape, facts.target_spacing)
    return RonasSuperNet(space, facts.in_channels, facts.out_channels, channels=(4, 6, 8, 10)).eval()


def result_of(architecture):
    row = {"architecture": architecture.to_dict(), "id": architecture.id, "reward": 0.5, "trained": 12.0}
    row["forecast"] = 0.625
    score = ChildScore(reward=0.5, per_case=(0.4, 0.6), seconds=1.0, peak_memory_mb=1.0)
    return SearchResult(architecture, score, candidates=[{"origin": "random", **row}], case_names=("a", "b"))
