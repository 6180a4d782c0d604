"""Functionals: integrals over domains, slices and parts of boundaries as conditions of one error each."""

import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, initial, integral, residual
from pinntk.geometry import Disk
from pinntk.ntk._factors import _by_graph, trained_parameters
from tests.support import reference
from tests.support.reference import relative

F64 = {"dtype": torch.float64}
PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
LINE = Box(t=(0, 1), x=(0, 1))
HEATED = PLATE * Box(t=(0, 1))


def heated(**options) -> Problem:
    """Nonlinear integrals of all kinds beside an equation with an unknown conductivity."""

    @residual(HEATED)
    def heat(u_t, lap_u, k):
        return u_t - k * lap_u

    @boundary(HEATED.boundary("hole"))
    def hole(u_n):
        return u_n

    @initial(HEATED.at(t=0))
    def start(u, x):
        return u - x

    @integral(HEATED, equals=[1, 0.5, 0.2], t=[0, 0.5, 1], points=100)
    def energy(u, v, k):
        return k * u**2 + v

    @integral(HEATED.boundary("hole"), t=[0.1, 0.7, 0.3, 0.4, 0.9], points=50)
    def flux(u_n, n_x, v, y, k):
        return k * u_n + v * n_x * y

    @integral(HEATED, mean=True, points=150)
    def level(v, u_xx):
        return v + u_xx * v

    @integral(HEATED.at(t=1), equals=0.3, points=60)
    def last(v_x):
        return v_x

    return Problem(
        HEATED, [heat, hole, start, energy, flux, level, last], fields=("u", "v"), coefficients={"k": 0.7}, **options
    )


COUNTS = {"residual": 8, "boundary": 5, "initial": 4}


def test_errors_by_both_paths():
    problem = heated()
    network = pinntk.nn.MLP(problem, width=7, depth=2, **F64)
    points = problem.sample(COUNTS, **F64)
    assert {name: len(points[name]) for name in problem.names[3:]} == {"energy": 3, "flux": 5, "level": 1, "last": 1}
    expected = reference.errors(network, problem, points)
    for method in ("taylor", "autograd"):
        for name, found in pinntk.errors(network, problem, points, method).items():
            assert relative(found, expected[name]) < 1e-12


@pytest.mark.parametrize("width", [3, 30], ids=["rows", "factors"])
def test_kernel(width):
    """Every block against row-by-row reverse mode; a wide layer keeps factors, a narrow one rows."""
    problem = heated()
    network = pinntk.nn.MLP(problem, width=width, depth=2, **F64)
    points = problem.sample(COUNTS, **F64)
    expected = reference.kernel(network, problem, points)
    found = pinntk.kernel(network, problem, points)
    assert {origin.path for origin in found.origins.values()} == {"taylor"}
    assert relative(found.values, expected) < 1e-12
    few = pinntk.kernel(network, problem, points, max_memory=1)
    assert relative(few.values, expected) < 1e-12
    traces = pinntk.traces(network, problem, points)
    for name, span in zip(points, expected.diagonal().split([len(p) for p in points.values()]), strict=True):
        assert traces[name] == pytest.approx(float(span.sum()), rel=1e-12)
    operator = pinntk.KernelOperator(network, problem, points)
    v = torch.randn(len(expected), **F64)
    assert relative(operator @ v, expected @ v) < 1e-12


@pytest.mark.filterwarnings("ignore:.*come one by one")
def test_factors_from_the_graph():
    problem = heated()
    network = pinntk.nn.MLP(problem, width=6, depth=2, **F64)
    points = problem.sample(COUNTS, **F64)
    expected = reference.jacobian(network, problem, points)
    paths = {}
    for part in _by_graph(network, problem, points, trained_parameters(network, problem)):
        paths[part.name] = part.origin.path
        assert relative(part.matrix(), expected[part.name]) < 1e-12
    assert paths["flux"] == "graph"


def test_float32():
    problem = heated()
    network = pinntk.nn.MLP(problem, width=7, depth=2)
    points = problem.sample(COUNTS)
    expected = reference.kernel(network.double(), problem, points)
    assert relative(pinntk.kernel(network.float(), problem, points).values, expected) < 1e-5


def test_infinite_width():
    """The kernel of an integral is the weighted sum of the kernel of values."""

    @residual(LINE)
    def equation(u_t):
        return u_t

    @integral(LINE, t=[0.2, 0.6], points=20)
    def mass(u, x):
        return u * x

    @integral(LINE, points=20)
    def whole(u_x):
        return u_x

    problem = Problem(LINE, [equation, mass, whole])
    limit = pinntk.InfiniteMLP(depth=1)
    points = problem.sample(residual=4, **F64)
    K = pinntk.infinite_kernel(limit, problem, points)

    @residual(LINE)
    def value(u):
        return u

    @residual(LINE)
    def slope(u_x):
        return u_x

    by_hand = Problem(LINE, [equation, value, slope])
    places = torch.cat([problem["mass"].region.spread(points["mass"])[0], points["equation"]])
    inside = problem["whole"].region.spread(points["whole"])[0]
    dense = pinntk.infinite_kernel(limit, by_hand, {"equation": points["equation"], "value": places, "slope": inside})
    weights = torch.as_tensor(problem["mass"].region.quadrature.weights)
    n = len(weights)
    rows = torch.zeros(2, len(places), **F64)
    rows[0, :n], rows[1, n : 2 * n] = weights * places[:n, 1], weights * places[n : 2 * n, 1]
    assert relative(K["mass", "mass"], rows @ dense["value", "value"] @ rows.T) < 1e-12
    assert relative(K["mass", "equation"], rows @ dense["value", "equation"]) < 1e-12
    whole = torch.as_tensor(problem["whole"].region.quadrature.weights)
    assert relative(K["whole", "mass"], (whole @ dense["slope", "value"] @ rows.T)[None]) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"over": HEATED, "x": 0.5}, r"integral\(\.\.\., x=\.\.\.\): x is a place of"),
        ({"over": HEATED.at(t=0), "t": 0}, "t is fixed already, by t = 0"),
        ({"over": LINE, "t": 2}, "outside the domain, where t runs from 0 to 1"),
        ({"over": LINE, "t": [0, 1], "equals": [1, 2, 3]}, "lists of one length, or single numbers; given were 2 t, 3 equals"),
        ({"over": LINE, "t": [0, float("nan")]}, r"integral\(t=\.\.\.\): finite numbers"),
        ({"over": LINE, "t": 0, "x": 0}, "nothing is left to be integrated over; use @data"),
        ({"over": Box(x=(0, 1)).ends("x")}, "a place has no length; use @boundary or @data"),
        ({"over": LINE, "points": 0}, r"integral\(points=0\): a whole number of places"),
        ({"over": LINE, "z": 0}, "coordinate 'z' is unknown"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        integral(**arguments)


def test_refused_regions():
    with pytest.raises(TypeError, match="needs a domain, a slice or a part of a boundary"):
        integral(Box(x=(0, 1)).ends("x").periodic_pair())
    with pytest.raises(ValueError, match="'u_n' needs boundary faces"):
        Problem(LINE, [integral(LINE)(lambda u_n: u_n)])
