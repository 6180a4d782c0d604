"""Conditions that cannot be met by construction: refused by name, left by "auto", each with its reason."""

import warnings

import pytest
import torch
from torch import cos, sin

import pinntk
from pinntk import Box, Problem, boundary, data, initial, residual
from pinntk.nn import MLP
from pinntk.nn._transfinite import Transfinite
from tests.support.constrained import SMALL, largest, quietly

BOX = Box(t=(0, 1), x=(0, 1))


def one(condition, fields=("u",), **settings):
    """A problem of one condition, beside a residual."""

    @residual(BOX)
    def equation(u_t):
        return u_t

    return Problem(BOX, [equation, condition], fields, **settings)


def named(kind, region, operator):
    operator.__name__ = "asked"
    return kind(region)(operator)


def step(x):
    return torch.where(x > 0.3, 1.0, 0.0).to(x.dtype)


REFUSED = {
    "whole": (residual, BOX, lambda u: u, "it holds in the whole domain"),
    "slice": (boundary, BOX.at(x=0.5), lambda u: u, "it holds on x = 0.5, which is no face of the domain"),
    "edge": (boundary, BOX.at(x=0) | BOX.at(x=0, t=0), lambda u: u, "it holds on x = 0, t = 0, which is no face"),
    "elsewhere": (boundary, Box(t=(0, 1), x=(0, 2)).at(x=0), lambda u: u, "it holds on x = 0, not on faces of the problem's"),
    "derivative": (boundary, BOX.ends("x"), lambda u_xx: u_xx, "it takes u_xx, and not the value of one field alone"),
    "normal": (boundary, BOX.ends("x"), lambda u_n: u_n, "it takes u_n, and not the value of one field alone"),
    "mixed": (boundary, BOX.ends("x"), lambda u, u_x: u + u_x, "it takes u, u_x, and not the value of one field alone"),
    "along": (boundary, BOX.ends("x"), lambda u_t: u_t, "it asks for a derivative along a face, not across it"),
    "slope": (boundary, BOX.ends("x"), lambda u_x: u_x, "it prescribes a slope where no value is met"),
    "square": (boundary, BOX.ends("x"), lambda u: u**2 - 1, "its error is not linear in what it takes of the field"),
    "cut": (boundary, BOX.ends("x"), lambda u: torch.clamp(u, -100, 100), "its error is not linear"),
    "mean": (boundary, BOX.ends("x"), lambda u: u - u.mean(), "its error is not linear in what it takes of the field"),
    "nothing": (boundary, BOX.ends("x"), lambda u, t: 0 * u + t, "its error does not depend on what it takes of the field"),
    "vanishing": (boundary, BOX.ends("x"), lambda u, t: t * u, "the factor of the field in its error comes close to 0"),
    "sign": (boundary, BOX.ends("x"), lambda u, t: torch.where(t < 0.5, u, -u), "comes close to 0: from 1 to 1 in size"),
    "jump": (initial, BOX.at(t=0), lambda u, x: u - step(x), r"its values jump at x = 0\.3, and would jump in the domain"),
    "detached": (initial, BOX.at(t=0), lambda u, x: u - sin(x).detach(), "autograd does not know how its values change with x"),
    "numpy": (initial, BOX.at(t=0), lambda u, x: u - torch.from_numpy(x.numpy()), "its operator failed when it was tried"),
    "infinite": (initial, BOX.at(t=0), lambda u, x: u - 1 / (x - x), "its error is not one finite number a point"),
    "shape": (initial, BOX.at(t=0), lambda u, x: u.sum(), "its error is not one finite number a point"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_met_is_named_with_the_reason(case):
    kind, region, operator, reason = REFUSED[case]
    problem = one(named(kind, region, operator))
    with pytest.raises(ValueError, match=rf"hard=\('asked',\): condition 'asked' cannot be met by construction: .*{reason}"):
        MLP(problem, **SMALL, hard="asked")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ()
    assert "asked" in network.soft
    assert network.constraint is None


def test_what_depends_on_a_coefficient_or_on_two_fields_is_left():
    problem = one(named(boundary, BOX.ends("x"), lambda u, k: u - k), coefficients={"k": 1.0})
    assert quietly(problem).soft["asked"] == "it depends on the coefficient 'k'"
    problem = one(named(boundary, BOX.ends("x"), lambda u, v: u - v), fields=("u", "v"))
    assert quietly(problem).soft["asked"].startswith("it takes u, v, and not the value of one field alone")
    problem = one(named(lambda region: data(region, [[0.5, 0.5]], seen=[1.0]), BOX, lambda u, seen: u - seen))
    assert quietly(problem).soft["asked"] == "it holds at measured points"


def lid():
    domain = Box(x=(0, 1), y=(0, 1))

    @boundary(domain.ends("x") | domain.at(y=0))
    def walls(u):
        return u

    @boundary(domain.at(y=1))
    def lid(u):
        return u - 1

    return Problem(domain, [walls, lid])


def test_conditions_that_contradict_each_other_at_an_edge():
    problem = lid()
    with pytest.warns(
        UserWarning, match=r"condition 'lid' is left to training, .*: 'walls' and 'lid' ask for different things"
    ):
        network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("walls",)
    assert largest(network, problem)["walls"] == 0
    assert MLP(problem, **SMALL, hard="lid").hard == ("lid",)
    with pytest.raises(ValueError, match=r"'lid' cannot be met.* u = 0 and 1 at x = 0, y = 1; leave it out"):
        MLP(problem, **SMALL, hard=("lid", "walls"))


def test_one_condition_that_contradicts_itself():
    domain = Box(x=(0, 1), y=(0, 1))

    @boundary(domain.boundary())
    def walls(u, x, y):
        return u - torch.where(y == 1, 1.0, 0.0)  # jumps in the corners

    with pytest.raises(ValueError, match="its values jump at y = "):
        MLP(Problem(domain, [walls]), **SMALL, hard="walls")

    @boundary(domain.ends("x"))
    def sides(u, y):
        return u - y

    @initial(domain.at(y=1))
    def velocity(u_y):
        return u_y

    @initial(domain.at(y=1))
    def top(u):
        return u - 1

    problem = Problem(domain, [sides, velocity, top])
    with pytest.raises(ValueError, match=r"'sides' and 'velocity' ask for different things where they meet: u_y = 1 and 0"):
        MLP(problem, **SMALL, hard=("sides", "velocity", "top"))


def test_two_conditions_of_one_face():
    def twice(second):
        return Problem(BOX, [named(initial, BOX.at(t=0), lambda u, x: u - sin(x)), initial(BOX.at(t=0))(second)])

    def again(u, x):
        return 2 * sin(x) - 2 * u

    def otherwise(u, x):
        return u - cos(x)

    problem = twice(again)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("asked", "again")
    assert max(largest(network, problem).values()) < 1e-15
    with pytest.warns(UserWarning, match="condition 'otherwise' is left"):
        assert MLP(twice(otherwise), **SMALL, hard="auto").hard == ("asked",)


def test_what_is_built_in_is_tried_before_it_is_claimed(monkeypatch):
    """By whatever fault the factor does not vanish."""
    problem = pinntk.load("burgers")
    monkeypatch.setattr(Transfinite, "factor", lambda self, x: x[:, 0] ** 2)  # at t = 0 only
    with pytest.raises(ValueError, match="'walls' cannot be met by construction: built in, its error would still be"):
        MLP(problem, **SMALL, hard="walls")
    with pytest.warns(UserWarning, match="condition 'walls' is left to training"):
        assert MLP(problem, **SMALL, hard="auto").hard == ("start",)


@pytest.mark.parametrize(
    ("hard", "message"),
    [
        ("wals", r"hard='wals': problem has no condition 'wals'; did you mean 'walls'\?"),
        ("on", r"hard='on': problem has no condition 'on'; it has 'start', 'walls', or 'auto'"),
        (
            "burger",
            r"hard='burger': problem has no condition 'burger'; it has 'start'",
        ),  # not the residual, which cannot be met
        (("walls", "stat"), r"hard=\('walls', 'stat'\): problem has no condition 'stat'"),
        (("auto", "walls"), r"hard=\('auto', 'walls'\): 'auto' stands alone"),
        ("boundary", r"hard='boundary': a kind of conditions; name them, as in 'walls', or 'auto'"),
        (3, "hard=3: None, 'auto', or names of conditions"),
        (["walls", 2], r"hard=\['walls', 2\]: None, 'auto', or names"),
        ("burgers", r"hard=\('burgers',\): condition 'burgers' cannot be met by construction: it holds in the whole domain"),
    ],
)
def test_bad_settings(hard, message):
    with pytest.raises(ValueError, match=message.replace("problem has", "burgers has")):
        MLP(pinntk.load("burgers"), **SMALL, hard=hard)


def test_a_problem_is_needed():
    with pytest.raises(ValueError, match="hard='auto' needs a problem"):
        MLP(inputs=1, outputs=1, hard="auto")
