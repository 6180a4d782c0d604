"""NaturalGradient against its formula with the Jacobian formed."""

import math

import pytest
import torch

import pinntk
from pinntk.solvers import NaturalGradient, scaled_errors
from pinntk.solvers import _natural_gradient as natural_gradient
from pinntk.weighting import NTK
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.sweeps import sweep


def small(name="poisson1d", **settings):
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=8, depth=2, **{"dtype": torch.float64, **settings})
    return problem, network, problem.sample(residual=12, boundary=5, dtype=torch.float64)


def vector(network, problem):
    return torch.cat([p.detach().flatten() for p in (*network.parameters(), *problem.coefficients.values())])


def scaled(network, problem, points, weights):
    """A and r, from nested autograd."""
    A, r = reference.jacobian(network, problem, points), reference.errors(network, problem, points)
    root = {name: math.sqrt(weights[name] / len(rows)) for name, rows in points.items()}
    return torch.cat([root[name] * A[name] for name in points]), torch.cat([root[name] * r[name].detach() for name in points])


def solved(A, r, damping):
    """A^T (A A^T + mu I)^-1 r."""
    K = A @ A.T
    return A.T @ torch.linalg.solve(K + damping * K.diagonal().mean() * torch.eye(len(K), dtype=K.dtype), r)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_a_step_is_that_of_the_formula(name):
    problem, points = EXAMPLES[name].load()
    network = pinntk.nn.MLP(problem, width=5, depth=2, dtype=torch.float64)
    weights = {name: 0.5 + i for i, name in enumerate(points)}
    A, r = scaled(network, problem, points, weights)
    phi = solved(A, r, 1e-3)
    start = vector(network, problem)
    before = {name: e.square().mean().item() for name, e in reference.errors(network, problem, points).items()}
    solver = NaturalGradient(network, problem, weights=weights, damping=1e-3)
    report = solver.step(points)
    assert report.accepted
    assert report.note == ""
    assert report.losses == pytest.approx(before)
    assert report.loss_before == pytest.approx(float(r @ r))
    assert report.damping == pytest.approx(1e-3 * float((A**2).sum() / len(A)))
    assert reference.relative(solver.state_dict()["phi"], phi) < 1e-9
    change = start - vector(network, problem)
    assert report.step_length == pytest.approx(float(change.norm()))
    eta = float(change @ phi / (phi @ phi))
    assert eta == pytest.approx(2.0 ** round(math.log2(eta)))
    assert reference.relative(change, eta * phi) < 1e-9
    after = scaled(network, problem, points, weights)[1]
    assert report.loss == pytest.approx(float(after @ after))


def test_the_step_length_is_the_best_of_the_grid():
    problem, network, points = small()
    weights = {"poisson": 1.0, "ends": 100.0}
    start = vector(network, problem)
    phi = solved(*scaled(network, problem, points, weights), 1e-10)
    found = {}
    for k in range(16):
        torch.nn.utils.vector_to_parameters(start - 2.0**-k * phi, network.parameters())
        found[k] = float(scaled(network, problem, points, weights)[1].square().sum())
    torch.nn.utils.vector_to_parameters(start, network.parameters())
    report = NaturalGradient(network, problem, weights=weights).step(points)
    best = min(found, key=found.get)
    assert 0 < best < 15
    assert report.loss == pytest.approx(found[best], rel=1e-5)
    assert report.step_length == pytest.approx(2.0**-best * float(phi.norm()), rel=1e-5)


def test_momentum_carries_the_last_direction_on():
    problem, network, points = small()
    weights = {"poisson": 1.0, "ends": 100.0}
    solver = NaturalGradient(network, problem, weights=weights, damping=1e-2, momentum=0.8)
    solver.step(points)
    last = solver.state_dict()["phi"]
    fresh = problem.sample(residual=12, boundary=5, seed=1, dtype=torch.float64)
    A, r = scaled(network, problem, fresh, weights)
    expected = 0.8 * last + solved(A, r - 0.8 * A @ last, 1e-2)
    solver.step(fresh)
    assert reference.relative(solver.state_dict()["phi"], expected) < 1e-9


def test_a_refused_step_leaves_the_parameters_and_raises_the_damping(monkeypatch):
    problem, network, points = small()
    solver = NaturalGradient(network, problem, damping=1e-4)
    first = solver.step(points)
    start = vector(network, problem)
    direction = solver._direction

    def uphill(*arguments):
        phi, mu = direction(*arguments)
        return -1e-4 * phi, mu

    with monkeypatch.context() as patch:
        patch.setattr(solver, "_direction", uphill)
        report = solver.step(points)
    assert not report.accepted
    assert "lowers the loss" in report.note
    assert torch.equal(vector(network, problem), start)
    assert report.loss == report.loss_before == pytest.approx(first.loss)
    assert report.step_length == 0
    assert solver.state_dict()["phi"] is None
    again = solver.step(points)
    assert again.accepted
    assert again.damping == pytest.approx(10 * report.damping)


def test_a_loss_that_is_not_finite_is_refused():
    problem, network, points = small()
    with torch.no_grad():
        next(network.parameters()).fill_(1e200)
        list(network.parameters())[-1].fill_(torch.inf)
    with pytest.raises(pinntk.NonFiniteError, match=r"condition 'poisson': the error is .* the network has blown up"):
        NaturalGradient(network, problem, weights={"poisson": 1.0, "ends": 1.0}).step(points)


def test_trials_that_are_not_finite_are_not_taken(monkeypatch):
    problem, network, points = small()
    solver, start = NaturalGradient(network, problem), vector(network, problem)
    found = iter([scaled_errors(network, problem, points, dict.fromkeys(points, 1.0)), *[torch.tensor([math.nan])] * 16])
    monkeypatch.setattr(natural_gradient, "scaled_errors", lambda *arguments: next(found))
    assert not solver.step(points).accepted
    assert torch.equal(vector(network, problem), start)


def test_weights_by_default_are_those_of_the_first_kernel():
    problem, network, points = small()
    traces = {name: float((J**2).sum()) for name, J in reference.jacobian(network, problem, points).items()}
    expected = NTK().rule(traces, {name: len(rows) for name, rows in points.items()})
    solver = NaturalGradient(network, problem)
    solver.step(points)
    total = sum(expected.values())
    assert solver.weights == pytest.approx({name: weight / total for name, weight in expected.items()})
    kept = dict(solver.weights)
    solver.step(points)
    assert solver.weights == kept


def test_a_resumed_solver_takes_the_same_steps_to_the_last_bit():
    def begin():
        problem, network, points = small()
        return NaturalGradient(network, problem, momentum=0.7, damping=1e-9), network, problem, points

    whole, network, problem, points = begin()
    for _ in range(3):
        whole.step(points)
    whole.load_state_dict({**whole.state_dict(), "raised": 1000.0})
    state, start = whole.state_dict(), vector(network, problem)
    reports = [whole.step(points) for _ in range(3)]
    other, again, problem, points = begin()
    torch.nn.utils.vector_to_parameters(start, again.parameters())
    other.load_state_dict(state)
    assert [vars(other.step(points)) for _ in range(3)] == list(map(vars, reports))  # as dicts, in which the one NaN is itself
    assert torch.equal(vector(network, problem), vector(again, problem))


def test_jitter_is_announced():
    problem, network, _ = small()
    points = {"ends": torch.tensor([[0.0], [1.0]], dtype=torch.float64).repeat(10, 1)}
    with pytest.warns(
        UserWarning, match=r"A A\^T \+ mu I is singular to rounding: 1e-\d\d of its diagonal was added; raise the damping"
    ):
        report = NaturalGradient(network, problem, damping=1e-30).step(points)
    assert report.accepted


@pytest.mark.parametrize("dtype", sweep((torch.float64, torch.float32), torch.float64))
def test_poisson_in_a_few_steps(dtype):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=20, depth=2, dtype=dtype)
    solver = NaturalGradient(network, problem)
    for step in range(40):
        report = solver.step(problem.sample(residual=120, boundary=2, seed=step, dtype=torch.float64))
    assert problem.relative_error(network) < 1e-3
    assert report.loss < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": 0.0}, "damping=0.0: a finite number above 0"),
        ({"damping": math.inf}, "damping=inf"),
        ({"momentum": 1.0}, "momentum=1.0: at least 0 and below 1"),
        ({"weights": {"poisson": 1.0}}, r"weights for \['ends'\] are missing"),
        ({"weights": {"poisson": 1.0, "ends": -1.0}}, "weight ends=-1.0"),
    ],
)
def test_bad_arguments(settings, message):
    problem, network, points = small()
    with pytest.raises(ValueError, match=message):
        NaturalGradient(network, problem, **settings).step(points)
