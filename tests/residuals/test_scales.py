"""Sizes come from the conditions: right where the solution is known, the same in every unit, open where nothing says them."""

from math import pi

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, data, initial, residual
from pinntk.diagnostics import scales
from pinntk.residuals._fields import AutogradFields
from pinntk.residuals._legendre import Legendre
from pinntk.residuals._linear import linearize
from tests.support.registered import SOME, registered

KNOWN = (
    ("poisson1d", {"k": 4}),
    ("poisson2d", {"k": 4}),
    ("heat_inverse", {}),
    ("kovasznay", {}),
    ("reaction", {}),
    ("convection", {"beta": 5.0}),
    ("poisson_nd", {}),
    ("poisson_lshape", {}),
)


def rod(length=1.0, unit=1.0, factor=1.0, wall=300.0, source=40.0, time=1.0) -> Problem:
    """Heat in a rod, in units of one's own: the solution is `unit` times that in other ones."""
    domain = Box(t=(0, time), x=(0, length))

    @residual(domain)
    def heat(T_t, T_xx):
        return factor * (time * T_t - length**2 * T_xx - unit * source)

    @initial(domain.at(t=0))
    def start(T, x):
        return T - unit * (wall + 20 * torch.sin(pi * x / length))

    @boundary(domain.at(x=0))
    def warm(T):
        return T - unit * wall

    @boundary(domain.at(x=length))
    def insulated(T_x):
        return factor * T_x

    return Problem(domain, [heat, start, warm, insulated], fields=("T",))


def pull(modulus=210e9, load=1e8) -> Problem:
    """A bar in pascals: two fields, whose sizes lie 15 orders apart."""
    domain = Box(x=(0, 2))

    @residual(domain)
    def hooke(s, w_x):
        return s - modulus * w_x

    @residual(domain)
    def balance(s_x):
        return s_x

    @boundary(domain.at(x=0))
    def held(w):
        return w

    @boundary(domain.at(x=2))
    def pulled(s):
        return s - load

    return Problem(domain, [hooke, balance, held, pulled], fields=("w", "s"))


@pytest.mark.parametrize(("name", "parameters"), KNOWN, ids=lambda x: x if isinstance(x, str) else "")
def test_sizes_are_those_of_the_known_solution(name, parameters):
    problem = pinntk.load(name, **parameters)
    found = scales(problem)
    truth = problem.solution.values.reshape(-1, len(problem.fields))
    for field, values in zip(problem.fields, truth.T, strict=True):
        assert found.size(field) == pytest.approx(np.sqrt(np.square(values).mean()), rel=0.15)
    assert found.open == () and found.far == {} and found.far_coefficients == {}


@pytest.mark.parametrize("name", SOME)
def test_no_registered_problem_is_far_from_size_1(name):
    found = scales(registered(name))
    assert found.far == {} and found.far_coefficients == {}


def test_units_change_sizes_and_nothing_else():
    plain, other = scales(rod()), scales(rod(length=1e-3, unit=1e-6, factor=1e9, time=86400.0))
    shift, scale = plain.fields["T"]
    assert 300 < shift < 320 and 5 < scale < 20
    assert other.fields["T"] == (pytest.approx(1e-6 * shift, rel=0.02), pytest.approx(1e-6 * scale, rel=0.1))
    assert other.conditions["heat"] == pytest.approx(1e3 * plain.conditions["heat"], rel=0.1)
    assert other.conditions["insulated"] == pytest.approx(1e6 * plain.conditions["insulated"], rel=0.1)
    assert plain.far == {"T": plain.fields["T"]}


def test_fields_of_very_different_sizes():
    found = scales(pull())
    assert found.fields["s"] == (1e8, 1e6)  # a constant, whose scale is the least there is
    assert found.fields["w"][0] == pytest.approx(1e8 / 210e9, rel=0.02)
    assert found.fields["w"][1] == pytest.approx(1e8 / 210e9 / 3**0.5, rel=0.02)
    assert found.conditions["hooke"] == pytest.approx(1e8, rel=1)


def test_an_unknown_rate_far_from_where_it_starts():
    domain = Box(t=(0, 2000))
    days = np.linspace(20, 2000, 40)

    @residual(domain)
    def decay(y, y_t, A):
        return y_t + 1e-15 * A * y**2

    @initial(domain.at(t=0))
    def start(y):
        return y - 1000

    @data(domain, days, seen=1000 / (1 + 0.002 * days))
    def readings(y, seen):
        return y - seen

    problem = Problem(domain, [decay, start, readings], fields=("y",), coefficients={"A": 1.0})
    found = scales(problem)
    assert found.coefficients["A"] == pytest.approx(2e9, rel=0.02) and "A" in found.far_coefficients
    alone = Problem(domain, [decay, start], fields=("y",), coefficients={"A": 1.0})
    assert scales(alone).open == ("A",)


@pytest.mark.parametrize(("loss", "size"), [(0.0, 1.0), (1e-6, 1.0), (0.5, 0.5)])
def test_a_coefficient_that_is_found_to_be_zero_is_not_small(loss, size):
    domain = Box(t=(0, 1))
    times = np.linspace(0, 1, 30)

    @residual(domain)
    def decay(y, y_t, k):
        return y_t + k * y + 1

    @data(domain, times, seen=np.exp(-loss * times) - (times if loss < 0.1 else (1 - np.exp(-loss * times)) / loss))
    def readings(y, seen):
        return y - seen

    found = scales(Problem(domain, [decay, readings], fields=("y",), coefficients={"k": 3.0}))
    assert size / 4 < found.coefficients["k"] < 4 * size and found.far_coefficients == {}


def test_what_no_data_reach_is_open():
    domain = Box(x=(0, 1))

    @residual(domain)
    def waves(u, u_xx):
        return u_xx + u

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - torch.sin(2 * pi * x)  # 0 to rounding

    found = scales(Problem(domain, [waves, ends]))
    assert found.open == ("u",) and found.fields == {"u": (0.0, 1.0)} and found.far == {}


def test_waves_too_short_for_a_coarse_solution_are_open_and_not_large():
    found = scales(pinntk.load("poisson_multiscale"))
    assert found.misfit > 0.5 and found.open == ("u",) and found.far == {}


def test_prescribed_values_count_where_the_equation_is_not_resolved():
    domain = Box(t=(0, 100))

    @residual(domain)
    def swing(u, u_t):
        return u_t - 30 * torch.cos(30 * u)

    @initial(domain.at(t=0))
    def start(u):
        return u - 5000

    found = scales(Problem(domain, [swing, start]))
    assert found.fields["u"][0] == pytest.approx(5000, rel=0.2) and "u" in found.far


def test_an_operator_that_fails_leaves_everything_open():
    domain = Box(x=(0, 1))

    @residual(domain)
    def numpy_operator(u_xx, x):
        return u_xx + np.sin(x.detach().numpy() * 1j).real

    @residual(domain)
    def logarithm(u):
        return torch.log(u)

    for condition in (numpy_operator, logarithm):
        assert scales(Problem(domain, [condition])).open == ("u",)


def test_points_may_be_given_and_are_checked():
    problem = rod()
    points = problem.sample(residual=100, boundary=20, initial=20, method="sobol")
    assert scales(problem, points).fields["T"] == pytest.approx(scales(problem).fields["T"], rel=0.1)
    with pytest.raises(ValueError, match="has no condition 'cold'"):
        scales(problem, {"cold": points["warm"]})


def test_nothing_is_drawn_from_the_global_generator():
    state = torch.get_rng_state()
    scales(rod())
    assert torch.equal(state, torch.get_rng_state())


def test_coefficients_that_have_moved_are_asked_again():
    problem = pinntk.load("heat_inverse")
    assert scales(problem) is scales(problem)
    before = scales(problem)
    with torch.no_grad():
        problem.coefficients["kappa"].fill_(0.5)
    assert scales(problem) is not before and scales(problem).coefficients == before.coefficients


def test_polynomials_are_orthonormal_and_their_derivatives_are_those_of_autograd():
    domain = Box(t=(1, 4), x=(-2, -1))
    basis = Legendre(domain)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    grid = np.stack(np.meshgrid(2.5 + 1.5 * nodes, -1.5 + 0.5 * nodes, indexing="ij"), -1).reshape(-1, 2)
    mass = torch.from_numpy(np.outer(weights, weights).reshape(-1) / 4)
    values = basis.derivative(torch.from_numpy(grid), (0, 0))
    torch.testing.assert_close(values.T @ (mass[:, None] * values), torch.eye(len(basis), dtype=torch.float64))
    points = torch.tensor([[1.3, -1.2], [3.9, -1.9]], dtype=torch.float64)
    numbers = torch.randn(len(basis), dtype=torch.float64)
    problem = Problem(domain, [residual(domain)(lambda u: u)])

    def function(x):
        t, s = (2 * (x[:, 0] - 1) / 3 - 1), 2 * (x[:, 1] + 2) - 1
        along = [legendre(v, int(basis.degrees.max())) for v in (t, s)]
        return ((along[0][:, basis.degrees[:, 0]] * along[1][:, basis.degrees[:, 1]]) @ numbers)[:, None]

    slow = AutogradFields(function, problem, points)
    for index in ((0, 0), (1, 0), (0, 2), (2, 1)):
        torch.testing.assert_close(
            basis.derivative(points, index) @ numbers, slow.derivative(0, index).detach(), rtol=1e-8, atol=1e-6
        )
    torch.testing.assert_close(basis.laplacian(points, (0, 1)) @ numbers, slow.laplacian(0, (0, 1)).detach())


def legendre(x, top):
    """sqrt(2 k + 1) P_k, (n, top + 1)."""
    found = [torch.ones_like(x), x]
    for k in range(1, top):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return torch.stack([(2 * k + 1) ** 0.5 * found[k] for k in range(top + 1)], 1)


def test_slopes_are_those_of_the_operator():
    domain = Box(x=(0, 1))
    problem = Problem(domain, [residual(domain)(flow)], coefficients={"c": 3.0})
    rows = torch.tensor([[0.2], [0.7]], dtype=torch.float64)
    wave = lambda x: torch.sin(2 * x)  # noqa: E731
    found = linearize(problem, "flow", rows, lambda points: AutogradFields(wave, problem, points), {"c": 3.0})
    u, u_x = np.sin(2 * rows[:, 0].numpy()), 2 * np.cos(2 * rows[:, 0].numpy())
    assert found.errors.tolist() == pytest.approx((u * u_x - 3 * u**2).tolist())
    slopes = {term.key[1]: term.slope.tolist() for term in found.terms}
    assert slopes == {(0,): pytest.approx((u_x - 6 * u).tolist()), (1,): pytest.approx(u.tolist())}
    assert found.coefficients["c"].tolist() == pytest.approx((-(u**2)).tolist())


def flow(u, u_x, c):
    return u * u_x - c * u**2


def test_many_dimensions_have_no_products():
    basis = Legendre(Box.cube(40))
    assert len(basis) == 81 and int(basis.degrees.sum(1).max()) == 2
    assert scales(pinntk.load("poisson_nd", d=40)).size("u") == pytest.approx(20**0.5, rel=0.3)
