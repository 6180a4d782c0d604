"""Every built-in problem: exact solutions have zero residual, references agree with another method, kernels with the oracle."""

from itertools import cycle

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import pinntk
from tests.support import reference
from tests.support.networks import NETWORKS, build
from tests.support.registered import KINDS

EXACT = [name for name in pinntk.available() if pinntk.load(name).exact is not None]
SETTINGS = {
    "burgers": [{}, {"nu": 0.1}],
    "burgers2d": [{}, {"re": 20.0}],
    "convection": [{}, {"beta": 40.0}],
    "beltrami": [{}, {"re": 10.0, "a": 0.5, "d": 2.0}],
    "black_scholes": [{}, {"sigma": 0.1, "r": -0.01}],
    "eikonal": [{}, {"g": 0.0}, {"g": -0.5}],
    "elasticity_plate": [{}, {"lam": 3.0, "mu": 0.2, "load": -1.0}],
    "elliptic_inverse": [{}, {"sensors": 7}],
    "euler_beam": [{}, {"load": -3.0}],
    "heat1d": [{}, {"a": 0.01, "k": 3}],
    "heat_multiscale": [{}, {"k": 3}],
    "laplace_multiscale": [{}, {"base": 1}],
    "taylor_green": [{}, {"nu": 0.0}],
    "wave2d": [{}, {"c": 2.0, "a": -1.0}],
    "fisher_kpp": [{}, {"d": 0.1, "rho": 2.0}],
    "helmholtz2d": [{}, {"a1": 2, "a2": 3, "k": 2.0}],
    "inviscid_burgers": [{}, {"end": 0.2}],
    "klein_gordon": [{}, {"k": 2.0}],
    "heat_ball": [{}, {"d": 2}],
    "plate_with_hole": [{}, {"radius": 0.5, "nu": -0.2}],
    "poisson1d": [{}, {"k": 1}],
    "poisson2d": [{}, {"k": 3}],
    "poisson_family": [{"modes": 1}],
    "poisson_multiscale": [{}, {"low": 1, "high": 7, "amplitude": -2.0}],
    "poisson_nd": [{"d": 2}, {"d": 10}],
    "reaction": [{}, {"rho": -2.0}],
    "sine_gordon": [{}, {"omega": 0.9}],
    "wave1d": [{}, {"beta": 5.0, "c": 3.0, "a": -1.0}],
}
CASES = [(name, settings) for name in EXACT for settings in SETTINGS.get(name, [{}])]


class Exact(torch.nn.Module):
    """The exact solution in place of a network."""

    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        return self.problem.exact_values(x)


def test_the_registry_holds_the_problems_of_the_first_release():
    spatial = ["helmholtz2d", "kovasznay", "poisson1d", "poisson2d", "poisson_multiscale", "poisson_nd"]
    in_time = ["allen_cahn", "burgers", "convection", "heat_inverse", "reaction", "reaction_diffusion", "wave1d"]
    assert {*spatial, *in_time} <= set(pinntk.available())


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
    assert problem.relative_error(Exact(problem)) < 1e-14


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("backward_step", {"nu": 5e-3}, "nu=0.005: from 0.01"),
        ("cylinder_flow", {"nu": 1e-4}, "nu=0.0001: from 5e-4"),
        ("cylinder_stokes", {"nu": 0.0}, "nu=0.0: a positive number"),
        ("helmholtz_scatterer", {"k": -1.0}, "k=-1.0: a positive wave number"),
        ("heat_ball", {"d": 1}, "d=1: a whole number of at least 2"),
        ("plate_with_hole", {"radius": 1.0}, "radius=1.0: between 0 and 1"),
        ("plate_with_hole", {"nu": 0.5}, "nu=0.5: Poisson's ratio"),
        ("poisson_boltzmann", {"k": 0.0}, "k=0.0: from 1 to 20"),
        ("wave1d", {"beta": 4.5}, "beta=4.5: a whole number"),
        ("wave1d", {"beta": float("nan")}, "beta=nan: a whole number"),
        ("poisson2d", {"k": 1.5}, "k=1.5: a whole number other than 0"),
        ("poisson2d", {"k": 0}, "k=0: a whole number other than 0"),
        ("burgers", {"nu": 8e-4}, "nu=0.0008: the quadrature"),
        ("burgers", {"nu": 0.5}, "nu=0.5: the quadrature"),
        ("allen_cahn", {"d": 0.0}, "d=0.0: a positive number"),
        ("reaction_diffusion", {"nu": 0.0}, "nu=0.0: a positive number; without diffusion, the problem is `reaction`"),
    ],
)
def test_parameters_without_their_solution_are_refused(name, setting, message):
    with pytest.raises(ValueError, match=message):
        pinntk.load(name, **setting)


def test_published_settings_are_those_of_the_papers():
    """Values worked out by hand from the papers' initial conditions and solutions."""
    t, x = torch.tensor([[0.0, 1.0], [torch.pi / 2, torch.pi]], dtype=torch.float64)
    assert torch.allclose(pinntk.load("convection").exact(t, x), torch.tensor([1.0, np.sin(np.pi - 30)]).double(), atol=1e-14)
    reaction = pinntk.load("reaction")
    h, grown = np.exp(-((np.pi / 2) ** 2) / (2 * (np.pi / 4) ** 2)), np.exp(5.0)
    assert torch.allclose(reaction.exact(0 * x, x), torch.tensor([h, 1.0]).double(), atol=1e-15)
    assert torch.allclose(reaction.exact(0 * x + 1, x)[0], torch.tensor(h * grown / (h * grown + 1 - h)).double(), atol=1e-15)
    wave = pinntk.load("wave1d", beta=5)
    assert wave.exact(torch.tensor(0.0), torch.tensor(0.1)).item() == pytest.approx(np.sin(0.1 * np.pi) + 0.5, abs=1e-7)


def test_heat_inverse_readings_carry_noise_of_the_stated_size():
    problem = pinntk.load("heat_inverse", sensors=4000, noise=0.02)
    readings = {"readings": problem.sample(dtype=torch.float64)["readings"]}
    noise = pinntk.errors(Exact(problem), problem, readings, "autograd")["readings"]
    assert len(noise) == 4000
    assert abs(noise.std() / 0.02 - 1) < 0.05


@pytest.mark.parametrize("nu", [9e-4, 0.01 / np.pi, 0.05, 0.2])
def test_burgers_agrees_with_the_trapezoidal_rule(nu):
    """Which converges geometrically here, as Gauss-Hermite does, but on other nodes: 20,000 of equal weight."""
    t, x = (a.ravel()[:, None] for a in np.meshgrid([1e-3, 0.1, 0.5, 1.0], [-1, -0.6, -0.01, 1e-3, 0.02, 0.3, 0.9]))
    z = np.linspace(-25, 25, 20_001)
    y = x - np.sqrt(4 * nu * t) * z
    exponent = -np.cos(np.pi * y) / (2 * np.pi * nu) - z**2
    share = np.exp(exponent - exponent.max(1, keepdims=True))
    expected = -(share * np.sin(np.pi * y)).sum(1) / share.sum(1)
    found = pinntk.load("burgers", nu=nu).exact(torch.from_numpy(t[:, 0]), torch.from_numpy(x[:, 0])).numpy()
    assert np.abs(found - expected).max() < 2e-14


def finite_differences(d: float, n: int, times: list[float]) -> np.ndarray:
    """Allen-Cahn at x = 0, 1/256 .. 1, second order in 1 / n: half of the domain, where symmetry gives zero slopes."""
    x = np.linspace(0, 1, n + 1)

    def slope(_, u):
        padded = np.concatenate([u[1:2], u, u[-2:-1]])
        return d * np.diff(padded, 2) * n**2 + 5 * (u - u**3)

    start = x**2 * np.cos(np.pi * x)
    return solve_ivp(slope, (0, 1), start, "LSODA", times, rtol=1e-11, atol=1e-12, lband=1, uband=1).y.T[:, :: n // 256]


@pytest.mark.slow  # tests/problem/test_evolutions.py has a quick look at it
@pytest.mark.parametrize("d", [1e-4, 1e-2])
def test_allen_cahn_agrees_with_extrapolated_finite_differences(tmp_path, monkeypatch, d):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    solution = pinntk.load("allen_cahn", d=d).solution
    t, x = solution.axes
    u = solution.values[..., 0]
    coarse, middle, fine = (finite_differences(d, n, [0.1, 0.5, 1.0]) for n in (1024, 2048, 4096))
    expected = (coarse - 20 * middle + 64 * fine) / 45  # Richardson: sixth order
    assert np.allclose(t[[10, 50, 100]], [0.1, 0.5, 1.0], rtol=0, atol=1e-15)
    assert np.linalg.norm(u[[10, 50, 100], 256:] - expected) < 1e-10 * np.linalg.norm(expected)
    assert np.abs(u - u[:, ::-1]).max() == 0
    assert np.array_equal(u[0], x**2 * np.cos(np.pi * x))
    assert len(list(tmp_path.glob("allen_cahn-v2*.npz"))) == 1
    assert np.array_equal(pinntk.load("allen_cahn", d=d).solution.values, solution.values)


def reaction_diffusion_by_differences(nu: float, rho: float, n: int, times: list[float]) -> np.ndarray:
    """At x = pi, pi (1 + 1/64) .. 2 pi, second order in 1 / n: half of the domain, where symmetry gives zero slopes."""
    x = np.linspace(np.pi, 2 * np.pi, n + 1)

    def slope(_, u):
        padded = np.concatenate([u[1:2], u, u[-2:-1]])
        return nu * np.diff(padded, 2) * (n / np.pi) ** 2 + rho * u * (1 - u)

    start = np.exp(-8 * (x / np.pi - 1) ** 2)
    return solve_ivp(slope, (0, 1), start, "LSODA", times, rtol=1e-11, atol=1e-13, lband=1, uband=1).y.T[:, :: n // 64]


@pytest.mark.parametrize(("nu", "rho"), [pytest.param(3.0, 5.0, marks=pytest.mark.slow), (0.1, 10.0)])
def test_reaction_diffusion_agrees_with_extrapolated_finite_differences(tmp_path, monkeypatch, nu, rho):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    solution = pinntk.load("reaction_diffusion", nu=nu, rho=rho).solution
    t, x = solution.axes
    u = solution.values[..., 0]
    coarse, middle, fine = (reaction_diffusion_by_differences(nu, rho, n, [0.1, 0.5, 1.0]) for n in (128, 256, 512))
    expected = (coarse - 20 * middle + 64 * fine) / 45  # Richardson: sixth order
    assert np.allclose(t[[10, 50, 100]], [0.1, 0.5, 1.0], rtol=0, atol=1e-15)
    assert np.allclose(x[128:] - np.pi, np.linspace(0, np.pi, 129), rtol=0, atol=1e-14)
    assert np.abs(u[[10, 50, 100], 128::2] - expected).max() < 1e-9
    assert np.abs(u - u[:, ::-1]).max() < 1e-14
    assert np.allclose(u[0], np.exp(-((x - np.pi) ** 2) / (2 * (np.pi / 4) ** 2)), rtol=0, atol=1e-15)
    assert len(list(tmp_path.glob("reaction_diffusion-v1*.npz"))) == 1


def cases_of_kernels():
    """(problem, network): each problem with one of the networks in turn, and with a plain one. By default one problem of each
    kind, with its network.

    All networks meet all kinds of conditions and arguments in tests/ntk/test_kernel.py.
    """
    turns = list(zip(pinntk.available(), cycle(NETWORKS), strict=False))
    plain = [(name, "plain") for name, network in turns if network != "plain"]
    return [pytest.param(*pair, marks=() if pair in turns and pair[0] in KINDS else pytest.mark.slow) for pair in turns + plain]


@pytest.mark.parametrize(("name", "network_name"), cases_of_kernels())
def test_kernels_of_every_problem_meet_the_oracle(name, network_name):
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
        rounding = 1e-14 * expected.trace() / len(expected)  # for conditions that the network meets by itself
        assert abs(trace - K.trace(condition)) <= 1e-12 * abs(trace) + rounding
