"""`pinntk.check`: every kind of ill problem beside a healthy one of its like, and no finding on what is well posed."""

import json
import time
from math import pi

import numpy as np
import pytest
import torch
from torch import exp, sin

import pinntk
from pinntk import Box, Problem, boundary, data, initial, residual
from pinntk.diagnostics import trial_space
from pinntk.diagnostics._linearized import Linearizer
from pinntk.geometry import Polygon
from pinntk.taylor import Basis
from tests.support.ill_conditions import value
from tests.support.ill_conflict import CONFLICT
from tests.support.ill_missing import MISSING
from tests.support.ill_trivial import TRIVIAL
from tests.support.registered import SOME, registered
from tests.support.sweeps import sweep

LINE = Box(x=(0, 1))
F64 = {"dtype": torch.float64}


def codes(problem, network=None):
    return [finding.code for finding in pinntk.check(problem, network)]


# Each kind, and its healthy like.


def some(made, *kept):
    return sweep(made.values(), *(made[name] for name in kept))


@pytest.mark.parametrize("make", some(MISSING, "line", "heat_start", "hunters", "cube", "ring"), ids=MISSING)
def test_a_missing_condition(make):
    first = pinntk.check(make(True))[0]
    assert first.code == "wrong-problem"
    assert "undetermined" in first.sentence
    assert codes(make(False)) == []


@pytest.mark.parametrize(
    "make", some(CONFLICT, "insulated_line", "two_values", "periodic_source", "shifted_sensors", "corner"), ids=CONFLICT
)
def test_conditions_that_contradict_each_other(make):
    assert codes(make(True)) == ["conflict"]
    assert codes(make(False)) == []


@pytest.mark.parametrize("make", some(TRIVIAL, "eigenvalue", "still_flow"), ids=TRIVIAL)
def test_zero_meets_every_condition(make):
    assert "trivial-solution" in codes(make(True))
    assert codes(make(False)) == []


def walled(operator, **more):
    ends = value(LINE.ends("x"), 0.0)
    return Problem(LINE, [residual(LINE)(operator), ends], **more)


def test_a_condition_that_no_field_reaches():
    def constant(x):
        return sin(x)

    def detached(u_xx):
        return u_xx.detach() + 1

    def times_zero(u, u_xx):
        return 0 * u_xx + 1

    for operator in (constant, detached, times_zero):
        first = pinntk.check(walled(operator))[0]
        assert first.code == "independent-condition"
        assert operator.__name__ in first.sentence

    def eikonal(u_x):  # does not depend on u to first order at zero, but elsewhere
        return u_x**2 - 1

    assert "independent-condition" not in codes(Problem(LINE, [residual(LINE)(eikonal), value(LINE.at(x=0))]))


def test_an_activation_without_the_derivatives_that_are_asked_for():
    problem = pinntk.load("poisson2d")
    for activation in ("relu", "identity"):
        first = pinntk.check(problem, pinntk.nn.MLP(problem, activation=activation))[0]
        assert first.code == "unsuitable-activation"
        assert first.prescriptions[0].changes == {"network.arguments.activation": "tanh"}
    layers = [torch.nn.Linear(2, 8), torch.nn.LeakyReLU(), torch.nn.Linear(8, 1)]
    assert codes(problem, torch.nn.Sequential(*layers)) == ["unsuitable-activation"]
    for activation in ("tanh", "sin", "gelu", "softplus"):
        assert codes(problem, pinntk.nn.MLP(problem, activation=activation)) == []

    def decay(u, u_x):
        return u_x + u

    first_order = Problem(LINE, [residual(LINE)(decay), value(LINE.at(x=0), 1.0)])
    assert codes(first_order, pinntk.nn.MLP(first_order, activation="relu")) == []


# The known solution.


def heat(sign=1.0, exact=None):
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def equation(u_t, u_xx):
        return u_t - sign * 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - x * (1 - x)

    return Problem(box, [equation, start, value(box.ends("x"))], exact=exact)


def series(library, terms=20):
    def exact(t, x):
        total = 0
        for n in range(1, 2 * terms, 2):
            total = total + 8 / (n * pi) ** 3 * library.sin(n * pi * x) * library.exp(-0.1 * (n * pi) ** 2 * t)
        return total

    return exact


@pytest.mark.parametrize("library", [torch, np])
def test_a_truncated_series_is_a_known_solution(library):
    assert codes(heat(exact=series(library))) == []


@pytest.mark.parametrize("library", [torch, np])
@pytest.mark.parametrize("units", [1.0, 1e6])
def test_a_wrong_sign_and_a_wrong_factor_violate_the_known_solution(library, units):
    def poisson(factor):
        def equation(u_xx, x):
            return u_xx + factor * units * pi**2 * sin(pi * x)

        return walled(equation, exact=lambda x: units * library.sin(pi * x))

    assert codes(poisson(1.0)) == []
    for factor in (-1.0, 1.1):
        first = pinntk.check(poisson(factor))[0]
        assert first.code == "wrong-problem"
        assert "does not satisfy the condition equation:" in first.sentence
        assert first.evidence["exact_error/equation"] == pytest.approx(abs(factor - 1), rel=0.1)


# Coefficients and gauge.


def rate(readings, product=False):
    box = Box(t=(0, 1), x=(0, 1))
    t, x = np.random.default_rng(0).random((2, 30))

    def equation(u_t, u_xx, a, b):
        return u_t - a * b * u_xx

    def single(u_t, u_xx, a):
        return u_t - a * u_xx

    @initial(box.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @data(box, np.column_stack([t, x]), seen=np.exp(-0.2 * pi**2 * t) * np.sin(pi * x))
    def sensors(u, seen):
        return u - seen

    conditions = [residual(box)(equation if product else single), start, value(box.ends("x")), *([sensors] if readings else [])]
    return Problem(box, conditions, coefficients={"a": 1.0, "b": 0.5} if product else {"a": 1.0})


def test_coefficients_that_no_condition_determines():
    assert codes(rate(readings=True)) == []
    assert codes(rate(readings=False)) == ["undetermined-coefficient"]
    found = pinntk.check(rate(readings=True, product=True))
    assert [finding.code for finding in found] == ["undetermined-coefficient"]
    assert "determine a and b" in found[0].sentence


def test_a_free_pressure_is_a_note():
    box = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    @residual(box)
    def momentum_x(u_t, p_x, lap_u, y):
        return u_t + p_x - lap_u - y

    @residual(box)
    def momentum_y(v_t, p_y, lap_v):
        return v_t + p_y - lap_v

    @residual(box)
    def continuity(u_x, v_y):
        return u_x + v_y

    conditions = [momentum_x, momentum_y, continuity, value(box.boundary()), value(box.boundary(), 0.0, "v")]
    conditions += [value(box.at(t=0), 0.0, "u"), value(box.at(t=0), 0.0, "v")]
    found = pinntk.check(Problem(box, conditions, fields=("u", "v", "p")))
    assert [(finding.code, finding.severity) for finding in found] == [("gauge", "note")]
    assert "constant in p:" in found[0].sentence


# Well-posed problems, fast.


@pytest.mark.parametrize("name", SOME)
def test_nothing_is_found_in_a_problem_of_the_registry_within_seconds(name):
    problem = registered(name)
    assert not problem.has_solution or problem.solution.values.size  # a reference is made once, and kept in the cache folder
    start = time.process_time()
    found = pinntk.check(problem, pinntk.nn.MLP(problem))
    assert [finding.code for finding in found] == (["gauge"] if problem.gauge else [])
    assert time.process_time() - start < 5


def test_what_lies_outside_of_a_shape_is_not_undetermined():
    """A polynomial that is large where an L-shape is not meets every condition as well as none."""
    domain = Polygon([(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)], edges={2: "open"})

    @residual(domain)
    def poisson(lap_u):
        return lap_u + 1

    @boundary(domain.boundary())
    def walls(u):
        return u

    @boundary(domain.boundary(without="open"))
    def some_walls(u):
        return u

    assert pinntk.check(Problem(domain, [poisson, walls])) == []
    found = pinntk.check(Problem(domain, [poisson, some_walls]))
    assert [finding.code for finding in found] == ["wrong-problem"]
    assert "leave the field u undetermined" in found[0].sentence


def test_what_grows_fast_is_not_undetermined():
    """Lorenz's chaos over 20 units of time: errors of rounding at the start are as large as the solution at its end."""
    box = Box(t=(0, 20))

    @residual(box)
    def first(x, y, x_t):
        return x_t - 10 * (y - x)

    @residual(box)
    def second(x, y, z, y_t):
        return y_t - x * (28 - z) + y

    @residual(box)
    def third(x, y, z, z_t):
        return z_t - x * y + 8 / 3 * z

    starts = [value(box.at(t=0), number, field) for field, number in (("x", -8.0), ("y", 7.0), ("z", 27.0))]
    assert codes(Problem(box, [first, second, third, *starts], ("x", "y", "z"))) == []
    assert "wrong-problem" in codes(Problem(box, [first, second, third, *starts[:2]], ("x", "y", "z")))


def test_no_unit_changes_a_verdict():
    def plate(length, size, ill):
        box = Box(x=(0, length), y=(0, length))

        @residual(box)
        def poisson(lap_u):
            return lap_u + size / length**2

        walls = boundary(box.boundary())
        return Problem(box, [poisson, walls(lambda u_n: u_n)] if ill else [poisson, value(box.boundary())])

    for length, size in ((1e-6, 1e12), (1e9, 1e-15)):
        assert codes(plate(length, size, True)) == ["wrong-problem", "conflict"]
        assert codes(plate(length, size, False)) == []


def test_a_network_may_meet_conditions_by_construction():
    def equation(u_xx):
        return u_xx + 1

    problem = Problem(LINE, [residual(LINE)(equation)])
    network = pinntk.nn.HardConstraint(problem, pinntk.nn.MLP(problem), factor=lambda x: x * (1 - x))
    assert codes(problem) == ["wrong-problem"]
    assert codes(problem, network) == []


def test_findings_are_ready_for_json_and_the_quick_part_is_a_part():
    problem = TRIVIAL["eigenvalue"](True)
    found = pinntk.check(problem, quick=True)
    assert [finding.code for finding in found] == ["trivial-solution"]
    json.dumps([finding.as_json() for finding in pinntk.check(problem)])
    with pytest.raises(TypeError, match=r"give a pinntk\.Problem"):
        pinntk.check("burgers")


# The trial functions.


@pytest.mark.parametrize("d", [1, 2, 3, 7, 12])
def test_trial_functions_have_unit_size_and_true_derivatives(d):
    box = Box(**{f"x{i}": (0.5 * i, 0.5 * i + 2) for i in range(d)})
    space = trial_space(box, 1, most=60)
    x = torch.as_tensor(box.sample(4000, "sobol", np.random.default_rng(0)))
    rms = space.values(x).square().mean(0).sqrt()
    assert torch.allclose(rms, space.deviations, rtol=0.1)
    second = tuple(2 * (i == 0) for i in range(d))
    basis = Basis.spanning([second], d, tuple(range(d)))
    point = x[:3].clone().requires_grad_()
    (slope,) = torch.autograd.grad(_sum(space, point), point, create_graph=True)
    found = space.coefficients(x[:3], basis)
    assert torch.allclose(found[basis.position(tuple(int(i == 0) for i in range(d)))].sum(1), slope[:, 0])
    twice = [torch.autograd.grad(slope[:, i].sum(), point, retain_graph=True)[0][:, i] for i in range(d)]
    assert torch.allclose(2 * found[basis.position(second)].sum(1), twice[0])
    if basis.laplacian_axes:
        assert torch.allclose(found[-1].sum(1), sum(twice))


def _sum(space, x):
    """All functions, by numpy's Legendre polynomials as powers of x."""
    z = 2 * (x - space.low) / (space.high - space.low) - 1
    total = 0
    for power, size in zip(space.powers.tolist(), space.deviations.tolist(), strict=True):
        product = size
        for axis, k in enumerate(power):
            coefficients = np.polynomial.legendre.leg2poly([0] * k + [1]) * (2 * k + 1) ** 0.5
            product = product * sum(c * z[:, axis] ** i for i, c in enumerate(coefficients))
        total = total + product
    return total.sum() if hasattr(total, "sum") else total


def test_the_linearization_is_that_of_the_errors():
    problem = pinntk.load("burgers")
    space = trial_space(problem.domain, 1, most=30)
    linearizer = Linearizer(problem, problem.names, space)
    generator = torch.Generator().manual_seed(0)
    theta, step = (torch.randn(space.size, 1, generator=generator, **F64) for _ in range(2))
    here, there, back = (linearizer.at(linearizer.field(theta + h * step)) for h in (0.0, 1e-5, -1e-5))
    slope = (there.start - back.start) / 2e-5
    assert torch.allclose(here.raw @ step[:, 0], slope, rtol=1e-6, atol=1e-6)
    unit = torch.cat(
        [here.start.new_full((s.stop - s.start,), here.rows[n] / (s.stop - s.start) ** 0.5) for n, s in here.spans.items()]
    )
    assert torch.allclose(here.A, unit[:, None] * here.raw * here.fields)
    assert exp(here.fields.log()).isfinite().all()


def test_what_are_no_errors_is_refused():
    """As a training would: such a condition has no kernel, and no verdict."""
    domain = Box(x=(0, 1))

    def start(operator):
        return Problem(domain, [residual(domain)(named(lambda u_x: u_x + 1, "ode")), boundary(domain.at(x=0))(operator)])

    def named(operator, name):
        operator.__name__ = name
        return operator

    with pytest.raises(pinntk.DependentPointsError, match="condition 'start': its error is another at every evaluation"):
        pinntk.check(start(named(lambda u, x: u - torch.rand_like(x), "start")))
    with pytest.raises(pinntk.DependentPointsError, match="condition 'start': the error at a point changes when another"):
        pinntk.check(Problem(domain, [residual(domain)(named(lambda u, u_x: u_x - u.mean(), "start"))]))
    with pytest.raises(pinntk.NonFiniteError, match="condition 'start': the error is infinite at all 16 points"):
        pinntk.check(start(named(lambda u, x: u / (x - x), "start")))
    with pytest.warns(UserWarning, match="condition 'start': the gradient that autograd gives is not the derivative"):
        pinntk.check(start(named(lambda u, u_x: u + u_x.detach(), "start")))


def test_a_problem_without_an_equation_is_told_so():
    domain = Box(t=(0, 1), x=(0, 1))
    first = pinntk.check(Problem(domain, [boundary(domain.ends("x"))(lambda u: u - 1)]))[0]
    assert first.code == "wrong-problem" and first.sentence.startswith("No condition is an equation in the domain, a @residual")
    assert first.prescriptions[0].sentence == "add the equation"


def test_zero_that_no_other_trial_function_replaces_is_not_said_to_be_the_only_solution():
    """Trial functions may miss what others do."""

    @residual(LINE)
    def equation(u_xx):
        return u_xx

    @boundary(LINE.boundary())
    def ends(u):
        return u

    (found,) = pinntk.check(Problem(LINE, [equation, ends]))
    assert found.severity == "note" and "u = 0 satisfies every condition" in found.sentence
    assert "and no other function that was tried does" in found.sentence
