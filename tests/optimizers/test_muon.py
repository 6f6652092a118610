# SPDX-License-Identifier: Apache-2.0
import copy
import io

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from monai_ronas.optimizers import Muon, muon, orthogonalized


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(2, 8, 3), nn.InstanceNorm3d(8, affine=True), nn.ReLU(), nn.Conv3d(8, 3, 1), nn.Conv3d(3, 4, 1)
    )


def gradients(net, seed=0):
    torch.manual_seed(seed)
    net.zero_grad(set_to_none=True)
    net(torch.randn(2, 2, 6, 6, 6)).square().mean().backward()


@pytest.mark.parametrize("shape", [(16, 54), (54, 16), (8, 8), (1, 27)])
def test_singular_values_become_alike_and_singular_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalized(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.mT @ result @ v.mT
    assert result.shape == shape
    assert torch.allclose(found, torch.diag(found.diagonal()), atol=1e-4)
    assert found.diagonal().min() > 0.65
    assert found.diagonal().max() < 1.25


def test_the_size_of_a_matrix_does_not_matter_and_nothing_stays_nothing():
    matrix = torch.randn(4, 9, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(orthogonalized(1000 * matrix), orthogonalized(matrix), atol=1e-4)
    assert not orthogonalized(torch.zeros(4, 9)).any()
    assert orthogonalized(matrix.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(16, 54), (54, 16)])
def test_matrices_at_once_are_as_each_by_itself(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(5))
    each = torch.stack([orthogonalized(matrix) for matrix in 10 * matrices])
    assert torch.allclose(orthogonalized(matrices), each, atol=1e-6)


class TensorFloat32(TorchFunctionMode):
    """Matrix products with operands of ten bits after the point, as on the GPUs that know TF32."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.matmul, torch.Tensor.__matmul__):
            args = [((a.view(torch.int32) + 2**12) & -(2**13)).view(torch.float32) for a in map(torch.clone, args)]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(3, 16), (16, 27), (32, 432)])
@pytest.mark.parametrize("noise", [0.0, 1e-5, 1e-3, 1e-1])
def test_few_directions_and_rough_products_do_not_make_it_larger(shape, noise):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        left, right = torch.randn(shape[0], 1, generator=generator), torch.randn(1, shape[1], generator=generator)
        matrix = left @ right + noise * torch.randn(shape, generator=generator)
        with TensorFloat32():
            rough = orthogonalized(matrix - matrix.mean(dim=0))  # a softmax's rows sum to zero
        assert torch.linalg.matrix_norm(rough, 2) < 1.25
        with torch.autocast("cpu", torch.bfloat16):
            within = orthogonalized(matrix)
        assert torch.equal(within, orthogonalized(matrix))


class Products(TorchDispatchMode):
    """Counts products of matrices."""

    def __init__(self):
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.products += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm)
        return function(*args, **(kwargs or {}))


def test_a_gpu_has_alike_kernels_at_once_and_a_cpu_each_by_itself():
    """Of the 18 products for a matrix, 4 have its longer side: one each for the three shapes, and 14 for all."""
    counted = {}
    shapes = [(4, 4, 3, 3, 3)] * 5 + [(4, 2, 3, 3, 3), (8, 4, 1, 1, 1)]
    for device in ("cpu", "cuda"):
        with FakeTensorMode(), Products() as counted[device]:
            kernels = [torch.zeros(shape, device=device, requires_grad=True) for shape in shapes]
            for kernel in kernels:
                kernel.grad = torch.zeros_like(kernel)
            Muon(kernels).step()
    assert counted["cpu"].products == 7 * (4 + 14)
    assert counted["cuda"].products == 3 * 4 + 14


def test_a_gpu_has_no_more_kernels_at_once_than_their_copies_may_take(monkeypatch):
    monkeypatch.setattr(muon, "_takes_many", lambda device: True)
    monkeypatch.setattr(muon, "AT_ONCE", 300)
    kernels = [nn.Parameter(torch.ones(shape)) for shape in [(4, 2, 27), (9, 4, 27), (4, 1, 27), (2, 2, 27), (9, 1, 1)]]
    moved = []
    optimizer = Muon(kernels)
    monkeypatch.setattr(optimizer, "_move", lambda portion, group: moved.append([tuple(k.shape) for k in portion]))
    for kernel in kernels:
        kernel.grad = torch.ones_like(kernel)
    optimizer.step()
    assert moved == [[(9, 1, 1), (2, 2, 27), (4, 1, 27)], [(4, 2, 27)], [(9, 4, 27)]]


def test_alike_kernels_at_once_move_as_each_by_itself(monkeypatch):
    shapes = [(8, 8, 3, 3, 3), (8, 8, 3, 3, 3), (8, 3, 3, 3, 3), (16, 8, 1, 1, 1), (3, 16, 1, 1, 1), (16, 16, 3, 3, 3)]
    ends = []
    for at_once in (False, True):
        monkeypatch.setattr(muon, "_takes_many", lambda device, many=at_once: many)
        generator = torch.Generator().manual_seed(6)
        kernels = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        kernels[-1].used_shape = (8, 8, 3, 3, 3)
        optimizer = Muon(kernels, lr=0.1)
        for _ in range(3):
            for kernel in kernels:
                kernel.grad = torch.randn(kernel.shape, generator=generator)
            optimizer.step()
        ends.append(kernels)
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("length", [0.1, 10.0])
def test_the_decay_leads_a_kernel_to_one_length_whatever_it_was(length):
    """Independent steps of the length s lead a kernel to lr s / sqrt(1 - (1 - lr decay)^2)."""
    generator = torch.Generator().manual_seed(8)
    kernel = nn.Parameter(length * torch.randn(8, 4, 3, 3, 3, generator=generator))
    optimizer = Muon([kernel], lr=0.5, momentum=0.0)
    steps = []
    for _ in range(250):
        kernel.grad = torch.randn(kernel.shape, generator=generator)
        steps.append(orthogonalized(kernel.grad.view(8, -1)).norm())
        optimizer.step()
    expected = 0.5 * torch.stack(steps).mean() / (1 - (1 - 0.5 * 0.05) ** 2) ** 0.5
    torch.testing.assert_close(kernel.detach().norm(), expected, rtol=0.15, atol=0.0)


def test_a_kernels_first_step_is_its_orthogonalised_gradient():
    net = network()
    optimizer = Muon(net.parameters(), lr=0.1, weight_decay=0.5)
    gradients(net)
    kernels = net[0].weight, net[3].weight
    expected = {k: (k.detach() * (1 - 0.1 * 0.5), orthogonalized(k.grad.flatten(1))) for k in kernels}
    optimizer.step()
    for kernel, (decayed, update) in expected.items():
        assert torch.allclose(kernel, decayed - 0.1 * update.view(kernel.shape), atol=1e-4)


def test_a_kernel_with_more_outputs_than_inputs_makes_larger_steps():
    kernel = nn.Parameter(torch.zeros(8, 2, 1, 1, 1))
    kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(3))
    expected = -0.1 * 2.0 * orthogonalized(kernel.grad.flatten(1)).view(kernel.shape)
    Muon([kernel], lr=0.1).step()
    assert torch.allclose(kernel, expected, atol=1e-5)


def test_momentum_looks_ahead():
    kernel = nn.Parameter(torch.zeros(2, 3, 1, 1, 1))
    optimizer = Muon([kernel], lr=0.1, momentum=0.5, weight_decay=0.0)
    first, second = torch.randn(2, *kernel.shape, generator=torch.Generator().manual_seed(4))
    kernel.grad = first.clone()
    optimizer.step()
    before = kernel.detach().clone()
    kernel.grad = second.clone()
    optimizer.step()
    memory = 0.5 * (0.5 * first) + 0.5 * second
    expected = -0.1 * orthogonalized((0.5 * second + 0.5 * memory).flatten(1)).view(kernel.shape)
    assert torch.allclose(kernel - before, expected, atol=1e-5)


def test_the_rest_is_adamws():
    ours, theirs = network(), network()
    optimizer = Muon(ours.parameters(), lr=0.02, adam_lr_factor=0.5, weight_decay=0.1)
    rest = [w for w in theirs.parameters() if w.dim() == 1]
    adamw = torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1)
    for seed in range(3):
        gradients(ours, seed)
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.grad = mine.grad.clone()
        optimizer.step()
        adamw.step()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs if mine.dim() == 1)
    assert not torch.allclose(ours[0].weight, theirs[0].weight)


def test_weights_without_a_gradient_stay_and_gradients_are_left_as_they_are():
    net = network()
    before = copy.deepcopy(net.state_dict())
    optimizer = Muon(net.parameters())
    gradients(net)
    net[0].weight.grad = net[1].bias.grad = None
    kept = [None if w.grad is None else w.grad.clone() for w in net.parameters()]
    optimizer.step()
    assert len(optimizer.param_groups) == 2
    for weight, gradient in zip(net.parameters(), kept, strict=True):
        assert weight.grad is None if gradient is None else torch.equal(weight.grad, gradient)
    moved = {name for name, weight in net.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved == {"0.bias", "1.weight", "3.weight", "3.bias", "4.weight", "4.bias"}
    assert net[0].weight not in optimizer.state


def test_a_saved_state_goes_on_to_the_same_weights():
    ends = []
    for interrupted in (False, True):
        net = network().to(memory_format=torch.channels_last_3d)
        optimizer = Muon(net.parameters())
        for seed in range(4):
            if interrupted and seed == 2:
                file = io.BytesIO()
                torch.save(optimizer.state_dict(), file)
                optimizer = Muon(net.parameters(), lr=1.0, momentum=0.1)
                optimizer.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
            gradients(net, seed)
            optimizer.step()
        assert {int(optimizer.state[w]["step"]) for w in net.parameters()} == {4}
        ends.append(net.state_dict())
        assert net[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_hooks_run_once_a_step_whatever_else_was_made():
    net, calls = network(), []
    torch.optim.Adam(net.parameters())
    torch.optim.AdamW(net.parameters())
    optimizer = Muon(net.parameters())
    optimizer.register_step_post_hook(lambda *_: calls.append(len(optimizer.param_groups)))
    gradients(net)
    optimizer.step()
    assert calls == [2]


def test_a_closure_is_called_with_gradients():
    net = network()

    def closure():
        gradients(net)
        return 7.0

    before = net[0].weight.detach().clone()
    assert Muon(net.parameters()).step(closure) == 7.0
    assert not torch.equal(net[0].weight, before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, received 1.0"),
        ({"adam_lr_factor": -1}, "adam_lr_factor must not be negative, received -1"),
        ({"lr": -0.1}, "Invalid learning rate"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Muon(network().parameters(), **given)


def test_other_things_than_weights_are_refused():
    with pytest.raises(ValueError, match="params is empty"):
        Muon([])
    with pytest.raises(TypeError, match="not groups or names with weights"):
        Muon([{"params": list(network().parameters())}])
    with pytest.raises(TypeError, match="not groups or names with weights"):
        Muon(network().named_parameters())
