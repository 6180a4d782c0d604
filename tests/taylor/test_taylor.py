"""The Taylor engine against nested reverse-mode autograd."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pinntk.taylor import Basis, Jet
from tests.support.networks import NETWORKS, build
from tests.support.reference import derivative, relative

TOLERANCE = 1e-12
ORDER_4 = [index for index in product(range(5), repeat=2) if sum(index) <= 4]
ORDER_3 = [index for index in ORDER_4 if sum(index) <= 3]


def points(n=6, d=2, seed=0):
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tensor(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def jet(indices=((2, 0), (0, 1)), n=6, d=2, laplacian_axes=()):
    return Jet.seed(Basis.spanning(indices, d, laplacian_axes), points(n, d))


def assert_derivatives(function, oracle, x, indices):
    """Every derivative of every output of `function` on jets equals that of `oracle` under nested autograd."""
    indices = list(indices)
    output = function(Jet.seed(Basis.spanning(indices, x.shape[1]), x))
    assert output.shape == function(x).shape
    for index in indices:
        expected = torch.stack([derivative(oracle, x, field, index) for field in range(output.shape[1])], 1)
        assert relative(output.derivative(index), expected) <= TOLERANCE, index


# The basis.


def test_basis_is_downward_closed_with_the_value_first():
    basis = Basis.spanning([(2, 1)], 2)
    assert basis.indices == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert (basis.size, basis.order, basis.degrees) == (6, 3, (0, 1, 1, 2, 2, 3))
    assert (1, 1) in basis
    assert (0, 2) not in basis


def test_basis_collapses_the_laplacian_unless_second_derivatives_are_all_there():
    collapsed = Basis.spanning([], 3, range(3))
    assert (collapsed.size, collapsed.laplacian_axes) == (5, (0, 1, 2))
    full = Basis.spanning([(2, 0), (0, 2)], 2, range(2))
    assert (full.size, full.laplacian_axes) == (5, ())
    assert full.laplacian_terms((0, 1)) == [(full.position((2, 0)), 2.0), (full.position((0, 2)), 2.0)]


def test_basis_union_holds_both():
    left, right = Basis.spanning([(1, 0)], 2), Basis.spanning([(0, 2)], 2)
    assert left.union(right) == Basis.spanning([(1, 0), (0, 2)], 2)
    assert left.union(Basis.spanning([], 2, (0, 1))).laplacian_axes == (0, 1)
    with pytest.raises(ValueError, match="two Laplacians over different coordinates"):
        Basis.spanning([], 2, (0, 1)).union(Basis.spanning([], 2, (1,)))


def test_basis_components_of_a_part():
    whole = Basis.spanning([(2, 0), (0, 2), (1, 1)], 2)
    assert [whole.indices[s] for s in whole.components_of(Basis.spanning([(0, 1)], 2))] == [(0, 0), (0, 1)]
    laplacian = Basis.spanning([], 2, (0, 1))
    assert [whole.indices[s] for s in whole.components_of(laplacian)] == [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0)]
    mixed = Basis.spanning([(1, 1)], 2, (0, 1))
    assert mixed.components_of(laplacian) == [0, 1, 2, mixed.size - 1]


@pytest.mark.parametrize("index", [(1,), (1, 0, 0), (-1, 0)])
def test_basis_refuses_a_multi_index_that_does_not_fit(index):
    with pytest.raises(ValueError, match="does not fit 2 coordinates"):
        Basis.spanning([index], 2)


# Elementwise rules. "positive": on (0.1, 1.6) only.

ELEMENTWISE = [
    ("exp", torch.exp),
    ("expm1", torch.expm1),
    ("sin", torch.sin),
    ("cos", torch.cos),
    ("tan", torch.tan),
    ("sinh", torch.sinh),
    ("cosh", torch.cosh),
    ("tanh", torch.tanh),
    ("atan", torch.atan),
    ("sigmoid", torch.sigmoid),
    ("special.expit", torch.special.expit),
    ("square", torch.square),
    ("erf", torch.erf),
    ("abs", torch.abs),
    ("neg", torch.neg),
    ("silu", F.silu),
    ("gelu", F.gelu),
    ("gelu tanh", lambda x: F.gelu(x, approximate="tanh")),
    ("softplus", F.softplus),
    ("softplus beta", lambda x: F.softplus(x, beta=2.5)),
    ("relu", F.relu),
    ("relu6", F.relu6),
    ("leaky_relu", F.leaky_relu),
    ("leaky_relu slope", lambda x: F.leaky_relu(x, 0.3)),
    ("prelu", lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype))),
    ("elu", F.elu),
    ("elu alpha", lambda x: F.elu(x, 0.7)),
    ("selu", F.selu),
    ("celu", lambda x: F.celu(x, 0.5)),  # torch keeps 1 / alpha in float32: its slope is exact for powers of 2 only
    ("mish", F.mish),
    ("logsigmoid", F.logsigmoid),
    ("softsign", F.softsign),
    ("tanhshrink", F.tanhshrink),
    ("hardtanh", lambda x: F.hardtanh(x, -0.2, 0.4)),
    ("clamp", lambda x: torch.clamp(x, -0.2, 0.4)),
    ("clamp min", lambda x: x.clamp(min=0.1)),
    ("module", nn.Tanh()),
    ("method", lambda x: x.sin()),
    ("power 0", lambda x: x**0 + x),
    ("power 1", lambda x: x**1),
    ("power 3", lambda x: x**3),
    ("power 6", lambda x: torch.pow(x, 6)),
    ("power -2", lambda x: (x - 5) ** -2),
    ("base 2.5", lambda x: 2.5**x),
    ("tensor base", lambda x: torch.tensor(0.4, dtype=torch.float64) ** x),
    ("arithmetic", lambda x: (1 - x) * (x + 2) / (3 + x) - x / 7 + 2 / (x + 4) - (-x)),
    ("add alpha", lambda x: torch.add(x, torch.sin(x), alpha=0.3) - torch.sub(1.0, x, alpha=2)),
    ("rsub", lambda x: torch.rsub(x, 2 * torch.cos(x), alpha=0.5)),
    ("addcmul", lambda x: torch.addcmul(x, torch.sin(x), x, value=0.4)),
    ("lerp", lambda x: torch.lerp(x, torch.sin(x), 0.3)),
]
POSITIVE = [
    ("log", torch.log),
    ("log1p", torch.log1p),
    ("sqrt", torch.sqrt),
    ("rsqrt", torch.rsqrt),
    ("reciprocal", torch.reciprocal),
    ("power 2.5", lambda x: x**2.5),
    ("power jet", lambda x: x ** torch.sin(x)),
    ("power tensor", lambda x: x ** torch.tensor(1.7, dtype=torch.float64)),
]


@pytest.mark.parametrize("function", [f for _, f in ELEMENTWISE], ids=[name for name, _ in ELEMENTWISE])
def test_elementwise_rule(function):
    def whole(x):
        return function(1.5 * x[:, :1] - x[:, 1:] - 0.3 * x[:, :1] * x[:, 1:])

    assert_derivatives(whole, whole, points(), ORDER_4)


@pytest.mark.parametrize("function", [f for _, f in POSITIVE], ids=[name for name, _ in POSITIVE])
def test_elementwise_rule_on_positive_numbers(function):
    def whole(x):
        return function(0.1 + x[:, :1] + 0.5 * x[:, :1] * x[:, 1:])

    assert_derivatives(whole, whole, points(), ORDER_4)


@pytest.mark.parametrize("exponent", [2, 2.5, 3.5, torch.tensor(2.0), torch.tensor(3), np.int64(2)], ids=repr)
def test_powers_where_the_base_is_zero_or_negative(exponent):
    base = [-1.5, 0.0, 0.7] if float(exponent).is_integer() else [0.0, 0.3, 0.7]
    x = torch.tensor(base, dtype=torch.float64)[:, None]
    assert_derivatives(lambda x: x**exponent, lambda x: x ** float(exponent), x, [(0,), (1,), (2,)])


@pytest.mark.parametrize("function", [F.hardtanh, F.relu6, torch.relu, torch.abs, lambda x: x.clamp(-1, 1), F.leaky_relu])
def test_kinks_have_the_slope_that_autograd_gives_them(function):
    x = torch.tensor([[-1.0], [0.0], [1.0], [6.0]], dtype=torch.float64)
    assert_derivatives(function, function, x, [(0,), (1,)])


# Structural rules: (n, d) -> (n, outputs).

WEIGHT, ROW, CUBE = tensor(2, 4), tensor(4), tensor(4, 2, 3)


def wide(x):
    return torch.sin(x @ WEIGHT)


def by_hand_layer_norm(x):
    centerd = x - x.mean(-1, keepdim=True)
    return centerd / (centerd.square().mean(-1, keepdim=True) + 1e-5) ** 0.5 * (1 + ROW) + ROW


BATCH_NORM = nn.BatchNorm1d(4).double().eval()
BATCH_NORM.running_mean.copy_(tensor(4))
BATCH_NORM.running_var.copy_(tensor(4).square() + 0.5)

STRUCTURAL = {
    "cat": lambda x: torch.cat([x, wide(x), torch.ones(len(x), 1, dtype=x.dtype)], 1),
    "cat last": lambda x: torch.cat((x, x * x), dim=-1),
    "hstack": lambda x: torch.hstack([x[:, :1], wide(x)]),
    "column_stack": lambda x: torch.column_stack([x[:, 0], wide(x)]),
    "stack": lambda x: torch.stack([x[:, 0], x[:, 1] ** 2, torch.zeros(len(x), dtype=x.dtype)], 1),
    "stack flat": lambda x: torch.stack([x, torch.sin(x)], -1).flatten(1),
    "slices": lambda x: wide(x)[:, 1:3] * wide(x)[..., 2:],
    "columns": lambda x: wide(x)[:, [0, 2]] + wide(x)[:, 3, None],
    "index None": lambda x: (wide(x)[:, None, :] * wide(x)[:, :, None])[:, 1],
    "reshape": lambda x: wide(x).reshape(-1, 2, 2).sum(1),
    "view": lambda x: wide(x).view(len(x), 2, 2)[:, :, 1],
    "flatten": lambda x: wide(x).unflatten(1, (2, 2)).flatten(1),
    "module flatten": lambda x: nn.Flatten()(wide(x).unflatten(-1, (2, -1))),
    "unsqueeze": lambda x: wide(x).unsqueeze(1).squeeze(1),
    "unsqueeze last": lambda x: (wide(x).unsqueeze(-1) * x.unsqueeze(1)).sum(-1),
    "squeeze": lambda x: wide(x)[:, :1].squeeze(-1).unsqueeze(1),
    "transpose": lambda x: wide(x).unflatten(1, (2, 2)).transpose(1, 2).flatten(1),
    "permute": lambda x: wide(x).unflatten(1, (2, 2)).permute(0, 2, 1).flatten(1),
    "expand": lambda x: x[:, :1].expand(-1, 3) * x[:, 1:].expand_as(x[:, :1]),
    "repeat": lambda x: x.repeat(1, 2),
    "sum": lambda x: wide(x).sum(1, keepdim=True),
    "sum of two": lambda x: torch.sum(wide(x).unflatten(1, (2, 2)), dim=(1, 2))[:, None],
    "sum axis": lambda x: wide(x).sum(axis=1, keepdim=True),
    "mean": lambda x: wide(x).mean(-1, keepdim=True) * wide(x).mean(dim=1)[:, None],
    "prod": lambda x: torch.prod(wide(x), 1, keepdim=True),
    "norm": lambda x: wide(x).norm(dim=1, keepdim=True),
    "linalg.norm": lambda x: torch.linalg.norm(wide(x), dim=1)[:, None],
    "linalg.norm ord": lambda x: torch.linalg.norm(wide(x), ord=2, dim=1)[:, None],
    "linalg.vector_norm": lambda x: torch.linalg.vector_norm(wide(x), dim=1, keepdim=True),
    "split": lambda x: torch.split(wide(x), 2, 1)[0] / (2 + torch.split(wide(x), [1, 3], dim=1)[0]),
    "chunk": lambda x: torch.mul(*wide(x).chunk(2, dim=-1)),
    "unbind": lambda x: torch.stack([a * b for a, b in [wide(x).unbind(1)[:2]]], 1),
    "narrow": lambda x: wide(x).narrow(1, 1, 2) * wide(x).select(1, 0).unsqueeze(1),
    "index_select": lambda x: wide(x).index_select(1, torch.tensor([3, 1])),
    "flip": lambda x: torch.flip(wide(x), [1]),
    "where": lambda x: torch.where(wide(x) > 0.2, wide(x), x[:, :1] ** 2),
    "where number": lambda x: torch.where(x[:, 1:] < 0.5, wide(x), 0.25),
    "mask": lambda x: wide(x) * (x[:, :1] >= 0.5) + x[:, 1:] * torch.sign(x[:, :1] - 0.4),
    "equal": lambda x: wide(x) * (0 * x[:, :1] == 0) + x[:, 1:] * (0 * x[:, :1] != 0),
    "softmax": lambda x: torch.softmax(wide(x), -1),
    "module softmax": lambda x: nn.Softmax(dim=1)(wide(x)),
    "batch_norm": lambda x: BATCH_NORM(wide(x)),
    "dropout": lambda x: F.dropout(wide(x), 0.5, training=False),
    "einsum": lambda x: torch.einsum("ni,ijk->njk", wide(x), CUBE).flatten(1),
    "einsum reversed": lambda x: torch.einsum("ij, ni -> nj", WEIGHT, x),
    "matmul": lambda x: torch.matmul(wide(x), ROW).unsqueeze(1) + x @ WEIGHT,
    "matmul numpy": lambda x: x @ WEIGHT.numpy() if isinstance(x, Jet) else x @ WEIGHT,
    "matmul of two": lambda x: (wide(x).unflatten(1, (2, 2)) @ torch.cos(wide(x)).unflatten(1, (2, 2))).flatten(1),
    "matmul deep": lambda x: F.linear(wide(x).unflatten(1, (2, 2)), WEIGHT.T, ROW).flatten(1),
    "divided by": lambda x: wide(x) / (2 + x[:, :1] * wide(x)),
    "one over": lambda x: torch.div(ROW, 2 + wide(x)),
    "numpy times": lambda x: np.array([0.5, -2.0]) * x + np.float64(3) * x if isinstance(x, Jet) else x * 3 + x * FACTORS,
    "constants": lambda x: ROW - wide(x) * ROW / (ROW.square() + 1) + torch.ones(len(x), 1, dtype=x.dtype),
    "casts": lambda x: wide(x).double().to(torch.float64).clone().contiguous() + torch.zeros_like(wide(x)),
    "prelu of channels": lambda x: F.prelu(torch.stack([wide(x)] * 4, 1), ROW.square()).flatten(1),
}
FACTORS = torch.tensor([0.5, -2.0], dtype=torch.float64)


@pytest.mark.parametrize("function", STRUCTURAL.values(), ids=STRUCTURAL)
def test_structural_rule(function):
    assert_derivatives(function, function, points(), ORDER_3)


def test_layer_norm():
    # The oracle is written by hand: torch 2.13's own nested reverse-mode third derivative of native_layer_norm is wrong.
    norm = nn.LayerNorm(4).double()
    norm.weight.data, norm.bias.data = 1 + ROW, ROW
    assert_derivatives(lambda x: norm(wide(x)), lambda x: by_hand_layer_norm(wide(x)), points(), ORDER_4)


def test_batch_of_one_and_of_the_size_of_the_features():
    for n in (1, 2, 4):
        assert_derivatives(STRUCTURAL["constants"], STRUCTURAL["constants"], points(n), ORDER_3)


# Networks.


@pytest.mark.parametrize("name", NETWORKS)
def test_network_to_order_four(name):
    network = build(name, 2, 2)
    assert_derivatives(network, network, points(5), ORDER_4)


@pytest.mark.parametrize("d", [1, 3, 10])
@pytest.mark.parametrize("name", NETWORKS)
def test_collapsed_laplacian_is_the_sum_of_second_derivatives(name, d):
    network, x = build(name, d), points(4, d)
    basis = Basis.spanning([], d, range(d))
    assert basis.size == (d + 2 if d > 1 else 3)
    second = [derivative(network, x, 0, tuple(2 * (i == axis) for i in range(d))) for axis in range(d)]
    found = network(Jet.seed(basis, x)).laplacian(tuple(range(d)))[:, 0]
    assert relative(found, torch.stack(second).sum(0)) <= TOLERANCE


def test_laplacian_over_some_coordinates_beside_a_third_derivative():
    network, x = build("plain", 3), points(4, 3)
    output = network(Jet.seed(Basis.spanning([(3, 0, 0), (0, 1, 1)], 3, (1, 2)), x))
    second = derivative(network, x, 0, (0, 2, 0)) + derivative(network, x, 0, (0, 0, 2))
    assert relative(output.laplacian((1, 2))[:, 0], second) <= TOLERANCE
    assert relative(output.derivative((3, 0, 0))[:, 0], derivative(network, x, 0, (3, 0, 0))) <= TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_through_a_jet_equal_those_through_nested_autograd(name):
    network, x = build(name, 2), points(5)
    index, parameters = (2, 1), list(network.parameters())
    through_jet = network(Jet.seed(Basis.spanning([index], 2), x)).derivative(index).square().sum()
    nested = derivative(network, x, 0, index).square().sum()
    found = torch.autograd.grad(through_jet, parameters, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(nested, parameters, allow_unused=True, materialize_grads=True)
    assert relative(torch.cat([g.flatten() for g in found]), torch.cat([g.flatten() for g in expected])) <= TOLERANCE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NETWORKS)
def test_network_on_a_gpu(name):
    network, x = build(name, 2), points(5)
    basis = Basis.spanning(ORDER_3, 2)
    expected = [network(Jet.seed(basis, x)).derivative(index).cpu() for index in ORDER_3]
    output = network.cuda()(Jet.seed(basis, x.cuda()))
    for index, value in zip(ORDER_3, expected, strict=True):
        assert relative(output.derivative(index).cpu(), value) <= TOLERANCE
