"""Built-in problems that evolve in time: references where there is no formula by other methods, and a start of a training."""

from math import pi

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import pinntk
from tests.support.few_steps import losses_of_a_few_steps
from tests.support.sweeps import sweep

# Problem, settings, integrator, every so many of the reference's points for it, to what relative error the two agree.
REFERENCES = [
    ("kdv", {}, "DOP853", 1, 1e-6),
    ("kdv", {"d": 0.0025}, "DOP853", 1, 1e-7),
    ("kuramoto_sivashinsky", {}, "Radau", 4, 1e-6),
    ("kuramoto_sivashinsky", {"regime": "chaotic"}, "Radau", 1, 1e-6),
    ("schrodinger", {}, "DOP853", 1, 3e-5),  # 256 points do not resolve the waves from the ends
    ("schrodinger", {"width": 15.0}, "DOP853", 1, 1e-5),
    ("cahn_hilliard", {}, "Radau", 4, 1e-6),
    ("ginzburg_landau", {}, "RK45", 1, 3e-4),  # 80 points along each axis resolve it to that
    ("gray_scott", {}, "RK45", 1, 1e-4),
]
# By problem: a time at which the solution changes, and the error of its rate by differences of the reference in time.
RATES = {
    "allen_cahn": (50, 1e-5),
    "cahn_hilliard": (6, 3e-4),
    "kdv": (60, 1e-5),
    "kuramoto_sivashinsky": (30, 1e-5),
    "reaction_diffusion": (20, 1e-5),
    "schrodinger": (30, 2e-2),
}
NAMES = sorted({name for name, *_ in REFERENCES})
REFINED = [  # twice the modes and steps of the reference
    ("kdv", {}, "fourier", (4.84e-4, 512, 182)),
    ("kdv", {"d": 0.0025}, "fourier", (0.0025, 512, 80)),
    ("kdv", {"d": 1e-4}, "fourier", (1e-4, 1024, 400)),
    ("kuramoto_sivashinsky", {}, "fourier", ("regular", 512, 160)),
    ("kuramoto_sivashinsky", {"regime": "chaotic"}, "fourier", ("chaotic", 512, 480)),
    ("schrodinger", {}, "splitting", (5.0, 4096, 40)),
    ("schrodinger", {"width": 8.0}, "splitting", (8.0, 4096, 40)),
    ("schrodinger", {"width": 15.0}, "splitting", (15.0, 4096, 40)),
    ("cahn_hilliard", {}, "fourier", (0.005, 512, 160)),
    ("cahn_hilliard", {"d": 0.001}, "fourier", (0.001, 512, 160)),
    ("cahn_hilliard", {"d": 0.02}, "fourier", (0.02, 512, 160)),
    ("ginzburg_landau", {}, "fourier", (240, 80)),
    ("gray_scott", {}, "fourier", (192, 400)),
]


class MethodOfLines:
    """A periodic problem's own operators as an ordinary differential equation, with derivatives by Fourier series.

    every: of the reference's points along each axis, those that the series are made of
    """

    def __init__(self, problem, every=1):
        self.problem, self.t, *axes = problem, *problem.solution.axes
        axes = [x[:-1:every] for x in axes]
        inside = (slice(None),) + (slice(None, -1, every),) * len(axes)
        self.values = np.moveaxis(problem.solution.values[inside], -1, 1)  # [times, fields, *points]
        self.shape = self.values.shape[1:]
        self.k = np.meshgrid(*(2 * pi * np.fft.fftfreq(len(x), x[1] - x[0]) for x in axes), indexing="ij")
        self.x = dict(zip(problem.coordinates[1:], np.meshgrid(*axes, indexing="ij"), strict=True))
        self.equations = [c for c in problem.conditions if c.kind == "residual"]
        zero = np.zeros(self.shape)
        resting = self.errors(zero, zero)
        self.of_slopes = np.stack(  # the constant matrix that u_t, v_t, ... are multiplied with
            [
                (self.errors(zero, np.eye(len(zero))[i].reshape(-1, *[1] * len(axes)) + zero) - resting).mean(
                    tuple(range(1, resting.ndim))
                )
                for i in range(len(zero))
            ],
            1,
        )

    def errors(self, fields, slopes):
        return np.stack([self.error(condition, fields, slopes) for condition in self.equations])

    def error(self, condition, fields, slopes=None):
        modes = np.fft.fftn(fields, axes=range(1, fields.ndim))

        def value(spec):
            if spec.kind == "coordinate":
                return torch.from_numpy(self.x[spec.argument])
            if spec.kind == "laplacian":
                return self.derived(modes[spec.field], -sum(k**2 for k in self.k))
            if spec.index[0] == 1:
                return torch.from_numpy(slopes[spec.field])
            factor = 1
            for k, order in zip(self.k, spec.index[1:], strict=True):
                factor = factor * (1j * k) ** order
            return self.derived(modes[spec.field], factor)

        return condition.operator(*(value(spec) for spec in self.problem.arguments[condition.name])).numpy()

    def derived(self, modes, factor):
        return torch.from_numpy(np.fft.ifftn(modes * factor).real)

    def slope(self, _, flat):
        fields = flat.reshape(self.shape)
        resting = self.errors(fields, np.zeros(self.shape))
        return -np.linalg.solve(self.of_slopes, resting.reshape(len(resting), -1)).ravel()

    def step(self, i, method):
        """How far the solution at t[i + 1] is from what another integrator makes of that at t[i], relative."""
        found = solve_ivp(self.slope, self.t[i : i + 2], self.values[i].ravel(), method, rtol=1e-8, atol=1e-9)
        expected = found.y[:, -1].reshape(self.shape)
        return np.linalg.norm(self.values[i + 1] - expected) / np.linalg.norm(expected)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", RATES)
def test_a_reference_satisfies_the_equations(name):
    i, tolerance = RATES[name]
    problem = pinntk.load(name)
    lines = MethodOfLines(problem)
    for condition in problem.conditions:
        if condition.kind == "initial":
            assert np.abs(lines.error(condition, lines.values[0])).max() < 1e-14, condition.name
    for axis in range(1, problem.solution.values.ndim - 1):
        first, last = (np.take(problem.solution.values[1:], end, axis) for end in (0, -1))
        assert np.array_equal(first, last)
    found = lines.slope(None, lines.values[i].ravel()).reshape(lines.shape)
    differences = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]) / (lines.t[1] - lines.t[0])
    expected = np.tensordot(differences, lines.values[i - 4 : i + 5], 1)
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "method", "every", "tolerance"), REFERENCES)
def test_a_reference_solves_the_problem_as_it_is_written(fresh, name, settings, method, every, tolerance):
    problem = pinntk.load(name, **settings)
    lines = MethodOfLines(problem, every)
    for i in (0, len(lines.t) * 3 // 5):
        assert lines.step(i, method) < tolerance
    assert len(list(fresh.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "function", "arguments"), REFINED)
def test_the_stated_error_of_a_reference_is_its_change_by_refinement(fresh, name, settings, function, arguments):
    problem = pinntk.load(name, **settings)
    refined = problem.reference.__globals__[function](*arguments)
    finer = np.stack([refined[field] for field in problem.fields], -1)
    change = np.linalg.norm(problem.solution.values - finer) / np.linalg.norm(finer)
    assert problem.solution_accuracy / 30 < change < 1.1 * problem.solution_accuracy


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("kdv", {"d": 1e-5}, "d=1e-05: from 1e-4 to 1"),
        ("kuramoto_sivashinsky", {"regime": "mild"}, "regime='mild': 'regular' or 'chaotic'"),
        ("schrodinger", {"width": 2.0}, "width=2.0: from 4"),
        ("cahn_hilliard", {"d": 1e-4}, "d=0.0001: from 1e-3"),
        ("sine_gordon", {"omega": 1.0}, "omega=1.0: between 0 and 1"),
        ("fisher_kpp", {"rho": 0.0}, "rho=0.0: two positive numbers"),
        ("inviscid_burgers", {"end": 0.32}, "end=0.32: between 0 and 1 / pi"),
        ("burgers2d", {"re": 0.0}, "re=0.0: a positive number"),
    ],
)
def test_parameters_without_their_solution_are_refused(name, setting, message):
    with pytest.raises(ValueError, match=message):
        pinntk.load(name, **setting)


@pytest.mark.parametrize(
    "name", sweep([*NAMES, "klein_gordon", "sine_gordon", "fisher_kpp", "inviscid_burgers", "burgers2d"], "burgers2d")
)
def test_a_few_steps_lower_the_loss(name):
    losses = losses_of_a_few_steps(pinntk.load(name))
    assert losses[-1] < 0.98 * losses[0]
