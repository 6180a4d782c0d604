"""Conditions that a network meets by construction, derived from the problem."""

from copy import deepcopy
from math import pi

import pytest
import torch
from torch import sin

import pinntk
from pinntk import Box, Problem, boundary
from pinntk.nn import MLP, hard_constraint
from tests.support import reference
from tests.support.constrained import F64, SMALL, largest, quietly, rise
from tests.support.sweeps import sweep

# What is met in each problem of the package, and what is not, with the reason. Residuals are never met.
BOTH_WRAP = tuple(f"wrap_{x}_{asked}" for x in "xy" for field in "uv" for asked in (field, f"{field}_{x}"))
MET = {
    "allen_cahn": ("wrap_x_u", "wrap_x_u_x"),
    "backward_step": ("inflow_u", "inflow_v"),
    "beltrami": ("start_u", "start_v", "start_w", "walls_u", "walls_v", "walls_w"),
    "black_scholes": ("ends",),
    "burgers": ("start", "walls"),
    "burgers2d": ("start_u", "start_v", "walls_u", "walls_v"),
    "cahn_hilliard": ("start", "wrap_x_u", "wrap_x_u_x", "wrap_x_u_xx", "wrap_x_u_xxx"),
    "convection": ("start", "wrap"),
    "cylinder_flow": ("inflow_u", "inflow_v", "held_u", "held_v"),
    "cylinder_stokes": ("inflow_u", "inflow_v", "held_u", "held_v"),
    "darcy": ("walls",),
    "eikonal": ("walls",),
    "elasticity_plate": ("held_u", "held_v", "free_xx", "loaded_yy"),
    "elliptic_inverse": ("ends",),
    "euler_beam": ("held", "level"),
    "heat1d": ("start", "walls"),
    "heat_ball": ("start",),
    "fisher_kpp": ("start", "walls"),
    "ginzburg_landau": BOTH_WRAP,
    "gray_scott": BOTH_WRAP,
    "heat_inverse": ("start", "walls"),
    "heat_multiscale": ("start", "walls"),
    "helmholtz2d": ("walls",),
    "helmholtz_scatterer": (),
    "inviscid_burgers": ("start", "walls"),
    "kdv": ("start", "wrap_x_u", "wrap_x_u_x", "wrap_x_u_xx"),
    "klein_gordon": ("start", "start_velocity", "walls"),
    "kovasznay": ("walls_u", "walls_v", "outflow"),
    "laplace_multiscale": ("walls",),
    "lid_driven_cavity": ("walls_u", "walls_v"),
    "lotka_volterra": ("start_r", "start_p"),
    "kuramoto_sivashinsky": ("start", "wrap_x_u", "wrap_x_u_x", "wrap_x_u_xx", "wrap_x_u_xxx"),
    "plate_with_hole": ("symmetric_u", "symmetric_v"),
    "poisson1d": ("ends",),
    "poisson2d": ("walls",),
    "poisson_boltzmann": ("walls", "disks"),
    "poisson_family": ("ends",),
    "poisson_holes": ("walls", "holes"),
    "poisson_lshape": (),
    "poisson_multiscale": ("ends",),
    "poisson_nd": (),
    "reaction": ("start", "wrap"),
    "reaction_diffusion": ("wrap_x_u", "wrap_x_u_x"),
    "robertson": ("start_a", "start_b", "start_c"),
    "taylor_green": ("start_u", "start_v", "walls_u", "walls_v"),
    "schrodinger": ("start_v", "wrap_x_u", "wrap_x_u_x", "wrap_x_v", "wrap_x_v_x"),
    "sine_gordon": ("start", "start_velocity", "walls"),
    "wave1d": ("start", "start_velocity", "walls"),
    "wave2d": ("start", "start_velocity", "walls"),
    "wave2d_heterogeneous": ("start", "start_velocity", "walls"),
}
LEFT = {
    **{
        (name, condition): "and not the value of one field alone"
        for name, conditions in {
            "backward_step": ("outflow_u",),
            "cylinder_flow": ("outflow_u",),
            "cylinder_stokes": ("outflow_u",),
            "heat_ball": ("sphere",),
            "helmholtz_scatterer": ("hard_real", "hard_imag", "outgoing_real", "outgoing_imag"),
            "plate_with_hole": ("sliding", "free_x", "free_y", "pulled_x", "pulled_y"),
        }.items()
        for condition in conditions
    },
    **dict.fromkeys(
        [(name, "outflow_v") for name in ("backward_step", "cylinder_flow", "cylinder_stokes")],
        "it asks for a derivative, and on the boundary of a shape values alone are met",
    ),
    ("backward_step", "held_u"): "meet at x = 2, y = 1 with values of different functions",
    ("backward_step", "held_v"): "its distance is cut off at a corner that points into the domain, (2, 1)",
    ("poisson_lshape", "walls"): "its distance is cut off at a corner that points into the domain, (0, 0)",
    ("allen_cahn", "start"): "does not repeat in x as 'wrap_x_u_x' asks for: the derivative of order 1 is 2 at x = -1 and -2",
    ("reaction_diffusion", "start"): "does not repeat in x as 'wrap_x_u_x' asks for: the derivative of order 1 is 0.001708",
    ("black_scholes", "payoff"): "the slope of its values jumps at s = 1, which derivatives of order 2 in s",
    ("elliptic_inverse", "readings"): "it holds at measured points",
    ("euler_beam", "no_force"): "it takes u_xxx, and not the value of one field alone, or its first derivative",
    ("euler_beam", "no_moment"): "it takes u_xx, and not the value of one field alone, or its first derivative",
    (
        "schrodinger",
        "start_u",
    ): "does not repeat in x as 'wrap_x_u_x' asks for: the derivative of order 1 is 0.02695 at x = -5",
    ("ginzburg_landau", "start_u"): "the value is -1.302e-10 at y = -1 and 1.302e-10 at y = 1",
    ("ginzburg_landau", "start_v"): "the derivative of order 1 is 5.955e-10 at y = -1 and -5.955e-10 at y = 1",
    ("gray_scott", "start_u"): "the value is 0.9999 at y = -1 and 1 at y = 1",
    ("gray_scott", "start_v"): "the value is 3.031e-05 at y = -1 and 6.746e-05 at y = 1",
    ("heat_inverse", "readings"): "it holds at measured points",
    ("lid_driven_cavity", "lid_u"): "the factor of the field in its error comes close to 0: from 1 to 0 in size",
    ("poisson_nd", "walls"): "evaluated 242 times in every pass of the network, at most 80; it would be done for hard=('walls'",
}
FAST = ("poisson1d", "burgers", "wave1d", "kovasznay", "schrodinger", "cahn_hilliard", "euler_beam", "poisson_holes")
CASES = sweep(MET, *FAST)
ROUNDING = 1e-14  # of errors whose terms are of order 1
SIZES = {"cahn_hilliard": (2 * pi) ** 3}  # of the terms elsewhere: a third derivative of cos(2 pi x)


def test_every_problem_of_the_package_is_in_the_table():
    assert set(MET) == set(pinntk.available())


@pytest.mark.parametrize("name", CASES)
def test_what_is_met_is_met_whatever_the_parameters(name):
    problem = pinntk.load(name)
    for seed in (0, 1):
        network = quietly(problem, seed=seed)
        assert network.hard == MET[name]
        assert set(network.soft) == set(problem.names) - set(MET[name])
        for condition, reason in network.soft.items():
            assert LEFT.get((name, condition), "it holds in the whole domain") in reason
        if network.hard:
            assert max(largest(network, problem).values()) < ROUNDING * SIZES.get(name, 1)
    if network.hard:
        assert max(largest(quietly(problem, hard=None), problem, network.hard).values()) > 0.05


@pytest.mark.parametrize("name", CASES)
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
    sweep(
        (
            "poisson1d",
            "poisson2d",
            "helmholtz2d",
            "burgers",
            "wave1d",
            "allen_cahn",
            "kovasznay",
            "reaction",
            "convection",
            "poisson_holes",
        ),
        "poisson1d",
        "burgers",
        "kovasznay",
        "poisson_holes",
    ),
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
            size = K.trace(problem.names[0])  # rows on a curve are rounding, those on the faces of a box are zero
            exact = name != "poisson_holes"
            assert K[condition].abs().max() <= (0 if exact else 1e-30 * size)
            assert K[problem.names[0], condition].abs().max() <= (0 if exact else 1e-15 * size)


@pytest.mark.parametrize("name", [case for case in CASES if case.values != ("poisson_nd",)])
def test_in_float32_errors_are_rounding(name):
    problem = pinntk.load(name)
    network = quietly(problem, dtype=torch.float32)
    points = problem.sample(seed=1, dtype=torch.float32)
    found = pinntk.errors(network, problem, {condition: points[condition] for condition in network.hard})
    assert network(torch.rand(3, problem.domain.dimension)).dtype == torch.float32
    for condition in network.hard:
        assert found[condition].dtype == torch.float32
        assert found[condition].abs().max() < 2e-5 * SIZES.get(name, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_are_zeros_to_the_bit(dtype):
    """(x - low) / L is 1 on no upper face but by luck: 0.1 to 0.7 has none."""
    domain = Box(x=(0.1, 0.7), y=(-0.3, 1.1))

    @boundary(domain.boundary())
    def walls(u):
        return u

    problem = Problem(domain, [walls])
    network = quietly(problem, dtype=dtype)
    assert pinntk.errors(network, problem, problem.sample(walls=40, dtype=dtype))["walls"].abs().max() == 0


# By hand.


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
