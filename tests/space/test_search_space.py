# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_ronas.space import Architecture, Decision, RonasSpace, SearchSpace

PAPER = {
    "brain": ((240, 240, 155), (1.0, 1.0, 1.0)),
    "heart": ((320, 320, 115), (1.25, 1.25, 1.37)),
    "prostate": ((320, 320, 20), (0.6, 0.6, 3.6)),
    "hippocampus": ((35, 50, 36), (1.0, 1.0, 1.0)),
}


def test_decision_keeps_equal_options_once_and_freezes_lists():
    decision = Decision("stride_3", [[2, 2, 2], [1, 1, 1], [2, 2, 2]])
    assert decision.options == ((2, 2, 2), (1, 1, 1))
    assert decision.index([1, 1, 1]) == 1
    with pytest.raises(ValueError, match="stride_3"):
        decision.index([3, 3, 3])
    with pytest.raises(ValueError, match="at least one option"):
        Decision("a", [])


def test_architecture_round_trip_and_stable_id():
    a = Architecture({"patch_hw": [40, 56], "activation": "RELU"})
    assert Architecture.from_json(a.to_json()) == a
    assert hash(a) == hash(Architecture({"activation": "RELU", "patch_hw": (40, 56)}))
    assert a.id == "b925b51d"
    assert a.id == Architecture({"activation": "RELU", "patch_hw": (40, 56)}).id
    assert a.id != a.replace(activation="ELU").id
    with pytest.raises(KeyError, match="colour"):
        a.replace(colour=1)


def test_space_names_its_decisions_in_order():
    names = [d.name for d in RonasSpace((35, 50, 36))]
    assert names == [
        *("patch_hw", "patch_d", "stride_3", "stride_4", "dilation_2", "dilation_3", "dilation_4", "activation"),
        *("skip_1_1", "skip_2_1", "skip_2_2", "skip_3_1", "skip_3_2", "skip_3_3"),
    ]
    assert [d.name for d in RonasSpace((64, 64))][:2] == ["patch_hw", "stride_3"]


@pytest.mark.parametrize(
    ("name", "patches", "depths", "cardinality"),
    [
        ("brain", [(240, 240), (232, 232), (224, 224), (216, 216), (208, 208)], [152, 144, 136, 128, 120], 518400),
        ("heart", [(320, 320), (312, 312), (304, 304), (296, 296), (288, 288)], [112, 104, 96, 88, 80], 518400),
        ("prostate", [(320, 320), (312, 312), (304, 304), (296, 296), (288, 288)], [20, 18, 16, 14, 12], 518400),
        ("hippocampus", [(32, 48), (32, 40), (32, 32)], [32], 62208),
    ],
)
def test_space_of_the_papers_data(name, patches, depths, cardinality):
    space = RonasSpace(*PAPER[name])
    assert list(space["patch_hw"].options) == patches
    assert list(space["patch_d"].options) == depths
    assert space.cardinality == cardinality == 3 * 27 * 64 * 4 * len(patches) * len(depths)


def test_the_printed_formula_with_four_strided_stages():
    space = RonasSpace((240, 240, 155), strides=[(2, 2, 2)] * 4)
    assert space["patch_hw"].options == ((240, 240), (224, 224), (208, 208), (192, 192), (176, 176))
    assert space["patch_d"].options == (144, 128, 112, 96, 80)


@pytest.mark.parametrize("name", PAPER)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_samples_are_feasible_and_round_trip(name, seed):
    space = RonasSpace(*PAPER[name])
    architecture = space.sample(random.Random(seed))
    assert space.is_feasible(architecture)
    assert space.decode(space.encode(architecture)) == architecture
    assert architecture == space.sample(random.Random(seed))
    unit = [1] * 3
    for stride in space.strides(architecture):
        unit = [u * s for u, s in zip(unit, stride, strict=True)]
    assert all(p % u == 0 and p <= s for p, u, s in zip(space.patch(architecture), unit, space.shape, strict=True))


def test_options_are_data():
    space = RonasSpace((64, 64, 64), dilations=[1, 2, 5], activations=["RELU"], overrides={"patch_d": [64, 32]})
    assert space["dilation_2"].options == (1, 2, 5)
    assert space["activation"].options == ("RELU",)
    assert space["patch_d"].options == (64, 32)
    assert SearchSpace.from_dict(space.to_dict()).cardinality == space.cardinality
    with pytest.raises(ValueError, match="no decision"):
        RonasSpace((64, 64, 64), overrides={"colour": [1]})
    with pytest.raises(ValueError, match="multiples"):
        RonasSpace((64, 64, 64), overrides={"patch_d": [63]})


def test_mask_leaves_out_dilations_wider_than_the_feature_map():
    space = RonasSpace((16, 16, 16), strides=[(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)], min_cells=2)
    prefix = list(space.encode(space.base))[:6]
    assert [d.name for d in space][6] == "dilation_4"
    assert space.mask(prefix) == (True, False, False)
    assert not space.is_feasible(space.base.replace(dilation_4=2))


def test_mask_leaves_out_dilations_along_axes_that_the_kernel_does_not_join():
    strides, kernels = [(1, 1, 1), (2, 2, 1), (2, 2, 1), (1, 1, 1)], [(3, 3, 1)] * 3 + [(3, 3, 3)]
    space = RonasSpace((8, 8, 16), strides=strides, kernel_sizes=kernels, min_cells=2)
    assert not space.is_feasible(space.base.replace(dilation_3=2))  # 2x2 cells in the plane
    assert space.is_feasible(space.base.replace(dilation_4=2))


def test_base_and_largest():
    space = RonasSpace((35, 50, 36))
    assert space.base["patch_hw"] == (32, 48)
    assert space.network_kwargs(space.base)["skips"] == ((1, 1), (2, 2), (3, 3))
    largest = space.network_kwargs(space.largest)
    assert len(largest["skips"]) == 6
    assert largest["strides"] == ((1, 1, 1), (2, 2, 2), (1, 1, 1), (1, 1, 1))


def test_the_base_network_does_not_depend_on_the_order_of_options():
    space = RonasSpace((35, 50, 36), dilations=[3, 1], overrides={"stride_3": [[1, 1, 1], [2, 2, 2]]})
    assert (space.base["dilation_2"], space.base["stride_3"]) == (1, (2, 2, 2))
    assert RonasSpace((35, 50, 36), dilations=[3]).base["dilation_2"] == 3


def test_extra_decisions_come_last_and_are_no_patch():
    extra = [Decision("ce_weight", [0.3, 1.0, None], kind="training"), Decision("flips", [True, False])]
    plain, space = RonasSpace((35, 50, 36)), RonasSpace((35, 50, 36), extra=extra)
    assert [d.name for d in space] == [*(d.name for d in plain), "ce_weight", "flips"]
    assert space.base == Architecture({**plain.base, "ce_weight": 0.3, "flips": True})
    assert space.largest == Architecture({**plain.largest, "ce_weight": 0.3, "flips": True})
    assert space.network_kwargs(space.base) == plain.network_kwargs(plain.base)
    patches = [space.patch(a) for a in space.with_every_patch(space.base.replace(ce_weight=None))]
    assert patches == [plain.patch(a) for a in plain.with_every_patch(plain.base)]
    assert space.restrict(lambda a: a["ce_weight"] != 1.0).mask(list(space.encode(space.base))[:-2]) == (
        *(True, False, True),
    )
    assert {space.sample(random.Random(seed))["ce_weight"] for seed in range(30)} == {0.3, 1.0, None}


def test_patches_are_multiples_of_every_stride_option():
    space = RonasSpace((64, 64, 64), overrides={"stride_4": [[2, 2, 2], [4, 4, 4], [3, 1, 1]]})
    assert space.unit == (48, 16, 16)
    assert all(o[0] % 48 == o[1] % 16 == 0 for o in space["patch_hw"].options)
    with pytest.raises(ValueError, match=r"options \[24\] of 'patch_d' must be multiples"):
        RonasSpace((64, 64, 64), overrides={"stride_4": [[4, 4, 4]], "patch_d": [32, 24]})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dilations": ["a"]}, ValueError, r"dilations must be positive whole numbers, received \['a'\]"),
        ({"overrides": 5}, ValueError, "overrides must give a list of options for each decision, received 5"),
        ({"kernel_sizes": [(3, 3, 3)] * 3}, ValueError, "kernel_sizes must be 4 tuples of 3 odd numbers, received"),
        ({"kernel_sizes": [(3, 3, 2)] * 4}, ValueError, "kernel_sizes must be 4 tuples of 3 odd numbers, received"),
        ({"kernel_sizes": [3, 3, 3, 3]}, ValueError, "kernel_sizes must be 4 tuples of 3 odd numbers, received"),
        ({"strides": [1, 2, 2, 2]}, ValueError, "strides must be 4 tuples of 3, received"),
        ({"strides": [(1, 1, 1)] * 3 + [(2, 2, 0)]}, ValueError, "strides must be 4 tuples of 3, received"),
        ({"overrides": {"stride_3": [[2, 2, 0]]}}, ValueError, "every option of stride_3 must be a list of 3 strides"),
        ({"dilations": 2}, ValueError, "the options of dilations must be a list, received 2"),
        ({"activations": "RELU"}, ValueError, "the options of activations must be a list"),
        ({"activations": [["LEAKYRELU", {"negative_slope": 0.1}]]}, ValueError, "names of MONAI's Act factory"),
        ({"overrides": {"stride_3": [2, 1]}}, ValueError, "every option of stride_3 must be a list of 3 strides"),
        ({"overrides": {"stride_3": []}}, ValueError, "at least one option"),
        ({"dilations": [60]}, ValueError, "not feasible"),
        ({"extra": [Decision("width", [1, 2])]}, ValueError, r"must not begin with .* received \['width'\]"),
        ({"extra": [{"name": "a", "options": [1]}]}, ValueError, "extra must be a list of decisions, received"),
        ({"extra": [Decision("a", [1]), Decision("a", [2])]}, ValueError, "names must be unique"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        RonasSpace((35, 50, 36), **arguments)
