"""The factored kernel against the Jacobian of the oracle, row by row."""

import warnings
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pinntk.nn import MLP
from pinntk.ntk import Factors, Outer, factors, gram, kernel, traces
from pinntk.problem import Box, Problem, boundary, residual
from pinntk.taylor import DependentPointsError
from tests.support import reference
from tests.support.examples import EXAMPLES, Example, burgers, laplace
from tests.support.networks import NETWORKS, WITHOUT_RULE, build
from tests.support.reference import relative
from tests.support.sweeps import pairs, sweep

TOLERANCE = 1e-12
EPS = torch.finfo(torch.float64).eps
gram_module = import_module("pinntk.ntk._gram")
CASES = pairs(NETWORKS, EXAMPLES, each=1)


def case(name, example):
    problem, points = EXAMPLES[example].load()
    return build(name, problem.domain.dimension, len(problem.fields)), problem, points


@pytest.fixture
def form(request, monkeypatch):
    """Forces one form of the product, and tiles and chunks so small that several ragged ones arise."""
    monkeypatch.setattr(
        gram_module, "ELEMENTWISE_COST", {"structured": -(10**9), "explicit": 10**9, "mixed": 16}[request.param]
    )
    monkeypatch.setattr(gram_module, "TILE_ENTRIES", 1)
    monkeypatch.setattr(gram_module, "CHUNK_ENTRIES", 100)
    return request.param


@pytest.mark.filterwarnings("error:.*nested reverse-mode")
@pytest.mark.parametrize(("name", "example"), CASES)
def test_factors_kernel_and_traces_equal_the_oracle(name, example):
    network, problem, points = case(name, example)
    J = reference.jacobian(network, problem, points)
    for condition, found in factors(network, problem, points).items():
        assert relative(found.matrix(), J[condition]) <= TOLERANCE
        assert relative(found.diagonal, J[condition].square().sum(1)) <= TOLERANCE
    found, rows = kernel(network, problem, points), torch.cat(list(J.values()))
    K = found.matrix()
    assert relative(K, rows @ rows.T) <= TOLERANCE
    assert torch.equal(K, K.T)
    spectrum = found.eigvalsh()
    assert spectrum[0] >= -len(K) * EPS * spectrum[-1]
    for condition, trace in traces(network, problem, points).items():
        assert trace == pytest.approx(float(found[condition].diagonal().sum()), rel=TOLERANCE, abs=1e-300)
        assert trace == pytest.approx(found.trace(condition), rel=TOLERANCE, abs=1e-300)


@pytest.mark.parametrize("form", ["structured", "explicit", "mixed"], indirect=True)
@pytest.mark.parametrize("name", sweep(("plain", "shared", "inputs first", "tied", "fourier"), "plain", "tied"))
@pytest.mark.parametrize("example", ["burgers", "laplace"])
def test_every_form_of_the_product_in_ragged_tiles(form, name, example):
    build_problem, counts = {
        "burgers": (burgers, {"residual": 37, "mixed": 35, "initial": 33, "periodic": 1}),
        "laplace": (laplace, {"residual": 41, "flux": 66, "slope": 1}),
    }[example]
    problem, points = Example(build_problem, counts).load()
    network = build(name, problem.domain.dimension)
    J = {c: f.matrix() for c, f in factors(network, problem, points).items()}
    K = kernel(network, problem, points)
    for row in J:
        for column in J:
            assert relative(K[row, column], J[row] @ J[column].T) <= TOLERANCE, (row, column)
    assert torch.equal(K.matrix(), K.matrix().T)


@pytest.mark.parametrize("form", ["structured", "explicit"], indirect=True)
def test_the_form_is_the_one_that_was_forced(form):
    network, problem, points = case("plain", "burgers")
    found = factors(network, problem, points)["equation"]
    structured = [gram_module.is_structured(found, found, name) for name in found.outers]
    assert structured == [form == "structured"] * 3


@pytest.mark.parametrize("form", ["structured", "explicit"], indirect=True)
def test_conditions_that_use_one_matrix_in_different_ways(form):
    numbers = torch.Generator().manual_seed(0)

    def one(n, transposed, explicit=False):
        A, B = (torch.randn(2, n, 5, dtype=torch.float64, generator=numbers) for _ in "AB")
        outer = Outer(A, B, transposed)
        return Factors("e", n, {"W": 25}, *(({}, {"W": outer.rows()}) if explicit else ({"W": outer}, {})))

    parts = [one(4, False), one(3, True), one(2, False, explicit=True), Factors("e", 2, {"W": 25}, {}, {})]
    for left in parts:
        for right in parts:
            assert torch.allclose(gram(left, right), left.matrix() @ right.matrix().T, rtol=1e-12, atol=1e-12)


def test_wrong_shortcuts_would_be_seen():
    """The pairing of components and the bias, which other packages get wrong, change K far beyond the tolerance."""
    network, problem, points = case("plain", "burgers")
    found = factors(network, problem, points)["equation"]
    K = gram(found, found)
    J = found.matrix()
    biases = sum(found.rows[name] @ found.rows[name].T for name in found.rows)
    outers = [(outer.A, outer.B) for outer in found.outers.values()]
    right = sum(torch.einsum("sni,tmi,sno,tmo->nm", A, A, B, B) for A, B in outers)
    of_sums = sum(torch.einsum("sni,tmi->nm", A, A) * torch.einsum("sno,tmo->nm", B, B) for A, B in outers)
    diagonal_only = sum(torch.einsum("sni,smi,sno,smo->nm", A, A, B, B) for A, B in outers)
    assert relative(right + biases, K) <= TOLERANCE
    assert set(found.rows) == {name for name, _ in network.named_parameters() if name.endswith("bias")}
    for wrong in (of_sums + biases, diagonal_only + biases, right):
        assert relative(wrong, K) > 1e-3
    assert relative(found.diagonal, J.square().sum(1)) <= TOLERANCE


def test_conditions_come_in_the_problems_order():
    network, problem, points = case("plain", "burgers")
    shuffled = dict(reversed(points.items()))
    found = kernel(network, problem, shuffled)
    assert found.names == problem.names
    assert torch.equal(found.matrix(), kernel(network, problem, points).matrix())
    alone = kernel(network, problem, {"wrap": points["wrap"]})
    assert relative(alone.matrix(), found["wrap"]) <= TOLERANCE


def test_shared_points_and_copies_of_them_give_the_same_kernel():
    for example in ("burgers", "laplace"):
        network, problem, points = case("gated", example)
        copies = {name: rows.clone() for name, rows in points.items()}
        assert relative(kernel(network, problem, points).matrix(), kernel(network, problem, copies).matrix()) <= TOLERANCE


@pytest.mark.parametrize("name", ["plain", "scaled", "factorized", "tied", "cumsum"])
@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
def test_frozen_parameters_are_left_out(name):
    network, problem, points = case(name, "poisson")
    whole = reference.kernel(network, problem, points)
    frozen = ["first.weight", "last.bias", "layers.0.bias", "layers.2.weight", "scale", "s.1", "W"]
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(key not in frozen)
    found = kernel(network, problem, points)
    assert relative(found.matrix(), reference.kernel(network, problem, points)) <= TOLERANCE
    assert relative(whole, found.matrix()) > 1e-3
    sizes = factors(network, problem, points)["ends"].sizes
    assert not set(sizes) & set(frozen)


def test_a_frozen_coefficient_is_left_out_and_nothing_to_train_is_refused():
    network, problem, points = case("plain", "inverse")
    whole = kernel(network, problem, points).matrix()
    problem.coefficients["nu"].requires_grad_(False)
    found = kernel(network, problem, points).matrix()
    assert relative(found, reference.kernel(network, problem, points)) <= TOLERANCE
    assert relative(whole, found) > 1e-4
    network, problem, points = case("plain", "poisson")
    with pytest.raises(ValueError, match="no parameter with requires_grad=True"):
        kernel(network.requires_grad_(False), problem, points)


# The fallback.


@pytest.mark.parametrize(("name", "example"), pairs(WITHOUT_RULE, EXAMPLES))
def test_a_network_without_a_rule_warns_once_and_equals_the_oracle(name, example):
    network, problem, points = case(name, example)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = kernel(network, problem, points)
        also = traces(network, problem, points)
    told = [str(warning.message) for warning in caught if "nested reverse-mode" in str(warning.message)]
    assert [name in message for message in told] == [True]
    assert relative(found.matrix(), reference.kernel(network, problem, points)) <= TOLERANCE
    assert also == pytest.approx(found.traces(), rel=TOLERANCE)
    assert not found.matrix().requires_grad


class Opaque(nn.Module):
    """Uses its weights in a way that does not factor: an einsum with a trained operand, or what the test puts there."""

    def __init__(self, use, shape):
        super().__init__()
        self.first, self.use = build("plain", 2, 4), use
        self.W = nn.Parameter(torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape))

    def forward(self, x):
        return self.use(torch.tanh(self.first(x)), self.W)


WAYS = {
    "einsum": (lambda h, W: torch.einsum("ni,io->no", h, W), (4, 1)),
    "cat": (lambda h, W: torch.cat([h, W.expand(len(h), 2)], 1).prod(1, keepdim=True), (2,)),
    "where": (lambda h, W: torch.where(h[:, :1] > 0, h[:, :1] * W, W), (1,)),
    "exponent": (lambda h, W: (1.5 + h[:, :1]) ** W, ()),
    "vector": (lambda h, W: (h**2 + 1).matmul(W).unsqueeze(1), (4,)),
    "linear vector": (lambda h, W: F.linear(h, W).unsqueeze(1), (4,)),
    "deep": (lambda h, W: (h.unflatten(1, (2, 2)) * W).sum((1, 2)).unsqueeze(1), (2, 1)),
    "deep matmul": (lambda h, W: (h.unflatten(1, (2, 2)) @ W).flatten(1).prod(1, keepdim=True), (2, 3)),
    "deep linear": (lambda h, W: F.linear(h.unflatten(1, (2, 2)), W, W[:, 0]).flatten(1).prod(1, keepdim=True), (3, 2)),
    "prelu": (lambda h, W: F.prelu(h, W).sum(1, keepdim=True), (4,)),
    "sum": (lambda h, W: h @ W.detach() + W.sum(), (4, 1)),
    "transposed view": (lambda h, W: h @ W.T, (1, 4)),
    "unseen by the tape": (lambda h, W: (h - 1).clamp(min=W).sum(1, keepdim=True), ()),
    "one entry of many": (lambda h, W: h[:, :1] * W[2] + W[0], (4,)),
}


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
@pytest.mark.parametrize(("use", "shape"), WAYS.values(), ids=WAYS)
def test_other_ways_to_use_a_parameter(use, shape):
    _, problem, points = case("plain", "burgers")
    network = Opaque(use, shape)
    assert relative(kernel(network, problem, points).matrix(), reference.kernel(network, problem, points)) <= TOLERANCE


def test_a_trained_layer_norm():
    # torch 2.13's own nested derivatives of native_layer_norm are wrong, hence a layer norm by hand for the oracle.
    def by_hand(h, W):
        centered = h - h.mean(-1, keepdim=True)
        return (W * centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()).prod(1, keepdim=True)

    _, problem, points = case("plain", "burgers")
    network = Opaque(lambda h, W: F.layer_norm(h, (4,), W).prod(1, keepdim=True), (4,))
    expected = reference.kernel(Opaque(by_hand, (4,)), problem, points)
    assert relative(kernel(network, problem, points).matrix(), expected) <= TOLERANCE


class Coefficients(nn.Module):
    """A submodule whose name is that of the problem's coefficients."""

    def __init__(self):
        super().__init__()
        self.coefficients = build("cumsum", 2)

    def forward(self, x):
        return self.coefficients(x)


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
def test_a_module_called_coefficients_is_no_coefficient_of_the_problem():
    _, problem, points = case("plain", "burgers")
    found = kernel(Coefficients(), problem, points)
    assert relative(found.matrix(), reference.kernel(build("cumsum", 2), problem, points)) <= TOLERANCE


# Precision, dtype and device.


@pytest.mark.parametrize("width", [16, 32, 64])
def test_a_float32_network_with_float64_products_is_positive_semidefinite(width):
    problem, points = Example(burgers, {"residual": 40, "initial": 30, "periodic": 10}).load()
    network = MLP(inputs=2, outputs=1, width=width, depth=2, initialization="normal")
    K = kernel(network, problem, points)
    assert K.matrix().dtype == torch.float64
    spectrum = K.eigvalsh()
    assert spectrum[0] >= -10 * len(spectrum) * EPS * spectrum[-1]
    double = kernel(network.double(), problem, points).matrix()
    assert 1e-9 < relative(K.matrix(), double) < 1e-5


def test_dtype():
    network, problem, points = case("plain", "stokes")
    exact = kernel(network, problem, points)
    single = kernel(network, problem, points, dtype=torch.float32)
    assert single.matrix().dtype == torch.float32
    assert 1e-9 < relative(single.matrix(), exact.matrix()) < 1e-5
    assert torch.equal(single.matrix(), single.matrix().T)
    with pytest.raises(ValueError, match=r"dtype=torch\.int64: a kernel needs a floating-point dtype"):
        kernel(network, problem, points, dtype=torch.int64)


def test_device_leaves_the_network_where_it_is():
    network, problem, points = case("plain", "poisson")
    found = kernel(network, problem, points, device="cpu")
    assert found.matrix().device.type == "cpu"
    assert torch.equal(found.matrix(), kernel(network, problem, points).matrix())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "example"), CASES)
def test_kernel_on_a_gpu(name, example):
    network, problem, points = case(name, example)
    expected = kernel(network, problem, points)
    found = kernel(network, problem, points, device="cuda")
    assert found.matrix().device.type == "cuda"
    assert next(network.parameters()).device.type == "cpu"
    assert relative(found.matrix().cpu(), expected.matrix()) <= TOLERANCE
    assert traces(network, problem, points, device="cuda") == pytest.approx(expected.traces(), rel=TOLERANCE)


# Refusals and any shape.


def test_refusals():
    network, problem, points = case("plain", "poisson")
    with pytest.raises(ValueError, match=r"has no rows \(n = 0\)"):
        kernel(network, problem, {"ends": torch.zeros(0, 1)})
    with pytest.raises(ValueError, match="does not accept 1 inputs"):
        kernel(build("plain", 2), problem, points)
    with pytest.raises(DependentPointsError, match=r"call network\.eval"):
        traces(nn.Sequential(network, nn.Dropout()), problem, points)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 30), max_size=3),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    d=st.integers(1, 3),
    derivative=st.sampled_from(["lap_u", "u_x1", "u_x1x1", "u_x1x1x1", "u_x1x1x1x1"]),
    mixed=st.booleans(),
    bias=st.booleans(),
    cost=st.sampled_from([-(10**9), 16, 10**9]),
)
def test_kernel_of_any_small_network(widths, sizes, d, derivative, mixed, bias, cost):
    box = Box.cube(d)
    if mixed and derivative.startswith("u_"):
        derivative = f"{derivative[:-2]}x{d}"
    operator = {}
    exec(f"def equation(u, {derivative}): return u * {derivative}", operator)  # the argument's name is the request
    problem = Problem(box, [residual(box)(operator["equation"]), boundary(box.boundary())(lambda u: u)])
    layers = []
    for inputs, outputs in zip([d, *widths], [*widths, 1], strict=True):
        layers += [nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64), nn.Tanh()]
    network = nn.Sequential(*layers[:-1])
    generator = torch.Generator().manual_seed(sum(widths))
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator)
    points = problem.sample(residual=sizes[0], boundary=sizes[1], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram_module, "ELEMENTWISE_COST", cost)
        K = kernel(network, problem, points).matrix()
    assert relative(K, reference.kernel(network, problem, points)) <= TOLERANCE
