"""Problems on boxes whose reference is computed: each against another method, or published values. What they refuse."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import barycentric_interpolate
from scipy.sparse import diags, eye_array, kron
from scipy.sparse.linalg import spsolve

import pinntk
from tests.support.few_steps import losses_of_a_few_steps
from tests.support.sweeps import sweep

NAMES = ["black_scholes", "darcy", "eikonal", "elasticity_plate", "elliptic_inverse", "euler_beam", "heat1d"]
NAMES += ["heat_multiscale", "laplace_multiscale", "lid_driven_cavity", "lotka_volterra", "robertson", "taylor_green", "wave2d"]
NAMES += ["wave2d_heterogeneous"]
SIX = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60  # of sixth order: the first derivative, and the second
SIX_TWICE = np.array([2, -27, 270, -490, 270, -27, 2]) / 180


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """Of this file alone, so that references are computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINNTK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def along(values: np.ndarray, stencil: np.ndarray, axis: int) -> np.ndarray:
    """A stencil of seven points along one axis, on the points that are three away from every edge."""
    inner = [slice(3, n - 3) for n in values.shape]
    parts = []
    for shift in range(7):
        window = list(inner)
        window[axis] = slice(shift, values.shape[axis] - 6 + shift)
        parts.append(values[tuple(window)])
    return np.tensordot(stencil, np.stack(parts), 1)


@pytest.mark.parametrize(("lid", "tolerance"), [("uniform", 2e-3), pytest.param("parabola", 2e-4, marks=pytest.mark.slow)])
def test_the_cavity_has_the_balances_and_the_walls_of_the_equations(lid, tolerance):
    problem = pinntk.load("lid_driven_cavity", lid=lid)
    points, values = problem.solution.axes[0], problem.solution.values
    x, y = points.T
    expected = 4 * x * (1 - x) if lid == "parabola" else 1
    assert np.abs(values[:, 0] - np.where(y == 1, expected, 0))[(x * (1 - x) * y == 0) | (y == 1)].max() < 1e-10
    assert np.abs(values[(x * (1 - x) * y * (1 - y) == 0), 1]).max() < 1e-10
    lower = y < 0.87  # differences do not see the corners
    u, v, p = values[lower].reshape(51, -1, 3).transpose(2, 0, 1)
    h, (inner_u, inner_v) = 0.02, (a[3:-3, 3:-3] for a in (u, v))
    for a, axis in ((u, 0), (v, 1)):
        laplacian = sum(along(a, SIX_TWICE, k) for k in (0, 1)) / h**2
        balance = (inner_u * along(a, SIX, 0) + inner_v * along(a, SIX, 1) + along(p, SIX, axis)) / h - laplacian / 100
        assert np.abs(balance).max() < tolerance
    assert np.abs(along(u, SIX, 0) + along(v, SIX, 1)).max() / h < tolerance


def test_the_cavity_at_100_has_the_extrema_of_botella_and_peyret():
    """On the center lines, by 1998's Chebyshev collocation. Those of Ghia, Ghia & Shin 1982 are 3 % smaller, on 129 x 129."""
    solution = pinntk.load("lid_driven_cavity").solution
    (points,), (u, v, _) = solution.axes, solution.values.T

    def extremum(along, values, sign):
        kept = np.abs(points[:, 1 - along] - 0.5) < 1e-9
        place, value = points[kept, along], sign * values[kept]
        k = np.argsort(place)[slice(*(np.argmax(value[np.argsort(place)]) + np.array([-4, 5])))]
        fine = np.linspace(place[k[3]], place[k[5]], 2001)
        return sign * barycentric_interpolate(place[k], value[k], fine).max()

    assert extremum(1, u, -1) == pytest.approx(-0.2140424, abs=1e-6)
    assert extremum(0, v, 1) == pytest.approx(0.1795728, abs=1e-6)
    assert extremum(0, v, -1) == pytest.approx(-0.2538030, abs=1e-6)


@pytest.mark.slow
def test_the_cavity_at_1000_is_that_of_botella_and_peyret():
    """Their u(0.5, y) of 1998, table 9, for a lid that moves the other way: 7 digits."""
    solution = pinntk.load("lid_driven_cavity", re=1000.0).solution
    found = {tuple(np.round(point, 6)): u for point, (u, _, _) in zip(solution.axes[0], solution.values, strict=True)}
    assert found[0.5, 0.5] == pytest.approx(-0.0620561, abs=2e-6)


def test_lotka_and_volterra_conserve_and_agree_with_another_method():
    problem = pinntk.load("lotka_volterra")
    (t,), y = problem.solution.axes, problem.solution.values
    r, p = y.T
    kept = 4 * r - 1.06 * np.log(r) + 8 * p - 2 * np.log(p)
    assert np.ptp(kept) < 2e-11
    other = solve_ivp(
        lambda _, y: [20 * y[0] * (2 - 8 * y[1]), 20 * y[1] * (4 * y[0] - 1.06)],
        (0, 1),
        y[0],
        "LSODA",
        t,
        rtol=1e-12,
        atol=1e-14,
    )
    assert np.abs(other.y.T - y).max() < 1e-8


def test_robertson_agrees_with_the_equations_in_plain_time_and_units():
    solution = pinntk.load("robertson").solution

    def slope(_, y):
        slow, fast, last = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return [fast - slow, slow - fast - last, last]

    seconds = 10 ** solution.axes[0]
    other = solve_ivp(slope, seconds[[0, -1]], [1.0, 0.0, 0.0], "BDF", seconds[::100], rtol=1e-10, atol=1e-14)
    assert np.abs(other.y.T * [1, 1e4, 1] - solution.values[::100]).max() < 1e-7


def leapfrog(n: int, times: int) -> np.ndarray:
    """The layered wave with n intervals at t = 0.5 and 1, every n / 40-th point; second order in 1 / n."""
    x = np.linspace(-1, 1, n + 1)
    factor = ((1.5 + 0.5 * np.tanh(5 * x)) * n / (2 * times))[1:-1, None] ** 2
    before = np.exp(-((x[:, None] + 0.3) ** 2 + x**2) / (2 * 0.08**2))
    before[[0, -1]] = before[:, [0, -1]] = 0

    def force(u):
        return factor * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])

    now, found = before.copy(), []
    now[1:-1, 1:-1] += force(before) / 2
    for step in range(1, times + 1):
        if step in (times // 2, times):
            found.append(now[:: n // 40, :: n // 40].copy())
        before[1:-1, 1:-1] = 2 * now[1:-1, 1:-1] - before[1:-1, 1:-1] + force(now)
        before, now = now, before
    return np.array(found)


def test_the_layered_wave_agrees_with_extrapolated_finite_differences():
    solution = pinntk.load("wave2d_heterogeneous").solution
    coarse, fine = leapfrog(120, 240), leapfrog(240, 480)
    expected = (4 * fine - coarse) / 3
    found = solution.values[[20, 40], ..., 0]
    assert np.linalg.norm(found - expected) < 2e-3 * np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(fine - coarse)


def finite_volumes(n: int, contrast: float) -> np.ndarray:
    """Darcy's pressure at the 11 x 11 points that all grids have; second order in 1 / n."""
    nodes, middles = np.linspace(0, 1, n + 1)[1:-1], (np.arange(n) + 0.5) / n

    def permeability(x, y):
        return np.exp(contrast * np.sin(2 * np.pi * x)[:, None] * np.cos(3 * np.pi * y))

    to_middles = diags([1.0, -1.0], [0, -1], shape=(n, n - 1)) * n  # differences across the faces, zero at the ends
    in_x, in_y = kron(to_middles, eye_array(n - 1)), kron(eye_array(n - 1), to_middles)
    flux = (diags(permeability(*at).ravel()) for at in ((middles, nodes), (nodes, middles)))
    matrix = sum(d.T @ a @ d for d, a in zip((in_x, in_y), flux, strict=True))
    u = np.pad(spsolve(matrix.tocsc(), np.ones((n - 1) ** 2)).reshape(n - 1, n - 1), 1)
    return u[:: n // 10, :: n // 10]


def test_darcy_agrees_with_extrapolated_finite_volumes():
    solution = pinntk.load("darcy").solution
    coarse, middle, fine = (finite_volumes(n, 2.0) for n in (40, 80, 160))
    expected = (coarse - 20 * middle + 64 * fine) / 45
    assert np.linalg.norm(solution.values[::10, ::10, 0] - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("beltrami", {"re": 0.0}, "re=0.0: the Reynolds number"),
        ("black_scholes", {"sigma": 0.0}, "sigma=0.0: a positive number"),
        ("darcy", {"contrast": 3.0}, "contrast=3.0: from -2 to 2"),
        ("eikonal", {"g": 2.0}, "g=2.0: between -1 and 2"),
        ("elasticity_plate", {"mu": 0.0}, "lam=1.0, mu=0.0: a stable material"),
        ("heat1d", {"a": -1.0}, "a=-1.0: a positive number"),
        ("heat1d", {"k": 1.5}, "k=1.5: a whole number other than 0"),
        ("heat_multiscale", {"k": 0}, "k=0: a whole number other than 0"),
        ("laplace_multiscale", {"base": 0.5}, "base=0.5: a whole number other than 0"),
        ("lid_driven_cavity", {"re": -1.0}, "re=-1.0: the Reynolds number"),
        ("lid_driven_cavity", {"lid": "square"}, "lid='square': 'uniform' is u = 1"),
        ("lotka_volterra", {"duration": 0.0}, "duration=0.0: a positive number"),
        ("taylor_green", {"nu": float("nan")}, "nu=nan: the viscosity"),
        ("wave2d_heterogeneous", {"width": 0.3}, "width=0.3: from 0.06"),
    ],
)
def test_parameters_out_of_range_are_refused(name, setting, message):
    with pytest.raises(ValueError, match=message) as caught:
        pinntk.load(name, **setting)
    assert "\n" not in str(caught.value)


def test_beyond_1000_the_cavity_has_no_reference():
    problem = pinntk.load("lid_driven_cavity", re=3200.0)
    assert not problem.has_solution


@pytest.mark.parametrize("name", sweep([*NAMES, "beltrami"], "darcy", "lotka_volterra"))
def test_a_few_steps_lower_the_loss(name):
    losses = losses_of_a_few_steps(pinntk.load(name))
    assert losses[-1] < 0.99 * losses[0]
