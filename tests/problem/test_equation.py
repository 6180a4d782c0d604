"""Equations as operators are written: right, or none."""

import linecache
from math import pi

import pytest
import torch
from torch import sin

import pinntk
from pinntk import Box, boundary, data, integral, periodic, residual
from pinntk.problem import ForeignCondition, PointSet
from pinntk.problem._arguments import ArgumentSpec
from pinntk.problem._equation import equation
from pinntk.problem._page import formula

DOMAIN = Box(t=(0, 1), x=(0, 1))
GLOBAL = 3


def burgers(nu=0.1):
    @residual(DOMAIN)
    def burgers(u, u_t, u_x, u_xx):
        """What is returned has a docstring above it."""
        return u_t + u * u_x - nu * u_xx

    return burgers


def test_two_sides_and_the_numbers_around_it():
    assert equation(burgers(nu=0.25)) == "u_t + u * u_x = nu * u_xx, nu = 0.25"
    assert equation(burgers(), {"nu": 0.1}) == "u_t + u * u_x = nu * u_xx"
    assert equation(burgers(), {"nu": 7.0}).endswith("nu = 0.1")


def test_steps_before_the_end_stand_behind_it():
    @residual(DOMAIN)
    def flux(u_t, u_x, x):
        slope = GLOBAL * u_x * torch.sin(pi * x)
        return u_t + slope

    assert equation(flux) == "u_t + slope = 0, slope = GLOBAL * u_x * sin(pi * x), GLOBAL = 3"


def test_each_kind():
    @periodic(DOMAIN.ends("x"))
    def wrap(u_x):
        return u_x

    @data(DOMAIN, [[0.5, 0.5]], seen=[1.0])
    def readings(u, seen):
        return u - seen

    @integral(DOMAIN, equals=[2, 3], t=[0, 0.5])
    def mass(u):
        return u**2

    either = boundary(DOMAIN.ends("x"))(lambda u, x: u if GLOBAL else u - 1)
    foreign = ForeignCondition("other", "residual", PointSet(DOMAIN, [[0.0, 0.0]]), lambda net, x: net(x)[:, 0])
    assert equation(wrap) == "u_x agrees at both ends"
    assert equation(readings) == "u = seen"
    assert equation(mass) == f"{mass.region.describe()} of u ** 2 = given values"
    assert equation(either) == "(u if GLOBAL else u - 1) = 0, GLOBAL = 3"
    assert equation(foreign) == ""


def test_nothing_is_said_of_what_has_branches():
    @residual(DOMAIN)
    def branches(u, x):
        if GLOBAL > 2:
            return u
        return u - x

    class Callable:
        __name__ = "operator"

        def __call__(self, u):
            return u

    assert equation(branches) == ""
    assert equation(residual(DOMAIN)(Callable())) == ""
    assert equation(boundary(DOMAIN.ends("x"))(eval("lambda u: u"))) == ""


def test_a_file_that_has_changed_since_says_nothing(tmp_path):
    path = tmp_path / "my_pde.py"
    text = "import pinntk\ndomain = pinntk.Box(x=(0, 1))\n@pinntk.residual(domain)\ndef pde(u_xx):\n    return u_xx - 1\n"
    path.write_text(text + "def problem():\n    return pinntk.Problem(domain, [pde])\n")
    problem = pinntk.load(path)
    assert equation(problem["pde"]) == "u_xx = 1"
    path.write_text(path.read_text().replace("u_xx - 1", "u_xx - 22"))
    linecache.clearcache()
    assert equation(problem["pde"]) == ""
    path.unlink()
    assert equation(problem["pde"]) == ""


def test_a_slab_starts_from_what_its_equation_does_not_say():
    problem = pinntk.load("convection", beta=1.0)
    network = pinntk.nn.MLP(problem, width=3, depth=1)
    later = pinntk.slab(problem, 1, 2, network)
    assert equation(problem["start"]) == "u = sin(x)"
    assert equation(later["start"]) == ""


@pytest.mark.parametrize("name", ["burgers", "kovasznay", "poisson_holes", "heat_inverse"])
def test_the_error_is_the_difference_of_the_sides(name):
    """An oracle: the two sides, evaluated as Python, and the operator itself."""
    problem = pinntk.load(name)
    for condition in problem.conditions:
        specs = problem.arguments[condition.name]
        values = {spec.argument: torch.rand(5, dtype=torch.float64) for spec in specs}
        text, *given = equation(condition).split(", ", 1) if "(" not in equation(condition) else [equation(condition)]
        left, _, right = text.partition(" = ")
        around = {**dict(zip(condition.operator.__code__.co_freevars, _cells(condition.operator), strict=True)), "pi": pi}
        around |= {"sin": sin} | values
        found = eval(left, around) - eval(right, around)
        assert torch.equal(found + torch.zeros(5), condition.operator(**values) + torch.zeros(5)), (text, given)


def _cells(function):
    return [cell.cell_contents for cell in function.__closure__ or ()]


def test_formulas_escape_and_mark_derivatives_alone():
    specs = [ArgumentSpec("u_xx", "derivative", 0, (2,)), ArgumentSpec("lap_v", "laplacian", 1)]
    shown = str(formula("u_xx + lap_v ** 2 * a_b < f(x)", specs))
    assert shown == "u<sub>xx</sub> + Δv<sup>2</sup> · a_b &lt; f(x)"
