# SPDX-License-Identifier: Apache-2.0
import math
from argparse import Namespace

import pytest
from monai.bundle import ConfigWorkflow

from monai_ronas.data import make_phantom_dataset
from tests.benchmarks.contender import SEARCH, contender_settings, settings
from tests.benchmarks.peers import plan_of


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return make_phantom_dataset(tmp_path_factory.mktemp("data") / "phantom", num_cases=10, size=(24, 24, 16))


@pytest.fixture
def content(phantom, tmp_path):
    """Opens what the configuration of a contender says."""

    def parsed(contender, *words, **given):
        chosen = contender_settings(Namespace(contender=contender, **given))
        own = {"dataset_dir": phantom, "output_dir": str(tmp_path / contender), "device": "cpu"}
        return ConfigWorkflow(str(SEARCH), **own, **settings(list(words)), **chosen).parser.get_parsed_content

    return parsed


def test_a_cell_of_the_grid_is_the_base_network_of_its_own_space(content):
    cell = content("grid", resolution="half", width=0.5, area=1.0)
    network = cell("network")
    assert cell("plan").channels[0] == 8
    assert network.space.strides(network.architecture)[0] == (2, 2, 2)
    assert network.patch == cell("plan").patch
    assert cell("train#prepare_batch").crops(network.architecture) == 2
    assert type(cell("optimizer")).__name__ == "Muon"
    assert cell("controller#inference").seconds == math.inf


def test_a_network_made_by_hand_takes_the_place_of_the_searchs(content):
    peer = content("dynunet_sgd")
    assert peer("optimizer").defaults["momentum"] == 0.99
    assert peer("network").patch == plan_of("dynunet_sgd", peer("study").fingerprint).patch
    assert peer("train#prepare_batch").crops(peer("network").architecture) == 2
    own = {id(weight) for weight in peer("network").parameters()}
    assert {id(w) for group in peer("optimizer").param_groups for w in group["params"]} == own


def test_the_split_stays_where_another_seed_has_the_same_split_seed(content):
    first, moved, kept = (
        content(name, "--seed", seed, *more)("study").split
        for name, seed, more in (("base", "0", []), ("search", "1", []), ("derived", "1", ["--split_seed", "0"]))
    )
    assert kept == first
    assert moved != first
