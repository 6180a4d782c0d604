"""Prescribed values continue into the domain where they are as smooth as the problem's derivatives need them."""

import pytest
import torch
from torch import exp, minimum, pi, relu, round, sin, sqrt, tanh, where

import pinntk
from pinntk import Box, Problem, initial, residual
from pinntk.nn import MLP, HardConstraint
from tests.support.constrained import F64, SMALL, largest

LINE, PLANE = Box(t=(0, 1), x=(0, 1)), Box(t=(0, 1), x=(0, 1), y=(0, 1))


@residual(LINE)
def heat(u_t, u_xx):
    return u_t - u_xx


@residual(LINE)
def transport(u_t, u_x):
    return u_t + u_x


@residual(LINE)
def beam(u_tt, u_xxxx):
    return u_tt + u_xxxx


@residual(PLANE)
def heat_on_a_plate(u_t, lap_u):
    return u_t - lap_u


def starting(equation, start):
    """The equation with u = start(x) at t = 0, or start(x, y)."""
    if equation is heat_on_a_plate:

        def asked(u, x, y):
            return u - start(x, y)
    else:

        def asked(u, x):
            return u - start(x)

    return Problem(equation.region, [equation, initial(equation.region.at(t=0))(asked)])


def tent(x):
    return minimum(x, 1 - x)


def straight_lines(x, pieces=1000):
    """As numpy's interp does it."""
    values = sin(pi * torch.linspace(0, 1, pieces + 1).to(x))
    k = (x * pieces).long().clamp(0, pieces - 1)
    return values[k] + (x * pieces - k) * (values[k + 1] - values[k])


def nearest(x, entries=10_000):
    return sin(pi * torch.linspace(0, 1, entries + 1).to(x))[(x * entries).long()]


KINK = r"the slope of its values jumps at x = {}, which derivatives of order 2 in x, as the problem takes them, do not see"
REFUSED = {
    "tent": (heat, tent, KINK.format("0.5")),
    "modulus": (heat, lambda x: (x - 0.3).abs(), KINK.format("0.3")),
    "straight lines": (heat, straight_lines, KINK.format(r"0\.\d+")),
    "table": (heat, nearest, "its values jump at x = "),
    "table, first order": (transport, nearest, "its values jump at x = "),
    "decimals": (heat, lambda x: round(sin(pi * x) * 1e5) / 1e5, "its values jump at x = "),
    "spot": (heat_on_a_plate, lambda x, y: where((x - 0.52) ** 2 + (y - 0.47) ** 2 < 1e-3, 1.0, 0.0), "its values jump at x"),
    "cone": (
        heat_on_a_plate,
        lambda x, y: relu(0.1 - sqrt((x - 0.52) ** 2 + (y - 0.47) ** 2)),
        "the slope of its values jumps",
    ),
    "detached in part": (transport, lambda x: where(x < 0.2, sin(x).detach(), sin(x)), "autograd does not know"),
    "root": (heat, sqrt, "the slope of its values is not finite at x = 0"),
    "cubic pieces": (beam, lambda x: relu(x - 0.3) ** 3, "derivative 3 of its values jumps at x = 0.3, which .* of order 4"),
    "mean": (heat, lambda x: x - x.mean(), "what it prescribes at a point depends on the other points of the batch"),
}
MET = {
    "kink, first order": (transport, tent),
    "lines, first order": (transport, straight_lines),
    "square pieces": (heat, lambda x: relu(x - 0.3) ** 2),
    "quartic pieces": (beam, lambda x: relu(x - 0.3) ** 4),
    "steep": (heat, lambda x: tanh((x - 0.3) / 1e-4)),
    "fast": (heat, lambda x: sin(1000 * pi * x)),
    "root, first order": (transport, sqrt),
    "small hill": (heat_on_a_plate, lambda x, y: exp(-((x - 0.52) ** 2 + (y - 0.47) ** 2) / 1e-3)),
    "large": (heat, lambda x: 1e8 + sin(pi * x)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_do_not_continue_are_named(case):
    equation, start, reason = REFUSED[case]
    problem = starting(equation, start)
    with pytest.raises(ValueError, match=f"'asked' cannot be met by construction: .*{reason}"):
        MLP(problem, **SMALL, hard="asked")
    assert MLP(problem, **SMALL, hard="auto").hard == ()


@pytest.mark.parametrize("case", MET)
def test_values_that_continue_are_met(case):
    equation, start = MET[case]
    problem = starting(equation, start)
    network = MLP(problem, **SMALL, hard="asked", output_scales={})
    assert network.hard == ("asked",)
    assert largest(network, problem, n=20)["asked"] < 1e-7 * (1 if case != "large" else 10)


def test_a_kink_that_is_built_in_solves_what_it_should_not():
    """Why: a tent that stands still has no residual, point by point, and heat flows out of its tip."""
    problem = starting(heat, tent)
    network = HardConstraint(problem, MLP(problem, **SMALL), offset=lambda x: tent(x), factor=0.0)
    errors = pinntk.errors(network, problem, problem.sample(residual=200, initial=50, **F64))
    assert max(float(e.detach().abs().max()) for e in errors.values()) == 0


def test_the_slope_of_a_start_is_as_smooth_as_its_value():
    """A string that is struck: u_xx needs the velocity's slope, too."""

    def struck(velocity):
        @residual(LINE)
        def string(u_tt, u_xx):
            return u_tt - u_xx

        @initial(LINE.at(t=0))
        def rest(u):
            return u

        @initial(LINE.at(t=0))
        def blow(u_t, x):
            return u_t - velocity(x)

        return Problem(LINE, [string, rest, blow])

    assert MLP(struck(lambda x: sin(pi * x)), **SMALL, hard="auto").hard == ("rest", "blow")
    network = MLP(struck(tent), **SMALL, hard="auto")
    assert network.hard == ("rest",)
    assert "the slope of its values jumps at x = 0.5" in network.soft["blow"]
