"""Conditions that a network meets by construction, derived from the problem."""

import warnings
from copy import deepcopy
from math import pi

import pytest
import torch
from torch import cos, exp, sin

import pinntk
from pinntk import Box, Problem, boundary, data, initial, periodic, residual
from pinntk.nn import MLP, hard_constraint
from pinntk.nn._embeddings import Periodic, bernoulli
from pinntk.taylor import Basis, Jet
from tests.support import reference

F64 = {"dtype": torch.float64}
SMALL = {"width": 6, "depth": 2, "initialization": "normal", **F64}

# What is met in each problem of the package, and what is not, with the reason. Residuals are never met.
MET = {
    "allen_cahn": ("wrap", "wrap_slope"),
    "burgers": ("start", "walls"),
    "convection": ("start", "wrap"),
    "heat_inverse": ("start", "walls"),
    "helmholtz2d": ("walls",),
    "kovasznay": ("walls_u", "walls_v", "outflow"),
    "poisson1d": ("ends",),
    "poisson2d": ("walls",),
    "poisson_multiscale": ("ends",),
    "poisson_nd": (),
    "reaction": ("start", "wrap"),
    "reaction_diffusion": ("wrap", "wrap_slope"),
    "wave1d": ("start", "start_velocity", "walls"),
}
LEFT = {
    ("allen_cahn", "start"): "does not repeat in x as 'wrap_slope' asks for: the derivative of order 1 is 2 at x = -1 and -2",
    ("reaction_diffusion", "start"): "does not repeat in x as 'wrap_slope' asks for: the derivative of order 1 is 0.001708",
    ("heat_inverse", "readings"): "it holds at measured points",
    ("poisson_nd", "walls"): "evaluated 242 times in every pass of the network, at most 80; it would be done for hard=('walls'",
}
ROUNDING = 1e-14  # of errors whose terms are of order 1


def quietly(problem, **settings):
    """The network, without warnings of what is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return MLP(problem, **{**SMALL, "hard": "auto", **settings})


def largest(network, problem, names=None, n=50, seed=5):
    """The largest error of each condition at random points, by jets and by nested autograd."""
    points = problem.sample(dict.fromkeys(names or network.hard, n), seed=seed, **F64)
    points = {name: points[name] for name in names or network.hard}
    found = [pinntk.errors(network, problem, points, method) for method in ("taylor", "autograd")]
    return {name: max(float(e[name].detach().abs().max()) for e in found) for name in points}


def test_every_problem_of_the_package_is_in_the_table():
    assert set(MET) == set(pinntk.available())


@pytest.mark.parametrize("name", MET)
def test_what_is_met_is_met_whatever_the_parameters(name):
    problem = pinntk.load(name)
    for seed in (0, 1):
        network = quietly(problem, seed=seed)
        assert network.hard == MET[name]
        assert set(network.soft) == set(problem.names) - set(MET[name])
        for condition, reason in network.soft.items():
            assert LEFT.get((name, condition), "it holds in the whole domain") in reason
        if network.hard:
            assert max(largest(network, problem).values()) < ROUNDING
    if network.hard:
        assert max(largest(quietly(problem, hard=None), problem, network.hard).values()) > 0.05


@pytest.mark.parametrize("name", MET)
def test_jets_and_nested_autograd_agree_on_what_remains(name):
    problem = pinntk.load(name)
    network = quietly(problem)
    points = problem.sample(residual=12, boundary=8, initial=8, periodic=8, seed=2, **F64)
    taylor, autograd, slow = (
        pinntk.errors(network, problem, points, "taylor"),
        pinntk.errors(network, problem, points, "autograd"),
        reference.errors(network, problem, points),
    )
    for condition in points:
        size = slow[condition].abs().max() + 1
        assert (taylor[condition] - slow[condition]).abs().max() < 1e-12 * size
        assert (autograd[condition] - slow[condition]).abs().max() < 1e-12 * size


@pytest.mark.parametrize(
    "name",
    ["poisson1d", "poisson2d", "helmholtz2d", "burgers", "wave1d", "allen_cahn", "kovasznay", "reaction", "convection"],
)
def test_kernels_are_those_of_the_rows_and_of_the_fast_path(name):
    problem = pinntk.load(name)
    network = quietly(problem)
    points = problem.sample(residual=6, boundary=5, initial=5, periodic=5, seed=3, **F64)
    K = pinntk.kernel(network, problem, points)
    expected = reference.kernel(network, problem, points)
    assert (K.values - expected).abs().max() < 1e-12 * expected.abs().max()
    assert {origin.path for origin in K.origins.values()} == {"taylor"}
    for condition in network.hard:
        assert K.trace(condition) < 1e-28 * K.trace(problem.names[0])
        if problem[condition].kind != "periodic":
            assert K[condition].abs().max() == 0
            assert K[problem.names[0], condition].abs().max() == 0


@pytest.mark.parametrize("name", [name for name in MET if MET[name]])
def test_in_float32_errors_are_rounding(name):
    problem = pinntk.load(name)
    network = quietly(problem, dtype=torch.float32)
    points = problem.sample(seed=1, dtype=torch.float32)
    found = pinntk.errors(network, problem, points)
    assert network(torch.rand(3, problem.domain.dimension)).dtype == torch.float32
    for condition in network.hard:
        assert found[condition].dtype == torch.float32
        assert found[condition].abs().max() < 2e-5


# By hand.


def rise(s):
    """From 0, with slope 0, to 1."""
    return 1.04 * s**2 / (s**2 + 0.04)


def test_the_network_of_burgers_is_the_formula():
    problem = pinntk.load("burgers")
    network, inner = MLP(problem, **SMALL, hard="auto"), MLP(problem, **SMALL)
    t, x = points = torch.rand(2, 7, **F64) * 2 - 1
    N = inner(points.T)[:, 0]
    expected = -sin(pi * x) + t * (1 - x.square()) * N
    assert torch.allclose(network(points.T)[:, 0], expected, rtol=1e-14, atol=1e-14)
    assert list(network.state_dict()) == list(inner.state_dict())


def test_the_network_of_a_wave_starts_at_rest():
    problem = pinntk.load("wave1d")
    network, inner = MLP(problem, **SMALL, hard="auto"), MLP(problem, **SMALL)
    t, x = points = torch.rand(2, 7, **F64)
    expected = sin(pi * x) + 0.5 * sin(4 * pi * x) + 4 * x * (1 - x) * rise(t) * inner(points.T)[:, 0]
    assert torch.allclose(network(points.T)[:, 0], expected, rtol=1e-13, atol=1e-13)


def test_fields_have_factors_of_their_own():
    problem = pinntk.load("kovasznay")
    network, inner = MLP(problem, **SMALL, hard="auto"), MLP(problem, **SMALL)
    x, y = points = torch.rand(2, 7, **F64)
    u, v, p = network(points.T).unbind(1)
    N = inner(points.T)
    walls = 16 * (x + 0.5) * (1 - x) * (y + 0.5) * (1.5 - y) / 9
    outflow = float(problem.exact_values(torch.tensor([[1.0, 0.0]], **F64))[0, 2])
    assert torch.allclose(p, outflow + (1 - x) / 1.5 * N[:, 2], rtol=1e-13, atol=1e-13)
    G = [field - walls * N[:, i] for i, field in enumerate((u, v))]
    edges = torch.tensor([[-0.5, 0.3], [0.2, 1.5]], **F64)
    assert torch.allclose(network(edges)[:, :2], problem.exact_values(edges)[:, :2], rtol=1e-13, atol=1e-13)
    assert (G[0] - problem.exact_values(points.T)[:, 0]).abs().max() > 1e-3  # it is no solution, only its values at the walls


def test_only_what_is_named_is_met():
    problem = pinntk.load("burgers")
    network = MLP(problem, **SMALL, hard="walls")
    assert network.hard == ("walls",)
    assert network.soft == {"burgers": "it holds in the whole domain", "start": "it was not asked for"}
    assert largest(network, problem, ["walls"])["walls"] == 0
    assert largest(network, problem, ["start"])["start"] > 0.1
    assert MLP(problem, **SMALL, hard=("start", "walls")).hard == ("start", "walls")
    assert MLP(problem, **SMALL, hard=()).hard == MLP(problem, **SMALL).hard == ()


# Values of all kinds on faces of a box.


def cube(exact, d=3, **settings):
    """A problem with the values of a function on all faces of a box of different sides."""
    domain = Box(**{f"x{i}": (-0.5 * i, 1.0 + i) for i in range(1, d + 1)})

    @residual(domain)
    def inside(lap_u):
        return lap_u

    @boundary(domain.boundary())
    def walls(u, points):
        return settings.get("factor", 1.0) * (u - exact(points))

    return Problem(domain, [inside, walls])


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_values_on_all_faces_of_a_box(d):
    problem = cube(lambda points: sin(points).prod(1) + cos(points @ torch.arange(1.0, 1 + points.shape[1]).to(points)), d)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("walls",)
    assert largest(network, problem)["walls"] < 1e-14
    points = problem.sample(inside=8, seed=1, **F64)
    taylor, slow = pinntk.errors(network, problem, points, "taylor"), reference.errors(network, problem, points)
    assert torch.allclose(taylor["inside"], slow["inside"], rtol=1e-12, atol=1e-12)


def test_a_function_that_transfinite_interpolation_reproduces():
    """Sums of functions of all coordinates but one: the offset is the function itself, in the whole domain."""
    problem = cube(lambda points: sin(points[:, 0]) * exp(points[:, 1]) + cos(points[:, 1] * points[:, 2]) + points[:, 2], 3)
    network = MLP(problem, **SMALL, hard="auto")
    points = torch.as_tensor(problem.domain.grid((4, 5, 6)))
    offset = network.constraint.offset(points)[:, 0]
    expected = sin(points[:, 0]) * exp(points[:, 1]) + cos(points[:, 1] * points[:, 2]) + points[:, 2]
    assert torch.allclose(offset, expected, rtol=1e-13, atol=1e-13)


def test_many_faces_are_met_where_they_are_asked_for_by_name():
    problem = pinntk.load("poisson_nd")
    network = MLP(problem, **SMALL, hard=("walls",))
    assert largest(network, problem, n=10)["walls"] < 1e-13
    with pytest.raises(ValueError, match=r"evaluated 2186 times in every pass of the network, at most 1000; leave it out"):
        MLP(pinntk.load("poisson_nd", d=7), **SMALL, hard=("walls",))


def test_one_value_everywhere_is_met_in_any_dimension():
    domain = Box.cube(40)

    @boundary(domain.boundary())
    def walls(u):
        return 2 * u - 6

    problem = Problem(domain, [walls])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.constraint.offset(torch.rand(2, 40)) == 3
    assert largest(network, problem, n=8)["walls"] == 0


def test_a_factor_that_differs_from_point_to_point():
    domain = Box(x=(0, 1), y=(0, 2))

    @boundary(domain.ends("x"))
    def sides(u, y):
        return (1 + y) * u - sin(3 * y)

    @boundary(domain.at(y=0))
    def floor(u, x):
        return 0.3 * (u - x * (1 - x))

    problem = Problem(domain, [sides, floor])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("sides", "floor")
    assert max(largest(network, problem).values()) < 1e-15


def test_start_and_velocity_beside_walls_that_move():
    """u = sin(t) (1 + x) + x^2: the walls' own velocity is that of the start where they meet."""
    domain = Box(x=(0, 2), t=(0, 3))

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - sin(t) * (1 + x) - x**2

    @initial(domain.at(t=0))
    def velocity(u_t, x):
        return 4 * u_t - 4 * (1 + x)

    @initial(domain.at(t=0))
    def start(x, u):
        return x**2 - u

    problem = Problem(domain, [walls, velocity, start])
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("walls", "velocity", "start")
    assert max(largest(network, problem).values()) < 1e-14
    points = torch.rand(9, 2, **F64)
    x, t = points.T
    assert torch.allclose(network.constraint.factor(points)[:, 0], x * (2 - x) * rise(t / 3), rtol=1e-14)
    with pytest.raises(
        ValueError, match="'velocity' cannot be met by construction: it prescribes a slope where no value is met"
    ):
        MLP(problem, **SMALL, hard=("walls", "velocity"))


def test_values_and_slopes_at_both_ends():
    domain = Box(x=(1, 3))
    conditions = []
    for name, operator, end in (
        ("left", lambda u: u - 1, 1),
        ("left_slope", lambda u_x: u_x - 2, 1),
        ("right", lambda u: u + 3, 3),
        ("right_slope", lambda u_x: u_x + 4, 3),
    ):
        operator.__name__ = name
        conditions.append(boundary(domain.at(x=end))(operator))
    problem = Problem(domain, conditions)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == problem.names
    assert max(largest(network, problem, n=2).values()) < 1e-13
    middle = torch.tensor([[2.0]], **F64)
    assert network.constraint.factor(middle).item() == 1  # its maximum
    assert network.constraint.offset(middle).item() == pytest.approx((1 - 3) / 2 + 2 * (2 + 4) / 8)  # of Hermite's cubic


def test_time_may_run_backward_and_have_any_name():
    domain = Box(s=(0, 2), x=(0, 1))

    @residual(domain)
    def heat(u_s, u_xx):
        return u_s + u_xx

    @initial(domain.at(s=2))
    def end(u, x):
        return u - x

    problem = Problem(domain, [heat, end])
    network = MLP(problem, **SMALL, hard="auto")
    assert largest(network, problem)["end"] == 0
    assert network.constraint.factor(torch.tensor([[0.5, 0.3]], **F64)).item() == 0.75


# Periodic conditions.


def wave_train(start, slope=True, curvature=False):
    domain = Box(t=(0, 1), x=(-1, 2))

    @residual(domain)
    def equation(u_t, u_xx):
        return u_t - u_xx

    @initial(domain.at(t=0))
    def begin(u, x):
        return u - start(x)

    @periodic(domain.ends("x"))
    def wrap(u):
        return 3 * u

    @periodic(domain.ends("x"))
    def wrap_slope(u_x, u_t, t):
        return t * u_x * u_t

    @periodic(domain.ends("x"))
    def wrap_curvature(u_xx):
        return u_xx

    return Problem(domain, [equation, begin, wrap] + [wrap_slope] * slope + [wrap_curvature] * curvature)


def derivatives(network, x, order=3):
    jet = network(Jet.seed(Basis.spanning([(0, order)], 2), torch.tensor([[0.4, x]], **F64)))
    return [jet.derivative((0, k)).item() for k in range(order + 1)]


def test_a_smooth_start_repeats_with_all_derivatives():
    problem = wave_train(lambda x: sin(2 * pi * x / 3), slope=False)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("begin", "wrap")
    assert derivatives(network, -1.0) == pytest.approx(derivatives(network, 2.0), rel=1e-12)
    assert MLP(problem, **SMALL, hard="auto").dense.weights[0].shape[1] == 3  # t, cosine, sine


def test_a_start_with_a_kink_at_the_seam_leaves_slopes_free():
    problem = wave_train(lambda x: (x + 1) * (2 - x), slope=False)
    network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("begin", "wrap")
    assert network.dense.weights[0].shape[1] == 4
    left, right = derivatives(network, -1.0), derivatives(network, 2.0)
    assert left[0] == pytest.approx(right[0], rel=1e-14)
    inner = MLP(problem, **SMALL, hard="wrap")
    left, right = derivatives(inner, -1.0), derivatives(inner, 2.0)
    assert left[0] == right[0]
    assert abs(left[1] - right[1]) > 0.1


def test_conditions_that_are_not_asked_for_stay_within_reach():
    problem = wave_train(lambda x: sin(2 * pi * x / 3), slope=True)
    network = MLP(problem, **SMALL, hard="wrap")
    assert network.hard == ("wrap",)
    assert largest(network, problem, ["wrap", "wrap_slope"])["wrap_slope"] > 1e-3
    both = MLP(problem, **SMALL, hard=("wrap", "wrap_slope"))
    assert max(largest(both, problem).values()) < 1e-13
    third = wave_train(lambda x: sin(2 * pi * x / 3), slope=True, curvature=True)
    network = MLP(third, **SMALL, hard=("wrap", "wrap_slope"))
    found = largest(network, third, ["wrap", "wrap_slope", "wrap_curvature"])
    assert max(found["wrap"], found["wrap_slope"]) < 1e-13 < 1e-3 < found["wrap_curvature"]


def test_a_start_that_contradicts_the_period_is_left_with_a_warning():
    problem = wave_train(lambda x: (x + 1) * (2 - x))
    with pytest.warns(
        UserWarning, match=r"condition 'begin' is left to training.* as 'wrap_slope' asks for: .* 3 at x = -1 and -3"
    ):
        network = MLP(problem, **SMALL, hard="auto")
    assert network.hard == ("wrap", "wrap_slope")
    with pytest.raises(ValueError, match="'begin' cannot be met by construction: what it prescribes does not repeat in x"):
        MLP(problem, **SMALL, hard=("begin", "wrap", "wrap_slope"))
    network = MLP(problem, **SMALL, hard=("begin", "wrap"))  # one that repeats less smoothly can have both
    assert max(largest(network, problem).values()) < 1e-14


def test_harmonics_of_the_users_are_kept():
    problem = pinntk.load("convection")
    network = MLP(problem, **SMALL, hard="auto", periodic={"x": 3})
    assert network.dense.weights[0].shape[1] == 7
    assert network.hard == ("start", "wrap")
    assert network.config["periodic"] == {"x": 3}
    with pytest.raises(ValueError, match="'walls' cannot be met by construction: the network repeats in x, and with a factor"):
        MLP(pinntk.load("burgers"), **SMALL, hard="walls", periodic="x")


def test_all_fields_have_to_repeat():
    domain = Box(x=(0, 1), y=(0, 1))

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @periodic(domain.ends("x"))
    def wrap_pressure(p_y):
        return p_y

    problem = Problem(domain, [wrap, wrap_pressure], fields=("u", "p"))
    assert quietly(problem).hard == ()
    with pytest.raises(ValueError, match="for all fields alike, and no condition asks that of the value of 'p'"):
        MLP(problem, **SMALL, hard="wrap")


def test_other_quantities_that_do_not_repeat():
    domain = Box(x=(0, 1), y=(0, 1))

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @periodic(domain.ends("x"))
    def shifted(u, x):
        return u + x

    @boundary(domain.at(x=0))
    def wall(u):
        return u

    with pytest.raises(ValueError, match="'shifted' takes x, which differs between the two faces"):
        MLP(Problem(domain, [wrap, shifted]), **SMALL, hard="wrap")
    network = quietly(Problem(domain, [wrap, wall]))
    assert network.hard == ("wall",)
    assert network.soft == {"wrap": "'wall' prescribes values where x ends"}


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_polynomial_of_a_seam(k):
    coefficients, size = bernoulli(k + 2)
    s = (torch.arange(20000, **F64) + 0.5) / 20000
    values = sum(c * s**power for power, c in enumerate(reversed(coefficients)))
    assert abs(values.mean()) < 1e-8
    assert abs(values.square().mean().sqrt() - size) < 1e-8
    embedding = Periodic(torch.tensor([[0.0, 1.0], [-1.0, 2.0]], **F64), {1: 2}, 1.0, {1: k})
    low, high = (embedding(Jet.seed(Basis.spanning([(0, k + 1)], 2), torch.tensor([[0.3, x]], **F64))) for x in (-1.0, 2.0))
    assert low.shape == (1, embedding.features) == (1, 6)
    for order in range(k + 1):
        assert torch.equal(low.derivative((0, order)), high.derivative((0, order)))
    assert (low.derivative((0, k + 1)) - high.derivative((0, k + 1))).abs().max() > 1


# What cannot be met.

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


@pytest.mark.parametrize(
    ("hard", "message"),
    [
        ("wals", r"hard='wals': problem has no condition 'wals'; it has .*did you mean 'walls'\?"),
        (("walls", "stat"), r"hard=\('walls', 'stat'\): problem has no condition 'stat'"),
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


# Any network.


def test_any_network_can_be_constrained():
    problem = pinntk.load("wave1d")
    inner = pinntk.nn.MscaleDNN(problem, scales=(1.0, 2.0), width=6, depth=1, activation="tanh", **F64)
    network = hard_constraint(problem, inner)
    assert network.hard == ("start", "start_velocity", "walls")
    assert set(network.soft) == {"wave"}
    assert max(largest(network, problem).values()) < 1e-14
    points = problem.sample(residual=5, boundary=3, initial=3, **F64)
    expected = reference.kernel(network, problem, points)
    assert (pinntk.kernel(network, problem, points).values - expected).abs().max() < 1e-12 * expected.abs().max()
    assert hard_constraint(problem, inner, "start").hard == ("start",)
    with pytest.raises(ValueError, match="conditions=None"):
        hard_constraint(problem, inner, None)


def test_a_network_that_repeats_by_itself_meets_periodic_conditions():
    problem = pinntk.load("convection")
    network = hard_constraint(problem, MLP(problem, **SMALL, periodic={"x": 2}))
    assert network.hard == ("start", "wrap")
    assert max(largest(network, problem).values()) < 1e-15
    other = hard_constraint(problem, pinntk.nn.MultiscaleFourier(problem, width=4, **F64))
    assert other.hard == ("start",)
    assert "the network's own inputs would have to repeat in x" in other.soft["wrap"]
    with pytest.raises(ValueError, match=r"the network meets \('start', 'wrap'\) already"):
        hard_constraint(problem, MLP(problem, **SMALL, hard="auto"))


def test_a_network_can_be_copied_and_moved():
    problem = pinntk.load("kovasznay")
    network = MLP(problem, **SMALL, hard="auto")
    again = deepcopy(network)
    points = torch.rand(4, 2, **F64)
    assert torch.equal(again(points), network(points))
    single = again.float()
    assert single(points.float()).dtype == torch.float32
    assert torch.allclose(single(points.float()).double(), network(points), atol=1e-5)
    assert again.hard == network.hard
    assert again.soft == network.soft


def test_the_limit_of_infinite_width_does_not_know_factors():
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=4, boundary=2, **F64)
    with pytest.raises(
        ValueError, match=r"hard=\['ends'\] multiplies the network by a factor, and the limit of that is not known"
    ):
        pinntk.infinite_kernel(MLP(problem, parametrization="ntk", hard="auto", **F64), problem, points)
