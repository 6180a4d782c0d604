"""Kernel collocation and the law of trained ensembles, against dense linear algebra and integrated flows."""

from math import inf

import pytest
import torch
from scipy.linalg import expm

import pinntk
from pinntk import Box, InfiniteMLP, Problem, boundary, collocate, data, infinite_ensemble, residual
from tests.support.reference import relative

F64 = torch.float64
LIMIT = InfiniteMLP(1, "erf")


def line():
    """-u_xx + u = f with u = sin(2 x): coefficients of size 1, so that dense algebra has digits to compare."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def equation(u, u_xx, x):
        return u - u_xx - 5 * torch.sin(2 * x)

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - torch.sin(2 * x)

    return Problem(domain, [equation, ends], exact=lambda x: torch.sin(2 * x))


def few():
    return {"equation": torch.tensor([[0.2], [0.5], [0.9]], dtype=F64), "ends": torch.tensor([[0.0], [1.0]], dtype=F64)}


X = torch.tensor([[0.0], [0.3], [0.77]], dtype=F64)


def dense(kind):
    """K_ee, K_ue, K_uu and g from one kernel of a problem that has the value of u among its conditions."""
    problem = line()

    @residual(problem.domain)
    def value(u):
        return u

    both = Problem(problem.domain, [*problem.conditions, value])
    K = pinntk.infinite_kernel(LIMIT, both, few() | {"value": X}, kind=kind).values
    g = torch.cat([-5 * torch.sin(2 * few()["equation"][:, 0]), -torch.sin(2 * few()["ends"][:, 0])])
    return K[:5, :5], K[5:, :5], K[5:, 5:], g


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_collocation_is_the_gaussian_posterior(kind):
    noise = {"equation": 0.1, "ends": 0.02}
    found = collocate(LIMIT, line(), few(), noise=noise, kind=kind)
    K_ee, K_ue, K_uu, g = dense(kind)
    C = K_ee + torch.diag(torch.tensor([0.1] * 3 + [0.02] * 2, dtype=F64) ** 2)
    assert relative(found.mean(X), (-K_ue @ torch.linalg.solve(C, g))[:, None]) < 1e-9
    variance = (K_uu - K_ue @ torch.linalg.solve(C, K_ue.T)).diagonal()
    assert relative(found.std(X).square(), variance[:, None]) < 1e-7
    assert found.kernel.names == ("equation", "ends")


def test_collocation_solves_problems():
    """To more digits than any trained network."""
    problem = pinntk.load("poisson1d", k=2)
    points = problem.sample(residual=30, boundary=2, method="grid", dtype=F64)
    with pytest.warns(UserWarning, match="singular to rounding"):
        found = collocate(InfiniteMLP(2, "sin"), problem, points)
    assert found.relative_error() < 1e-5
    ends = torch.tensor([[0.0], [1.0]], dtype=F64)
    assert found.mean(ends).abs().max() < 1e-6
    assert found.std(ends).max() < 1e-5  # nothing is left open
    assert collocate(InfiniteMLP(2, "sin"), problem, points, noise=1.0).relative_error() > 1e-3


def test_regression_is_a_problem_of_data():
    domain = Box(x=(-1, 1), y=(-1, 1))
    angles = torch.linspace(0.3, 5, 4, dtype=F64)
    where = torch.stack([angles.cos(), angles.sin()], 1)

    @data(domain, where.numpy(), seen=(where[:, 0] * where[:, 1]).numpy())
    def product(u, seen):
        return u - seen

    problem, limit = Problem(domain, [product]), InfiniteMLP(3, "relu", beta=0.1)
    points = problem.sample(dtype=F64)
    found = collocate(limit, problem, points)
    assert relative(found.mean(where)[:, 0], where[:, 0] * where[:, 1]) < 1e-9
    ensemble = infinite_ensemble(limit, problem, points)
    assert relative(ensemble.mean(where, inf), found.mean(where)) < 1e-8
    assert ensemble.std(where, inf).max() < 1e-6
    assert ensemble.std(where, 0.0).min() > 0.1


def test_two_fields_come_apart():
    domain = Box(x=(0, 1))

    @residual(domain)
    def coupled(u, v_x):
        return u - v_x

    @residual(domain)
    def second(v, x):
        return v - x**2

    problem = Problem(domain, [coupled, second], fields=("u", "v"), exact=lambda x: (2 * x, x**2))
    points = {name: torch.linspace(0, 1, 8, dtype=F64)[:, None] for name in problem.names}
    found = collocate(InfiniteMLP(1, "sin"), problem, points)
    assert found.mean(X).shape == found.std(X).shape == (3, 2)
    assert found.relative_error() < 1e-3
    ensemble = infinite_ensemble(InfiniteMLP(1, "sin"), problem, points)
    assert ensemble.mean(X, 1.0).shape == ensemble.std(X, 1.0).shape == (3, 2)
    assert ensemble.covariance(X, 0.0).shape == (6, 6)
    assert relative(ensemble.covariance(X, 0.0)[:3, 3:] + 1, torch.ones(3, 3, dtype=F64)) < 1e-14  # u and v independent


WEIGHTS = {"equation": 0.3, "ends": 2.0}


def flow():
    """Theta_ue, Theta_ee, the NNGP of (e, u), D and g."""
    theta_ee, theta_ue, _, g = dense("ntk")
    n_ee, n_ue, n_uu, _ = dense("nngp")
    D = torch.diag(torch.tensor([2 * 0.3 / 3] * 3 + [2 * 2.0 / 2] * 2, dtype=F64))
    N = torch.cat([torch.cat([n_ee, n_ue.T], 1), torch.cat([n_ue, n_uu], 1)])
    return theta_ue, theta_ee, N, D, g


def check_law(mean, covariance, propagator):
    """The law of u after (e, u) has been mapped by the propagator (8, 8), from e ~ (g, N)."""
    _, _, N, _, g = flow()
    start = torch.cat([g, torch.zeros(3, dtype=F64)])
    assert relative(mean[:, 0], (propagator @ start)[5:]) < 1e-8
    assert relative(covariance, (propagator @ N @ propagator.T)[5:, 5:]) < 1e-8


@pytest.mark.parametrize("t", [0.0, 0.1, 3.0])
def test_the_law_under_gradient_flow(t):
    """d(e, u)/dt = -(Theta_ee, Theta_ue) D e, by the matrix exponential."""
    theta_ue, theta_ee, _, D, _ = flow()
    generator = torch.zeros(8, 8, dtype=F64)
    generator[:5, :5], generator[5:, :5] = -theta_ee @ D, -theta_ue @ D
    ensemble = infinite_ensemble(LIMIT, line(), few(), WEIGHTS)
    check_law(ensemble.mean(X, t), ensemble.covariance(X, t), torch.from_numpy(expm(t * generator.numpy())))
    assert relative(ensemble.std(X, t).square()[:, 0], ensemble.covariance(X, t).diagonal()) < 1e-12


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_the_law_under_gradient_descent(steps):
    theta_ue, theta_ee, _, D, _ = flow()
    ensemble = infinite_ensemble(LIMIT, line(), few(), WEIGHTS)
    lr = 1.5 / float(ensemble.rates[-1])
    step = torch.eye(8, dtype=F64)
    step[:5, :5] -= lr * theta_ee @ D
    step[5:, :5] -= lr * theta_ue @ D
    propagator = torch.linalg.matrix_power(step, steps)
    check_law(ensemble.mean_after(X, steps, lr), ensemble.covariance_after(X, steps, lr), propagator)
    assert relative(ensemble.std_after(X, steps, lr).square()[:, 0], ensemble.covariance_after(X, steps, lr).diagonal()) < 1e-12


def test_training_for_ever_is_collocation():
    ensemble = infinite_ensemble(LIMIT, line(), few())
    assert relative(ensemble.mean(X, inf), collocate(LIMIT, line(), few()).mean(X)) < 1e-7
    assert relative(ensemble.mean(X, inf), infinite_ensemble(LIMIT, line(), few(), WEIGHTS).mean(X, inf)) < 1e-7
    assert ensemble.weights == {"equation": 1.0, "ends": 1.0}


@pytest.mark.slow
def test_wide_networks_follow_the_law():
    """Mean and spread of 40 networks of width 200, trained for a while."""
    problem, points = line(), few()
    ensemble = infinite_ensemble(LIMIT, problem, points)
    lr, steps = 0.3 / float(ensemble.rates[-1]), 20
    outputs = []
    for seed in range(40):
        settings = {"width": 200, "depth": 1, "parametrization": "ntk", "activation": "erf", "normalize": False}
        network = pinntk.nn.MLP(problem, seed=seed, dtype=F64, **settings)
        for _ in range(steps):
            found = pinntk.errors(network, problem, points)
            loss = sum(e.square().mean() for e in found.values())
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                    parameter -= lr * gradient
        outputs.append(torch.from_numpy(problem.predict(network, X.numpy()))[:, 0])
    outputs = torch.stack(outputs)
    std = ensemble.std_after(X, steps, lr)[:, 0]
    assert ((outputs.mean(0) - ensemble.mean_after(X, steps, lr)[:, 0]) / (std / 40**0.5)).abs().max() < 3.5
    assert ((outputs.std(0) / std).log().abs()).max() < 0.4  # 3.5 standard errors
    assert ((std / ensemble.std(X, 0.0)[:, 0]) < 0.95).all()  # it has moved


def test_bad_input():
    problem, points = line(), few()
    for noise in (-1.0, {"equation": 0.1}, {"equation": 0.1, "ends": inf}):
        with pytest.raises(ValueError, match=r"noise=.*for each of"):
            collocate(LIMIT, problem, points, noise=noise)
    with pytest.raises(ValueError, match=r"burgers is not linear \(condition 'burgers'\).*GaussNewton"):
        collocate(LIMIT, pinntk.load("burgers"), pinntk.load("burgers").sample(residual=2, initial=2, boundary=2))
    inverse = pinntk.load("heat_inverse")
    with pytest.raises(ValueError, match="unknown coefficients"):
        infinite_ensemble(LIMIT, inverse, inverse.sample(residual=2, initial=2, boundary=2))
    with pytest.raises(ValueError, match="weights for"):
        infinite_ensemble(LIMIT, problem, points, {"ends": 1.0})
    ensemble = infinite_ensemble(LIMIT, problem, points)
    for t in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="t="):
            ensemble.mean(X, t)
    with pytest.raises(ValueError, match="steps=-1"):
        ensemble.mean_after(X, -1, 1e-3)
    with pytest.raises(ValueError, match=r"lr=.*at most 2 / lambda_max"):
        ensemble.mean_after(X, 3, 2.1 / float(ensemble.rates[-1]))
    assert torch.equal(ensemble.mean(X.numpy(), 1.0), ensemble.mean(X, 1.0))
