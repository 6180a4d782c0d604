"""The problem language: what arguments may be named, sampling, and checks of points."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk.problem import Box, GridSolution, Problem, boundary, data, initial, periodic, residual
from tests.support.examples import burgers, everything, inverse

BOX = Box(t=(0, 1), x=(-1, 1))


def problem_with(operator, **kwargs):
    return Problem(BOX, [residual(BOX)(operator)], **kwargs)


def heat(u_t, u_xx):
    return u_t - u_xx


# What arguments ask for.


def test_arguments_are_read_by_name():
    def equation(t, u, v_txx, lap_v, grad_u, points, nu, scale=2):
        return u

    problem = problem_with(equation, fields=("u", "v"), coefficients={"nu": 1.0})
    needs = problem.arguments["equation"]
    assert [spec.kind for spec in needs] == [
        *("coordinate", "derivative", "derivative", "laplacian", "gradient", "points", "coefficient")
    ]
    assert (needs[0].axis, needs[1].index, needs[1].field) == (0, (0, 0), 0)
    assert (needs[2].index, needs[2].field, needs[3].field) == ((1, 2), 1, 1)


def test_multi_letter_coordinates():
    box = Box(x1=(0, 1), x12=(0, 1))

    def equation(u_x12x1, u_x1):
        return u_x1

    needs = Problem(box, [residual(box)(equation)]).arguments["equation"]
    assert [spec.index for spec in needs] == [(1, 1), (1, 0)]


def test_u_n_is_a_derivative_where_n_is_a_coordinate():
    box = Box(n=(0, 1))
    needs = Problem(box, [boundary(box.ends("n"))(lambda u_n: u_n)]).arguments["<lambda>"]
    assert needs[0].kind == "derivative"


def test_the_basis_serves_the_named_conditions_only():
    problem = burgers()
    assert problem.basis(["start"]).indices == ((0, 0),)
    assert problem.basis(["equation"]).indices == ((0, 0), (0, 1), (1, 0), (0, 2))
    assert problem.basis(["mixed"]).indices == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert everything().basis(["equation"]).laplacian_axes == (1, 2)


UNKNOWN = "burgers(u, u_y): unknown argument 'u_y'; coordinates are ('t', 'x'), fields are ('u',)"


def test_an_unknown_argument_is_named():
    def burgers(u, u_y):
        return u

    with pytest.raises(ValueError) as caught:
        problem_with(burgers)
    assert str(caught.value).startswith(UNKNOWN)


def test_unknown_arguments_say_what_is_known_and_what_is_close():
    def equation(u, nuu, k):
        return nuu * k * u

    with pytest.raises(ValueError, match=r"unknown argument 'nuu'; .*coefficients are \('nu',\); did you mean 'nu'\?"):
        problem_with(equation, coefficients={"nu": 1.0})
    condition = data(BOX, [[0, 0]], seen=[1])(lambda u, sen: u - sen)
    with pytest.raises(ValueError, match=r"measured columns are \('seen',\); did you mean 'seen'\?"):
        Problem(BOX, [condition])


@pytest.mark.parametrize("operator", [lambda *args: args, lambda u, **rest: u, lambda u_: u_, lambda u_lap: u_lap])
def test_arguments_that_say_nothing(operator):
    with pytest.raises(ValueError, match=r"name every argument|unknown argument"):
        problem_with(operator)


class Decay:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, u, u_t):
        return u_t + self.rate * u


def decay(u, u_t, rate):
    return u_t + rate * u


def test_an_operator_may_be_a_callable_object_or_a_partial():
    named = partial(decay, rate=2.0)
    named.__name__ = "slow"
    problem = Problem(BOX, [residual(BOX)(operator) for operator in (Decay(2.0), partial(decay, rate=2.0), named)])
    assert problem.names == ("Decay", "decay", "slow")
    network = nn.Linear(2, 1).double()
    first, *others = pinntk.errors(network, problem, problem.sample(residual=4)).values()
    assert all(torch.equal(first, other) for other in others)
    assert data(BOX, [[0, 0]], seen=[1])(partial(lambda u, seen, factor: factor * u - seen, factor=2)).columns == ("seen",)
    with pytest.raises(ValueError, match=r"two conditions are named 'decay'; .* set its __name__"):
        Problem(BOX, [residual(BOX)(partial(decay, rate=rate)) for rate in (1.0, 2.0)])
    with pytest.raises(ValueError, match=r"decay\(u, u_t, rate\): unknown argument 'rate'"):
        Problem(BOX, [residual(BOX)(partial(decay))])


def test_what_cannot_be_an_operator_is_refused():
    for decorate in (residual(BOX), data(BOX, [[0, 0]])):
        with pytest.raises(TypeError, match="3 cannot be called; give a function"):
            decorate(3)
    with pytest.raises(ValueError, match="sin is built in and its arguments have no names"):
        problem_with(torch.sin)


def test_a_derivative_that_can_be_read_in_two_ways():
    box = Box(x=(0, 1), xx=(0, 1))
    with pytest.raises(ValueError, match="'u_xx' can be read in 2 ways; rename a coordinate"):
        Problem(box, [residual(box)(lambda u_xx: u_xx)])


# Building a problem.


def test_bad_problems():
    equation = residual(BOX)(heat)
    other = residual(Box(x=(0, 1)))(lambda u: u)
    for conditions, message in [
        ([], "at least one condition"),
        ([equation, equation], "two conditions are named 'heat'"),
        ([other], "lives on other coordinates"),
    ]:
        with pytest.raises(ValueError, match=message):
            Problem(BOX, conditions)
    with pytest.raises(TypeError, match="must be decorated with one of @residual"):
        Problem(BOX, [heat])
    with pytest.raises(ValueError, match="name 'x' is taken twice"):
        Problem(BOX, [equation], fields=("u", "x"))
    with pytest.raises(ValueError, match="coefficient 'nu' is asked for by no condition"):
        Problem(BOX, [equation], coefficients={"nu": 1.0})


@pytest.mark.parametrize("name", ["residual", "seed", "dtype"])
def test_reserved_names(name):
    def operator(u):
        return u

    operator.__name__ = name
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        problem_with(operator)


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: boundary(BOX), "needs faces"),
        (lambda: initial("t"), "needs a slice"),
        (lambda: residual(None), "needs a domain"),
        (lambda: periodic(BOX), "needs both ends"),
        (lambda: data([[0, 0]], [1]), "first argument is the domain"),
    ],
)
def test_decorators_refuse_other_regions(decorate, message):
    with pytest.raises(TypeError, match=message):
        decorate()


@pytest.mark.parametrize(
    ("points", "columns", "message"),
    [
        ([0.0, 1.0], {}, r"data points have shape \(2,\); expected \(m, 2\)"),
        (np.zeros((0, 2)), {}, "data points have shape"),
        ([[0, 0]], {"seen": [1, 2]}, "data column 'seen' has 2 values for 1 points"),
        ([[0, np.nan]], {}, "points has NaN or infinity in row 0"),
        ([[0, 0], [0, 0]], {"seen": [1, np.inf]}, "seen has NaN or infinity in row 1"),
        ([[0, 0], [0, 2]], {}, r"row 1 is \(0, 2\), but this condition holds on t in \[0, 1\] x x in \[-1, 1\]"),
    ],
)
def test_bad_measurements(points, columns, message):
    with pytest.raises(ValueError, match=message):
        data(BOX, points, **columns)(lambda u: u)


def test_coefficients_are_float64_parameters():
    problem = inverse()
    assert dict(problem.coefficients.items()).keys() == {"nu", "source"}
    assert problem.coefficients["nu"].dtype == torch.float64
    assert problem.coefficients["nu"].requires_grad
    assert problem.coefficients["nu"].item() == 0.7
    given = nn.Parameter(torch.tensor(2.0), requires_grad=False)
    assert problem_with(lambda u, nu: nu * u, coefficients={"nu": given}).coefficients["nu"] is given


def test_a_single_field_may_be_a_plain_string():
    assert problem_with(lambda temperature_t: temperature_t, fields="temperature").fields == ("temperature",)


def test_unknown_condition():
    with pytest.raises(KeyError, match=r"has no condition 'strat'; it has .*did you mean 'start'"):
        burgers()["strat"]


# Sampling.


def test_counts_by_kind_and_by_name():
    counts = burgers().counts(residual=7, mixed=3, periodic=2)
    assert counts == {"equation": 7, "mixed": 3, "start": 100, "wrap": 2, "wrap_slope": 2}
    assert burgers().counts()["equation"] == 1000
    assert inverse().counts()["sensors"] is None


@pytest.mark.parametrize("n", [0, -1, 2.5, "3"])
def test_bad_counts(n):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        burgers().sample(residual=n)
    with pytest.raises(ValueError, match=r"has no condition 'residuals'.*did you mean 'residual'"):
        burgers().sample(residuals=5)


def test_sample_gives_points_in_the_conditions_order():
    points = everything().sample(residual=5, boundary=4, initial=3, periodic=2, seed=2, dtype=torch.float64)
    assert {name: tuple(rows.shape) for name, rows in points.items()} == {
        **{"equation": (5, 3), "symmetry": (5, 3), "walls": (4, 3)},
        **{"start": (3, 3), "wrap": (2, 3), "sensors": (2, 4)},
    }
    assert (points["symmetry"][:, 2] == 0.5).all()
    assert points["sensors"][:, 3].tolist() == [0.5, -0.5]
    assert points["walls"].dtype == torch.float64
    assert everything().sample()["walls"].dtype == torch.get_default_dtype()


def test_counts_are_a_mapping_or_keywords():
    counts = {"residual": 5, "walls": 4}
    given, named = everything().sample(counts, seed=2), everything().sample(seed=2, **counts)
    assert given.keys() == named.keys() and all(torch.equal(given[name], named[name]) for name in named)
    assert everything().counts(counts, walls=6)["walls"] == 6
    with pytest.raises(ValueError, match=r"walls=0: the number of points"):
        everything().sample({"walls": 0})


def test_a_problem_is_set_once_and_its_coefficients_train():
    problem = inverse()
    for name in ("conditions", "coefficients", "arguments"):
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(problem, name, None)
    with torch.no_grad():
        problem.coefficients["nu"].fill_(2.0)
    assert problem.coefficients["nu"].item() == 2


def test_sample_is_seeded():
    first, second, other = (burgers().sample(seed=seed, residual=5) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_conditions_on_the_same_region_share_points():
    points = burgers().sample(residual=5)
    assert points["equation"] is points["mixed"]
    assert points["wrap"] is points["wrap_slope"]
    assert points["equation"] is not points["start"]
    apart = burgers().sample(residual=5, mixed=6)
    assert not torch.equal(apart["equation"], apart["mixed"][:5])


# Checks of given points.

GOOD = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("equation", torch.zeros(2), r"has shape \(2,\); expected \(n, 2\) with columns t, x"),
        ("equation", torch.zeros(2, 3), r"has shape \(2, 3\)"),
        ("equation", torch.zeros(0, 2), r"has no rows \(n = 0\)"),
        ("equation", torch.tensor([[0, 0], [0, float("nan")]]), "row 1 is .*NaN or infinite"),
        ("equation", torch.tensor([[0, 0], [0, 1.5]]), r"row 1 is \(0, 1.5\), but this condition holds on .*\(1 of 2 rows"),
        ("start", torch.tensor([[0.1, 0.5]]), "this condition holds on t = 0"),
        ("wrap", torch.tensor([[0.1, 1.0]]), r"x = -1 \(the lower of two periodic faces\)"),
        ("equations", GOOD, "has no condition 'equations'.*did you mean 'equation'"),
    ],
)
def test_bad_points(name, rows, message):
    with pytest.raises(ValueError, match=message):
        burgers().check({"equation": GOOD, name: rows})


def test_points_are_a_mapping_that_is_not_empty():
    with pytest.raises(TypeError, match=r"points .*condition names?.* list"):
        burgers().check([GOOD])
    with pytest.raises(ValueError, match="points is empty"):
        burgers().check({})


def test_points_may_be_left_out_and_come_in_any_order():
    checked = burgers().check({"start": [[0.0, 0.5]], "equation": GOOD.numpy()})
    assert list(checked) == ["equation", "start"]
    assert checked["start"].tolist() == [[0.0, 0.5]]


# The known solution.


def test_a_known_solution_may_have_an_accuracy_of_its_own():
    def exact(x, t):
        return t * x**2

    problem = problem_with(heat, exact=exact, solution_accuracy=4e-5)
    assert problem.remark(4e-5) == ", at the accuracy of the reference (4e-05)" == problem.remark(0.0)
    assert problem.remark(4.1e-5) == problem_with(heat, exact=exact).remark(0.0) == ""
    assert dataclasses.replace(problem, name="again").solution_accuracy == 4e-5
    for wrong in (-1e-3, 1, float("nan"), "1e-3", True):
        with pytest.raises(ValueError, match=r"solution_accuracy=.*: a relative L2 error"):
            problem_with(heat, exact=exact, solution_accuracy=wrong)
    with pytest.raises(ValueError, match="no known solution that it could be of"):
        problem_with(heat, solution_accuracy=1e-3)


def test_error_against_an_exact_solution_and_against_a_grid():
    class Half(nn.Module):
        def forward(self, points):
            return 0.5 * (points[:, :1] * points[:, 1:] ** 2)

    def exact(x, t):
        return t * x**2

    with_formula = problem_with(heat, exact=exact)
    assert with_formula.relative_error(Half()) == pytest.approx(0.5)
    t, x = np.linspace(0, 1, 4), np.linspace(-1, 1, 5)
    on_grid = problem_with(heat, reference=lambda: GridSolution((t, x), t[:, None] * x**2))
    assert on_grid.relative_error(Half()) == pytest.approx(0.5)
    assert on_grid.relative_error_by_field(Half()) == {"u": pytest.approx(0.5)}
    assert with_formula.exact_values(torch.tensor([[0.5, 2.0]])).tolist() == [[2.0]]
    assert with_formula.has_solution
    with pytest.raises(ValueError, match="no exact or reference solution"):
        _ = problem_with(heat).solution
    with pytest.raises(ValueError, match="exact returned 2 fields"):
        _ = problem_with(heat, exact=lambda t: (t, t)).solution


def test_units_are_names_of_what_there_is():
    domain = Box(t=(0, 1), x=(0, 2))
    heat = residual(domain)(lambda T_t, T_xx, kappa: T_t - kappa * T_xx)
    settings = {"fields": "T", "coefficients": {"kappa": 1.0}}
    problem = Problem(domain, [heat], units={"x": "m", "T": "K", "kappa": "m²/s"}, **settings)
    assert [problem.label(name) for name in ("t", "x", "T", "kappa")] == ["t", "x [m]", "T [K]", "kappa [m²/s]"]
    assert "x in m, T in K, kappa in m²/s" in problem._repr_html_()
    with pytest.raises(ValueError, match="units of 'y': the problem has t, x, T, kappa"):
        Problem(domain, [heat], units={"y": "m"}, **settings)
    with pytest.raises(TypeError, match="units: that of 'x' is 3; give a text"):
        Problem(domain, [heat], units={"x": 3}, **settings)
