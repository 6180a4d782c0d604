"""Autocast around a computation, and coordinates that a dtype cannot tell apart."""

import warnings

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, data, residual
from pinntk.ntk import function_kernel
from pinntk.solvers import GaussNewton, NaturalGradient
from tests.support.networks import build
from tests.support.small_problems import poisson, sample
from tests.support.sweeps import sweep

# Autocast.


def single():
    """A float32 network for poisson."""
    return pinntk.nn.MLP(poisson(), width=8, depth=2)


def stepped(solver):
    def call(network, problem, points):
        solver(network, problem).step(points)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    return call


def trained(network, problem, points):
    pinntk.train(problem, network, steps=2, points=points, progress=False)
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def trained_from_seeds(network, problem, points):
    made = iter([network, single()])
    runs = pinntk.train_ensemble(problem, lambda seed: next(made), seeds=2, steps=2, points=points, progress=False).runs
    return torch.cat([p.detach().flatten() for run in runs for p in run.network.parameters()])


ENTRIES = {
    "kernel": lambda n, p, x: pinntk.kernel(n, p, x, dtype=torch.float32).matrix(),
    "cross_kernel": lambda n, p, x: pinntk.cross_kernel(n, p, x, x)["left", "equation"],
    "traces": lambda n, p, x: torch.tensor(list(pinntk.traces(n, p, x).values())),
    "factors": lambda n, p, x: torch.cat([part.matrix() for part in pinntk.factors(n, p, x).values()]),
    "errors": lambda n, p, x: torch.cat(list(pinntk.errors(n, p, x).values())).detach(),
    "sharded_kernel": lambda n, p, x: pinntk.sharded_kernel(n, p, x).values,
    "KernelOperator": lambda n, p, x: pinntk.KernelOperator(n, p, x, dtype=torch.float32).eigh(3).values,
    "posterior": lambda n, p, x: pinntk.posterior(n, p, x, dict.fromkeys(x, 1.0)).field(x["equation"])[1],
    "function_kernel": lambda n, p, x: function_kernel(n, x["equation"]),
    "balance": lambda n, p, x: torch.tensor(list(pinntk.examine(n, p, x).balance.gradient_norm.values())),
    "diagnose": lambda n, p, x: torch.tensor([f.confidence for f in pinntk.diagnose(n, p, x)]),
    "GaussNewton.step": stepped(GaussNewton),
    "NaturalGradient.step": stepped(NaturalGradient),
    "train": trained,
    "train_ensemble": trained_from_seeds,
}


@pytest.mark.parametrize(
    "entry", sweep(ENTRIES, "kernel", "traces", "factors", "errors", "posterior", "GaussNewton.step", "train")
)
def test_autocast_is_set_aside(entry):
    problem, call = poisson(), ENTRIES[entry]
    points = sample(problem, 8)
    expected = call(single(), problem, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.warns(UserWarning, match=f"{entry}.*: the autocast around it \\(cpu\\) is set aside"):
            found = call(single(), problem, points)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(found, expected)


def test_operators_take_their_products_without_autocast():
    problem = poisson()
    points = sample(problem, 8)
    operator = pinntk.KernelOperator(single(), problem, points, dtype=torch.float32)
    expected = operator @ torch.ones(operator.n)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.warns(UserWarning, match="is set aside"):
        assert torch.equal(operator @ torch.ones(operator.n), expected)


# Coordinates.

NOW = 1.7e9
HOUR = (NOW, NOW + 3600)


def clock(**settings):
    domain = Box(t=HOUR, x=(0, 1))

    @residual(domain)
    def equation(u_t, u_x):
        return u_t - u_x

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [equation, walls], **settings)


COARSE = r"coordinate 't' of condition '\w+': float32 tells 29 values apart among 200, .* lie 128 apart\. Subtract 1700000000 "


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [text for w in caught if "coordinate" in (text := str(w.message))]


@pytest.mark.parametrize("as_given", [lambda rows: rows, lambda rows: rows.numpy()[::-1], lambda rows: rows.float()])
@pytest.mark.parametrize(
    "call",
    [
        lambda n, p, x: pinntk.errors(n, p, x),
        lambda n, p, x: pinntk.kernel(n, p, x),
        lambda n, p, x: pinntk.train(p, n, steps=1, points=p.check(x), snapshot_every=0, progress=False),
    ],
)
def test_unix_seconds_in_float32(call, as_given):
    problem, network = clock(), build("plain", 2).float()
    t = torch.linspace(*HOUR, 200, dtype=torch.float64)
    points = {"equation": as_given(torch.stack([t, (t - NOW) / 3600], 1))}
    with pytest.warns(UserWarning, match=COARSE):
        call(network, problem, points)
    assert warnings_of(lambda: call(network, problem, points)) == []


def test_samples_in_float32_are_warned_of():
    assert len(warnings_of(lambda: clock().sample(residual=200, dtype=torch.float32))) == 1
    assert warnings_of(lambda: clock().sample(residual=200, dtype=torch.float64)) == []


def test_trainings_that_draw_their_points_are_warned_of():
    with pytest.warns(UserWarning, match="coordinate 't'.* tells .* values apart among 200,"):
        pinntk.train(clock(), build("plain", 2).float(), steps=1, points={"residual": 200}, snapshot_every=0, progress=False)


def test_measurements_are_warned_of():
    domain = Box(t=HOUR)
    sensors = data(domain, np.linspace(*HOUR, 200), seen=np.zeros(200))(lambda u, seen: u - seen)
    with pytest.warns(UserWarning, match=COARSE.replace(r"\w+", "<lambda>")):
        Problem(domain, [sensors]).sample(dtype=torch.float32)


@pytest.mark.parametrize(
    ("bounds", "method"),
    [((0, 1), "uniform"), ((1990, 2020), "uniform"), ((-1e9, 1e9), "uniform"), ((1e-9, 2e-9), "sobol"), ((2000, 2001), "grid")],
)
def test_coordinates_that_float32_tells_apart_are_passed_in_silence(bounds, method):
    domain = Box(t=bounds, x=(0, 1))
    problem = Problem(domain, [residual(domain)(lambda u_t: u_t)])
    network = build("plain", 2).float()

    def call():
        points = problem.sample(residual=400, method=method, dtype=torch.float32)
        pinntk.errors(network, problem, points)
        pinntk.errors(network, problem, problem.sample(residual=400, method=method, dtype=torch.float64))

    assert warnings_of(call) == []


def test_a_grid_that_lost_nothing_is_passed_in_silence():
    problem = clock()
    t = NOW + 128 * torch.arange(5, dtype=torch.float64)
    points = {"equation": torch.cartesian_prod(t, torch.linspace(0, 1, 40, dtype=torch.float64))}
    assert warnings_of(lambda: pinntk.errors(build("plain", 2).float(), problem, points)) == []
