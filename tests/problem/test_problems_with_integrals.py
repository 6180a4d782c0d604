"""Problems with integrals: what they fix, solve, judge, report and hand on to time slabs."""

from math import pi

import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, initial, integral, residual
from pinntk.problem._gauge import Gauge
from pinntk.reporting import write_report
from tests.support.small_problems import stokes

F64 = {"dtype": torch.float64}
LINE = Box(t=(0, 1), x=(0, 1))


def test_a_mean_fixes_the_constant_of_a_pressure():
    box = Box(x=(0, 1), y=(0, 1))
    assert stokes().gauge == {"p": Gauge()}
    for operator in (lambda p: p, lambda p, u: p * u):
        assert stokes(integral(box, mean=True)(operator)).gauge == {}
    assert stokes(integral(box)(lambda p_x, u: p_x + u)).gauge == {"p": Gauge()}
    # The integral of p n over a closed curve is blind for a constant, at each of whose places p is seen.
    assert stokes(integral(box.boundary())(lambda p, n_x: p * n_x)).gauge == {"p": Gauge()}


def test_a_mean_at_times_fixes_a_function_of_time():
    box = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    def flow(*more):
        def walls(u, t):
            return u - t

        equation = residual(box)(lambda u_t, p_x, lap_u: u_t + p_x - lap_u)
        return Problem(box, [equation, boundary(box.boundary())(walls), *more], fields=("u", "p")).gauge

    def named(decorate):
        def mean(p):
            return p

        return decorate(mean)

    assert flow() == {"p": Gauge(0, ())}
    assert flow(named(integral(box, t=[0, 0.5]))) == {"p": Gauge(0, (0.0, 0.5))}
    assert flow(named(integral(box.at(t=0)))) == {"p": Gauge(0, (0.0,))}
    assert flow(named(integral(box))) == {"p": Gauge(0, ())}  # one number of a function


def neumann(*more, **options) -> Problem:
    """u'' = -pi^2 cos(pi x) with slopes given at both ends: u is known up to a constant, which its mean fixes."""
    line = Box(x=(0, 1))

    @residual(line)
    def equation(u_xx, x):
        return u_xx + pi**2 * torch.cos(pi * x)

    @boundary(line.ends("x"))
    def ends(u_n):
        return u_n

    return Problem(line, [equation, ends, *more], exact=lambda x: torch.cos(pi * x) + 0.5, **options)


@integral(Box(x=(0, 1)), 0.5, mean=True)
def average(u):
    return u


@pytest.mark.parametrize(
    "settings",
    [{}, {"weighting": pinntk.weighting.NTK(every=5)}],
    ids=["equal", "ntk weights"],
)
@pytest.mark.slow
def test_solved(settings):
    problem = neumann(average)
    run = pinntk.train(
        problem,
        pinntk.nn.MLP(problem, width=10, depth=1, **F64),
        optimizer="gauss-newton",
        steps=25,
        points={"residual": 40},
        snapshot_every=0,
        progress=False,
        **settings,
    )
    assert run.history[-1]["relative_error"] < 1e-6


def test_what_judges_a_problem_knows_it():
    """Without the mean a condition is missing; a second mean contradicts it."""
    (missing,) = pinntk.check(neumann())
    assert "undetermined by a constant" in missing.sentence
    assert not pinntk.check(neumann(average))

    @integral(Box(x=(0, 1)), 0.7, mean=True)
    def other(u):
        return u

    found = {finding.code: finding.sentence for finding in pinntk.check(neumann(average, other))}
    assert found.keys() == {"wrong-problem", "conflict"}
    assert "does not satisfy the condition other" in found["wrong-problem"]
    assert "average and other" in found["conflict"]


def test_diagnosed_and_reported(tmp_path):
    """A short float32 training, with its folder."""
    problem = neumann(average)
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    settings = {"points": {"residual": 20}, "log_every": 10, "eval_every": 10, "progress": False, "snapshot_every": 20}
    run = pinntk.train(problem, network, out=tmp_path / "run", steps=20, **settings)
    x = pinntk.examine(run)
    assert x.balance.names == problem.names and "average" not in x.missing
    assert len(x.points["average"]) == 1 and x.estimate.size["average"] > 0
    assert "average" in write_report(tmp_path / "report.html", x, pinntk.diagnose(x)).read_text()


def test_slabs():
    """Integrals at times belong to the slabs of those times."""

    @residual(LINE)
    def equation(u_t, u_x):
        return u_t + u_x

    @initial(LINE.at(t=0))
    def start(u, x):
        return u - torch.sin(2 * pi * x)

    @integral(LINE, equals=[0, 1, 2, 3], t=[0, 0.5, 0.6, 1])
    def mass(u):
        return u

    @integral(LINE)
    def whole(u):
        return u

    problem = Problem(LINE, [equation, start, mass])
    first, second = (pinntk.slab(problem, k, 2, None if k == 0 else pinntk.nn.MLP(problem, width=4)) for k in (0, 1))
    assert first["mass"].region.rows[:, [0, 2]].tolist() == [[0, 0], [0.5, 1]]
    assert second["mass"].region.rows[:, [0, 2]].tolist() == [[0.6, 2], [1, 3]]
    network = pinntk.nn.MLP(problem, width=4, depth=1, **F64)
    both = pinntk.errors(network, problem, problem.sample(**F64))["mass"]
    assert torch.equal(both[2:], pinntk.errors(network, second, second.sample(**F64))["mass"])
    with pytest.raises(ValueError, match=r"condition 'whole' is an integral that belongs to no slab; .*integral\(\.\.\., t="):
        pinntk.slab(Problem(LINE, [equation, start, whole]), 0, 2)


def test_what_a_problem_with_an_integral_refuses():
    with pytest.raises(ValueError, match="it is an integral, which no factor of the network meets"):
        pinntk.nn.MLP(neumann(average), hard="average")
    problem = neumann(average)
    with pytest.raises(ValueError, match="2 integrals asked for, but only 1 were given"):
        problem.sample(average=2)
    assert pinntk.nn.MLP(problem, hard="auto").hard == ()
