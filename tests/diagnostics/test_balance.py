"""Balance against gradients and Jacobians of the oracle; weights by name against what each package computes, by autograd."""

from dataclasses import replace
from math import isnan, sqrt

import pytest
import torch
from torch import nn

from pinntk.diagnostics import balance, gradient_alignment, weights_by_name
from pinntk.ntk import KernelBlocks, kernel
from pinntk.problem import Box, Problem, boundary, residual
from pinntk.residuals import NonFiniteError
from pinntk.weighting import NTK
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import build
from tests.support.reference import relative

# The last has no Taylor rule; "scaled" and "tied" use parameters in other ways than one weight matrix a layer.
CASES = [
    ("plain", "poisson"),
    ("shared", "burgers"),
    ("scaled", "stokes"),
    ("fourier", "inverse"),
    ("tied", "everything"),
    ("fft", "poisson"),
]
ORACLE = 1e-10
pytestmark = pytest.mark.filterwarnings("ignore:.*(nested reverse-mode|Jacobian)")


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    name, example = request.param
    problem, points = EXAMPLES[example].load()
    network = build(name, problem.domain.dimension, len(problem.fields))
    weights = {condition: 0.5 + 2.0 * i for i, condition in enumerate(points)}
    return network, problem, points, weights


def oracle(network, problem, points):
    """(e, J, gradients of the losses (m, p)), all by plain autograd."""
    e, J = reference.errors(network, problem, points), reference.jacobian(network, problem, points)
    gradients = gradients_of(network, problem, {name: one.square().mean() for name, one in e.items()})
    return {name: one.detach() for name, one in e.items()}, J, gradients


def gradients_of(network, problem, losses):
    trained = [p for p in [*network.parameters(), *problem.coefficients.values()] if p.requires_grad]
    rows = []
    for loss in losses.values():
        parts = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def same(found, expected, rel=ORACLE):
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=rel, abs=1e-14)


def test_numbers_by_condition(case):
    network, problem, points, weights = case
    found = balance(network, problem, points, weights)
    e, J, gradients = oracle(*case[:3])
    n = {name: len(rows) for name, rows in points.items()}
    assert found.names == tuple(points)
    assert found.sizes == tuple(n.values())
    assert found.weights == weights
    traces = {name: rows.square().sum() for name, rows in J.items()}
    same(found.trace, traces)
    same(found.mean_diagonal, {name: traces[name] / n[name] for name in n})
    same(found.rate, {name: 2 * weights[name] * traces[name] / n[name] for name in n})
    same(found.loss, {name: one.square().mean() for name, one in e.items()})
    weighted = dict(zip(points, gradients * torch.tensor(list(weights.values()))[:, None], strict=True))
    same(found.gradient_norm, {name: g.norm() for name, g in weighted.items()})
    same(found.gradient_max, {name: g.abs().max() for name, g in weighted.items()})
    same(found.gradient_mean, {name: g.abs().mean() for name, g in weighted.items()})
    for name in points:
        assert relative(found.errors[name], e[name]) <= ORACLE
        assert relative(found.diagonals[name], J[name].square().sum(1)) <= ORACLE


def test_numbers_by_pair(case):
    network, problem, points, weights = case
    found = balance(network, problem, points, weights)
    e, J, gradients = oracle(*case[:3])
    unit = gradients / gradients.norm(dim=1, keepdim=True)
    assert relative(found.conflict, unit @ unit.T) <= ORACLE
    pulled = torch.stack([J[name].T @ e[name] for name in points])  # e_i^T K_ij e_j, from K rather than from the losses
    inner = pulled @ pulled.T
    assert relative(found.conflict, inner / inner.diagonal().sqrt() / inner.diagonal().sqrt()[:, None]) <= ORACLE
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            root = ((J[a] @ J[a].T).norm() * (J[b] @ J[b].T).norm()).sqrt()
            assert float(found.coupling[i, j]) == pytest.approx(float((J[a] @ J[b].T).norm() / root), rel=ORACLE)
            assert found.coupling[i, j] <= 1 + 1e-12


def test_alignment_is_that_of_the_gradients_of_the_losses(case):
    network, problem, points, weights = case
    found = balance(network, problem, points, weights)
    gradients = oracle(*case[:3])[2]
    mean = sum(g / g.norm() for g in gradients) / len(gradients)
    assert found.alignment == pytest.approx(float(2 * (mean @ mean) - 1), rel=ORACLE, abs=ORACLE)
    assert found.alignment == pytest.approx(2 * float(found.conflict.mean()) - 1, rel=ORACLE, abs=ORACLE)
    assert found.alignment == balance(network, problem, points).alignment  # weights do not turn gradients
    for i, one in enumerate(points):
        for j, other in enumerate(points):
            assert found.cosines[one][other] == float(found.conflict[i, j])


X, Y, Z = torch.eye(3).double()


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        ([X, 3 * X], 1),
        ([X, -1e-200 * X], -1),
        ([X, 1e3 * Y], 0),
        ([X, X + Y], sqrt(0.5)),
        ([X, Y, Z], 2 / 3 - 1),
        ([X, X, -X], 2 / 9 - 1),
        ([X, -X / 2 + sqrt(0.75) * Y, -X / 2 - sqrt(0.75) * Y], -1),  # a star: the mean direction is none
        ([X, 0 * X, -Y], 0),
        ([2 * X, 0 * X], None),
        ([0 * X, 0 * X], None),
        ([X, torch.nan * Y], None),
        ([X, torch.inf * (X + Y)], None),
    ],
)
def test_alignment_of_made_up_gradients(gradients, expected):
    found = gradient_alignment(torch.stack(gradients))
    assert isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-15)


def test_alignment_of_float32_gradients_of_any_shape():
    rows = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    assert gradient_alignment(rows) == pytest.approx(gradient_alignment(rows.double()), rel=1e-15)
    assert -1 <= gradient_alignment(rows) <= 1
    assert isnan(gradient_alignment(rows[:0]))
    with pytest.raises(ValueError, match=r"gradients has shape \(7,\); give \(m, p\)"):
        gradient_alignment(rows[0])


def test_a_condition_that_does_not_train_has_no_part_in_the_alignment():
    problem, points = EXAMPLES["burgers"].load()
    network = build("plain", 2)
    first, second, *rest = points
    found = balance(network, problem, points, dict.fromkeys(points, 0.0) | {first: 1.0, second: 2.0})
    assert found.alignment == pytest.approx(found.cosines[first][second], abs=1e-12)
    assert isnan(balance(network, problem, points, dict.fromkeys(points, 0.0) | {first: 1.0}).alignment)
    assert rest


def test_gradient_rate_is_the_slope_of_the_logarithm_of_the_loss():
    problem, points = EXAMPLES["burgers"].load()
    network = build("plain", 2)
    weights = {name: 0.3 + i for i, name in enumerate(points)}
    found = balance(network, problem, points, weights)
    gradients = oracle(network, problem, points)[2]
    flow = torch.tensor(list(weights.values())).double() @ gradients
    h, slopes = 1e-6, []
    for sign in (1, -1):
        start = nn.utils.parameters_to_vector(network.parameters()).detach()
        nn.utils.vector_to_parameters(start - sign * h * flow, network.parameters())
        slopes.append(
            {
                name: float(one.detach().square().mean().log())
                for name, one in reference.errors(network, problem, points).items()
            }
        )
        nn.utils.vector_to_parameters(start, network.parameters())
    same(found.gradient_rate, {name: (slopes[1][name] - slopes[0][name]) / (2 * h) for name in points}, rel=1e-5)
    assert min(found.gradient_rate.values()) < 0 < max(found.gradient_rate.values())  # one loss rises


def test_trace_identity(case):
    """The sum of all rates is the trace of D^1/2 K D^1/2."""
    network, problem, points, weights = case
    K = kernel(network, problem, points)
    found = balance(network, problem, points, weights, kernel=K)
    assert sum(found.rate.values()) == pytest.approx(float(K.matrix(weights).trace()), rel=1e-12)


def test_a_given_kernel_is_used():
    problem, points = EXAMPLES["poisson"].load()
    network = build("plain", 1)
    K = kernel(network, problem, points)
    twice = replace(K, values=2 * K.values)
    assert balance(network, problem, points, kernel=twice).trace == {name: 2 * K.trace(name) for name in points}
    assert balance(network, problem, K.points, kernel=K).gradient_norm == balance(network, problem, points).gradient_norm


def test_imbalance_is_one_under_NTK_weights():
    problem, points = EXAMPLES["burgers"].load()
    network = build("plain", 2)
    found = balance(network, problem, points)
    assert found.weights == dict.fromkeys(points, 1.0)
    assert found.imbalance == pytest.approx(max(found.mean_diagonal.values()) / min(found.mean_diagonal.values()))
    assert found.imbalance > 1.5
    norms = found.gradient_norm.values()
    assert found.gradient_imbalance == pytest.approx(max(norms) / min(norms))
    counts = {name: len(rows) for name, rows in points.items()}
    weights = NTK().rule(found.trace, counts)
    assert balance(network, problem, points, weights).imbalance == pytest.approx(1)
    assert balance(network, problem, points, {**weights, "start": 0}).imbalance == float("inf")


def free() -> tuple[Problem, dict]:
    """One condition that the network meets, one that does not depend on it, one that is neither."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def equation(u_xx):
        return u_xx - 1

    @boundary(domain.at(x=0))
    def met(x):
        return x

    @boundary(domain.at(x=1))
    def exact(u):
        return u - u.detach()

    problem = Problem(domain, [equation, met, exact])
    return problem, problem.sample(seed=0, residual=4, met=1, exact=1, dtype=torch.float64)


def test_zero_gradients_have_cosine_zero():
    problem, points = free()
    network = build("plain", 1)
    found = balance(network, problem, points)
    assert found.conflict.tolist() == [[pytest.approx(1), 0, 0], [0, 0, 0], [0, 0, 0]]
    assert isnan(found.alignment)  # of the one gradient that is left
    assert found.coupling[1].tolist() == [0, 0, 0]  # no kernel
    assert found.coupling[0, 2] > 0  # a kernel, though e = 0 now
    assert found.gradient_rate["exact"] == 0
    assert found.imbalance == pytest.approx(found.mean_diagonal["exact"] / found.mean_diagonal["equation"])
    assert found.gradient_imbalance == float("inf")
    assert all(x == x for name in points for x in (found.gradient_rate[name], found.gradient_norm[name]))


def test_weights_where_a_quantity_is_zero():
    problem, points = free()
    network = build("plain", 1)
    found = weights_by_name(kernel(network, problem, points), balance(network, problem, points).errors)
    assert all(weights.keys() == {"equation", "exact"} for weights in found.values())
    assert found["gradient-norm"] == {"equation": 0, "exact": 1}
    assert found["inverted-gradient"] == {"equation": 1, "exact": 0}
    assert all(sum(weights.values()) == pytest.approx(1) for weights in found.values())


def test_an_empty_kernel_has_no_weights():
    K = KernelBlocks(torch.zeros(1, 1), ("a",), ("data",), (1,))
    assert weights_by_name(K, {"a": torch.ones(1)}) == {}


def normalized(measure):
    total = sum(1 / float(value) for value in measure.values())
    return {name: 1 / float(value) / total for name, value in measure.items()}


def test_weights_by_name(case):
    network, problem, points, _ = case
    K = kernel(network, problem, points)
    e, J, gradients = oracle(network, problem, points)
    graph = reference.errors(network, problem, points)

    def norms(loss):
        found = gradients_of(network, problem, {name: loss(one) for name, one in graph.items()}).norm(dim=1)
        return dict(zip(points, found, strict=True))

    traces = {name: rows.square().sum() for name, rows in J.items()}
    expected = {
        "trace": normalized(traces),
        "mean-diagonal": normalized({name: traces[name] / len(rows) for name, rows in J.items()}),
        "kernel-sum": normalized({name: norm**2 for name, norm in norms(torch.sum).items()}),
        "root-loss-gradient": normalized(norms(lambda one: one.square().mean().sqrt())),
        "root-sum-gradient": normalized(norms(lambda one: one.square().sum().sqrt())),
        "inverted-gradient": normalized({name: 1 / g.norm() for name, g in zip(points, gradients, strict=True)}),
        "gradient-norm": normalized(norms(lambda one: one.square().mean())),
    }
    found = weights_by_name(K, e)
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert found[name] == pytest.approx(weights, rel=1e-8)
    counts = {name: len(rows) for name, rows in points.items()}
    for rule, name in (("sum", "trace"), ("mean", "mean-diagonal")):  # up to normalization, our own schemes
        ours = NTK(normalization=rule).rule(K.traces(), counts)
        assert found[name] == pytest.approx({c: w / sum(ours.values()) for c, w in ours.items()})


def test_figures_of_peers_are_told_apart():
    """K_bb = 1, K_rr = diag(4, 0) with two points: by hand."""
    K = KernelBlocks(torch.diag(torch.tensor([1.0, 4.0, 0.0]).double()), ("b", "r"), ("boundary", "residual"), (1, 2))
    found = weights_by_name(K, {"b": torch.tensor([2.0]), "r": torch.tensor([-1.0, 3.0])})
    ratio = {name: weights["b"] / weights["r"] for name, weights in found.items()}
    gradients = 4.0, 2.0  # 2 |J^T e| / n
    root = 10**0.5
    assert ratio == pytest.approx(
        {
            "trace": 4,
            "mean-diagonal": 2,
            "kernel-sum": 4,
            "root-loss-gradient": 2 / (root * 2**0.5),
            "root-sum-gradient": 2 / root,
            "inverted-gradient": gradients[0] / gradients[1],
            "gradient-norm": gradients[1] / gradients[0],
        }
    )


def test_float32_network_and_gradients_switched_off():
    problem, points = EXAMPLES["poisson"].load()
    network = build("plain", 1)
    expected = balance(network, problem, points)
    K = kernel(network.float(), problem, points)
    with torch.no_grad():
        found = balance(network, problem, points, kernel=K)
    assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)
    assert all(t.dtype == torch.float64 for t in (found.coupling, found.conflict, *found.errors.values()))
    assert all(p.grad is None for p in network.parameters())


def refused(call, kind, message):
    problem, points = EXAMPLES["poisson"].load()
    network = build("plain", 1)
    with pytest.raises(kind, match=message):
        call(network, problem, points)


def with_kernel_of(network, problem, points):
    return balance(network, problem, points, kernel=kernel(network, problem, {**points, "equation": points["equation"] / 2}))


def diverged(network, problem, points):
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    return balance(network, problem, points)


BAD = [
    (lambda n, p, x: balance(n, x, p), TypeError, "the order is"),
    (lambda n, p, x: balance(n, p, {}), ValueError, "points is empty"),
    (lambda n, p, x: balance(n, p, x, {"ends": 1.0}), ValueError, r"weights for \['equation'\] are missing"),
    (lambda n, p, x: balance(n, p, x, {"ends": 1.0, "equation": torch.nan}), ValueError, "weight equation=nan"),
    (lambda n, p, x: balance(n, p, x, kernel=kernel(n, p, x).matrix()), TypeError, "kernel is a Tensor"),
    (lambda n, p, x: balance(n, p, x, kernel=kernel(n, p, {"ends": x["ends"]})), ValueError, "kernel is .*give the kernel of"),
    (with_kernel_of, ValueError, "other points of 'equation'"),
    (diverged, NonFiniteError, r"condition 'equation': the error is NaN at all 5 points: the network has blown up"),
    (lambda n, p, x: balance(build("plain", 2), p, x), ValueError, "does not accept 1 inputs"),
    (lambda n, p, x: weights_by_name(kernel(n, p, x).matrix(), {}), TypeError, "kernel is a Tensor"),
    (lambda n, p, x: weights_by_name(kernel(n, p, x), {"ends": torch.ones(2)}), ValueError, r"errors of \('ends',\)"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=[message for _, _, message in BAD])
def test_what_is_refused(call, kind, message):
    refused(call, kind, message)
