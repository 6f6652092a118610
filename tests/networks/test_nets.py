# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch
from monai.data import MetaTensor
from monai.networks import eval_mode

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.blocks import SearchableConvBlock, SearchableDownSample, SumSkip
from monai_ronas.networks.blocks.instance_norm import ChannelsLastInstanceNorm
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace

CHANNELS = (4, 6, 8, 10)


@pytest.fixture
def space():
    return RonasSpace((32, 40, 24), activations=["LEAKYRELU", "RELU", "ELU", "PRELU"])


@pytest.fixture
def supernet(space):
    torch.manual_seed(0)
    return RonasSuperNet(space, 2, 3, channels=CHANNELS)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_derived_equals_supernet_bit_for_bit(space, supernet, layout):
    supernet = supernet.to(memory_format=layout)
    image = torch.randn(1, 2, 33, 41, 23)
    for seed in range(6):
        architecture = space.sample(random.Random(seed))
        supernet.select(architecture)
        derived = supernet.derive(architecture).to(memory_format=layout)
        assert set(derived.state_dict()) <= set(supernet.state_dict())
        with eval_mode(supernet, derived):
            expected = PadToStrideInferer()(image, supernet)
            assert torch.equal(PadToStrideInferer()(image, derived), expected)
            assert expected.shape == (1, 3, 33, 41, 23)


def test_children_differ_and_selecting_back_restores_the_function(space, supernet):
    image = torch.randn(1, 2, 32, 40, 24)
    other = space.base.replace(dilation_3=3, activation="ELU", skip_2_1=True, stride_4=(1, 1, 1))
    with eval_mode(supernet):
        first = supernet(image)
        supernet.select(other)
        second = supernet(image)
        supernet.select(space.base)
        assert not torch.allclose(first, second)
        assert torch.equal(first, supernet(image))


def test_unused_weights_have_no_gradient_and_do_not_move(space, supernet):
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.1)
    supernet.train()
    for architecture in (space.largest, space.base):  # the first step gives every weight an optimiser state
        supernet.select(architecture)
        before = {k: v.clone() for k, v in supernet.state_dict().items()}
        optimizer.zero_grad(set_to_none=True)
        sum(o.square().mean() for o in supernet(torch.randn(1, 2, 32, 40, 24))).backward()
        optimizer.step()
    unused = "decoder.0.skips.1.project.weight"
    assert dict(supernet.named_parameters())[unused].grad is None
    assert torch.equal(before[unused], supernet.state_dict()[unused])
    used = "decoder.0.skips.3.project.weight"
    assert not torch.equal(before[used], supernet.state_dict()[used])


@pytest.mark.parametrize("dilation", [1, 2])
def test_flat_kernels_keep_slices_apart(dilation):
    kwargs = {"channels": (4, 6), "strides": (1, (2, 2, 1)), "dilations": (dilation, dilation), "norm": "BATCH"}
    torch.manual_seed(0)
    flat, other = (RonasUNet(3, 1, 2, kernel_sizes=k, **kwargs).eval() for k in ([(3, 3, 1)] * 2, [(3, 3, 1), 3]))
    assert flat.encoder[0].conv1.conv.weight.shape == flat.decoder[0].conv2.conv.weight[:, :1].shape == (4, 1, 3, 3, 1)
    assert other.encoder[1].conv1.conv.weight.shape == (6, 4, 3, 3, 3)
    image = torch.randn(1, 1, 16, 16, 6)
    changed = image.clone()
    changed[..., 2] += 1
    with torch.no_grad():
        moved = [(net(changed) - net(image)).abs().amax((0, 1, 2, 3)) > 0 for net in (flat, other)]
    assert moved[0].tolist() == [False, False, True, False, False, False]
    assert moved[1].sum() > 1


def test_a_supernet_with_flat_kernels_derives_them():
    space = RonasSpace((32, 32, 8), (1, 1, 5), kernel_sizes=[(3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3)])
    supernet = RonasSuperNet(space, 1, 2, channels=(4, 6, 8, 10)).eval()
    image = torch.randn(1, 1, 32, 32, 8)
    for seed in range(4):
        supernet.select(space.sample(random.Random(seed)))
        derived = supernet.derive(supernet.architecture)
        assert derived.decoder[-1].conv1.conv.kernel_size == derived.encoder[1].conv2.conv.kernel_size == (3, 3, 1)
        with torch.no_grad():
            assert torch.equal(derived(image), supernet(image))


def test_deep_supervision_in_training_only():
    net = RonasUNet(3, 1, 2, channels=(4, 8, 16), strides=(1, 2, (2, 2, 1)), dilations=(1, 2, 1))
    image = torch.zeros(2, 1, 16, 16, 8)
    assert [tuple(o.shape) for o in net.train()(image)] == [(2, 2, 16, 16, 8), (2, 2, 8, 8, 4)]
    assert net.eval()(image).shape == (2, 2, 16, 16, 8)
    assert net.divisor == [4, 4, 2]
    assert not any(k.startswith("heads.1") for k in RonasUNet(3, 1, 2, deep_supervision=False).state_dict())


def test_a_searched_stride_of_the_stem_is_followed():
    space = RonasSpace((32, 32, 32), stages=3, strides=[(2, 2, 2)] * 3, searched_strides=(1, 3), min_cells=2)
    supernet = RonasSuperNet(space, 1, 2, channels=(4, 6, 8)).train()
    for stride in ((2, 2, 2), (1, 1, 1)):
        architecture = space.base.replace(stride_1=stride)
        supernet.select(architecture)
        levels = supernet(torch.zeros(1, 1, 32, 32, 32))
        finest = 32 // stride[0]
        assert [tuple(level.shape[2:]) for level in levels] == [(finest,) * 3, (finest // 2,) * 3]
        assert supernet.eval()(torch.zeros(1, 1, 32, 32, 32)).shape[2:] == (32, 32, 32)
        supernet.train()


def test_two_dimensions_and_strided_stem():
    net = RonasUNet(2, 1, 2, channels=(4, 8), strides=(2, 2), dilations=(1, 1)).eval()
    assert net.divisor == [4, 4]
    assert PadToStrideInferer()(torch.zeros(1, 1, 17, 30), net).shape == (1, 2, 17, 30)


def test_scripted_equals_eager(space, supernet):
    derived = supernet.derive(space.sample(random.Random(5))).eval()
    image = torch.randn(1, 2, 32, 40, 24)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(derived)(image), derived(image))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims"),
        ({"channels": (4, 8)}, "one entry per stage"),
        ({"kernel_sizes": (3, 3, 3)}, "one entry per stage"),
        ({"kernel_sizes": (3, 3, 3, (3, 3, 2))}, "odd"),
        ({"skips": [(1, 2)]}, "stage <= level"),
        ({"skips": [(4, 1)]}, "stage <= level"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RonasUNet(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 2, **kwargs})


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_is_torchs(layout):
    torch.manual_seed(0)
    ours, theirs = ChannelsLastInstanceNorm(5), torch.nn.InstanceNorm3d(5, affine=True)
    theirs.load_state_dict({k: torch.randn_like(v) for k, v in ours.state_dict().items()})
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 5, 6, 7, 8).to(memory_format=layout)
    y = ours(x)
    torch.testing.assert_close(y, theirs(x), rtol=1e-4, atol=1e-5)
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("samples", [1, 3])
def test_instance_norm_keeps_the_layout_whatever_the_device(samples):
    with torch.device("meta"):
        x = torch.zeros(samples, 5, 6, 7, 8).contiguous(memory_format=torch.channels_last_3d)
        y = ChannelsLastInstanceNorm(8)(x)
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


def test_block_knows_its_activations():
    block = SearchableConvBlock(3, 1, 4, act="RELU")
    with pytest.raises(ValueError, match="relu"):
        block.select(dilation=1, act="ELU", width=4)
    block.offer(["ELU"])
    block.select(dilation=2, act="ELU", width=3)
    assert block(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)


def test_drop_path_drops_whole_samples_in_training_only():
    torch.manual_seed(0)
    skip = SumSkip(3, 1, 2, 2, stride=(1, 1, 1), drop_path=0.5)
    x = torch.randn(64, 2, 2, 2, 2)
    full = skip.eval()(x)
    dropped = skip.train()(x)
    zero = dropped.flatten(1).abs().sum(1) == 0
    assert 16 < int(zero.sum()) < 48
    torch.testing.assert_close(dropped[~zero], 2 * full[~zero])


def test_metadata_are_left_out_of_training_and_kept_in_prediction():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    volume = MetaTensor(torch.randn(2, 1, 8, 8, 8), affine=affine)
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 2), dilations=(1, 1))
    assert [type(level) for level in net(volume)] == [torch.Tensor]
    with torch.no_grad():
        predicted = PadToStrideInferer()(volume, net.eval())
    assert torch.equal(predicted.affine, affine)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_supernet_derives_whatever_a_restricted_space_samples(share):
    space = RonasSpace((64, 64, 64))
    costs = ResourceEstimator(space, channels=(4, 6, 8, 10), in_channels=1, out_channels=2)
    least = min(costs.training_bytes(a, crops=1) for a in space.with_every_patch(space.base) if space.is_feasible(a))
    most = costs.training_bytes(space.largest, crops=1)
    limited = space.restrict(lambda a: costs.training_bytes(a, crops=1) <= least + share * (most - least))
    network = RonasSuperNet(limited, 1, 2, channels=(4, 6, 8, 10))
    whole = RonasSuperNet(space, 1, 2, channels=(4, 6, 8, 10))
    assert network.state_dict().keys() == whole.state_dict().keys()
    for seed in range(20):
        child = limited.sample(random.Random(seed))
        network.select(child)
        assert network.derive(child).state_dict().keys() <= network.state_dict().keys()


def test_a_supernet_refuses_a_skip_that_it_has_not():
    space = RonasSpace((32, 32, 32), overrides={"skip_2_1": [False]})
    network = RonasSuperNet(space, 1, 2, channels=(4, 6, 8, 10))
    with pytest.raises(ValueError, match=r"offers no skips \[\(2, 1\)\]"):
        network.select({**space.base, "skip_2_1": True})


@pytest.mark.parametrize(("size", "stride"), [((7, 8, 5), (2, 3, 1)), ((6, 9), (2, 2))])
def test_pooling_is_the_same_with_a_gradient_and_without(size, stride):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    pooled = SearchableDownSample(len(size), stride)(x)
    assert pooled.shape[2:] == tuple(n // k for n, k in zip(size, stride, strict=True))
    assert torch.equal(pooled, SearchableDownSample(len(size), stride)(x.requires_grad_()))
