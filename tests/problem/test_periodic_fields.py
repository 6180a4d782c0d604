"""Periodicity of fields and derivatives from one call: the conditions that one would write by hand."""

import pytest
import torch

import pinntk
from pinntk import Box, Problem, periodic, periodic_fields, residual
from pinntk.geometry import Disk
from pinntk.problem._equation import equation
from tests.support import reference

F64 = {"dtype": torch.float64}
BOX = Box(t=(0, 1), x=(-1, 1), y=(0, 2))


@residual(BOX)
def evolution(u_t, u_xx, v, v_yyy):
    return u_t - u_xx + v * v_yyy


def by_hand() -> list[pinntk.Condition]:
    @periodic(BOX.ends("y"))
    def wrap_y_v(v):
        return v

    @periodic(BOX.ends("y"))
    def wrap_y_v_y(v_y):
        return v_y

    @periodic(BOX.ends("y"))
    def wrap_y_v_yy(v_yy):
        return v_yy

    @periodic(BOX.ends("x"))
    def wrap_x_u(u):
        return u

    @periodic(BOX.ends("x"))
    def wrap_x_v(v):
        return v

    return [wrap_y_v, wrap_y_v_y, wrap_y_v_yy, wrap_x_u, wrap_x_v]


def test_they_are_those_that_one_would_write():
    conditions = [*periodic_fields(BOX.ends("y"), 2, "v"), *periodic_fields(BOX.ends("x"), fields=("u", "v"))]
    assert [condition.name for condition in conditions] == [condition.name for condition in by_hand()]
    problem, other = (Problem(BOX, [evolution, *wraps], ("u", "v")) for wraps in (conditions, by_hand()))
    assert {name: problem.arguments[name] for name in problem.names} == {name: other.arguments[name] for name in other.names}
    network = pinntk.nn.MLP(problem, width=5, depth=2, **F64)
    points = problem.sample(residual=3, periodic=4, **F64)
    found = pinntk.errors(network, problem, points)
    assert all(torch.equal(error, found[name]) for name, error in pinntk.errors(network, other, points).items())
    expected = reference.kernel(network, problem, points)
    assert reference.relative(pinntk.kernel(network, problem, points).matrix(), expected) < 1e-12


def test_their_equations():
    (_, slope) = periodic_fields(BOX.ends("x"), 1)
    assert equation(slope) == "u_x agrees at both ends"


def test_coordinates_of_several_letters():
    domain = Box(x1=(0, 1), x2=(0, 1))
    names = [condition.name for condition in periodic_fields(domain.ends("x1"), 2)]
    assert names == ["wrap_x1_u", "wrap_x1_u_x1", "wrap_x1_u_x1x1"]


def test_a_network_meets_them_by_construction():
    @residual(BOX)
    def heat(u_t, lap_u):
        return u_t - lap_u

    problem = Problem(BOX, [heat, *periodic_fields(BOX.ends("x"), order=1)])
    assert pinntk.nn.MLP(problem, width=5, depth=1, hard="auto").hard == ("wrap_x_u", "wrap_x_u_x")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (lambda: periodic_fields(BOX.ends("x"), -1), ValueError, "order=-1: a whole number of at least 0"),
        (lambda: periodic_fields(BOX.ends("x"), True), ValueError, "order=True: a whole number"),
        (lambda: periodic_fields(BOX.ends("x"), 1.0), ValueError, "order=1.0: a whole number"),
        (lambda: periodic_fields(BOX.ends("x"), fields=()), ValueError, r"fields=\(\): name at least one"),
        (lambda: periodic_fields(BOX.at(t=0)), ValueError, "the two ends of one coordinate"),
        (lambda: periodic_fields(BOX), TypeError, "needs both ends"),
        (lambda: periodic_fields(Disk(x=0, y=0, radius=1).boundary()), TypeError, "no pair of opposite faces"),
        (lambda: Problem(BOX, periodic_fields(BOX.ends("x"), 1, "w")), ValueError, r"wrap_x_w\(w\): unknown argument 'w'"),
    ],
)
def test_refused(asked, error, message):
    with pytest.raises(error, match=message):
        asked()
