"""Functionals: integrals over domains, slices and parts of boundaries as conditions of one error each."""

from math import e, pi, sin, sinh

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, initial, integral, residual
from pinntk.geometry import Ball, Cylinder, Disk, Domain, Ellipse, Polygon
from pinntk.geometry._quadrature import quadrature
from pinntk.ntk._factors import _by_graph, trained_parameters
from pinntk.problem._gauge import Gauge
from pinntk.reporting import write_report
from tests.support import reference
from tests.support.reference import relative

F64 = {"dtype": torch.float64}
PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
LINE = Box(t=(0, 1), x=(0, 1))
HEATED = PLATE * Box(t=(0, 1))
LSHAPE = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)])
TURNED = Ellipse(x=1, y=2, radii=(2, 0.7), angle=0.6)


# Places and weights.


@pytest.mark.parametrize(
    ("region", "function", "expected"),
    [
        (Box(x=(0, 2)), lambda x: np.sin(5 * pi * x / 2) + 1, 2 + 4 / (5 * pi)),
        (Box(x=(0, 1), y=(0, 1)), lambda x, y: np.exp(x) * np.cos(6 * y), (e - 1) * sin(6) / 6),
        (Box(x=(0, 1), y=(0, 1), z=(0, 2)), lambda x, y, z: np.exp(x) * np.cos(6 * y) * z, (e - 1) * sin(6) / 3),
        (LINE.at(t=0.5), lambda t, x: t * np.exp(x), (e - 1) / 2),
        (Box(x=(0, 1), y=(0, 1)).ends("x"), lambda x, y: x * np.exp(y) + 1, e + 1),
        (PLATE.boundary("hole"), lambda x, y: (x - 0.5) ** 2, pi * 0.2**3),
        (PLATE.boundary(without="hole"), lambda x, y: x**2, 2 / 3 + 1),
        (HEATED.boundary("hole"), lambda x, y, t: np.exp(t), 0.4 * pi * (e - 1)),
        (PLATE, lambda x, y: x**2 + 0 * y, 1 / 3 - pi * 0.2**2 * (0.25 + 0.01)),
        (LSHAPE, lambda x, y: np.exp(x) * y, (e**2 - 1) / 2 + 1.5 * (e - 1)),
        (HEATED.at(t=0.5), lambda x, y, t: t + 0 * x, (1 - pi * 0.2**2) / 2),
        (TURNED, lambda x, y: (x - 1) ** 2 + (y - 2) ** 2, pi * 2 * 0.7 * (4 + 0.49) / 4),
        (Disk(x=0, y=0, radius=2) & Box(x=(0, 3), y=(0, 3)), lambda x, y: x * y, 2.0),
        (Ball(x=0, y=0, z=0, radius=1).boundary(), lambda x, y, z: np.exp(x), 4 * pi * sinh(1)),
        (Cylinder(x=0, y=0, z=(0, 1), radius=1).boundary(), lambda x, y, z: x**2 + z, 3.5 * pi),
    ],
    ids=[
        *("line", "plane", "box", "slice", "faces", "arc", "edges", "arc in time", "plate", "L-shape", "plate at a time"),
        *("ellipse", "quarter", "sphere", "cylinder"),
    ],
)
def test_gauss(region, function, expected):
    found = quadrature(region, 1024)
    assert found.by_gauss and len(found) <= 1024
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("region", "function", "expected", "error"),
    [
        (Box.cube(4), lambda *x: np.exp(sum(x)), (e - 1) ** 4, 1e-3),
        (Box(x=(0, 2), y=(0, 2), z=(0, 2)) - Ball(x=0, y=0, z=0, radius=1), lambda x, y, z: x, 8 - pi / 16, 1e-2),
        (
            (Box(x=(0, 1), y=(0, 1), z=(0, 1)) - Ball(x=0, y=0, z=0, radius=0.5)).boundary("ball"),
            lambda x, y, z: z,
            pi / 32,
            1e-2,
        ),
    ],
    ids=["cube", "solid", "a part of a sphere"],
)
def test_sobol_points_elsewhere(region, function, expected, error):
    found = quadrature(region, 1024)
    assert not found.by_gauss
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=error)


@pytest.mark.parametrize(
    ("solid", "function", "expected"),
    [
        (Ball(x=0, y=0, z=1, radius=2), lambda x, y, z: x**2 + z, 32 * pi * (4 / 5 + 1) / 3),
        (Cylinder(x=0, y=(1, 3), z=0, radius=2), lambda x, y, z: x**2 * y, 16 * pi),
    ],
    ids=["ball", "cylinder"],
)
def test_gauss_in_solids(solid, function, expected):
    found = quadrature(solid, 4096)
    assert found.by_gauss and (found.weights > 0).all() and solid.contains(found.places).all()
    assert found.weights @ function(*found.places.T) == pytest.approx(expected, rel=1e-12)


def holes(*places, radius=0.1) -> Domain:
    domain = Box(x=(0, 1), y=(0, 1))
    for number, (x, y) in enumerate(places):
        domain = domain - Disk(x=x, y=y, radius=radius, name=f"hole{number}")
    return domain


@pytest.mark.parametrize(
    "shape",
    [
        holes((0.2, 0.2), (0.7, 0.2 + 1e-9), (0.45, 0.45), (0.2, 0.75), (0.75, 0.72)),
        holes((0.3, 0.5), (0.5 + 1e-9, 0.5)),  # two that nearly touch
        holes((0.1, 0.5)),  # one that touches the wall
        holes((0.0, 0.0), (1.0, 0.5)),
        Disk(x=0, y=0, radius=1) - Ellipse(x=0.3, y=0.2, radii=(0.4, 0.1), angle=0.3),
        Disk(x=0, y=0, radius=1) | Disk(x=1, y=0.3, radius=0.8),
        Polygon([(0, 0), (1, 0.3), (1.4, 1.1), (0.5, 0.8), (-0.2, 1.3)], holes=[[(0.4, 0.4), (0.7, 0.5), (0.5, 0.65)]]),
    ],
    ids=["five holes", "nearly touching", "touching", "bitten", "crescent", "union", "polygon"],
)
def test_what_cells_of_a_shape_integrate(shape):
    """x^p y^q by the boundary, of which the cells know as little as the integral over it does of them: Gauss's theorem."""
    found = quadrature(shape, 8000)
    x, y = found.places.T
    assert found.by_gauss and (found.weights > 0).all() and shape.contains(found.places).all()
    rim = quadrature(shape.boundary(), 1)
    n_x = shape.boundary().normals(torch.as_tensor(rim.places)).numpy()[:, 0]
    for p, q in [(0, 0), (1, 0), (0, 1), (2, 3), (5, 1)]:
        expected = rim.weights @ (rim.places[:, 0] ** (p + 1) * rim.places[:, 1] ** q * n_x) / (p + 1)
        assert found.weights @ (x**p * y**q) == pytest.approx(expected, abs=1e-11 * shape.measure)
    assert found.weights.sum() == pytest.approx(shape.measure, rel=1e-12)


def test_few_places_for_many_corners():
    """Where 4 x 4 nodes in every cell are too many, Sobol points; more places bring Gauss back."""
    angles = np.linspace(0, 2 * pi, 201)[:-1]
    star = Polygon((1 + 0.3 * np.cos(7 * angles))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1))
    few, many = quadrature(star, 128), quadrature(star, 1024)
    assert not few.by_gauss and len(few) == 128
    assert many.by_gauss and len(many) <= 4 * 1024
    for found, error in ((few, 0.1), (many, 1e-12)):
        assert found.weights.sum() == pytest.approx(star.measure, rel=1e-12)
        assert found.weights @ found.places[:, 0] == pytest.approx(star.polygon.centroid.x * star.measure, abs=error)


# Errors and kernels.


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


# What takes conditions takes these.


def stokes(*more) -> Problem:
    box = Box(x=(0, 1), y=(0, 1))

    @residual(box)
    def momentum_x(p_x, lap_u, y):
        return p_x - lap_u - y

    @residual(box)
    def momentum_y(p_y, lap_v):
        return p_y - lap_v

    @residual(box)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(box.boundary())
    def still(u):
        return u

    @boundary(box.boundary())
    def level(v):
        return v

    return Problem(box, [momentum_x, momentum_y, continuity, still, level, *more], fields=("u", "v", "p"))


def test_a_mean_fixes_the_constant_of_a_pressure():
    box = Box(x=(0, 1), y=(0, 1))
    assert stokes().gauge == {"p": Gauge()}
    for operator in (lambda p: p, lambda p, u: p * u):
        assert stokes(integral(box, mean=True)(operator)).gauge == {}
    assert stokes(integral(box)(lambda p_x, u: p_x + u)).gauge == {"p": Gauge()}
    # The integral of p n over a closed curve is blind for a constant, at each of whose places p is seen.
    assert stokes(integral(box.boundary())(lambda p, n_x: p * n_x)).gauge == {"p": Gauge()}


def test_a_mean_at_times_fixes_a_function_of_time():
    box = Box(t=(0, 1), x=(0, 1), y=(0, 1))

    def flow(*more):
        def walls(u, t):
            return u - t

        equation = residual(box)(lambda u_t, p_x, lap_u: u_t + p_x - lap_u)
        return Problem(box, [equation, boundary(box.boundary())(walls), *more], fields=("u", "p")).gauge

    def named(decorate):
        def mean(p):
            return p

        return decorate(mean)

    assert flow() == {"p": Gauge(0, ())}
    assert flow(named(integral(box, t=[0, 0.5]))) == {"p": Gauge(0, (0.0, 0.5))}
    assert flow(named(integral(box.at(t=0)))) == {"p": Gauge(0, (0.0,))}
    assert flow(named(integral(box))) == {"p": Gauge(0, ())}  # one number of a function


def neumann(*more, **options) -> Problem:
    """u'' = -pi^2 cos(pi x) with slopes given at both ends: u is known up to a constant, which its mean fixes."""
    line = Box(x=(0, 1))

    @residual(line)
    def equation(u_xx, x):
        return u_xx + pi**2 * torch.cos(pi * x)

    @boundary(line.ends("x"))
    def ends(u_n):
        return u_n

    return Problem(line, [equation, ends, *more], exact=lambda x: torch.cos(pi * x) + 0.5, **options)


@integral(Box(x=(0, 1)), 0.5, mean=True)
def average(u):
    return u


@pytest.mark.parametrize("settings", [{}, {"weighting": pinntk.weighting.NTK(every=5)}], ids=["equal", "ntk weights"])
def test_solved(settings):
    problem = neumann(average)
    run = pinntk.train(
        problem,
        pinntk.nn.MLP(problem, width=10, depth=1, **F64),
        optimizer="gauss-newton",
        steps=25,
        points={"residual": 40},
        snapshot_every=0,
        progress=False,
        **settings,
    )
    assert run.history[-1]["relative_error"] < 1e-6


def test_what_judges_a_problem_knows_it():
    """Without the mean a condition is missing; a second mean contradicts it."""
    (missing,) = pinntk.check(neumann())
    assert "undetermined by a constant" in missing.sentence
    assert not pinntk.check(neumann(average))

    @integral(Box(x=(0, 1)), 0.7, mean=True)
    def other(u):
        return u

    found = {finding.code: finding.sentence for finding in pinntk.check(neumann(average, other))}
    assert found.keys() == {"wrong-problem", "conflict"}
    assert "does not satisfy the condition other" in found["wrong-problem"]
    assert "average and other" in found["conflict"]


def test_diagnosed_and_reported(tmp_path):
    """A short float32 training, with its folder."""
    problem = neumann(average)
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    settings = {"points": {"residual": 20}, "log_every": 10, "eval_every": 10, "progress": False, "snapshot_every": 20}
    run = pinntk.train(problem, network, out=tmp_path / "run", steps=20, **settings)
    x = pinntk.examine(run)
    assert x.balance.names == problem.names and "average" not in x.missing
    assert len(x.points["average"]) == 1 and x.estimate.size["average"] > 0
    assert "average" in write_report(tmp_path / "report.html", x, pinntk.diagnose(x)).read_text()


def test_slabs():
    """Integrals at times belong to the slabs of those times."""

    @residual(LINE)
    def equation(u_t, u_x):
        return u_t + u_x

    @initial(LINE.at(t=0))
    def start(u, x):
        return u - torch.sin(2 * pi * x)

    @integral(LINE, equals=[0, 1, 2, 3], t=[0, 0.5, 0.6, 1])
    def mass(u):
        return u

    @integral(LINE)
    def whole(u):
        return u

    problem = Problem(LINE, [equation, start, mass])
    first, second = (pinntk.slab(problem, k, 2, None if k == 0 else pinntk.nn.MLP(problem, width=4)) for k in (0, 1))
    assert first["mass"].region.rows[:, [0, 2]].tolist() == [[0, 0], [0.5, 1]]
    assert second["mass"].region.rows[:, [0, 2]].tolist() == [[0.6, 2], [1, 3]]
    network = pinntk.nn.MLP(problem, width=4, depth=1, **F64)
    both = pinntk.errors(network, problem, problem.sample(**F64))["mass"]
    assert torch.equal(both[2:], pinntk.errors(network, second, second.sample(**F64))["mass"])
    with pytest.raises(ValueError, match=r"condition 'whole' is an integral that belongs to no slab; .*integral\(\.\.\., t="):
        pinntk.slab(Problem(LINE, [equation, start, whole]), 0, 2)


# Refusals.


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
    with pytest.raises(ValueError, match="it is an integral, which no factor of the network meets"):
        pinntk.nn.MLP(neumann(average), hard="average")
    problem = neumann(average)
    with pytest.raises(ValueError, match="2 integrals asked for, but only 1 were given"):
        problem.sample(average=2)
    assert pinntk.nn.MLP(problem, hard="auto").hard == ()
