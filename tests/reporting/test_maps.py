"""Maps end where the domain does; what they look like was looked at."""

from io import BytesIO
from math import pi

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import pinntk
from pinntk import Box, GridSolution, Problem
from pinntk.geometry import Ball, Disk, Polygon
from pinntk.reporting import plot
from pinntk.reporting.plot._maps import Plane, Section, planes
from pinntk.reporting.plot._sheet import beside
from pinntk.reporting.plot._solution import field_style

pytestmark = pytest.mark.pixels

PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
TIMES = Box(t=(0, 2))
TIMES_DRAWN = ["t = 0", "t = 0.5", "t = 1", "t = 1.5", "t = 2"]
DOMAINS = {
    "plate": PLATE,
    "annulus": Disk(x=0, y=0, radius=1) - Disk(x=0.2, y=0, radius=0.5, name="hole"),
    "corner": Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]),
    "ball": Ball(x=0, y=0, z=0, radius=1),
    "shell": Ball(x=0, y=0, z=0, radius=1) - Ball(x=0, y=0, z=0, radius=0.7, name="hole"),
}


def problem_on(domain, **options):
    @pinntk.residual(domain)
    def flat(lap_u):
        return lap_u

    return Problem(domain, [flat], **options)


def network_of(problem):
    return pinntk.nn.MLP(problem, width=3, depth=1)


def drawn(panel):
    ax = Figure().subplots()
    panel.draw(ax)
    return ax


@pytest.mark.parametrize("name", DOMAINS)
def test_no_triangle_of_a_map_lies_outside_and_hardly_any_place_inside_is_left_out(name):
    domain = DOMAINS[name]
    for plane in planes(domain):
        section = Section(plane, plane.points())
        pairs = section.points[:, plane.axes]
        triangles = pairs[section.corners]
        assert plane.inside(triangles.mean(1)).all()
        a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
        if domain.dimension == 2:
            expected = domain.measure
        else:
            ((axis, height),) = plane.fixed.items()
            assert axis == 2
            hole = max(0.49 - height**2, 0) if name == "shell" else 0.0
            expected = pi * (1 - height**2 - hole)
        assert area == pytest.approx(expected, rel=5e-3)


def test_planes_of_every_kind_of_domain():
    def labels(domain):
        return [plane.label for plane in planes(domain)]

    square = Box(x=(0, 1), y=(0, 2))
    assert labels(Box(x=(0, 1))) == [] and labels(PLATE) == labels(square) == [""]
    assert labels(PLATE * TIMES) == labels(square * TIMES) == TIMES_DRAWN
    assert labels(TIMES * PLATE) == TIMES_DRAWN
    assert labels(PLATE * Box.of_parameters(nu=(1, 3))) == ["nu = 1", "nu = 2", "nu = 3"]
    assert labels(PLATE * TIMES * Box.of_parameters(nu=(1, 3)))[0] == "t = 0, nu = 2"
    assert labels(TIMES * (DOMAINS["shell"] - Ball(x=0, y=0, z=0, radius=0.8)))[0] == "t = 0, z = 0"
    assert labels(Box.cube(3)) == ["x3 = 0.25", "x3 = 0.5", "x3 = 0.75"]
    assert labels(DOMAINS["ball"] * TIMES) == [f"z = 0, {time}" for time in TIMES_DRAWN]
    assert labels(Box(t=(0, 1), x=(0, 1)) * Box.of_parameters(nu=(1, 3))) == ["nu = 1", "nu = 2", "nu = 3"]
    assert labels(Box.cube(5)) == []
    (plane,) = planes(Box(t=(0, 1), x=(0, 1)))
    assert plane.axes == (0, 1) and not plane.to_scale  # time is no length
    assert planes(TIMES * PLATE)[0].axes == (1, 2) and planes(TIMES * PLATE)[0].to_scale
    assert not planes(Box(x=(0, 20), y=(0, 1)))[0].to_scale


def test_one_length_is_as_long_in_both_coordinates():
    for domain, aspect in (
        (PLATE, 1),
        (Box(x=(0, 2), y=(0, 1)), 1),
        (PLATE * TIMES, 1),
        (Box(t=(0, 1), x=(0, 1)), "auto"),
    ):
        problem = problem_on(domain)
        assert drawn(plot.solution_panels(problem, network_of(problem))[0][-1]).get_aspect() == aspect


def test_space_and_time_at_five_times_beside_the_exact_solution():
    problem = problem_on(PLATE * TIMES, exact=lambda x, y, t: (1 + t) * x * y)
    panels = plot.solution_panels(problem, network_of(problem))
    titles = [panel.title for row in panels for panel in row]
    assert titles[:4] == ["exact u, t = 0", "network u, t = 0", "|network - exact|, u, t = 0", "exact u, t = 0.5"]
    maps = [drawn(row[0]).collections[0] for row in panels]
    assert [float(np.asarray(one.get_array()).max()) for one in maps] == pytest.approx([1, 1.5, 2, 2.5, 3])
    assert [one.get_clim() for one in maps] == [pytest.approx((0, 3))] * 5  # one scale for all times


def images(sheet):
    """The maps and the color bars of a sheet."""
    figure = sheet.figure()
    bars = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    return figure, [ax for ax in figure.axes if ax not in bars], bars


def test_maps_of_one_field_are_a_table_with_a_color_bar_for_each_scale():
    square = Box(x=(0, 1), y=(0, 1)) * TIMES
    problem = problem_on(square, exact=lambda x, y, t: (1 + t) * (x - y))
    (sheet,) = plot.solution_sheets(problem, network_of(problem))
    figure, maps, bars = images(sheet)
    assert (len(maps), len(bars)) == (15, 2)
    assert [ax.get_title() for ax in maps[:3]] == ["exact u", "network u", "|network - exact|, u"]
    assert [ax.get_ylabel() for ax in maps[::3]] == [f"{time}\ny" for time in TIMES_DRAWN]
    x, y = np.meshgrid(*[np.linspace(0, 1, 51)] * 2)
    last = maps[12].images[0]
    assert np.allclose(last.get_array(), 3 * (x - y)) and last.get_clim() == pytest.approx((-3, 3))
    assert maps[14].images[0].get_clim()[0] == 0
    figure.draw_without_rendering()
    assert maps[0].get_aspect() == 1
    box = problem_on(Box(x=(0, 1), y=(0, 1), z=(0, 1)))
    (alone,) = plot.solution_sheets(box, network_of(box))
    _, maps, bars = images(alone)
    several, _ = beside([alone] * 3, 2)
    several.suptitle("a title\nof two lines")
    renderer = FigureCanvasAgg(several).get_renderer()
    several.draw_without_rendering()
    edges = [ax.get_tightbbox(renderer).extents for part in several.subfigs for ax in part.axes if ax.axison]
    assert np.min(edges) >= 0 and np.max(edges, 0)[2] <= several.bbox.x1 and np.max(edges, 0)[3] <= several.bbox.y1
    assert [ax.get_title() for ax in maps] == ["z = 0.25", "z = 0.5", "z = 0.75"] and len(bars) == 1
    assert plot.solution_sheets(problem_on(PLATE), network_of(problem_on(PLATE))) == []


def test_a_scale_has_the_signs_that_the_values_have():
    styles = {
        name: field_style([np.linspace(*ends, 9)])
        for name, ends in {
            "both": (-1, 2),
            "positive": (0.1, 1),
            "far": (300, 310),
            "negative": (-4, -0.5),
            "rounding": (-1e-9, 1),
        }.items()
    }
    ends = {name: (style["vmin"], style["vmax"]) for name, style in styles.items()}
    assert ends == {"both": (-2, 2), "positive": (0, 1), "far": (300, 310), "negative": (-4, 0), "rounding": (-1e-9, 1)}
    assert [styles[name]["cmap"] for name in ("both", "positive")] == ["RdBu_r", "viridis"]


def test_measured_points_are_marked_where_they_are():
    rng = np.random.default_rng(0)
    for domain in (PLATE, PLATE * TIMES, Box(x=(0, 1))):
        rows = domain.sample(40, "uniform", rng)

        @pinntk.data(domain, rows, seen=rows[:, 0])
        def readings(u, seen):
            return u - seen

        @pinntk.residual(domain)
        def flat(lap_u):
            return lap_u

        problem = Problem(domain, [flat, readings])
        first = plot.solution_panels(problem, network_of(problem))[0][0]
        shown = next(line.get_xydata() for line in drawn(first).lines if line.get_marker() in ("o", "|"))
        expected = rows[rows[:, 2] <= 0.1] if domain.dimension == 3 else rows
        assert len(expected) and np.allclose(shown[:, 0], expected[:, 0])
        assert domain.dimension == 1 or np.allclose(shown[:, 1], expected[:, 1])


def test_maps_that_change_with_time_move(monkeypatch):
    monkeypatch.setattr("pinntk.reporting.plot._animation._FRAMES", 3)
    problem = problem_on(PLATE * TIMES, exact=lambda x, y, t: t * x * y)
    moving = Image.open(BytesIO(plot.animation(problem, network_of(problem))))
    pictures = []
    for i in range(moving.n_frames):
        moving.seek(i)
        pictures.append(np.asarray(moving.convert("RGB")).astype(int))
    assert len(pictures) == 3 and moving.info["loop"] == 0
    assert (pictures[0][-1, 0] == 255).all()  # paper stays white
    left = [picture[:, : picture.shape[1] // 3] for picture in pictures]
    assert np.abs(left[0] - left[2]).max() > 100  # dark at t = 0, bright in the corner at t = 2
    bars = [picture[-30:] for picture in pictures]
    assert all(np.array_equal(bars[0], bar) for bar in bars)  # the scale stays
    for still in (problem_on(PLATE), problem_on(Box(x=(0, 1), y=(0, 1), z=(0, 1))), problem_on(Box(t=(0, 1), x=(0, 1)))):
        assert plot.animation(still, network_of(still)) is None


def test_a_reference_on_a_grid_is_shown_at_its_own_times():
    axes = np.linspace(0, 1, 15), np.linspace(0, 1, 15), np.array([0.0, 0.3, 1.1, 2.0])
    x, y, t = np.meshgrid(*axes, indexing="ij")
    for domain in (Box(x=(0, 1), y=(0, 1)) * TIMES, PLATE * TIMES):
        problem = problem_on(domain, reference=lambda: GridSolution(axes, (1 + t) * x * y))
        rows = plot.solution_panels(problem, network_of(problem))
        assert [row[0].title for row in rows] == [f"reference u, t = {t}" for t in (0, 0.3, 1.1, 2)]
        assert "from 0 to 2.1" in rows[2][0].text


def test_a_reference_on_scattered_points():
    rng = np.random.default_rng(0)
    nodes = (PLATE * TIMES).sample(4000, "uniform", rng)
    problem = problem_on(PLATE * TIMES, reference=lambda: GridSolution((nodes,), nodes.prod(1)))
    rows = plot.solution_panels(problem, network_of(problem))
    assert [row[0].title for row in rows] == [f"reference u, {time}" for time in TIMES_DRAWN]
    mesh = PLATE.sample(500, "sobol", rng)
    problem = problem_on(PLATE, reference=lambda: GridSolution((mesh,), mesh.prod(1)))
    shown = drawn(plot.solution_panels(problem, network_of(problem))[0][0])
    assert type(shown.collections[0]).__name__ == "TriMesh"


def test_what_rounding_leaves_below_zero_has_no_sign():
    problem = problem_on(PLATE, exact=lambda x, y: x - 1e-16)
    exact = drawn(plot.solution_panels(problem, network_of(problem))[0][0])
    assert exact.collections[0].get_cmap().name == "viridis"


def test_values_that_are_not_finite_leave_gaps():
    (plane,) = planes(PLATE)
    section = Section(plane, plane.points())
    values = section.points[:, 0].copy()
    values[section.points[:, 0] < 0.3] = np.nan
    ax = Figure().subplots()
    image = section.draw(ax, values)
    assert np.isfinite(np.asarray(image.get_array())).all()
    x = image._triangulation.x[image._triangulation.triangles]
    assert x.min() >= 0.3


def test_points_on_a_line_are_drawn_as_points():
    plane = Plane(PLATE, (0, 1))
    line = np.stack([np.linspace(0, 0.25, 40)] * 2, 1)
    image = Section(plane, line).draw(Figure().subplots(), line[:, 0])
    assert type(image).__name__ == "PathCollection"


def test_a_diagonal_is_drawn_as_far_as_it_is_inside():
    domain = Ball(**dict.fromkeys("abcd", 0.0), radius=1) - Ball(**dict.fromkeys("abcd", 0.0), radius=0.5, name="hole")
    problem = problem_on(domain)
    ((panel,),) = plot.solution_panels(problem, network_of(problem))
    ax = drawn(panel)
    shown = np.isfinite(ax.lines[0].get_ydata())
    known = problem_on(domain, exact=lambda a, b, c, d: a)
    lines = drawn(plot.solution_panels(known, network_of(known))[0][0]).lines
    assert all(np.array_equal(np.isfinite(line.get_ydata()), shown) for line in lines) and len(lines) == 2
    s = np.linspace(0, 1, len(shown))
    radius = np.abs(2 * s - 1) * 2  # of the box's diagonal, which is 2 long on either side
    assert np.array_equal(shown, (radius <= 1) & (radius >= 0.5))


def test_residuals_are_drawn_inside_and_at_five_times():
    problem = problem_on(PLATE * TIMES)
    network = network_of(problem)
    x = pinntk.examine(network, problem, problem.sample(residual=20))
    (sheet,) = plot.residual_panels(x)
    assert sheet.title == "|residual| of flat at 5 times"
    panels = [panel for row in sheet.rows for panel in row]
    assert [panel.at for panel in panels] == TIMES_DRAWN
    for panel in panels:
        ax = drawn(panel)
        triangles = ax.collections[0]._triangulation
        middles = np.stack([triangles.x, triangles.y], 1)[triangles.triangles].mean(1)
        assert PLATE.contains(middles).all()
        assert ax.collections[0].get_clim()[0] == 0


# Where a problem is posed.


@pytest.mark.parametrize("name", DOMAINS)
def test_the_picture_of_a_problem_names_the_parts(name):
    domain = DOMAINS[name]

    @pinntk.residual(domain)
    def flat(lap_u):
        return lap_u

    @pinntk.boundary(domain.boundary())
    def walls(u):
        return u

    (ax,) = plot.picture(Problem(domain, [flat, walls])).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["flat (residual)", "walls (boundary)"]
    if domain.dimension == 2:
        assert sorted(text.get_text() for text in ax.texts) == sorted(plot.part_names(domain))
        assert ax.get_aspect() == 1
        assert domain.contains(np.asarray(ax.collections[0].get_offsets())).all()
    else:
        assert [text.get_text() for text in ax.texts] == ["x", "y", "z"]


def test_a_name_of_the_users_stands_in_place_of_the_surfaces():
    domain = PLATE.named(inlet="x=0", walls=("y=0", "y=1"))
    (ax,) = plot.picture(problem_on(domain)).axes
    assert {text.get_text() for text in ax.texts} == {"inlet", "walls", "x=1", "hole"}


@pytest.mark.parametrize("name", ["poisson1d", "burgers", "heat_inverse", "kovasznay", "poisson_nd"])
def test_the_picture_of_a_problem_on_a_box(name, tmp_path):
    problem = pinntk.load(name)
    if name == "poisson1d":
        path = plot.write(plot.picture(problem), tmp_path / f"{name}.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        with pytest.raises(ValueError, match=r"a figure's name ends in \.png, \.svg or \.pdf"):
            plot.write(plot.picture(problem), tmp_path / "x.jpg")
    ax = Figure().subplots()
    assert plot.picture(problem, ax) is ax.figure
    assert len(ax.collections) == len(problem.conditions)


def test_a_picture_of_points_that_are_given():
    domain = Box(x=(0, 1), y=(0, 1))
    given = pinntk.problem.PointSet(domain, torch.rand(7, 2, generator=torch.Generator().manual_seed(0)))
    walls = pinntk.problem.ForeignCondition("walls", "boundary", given, lambda network, x: network(x)[:, 0])
    (ax,) = plot.picture(Problem(domain, [walls])).axes
    assert len(ax.collections[0].get_offsets()) == 7
