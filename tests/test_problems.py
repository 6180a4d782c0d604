"""Every built-in problem: exact solutions have zero residual, references agree with another method, kernels with the oracle."""

import numpy as np
import pytest
import reference
import torch
from networks import NETWORKS, build
from scipy.integrate import quad, solve_ivp

import pinntk

EXACT = [name for name in pinntk.available() if name != "allen_cahn"]
SETTINGS = {"poisson1d": [{}, {"k": 1}], "helmholtz2d": [{}, {"a1": 2, "a2": 3, "k": 2.0}], "poisson_nd": [{"d": 2}, {"d": 10}]}
CASES = [(name, settings) for name in EXACT for settings in SETTINGS.get(name, [{}])]


class Exact(torch.nn.Module):
    """The exact solution in place of a network."""

    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        return self.problem.exact_values(x)


def test_the_registry_holds_the_problems_of_the_first_release():
    names = ["allen_cahn", "burgers", "heat_inverse", "helmholtz2d", "kovasznay", "poisson1d", "poisson_nd", "wave1d"]
    assert set(names) <= set(pinntk.available())


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_exact_solutions_have_zero_residual(name, settings):
    problem = pinntk.load(name, **settings)
    points = problem.sample(residual=50, boundary=20, initial=20, dtype=torch.float64)
    if name == "burgers":  # the formula's derivative in t at t = 0 is a limit
        points["burgers"][:, 0].clamp_(min=1e-3)
    if name == "heat_inverse":
        with torch.no_grad():
            problem.coefficients["kappa"].fill_(problem.parameters["kappa"])
        del points["readings"]
    for condition, error in pinntk.errors(Exact(problem), problem, points, "autograd").items():
        assert error.abs().max() < 1e-11, condition
    assert problem.error(Exact(problem)) < 1e-14


def test_heat_inverse_readings_carry_noise_of_the_stated_size():
    problem = pinntk.load("heat_inverse", sensors=4000, noise=0.02)
    readings = {"readings": problem.sample(dtype=torch.float64)["readings"]}
    noise = pinntk.errors(Exact(problem), problem, readings, "autograd")["readings"]
    assert len(noise) == 4000
    assert abs(noise.std() / 0.02 - 1) < 0.05


@pytest.mark.parametrize(("t", "x"), [(0.1, 0.3), (0.5, -0.01), (1.0, 0.002), (0.8, 0.9)])
def test_burgers_agrees_with_adaptive_quadrature(t, x):
    nu = 0.01 / np.pi

    def integrand(y, factor):
        exponent = -np.cos(np.pi * y) / (2 * np.pi * nu) - (x - y) ** 2 / (4 * nu * t)
        return factor(y) * np.exp(exponent)

    peaks = [x - 1, x, x + 1]
    top = quad(integrand, x - 3, x + 3, (lambda y: np.sin(np.pi * y),), points=peaks, limit=2000, epsabs=0, epsrel=1e-12)[0]
    bottom = quad(integrand, x - 3, x + 3, (lambda y: 1.0,), points=peaks, limit=2000, epsabs=0, epsrel=1e-12)[0]
    found = pinntk.load("burgers").exact(*torch.tensor([[t], [x]], dtype=torch.float64))
    assert abs(found.item() + top / bottom) < 1e-9


def test_allen_cahn_agrees_with_finite_differences(tmp_path, monkeypatch):
    """The reference is spectral and periodic; this is second order on half the domain, where symmetry gives zero slopes."""
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    problem = pinntk.load("allen_cahn")
    n, d = 2001, 1e-4
    x = np.linspace(0, 1, n)

    def slope(_, u):
        padded = np.concatenate([u[1:2], u, u[-2:-1]])
        return d * np.diff(padded, 2) * (n - 1) ** 2 + 5 * (u - u**3)

    found = solve_ivp(slope, (0, 1), x**2 * np.cos(np.pi * x), "LSODA", [1.0], rtol=1e-8, atol=1e-10, lband=1, uband=1)
    t, grid = problem.solution.axes
    reference_values = np.interp(x, grid, problem.solution.values[-1, :, 0])
    assert t[-1] == 1
    assert np.linalg.norm(found.y[:, -1] - reference_values) / np.linalg.norm(reference_values) < 2e-3
    assert len(list(tmp_path.glob("allen_cahn*.npz"))) == 1
    again = pinntk.load("allen_cahn").solution.values
    assert np.array_equal(again, problem.solution.values)


@pytest.mark.parametrize("network_name", NETWORKS)
@pytest.mark.parametrize("name", pinntk.available())
def test_kernels_of_every_problem_and_network_meet_the_oracle(name, network_name):
    problem = pinntk.load(name)
    network = build(network_name, problem.domain.dimension, len(problem.fields))
    counts = dict.fromkeys(("residual", "boundary", "initial", "periodic", "data"), 3)
    counts = {key: n for key, n in counts.items() if key in {c.kind for c in problem.conditions}}
    points = problem.sample(**counts, dtype=torch.float64)
    expected = reference.kernel(network, problem, points)
    K = pinntk.kernel(network, problem, points)
    assert torch.equal(K.matrix(), K.matrix().T)
    assert (K.matrix() - expected).norm() <= 1e-12 * expected.norm()
    for condition, trace in pinntk.traces(network, problem, points).items():
        assert abs(trace - K.trace(condition)) <= 1e-12 * abs(trace)
