"""The end of a Gauss-Newton training: steps judged by their first correction."""

from copy import deepcopy
from functools import cache

import pytest
import torch

import pinntk
from pinntk.solvers import GaussNewton
from pinntk.solvers._damped import DampedLeastSquares
from pinntk.solvers._jacobian import ScaledJacobian, scaled_errors
from pinntk.solvers._natural import NaturalSteps
from pinntk.solvers._vector import assign, flatten

COUNTS = {"residual": 60, "boundary": 2}


def begun():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    return problem, network, GaussNewton(network, problem)


@cache
def after_exploring():
    problem, network, solver = begun()
    for k in range(25):
        solver.step(problem.sample(seed=k, dtype=torch.float64, **COUNTS))
    return network.state_dict(), solver.state_dict()


def explored():
    """A network after some exploring steps, which are taken once, and the points on which it is to converge."""
    problem, network, solver = begun()
    parameters, state = deepcopy(after_exploring())
    network.load_state_dict(parameters)
    solver.load_state_dict(state)
    return problem, network, solver, problem.sample(seed=99, dtype=torch.float64, **COUNTS)


def valley(solver):
    """Says that steps have to lower the loss no more."""
    solver.converge()
    solver._phase.stalled = True


def loss_of(network, problem, points, weights):
    return sum(weights[name] * float(e.detach().square().mean()) for name, e in pinntk.errors(network, problem, points).items())


def at(solver, network, problem, points):
    """Everything that a step is made of."""
    A = ScaledJacobian(network, problem, points, solver.weights)
    r = scaled_errors(network, problem, points, solver.weights)
    parameters = list(network.parameters())
    start = flatten(parameters, r.device)

    def errors_after(d):
        assign(parameters, start + d)
        found = scaled_errors(network, problem, points, solver.weights)
        assign(parameters, start)
        return found

    return A, r, DampedLeastSquares(A, r, orthogonal=True), errors_after


def contraction(A, r, errors_after, mu):
    """|d_2 - d_1| / |d_1| by least squares of the rows of A and sqrt(mu) I."""
    rows = torch.cat([A.matrix, mu**0.5 * torch.eye(A.p, dtype=torch.float64)])

    def apply(v):
        return torch.linalg.lstsq(rows, torch.cat([-v, v.new_zeros(A.p)]).unsqueeze(1)).solution.squeeze(1)

    d = apply(r)
    return float((apply(errors_after(d) - A.matrix @ d) - d).norm() / d.norm())


@pytest.mark.parametrize("damping", [1e-12, 1e-3])
def test_the_step_is_as_long_as_its_first_correction_allows(damping):
    problem, network, solver, points = explored()
    A, r, system, errors_after = at(solver, network, problem, points)
    steps = NaturalSteps()
    steps.damping = damping
    mu, d, after = steps.step(system, A, errors_after)
    assert mu == pytest.approx(steps.damping * system.largest)
    torch.testing.assert_close(after, errors_after(d))
    assert contraction(A, r, errors_after, mu) <= steps.limit * 1.01
    longer = contraction(A, r, errors_after, mu / 10**0.5)
    assert longer > steps.limit * 0.99 or mu == pytest.approx(1e-8 * damping * system.largest)


def test_it_ends_at_rounding_and_the_network_never_gets_worse():
    problem, network, solver, points = explored()
    valley(solver)
    losses, excursions = [loss_of(network, problem, points, solver.weights)], 0
    for _ in range(60):
        report = solver.step(points)
        assert solver.phase == "converge"
        assert report.loss_before == pytest.approx(losses[-1], rel=1e-6)
        losses.append(loss_of(network, problem, points, solver.weights))
        assert report.loss == pytest.approx(losses[-1], rel=1e-6)
        assert report.accepted == (losses[-1] < losses[-2])
        excursions += solver._natural.iterate is not None
        if report.note:
            break
    assert "is rounding" in report.note
    assert sorted(losses, reverse=True) == losses
    assert losses[-1] < 1e-24 < 1e-16 * losses[0] * 1e10
    assert excursions > 0  # on the way the loss has risen


@pytest.mark.slow
def test_where_steps_that_must_lower_the_loss_stall_these_go_on_to_rounding():
    _, network, solver, points = explored()
    solver.converge()
    while not solver._phase.stalled:
        solver.step(points)
    state = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone(), solver.state_dict()
    found = {}
    for natural in (False, True):
        torch.nn.utils.vector_to_parameters(state[0], network.parameters())
        solver.load_state_dict(state[1])
        for _ in range(40):
            solver._phase.stalled = natural
            report = solver.step(points)
            if report.note:
                break
        found[natural] = report.loss
    assert found[True] < 1e-4 * found[False]
    assert "is rounding" in report.note


def test_a_training_goes_on_in_the_middle_of_an_excursion():
    _problem, network, solver, points = explored()
    valley(solver)
    while solver._natural.iterate is None:
        solver.step(points)
    state = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone(), solver.state_dict()
    expected = [solver.step(points) for _ in range(6)]
    after = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    _, network, solver = begun()
    torch.nn.utils.vector_to_parameters(state[0], network.parameters())
    solver.load_state_dict(state[1])
    assert [solver.step(points) for _ in range(6)] == expected
    assert torch.equal(torch.nn.utils.parameters_to_vector(network.parameters()).detach(), after)


def test_beside_the_way_lies_a_lower_loss_and_the_network_takes_it():
    problem, network, solver, points = explored()
    valley(solver)
    beside = 0
    for _ in range(12):
        iterate = solver._natural.iterate
        if iterate is not None:
            best = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
            assign(list(network.parameters()), iterate)
            _, r, system, errors_after = at(solver, network, problem, points)
            d, loss = NaturalSteps().restored(system, r, errors_after)
            assert loss == pytest.approx(float(errors_after(d).square().sum()), rel=1e-6)
            assert loss < float(r @ r)
            A = ScaledJacobian(network, problem, points, solver.weights).matrix
            _, S, Vh = torch.linalg.svd(A, full_matrices=False)
            free = Vh[S / S[0] < 1e-9]  # along which the way leads
            assert (free @ d).norm() < 1e-2 * d.norm()
            assign(list(network.parameters()), best)
        report = solver.step(points)
        if iterate is not None and report.accepted and solver._natural.iterate is not None:
            beside += 1
            assert report.loss == pytest.approx(loss, rel=1e-3)
            assert loss_of(network, problem, points, solver.weights) == pytest.approx(loss, rel=1e-3)
            break
    assert beside


def test_an_interrupted_step_leaves_the_best_parameters(monkeypatch):
    _problem, network, solver, points = explored()
    valley(solver)
    while solver._natural.iterate is None:
        solver.step(points)
    best = [p.detach().clone() for p in network.parameters()]
    monkeypatch.setattr(DampedLeastSquares, "apply", lambda self, v, mu: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        solver.step(points)
    assert all(torch.equal(p, q) for p, q in zip(best, network.parameters(), strict=True))


def test_steps_to_errors_that_are_not_finite_are_too_long():
    problem, network, solver, points = explored()
    A, _, system, errors_after = at(solver, network, problem, points)
    length = 0.1 * float(system.step(1e-12 * system.largest).norm())

    def fenced(d):
        return errors_after(d) if d.norm() < length else torch.full((A.n,), float("inf"), dtype=torch.float64)

    _, d, after = NaturalSteps().step(system, A, fenced)
    assert after.isfinite().all() and 0 < d.norm() < length


def test_without_progress_steps_become_shorter_and_begin_again_from_the_best():
    steps, iterate = NaturalSteps(), torch.ones(3)
    first = steps.limit
    for _ in range(39):
        assert not steps.took(2.0, 1.0, iterate)
    assert steps.iterate is iterate and steps.limit == first
    assert steps.took(0.95, 1.0, iterate)  # better, but no progress
    assert steps.limit == first / 2 and steps.iterate is None and steps.since == 0
    assert steps.took(0.5, 1.0, iterate) and steps.since == 0
    assert not steps.took(float("nan"), 0.5, iterate) and steps.iterate is None
    for _ in range(400):
        steps.took(2.0, 1.0, iterate)
    assert steps.exhausted
    steps.damping = 1e-20
    assert not steps.took(2.0, 1.0, iterate) and not steps.exhausted  # a way with ever smaller damping is worth going on
    steps.begin()
    assert not steps.exhausted and steps.limit == first


def test_errors_without_parameters_end_it():
    domain = pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def equation(u, x):
        return 1 + 0 * u.detach()

    problem = pinntk.Problem(domain, [equation])
    network = pinntk.nn.MLP(problem, width=3, depth=1, dtype=torch.float64)
    solver = GaussNewton(network, problem, weights={"equation": 1.0})
    valley(solver)
    points = {"equation": torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]}
    for _ in range(400):
        report = solver.step(points)
        assert not report.accepted
        if report.note:
            break
    assert report.note == "no further steps lower the loss"


def test_an_iterate_without_finite_derivatives_is_given_up(monkeypatch):
    _problem, network, solver, points = explored()
    valley(solver)
    while solver._natural.iterate is None:
        solver.step(points)
    best = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    with monkeypatch.context() as patch:
        patch.setattr(
            "pinntk.solvers._gauss_newton.ScaledJacobian", lambda *_: (_ for _ in ()).throw(pinntk.NonFiniteError("gradient"))
        )
        report = solver.step(points)
        assert not report.accepted and solver._natural.iterate is None
        assert torch.equal(torch.nn.utils.parameters_to_vector(network.parameters()).detach(), best)
        with pytest.raises(pinntk.NonFiniteError, match="gradient"):
            solver.step(points)  # of the best parameters
    assert solver.step(points).loss <= report.loss
