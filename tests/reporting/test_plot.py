"""Figures hold what they should; what they look like was looked at."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import pinntk
from pinntk.comparison import Row, Summary
from pinntk.reporting import plot
from pinntk.reporting.plot._evidence import matrix_panel
from pinntk.reporting.plot._panel import value_axis
from pinntk.weighting import NTK
from tests.support.sweeps import sweep

pytestmark = pytest.mark.pixels


def trained(name, weighting=None, **settings):
    problem = pinntk.load(name, **settings)
    network = pinntk.nn.MLP(problem, width=5, depth=1)
    points = {"residual": 5, "boundary": 5}
    own = {} if weighting is None else {"weighting": weighting}
    return pinntk.train(problem, network, steps=4, points=points, progress=False, snapshot_every=2, **own)


PANELS = {"poisson1d": 2, "helmholtz2d": 3, "kovasznay": 9, "poisson_nd": 2, "heat_inverse": 3}


@pytest.mark.parametrize("name", sweep(PANELS, "kovasznay", "poisson_nd", "heat_inverse"))
def test_a_panel_for_each_field_and_quantity(name):
    panels = PANELS[name]
    run = trained(name)
    drawn = plot.solution(run.problem, run.network)
    assert len([ax for ax in drawn.axes if ax.get_label() != "<colorbar>"]) == panels
    error = f"{run.problem.relative_error(run.network):.2e}"
    assert error in drawn.get_suptitle()


def test_curves_hold_the_numbers_of_the_run():
    run = trained("poisson1d")
    losses = plot.losses(run).axes
    lines = {line.get_label(): line.get_ydata() for line in losses[0].lines}
    assert np.array_equal(lines["ends"], run.column("loss/ends")[1])
    spectra = plot.spectra(run).axes
    drawn = spectra[0].lines[0].get_ydata()
    expected = run.snapshots[0].eigvalsh().numpy()[::-1]
    assert np.allclose(drawn[:3], expected[:3])
    assert [ax.get_title() for ax in spectra] == [f"eigenvalues of {name}" for name in ("K", "K_uu", "K_rr")]
    assert np.array_equal(plot.drift(run).axes[0].lines[0].get_ydata(), run.kernel_drift()[1])


def test_two_runs_are_drawn_side_by_side():
    runs = {name: trained("poisson1d") for name in ("one", "other")}
    panels = plot.comparison_panels(runs)
    assert [panel.title for panel in panels[:2]] == ["relative L2 error", "loss of poisson"] and len(panels) == 4
    (axes,) = plot.single_figure(panels[0]).axes
    for line, (name, run) in zip(axes.lines, runs.items(), strict=True):
        assert line.get_label() == name and np.array_equal(line.get_ydata(), run.column("relative_error")[1])


def test_a_problem_without_solution_shows_the_network_alone():
    domain = pinntk.Box(x=(0, 1), y=(0, 1))

    @pinntk.residual(domain)
    def flat(lap_u):
        return lap_u

    problem = pinntk.Problem(domain, [flat])
    drawn = plot.solution(problem, pinntk.nn.MLP(problem, width=3, depth=1))
    assert [ax.get_title() for ax in drawn.axes if ax.get_title()] == ["network u"]


def test_saving_without_a_folder_says_so(tmp_path):
    run = trained("poisson1d")
    with pytest.raises(ValueError, match="has no folder"):
        plot.save(run)
    paths = plot.save(run, tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())


def test_figures_leave_torch_and_matplotlib_settings_alone():
    import matplotlib

    before, dtype = dict(matplotlib.rcParams), torch.get_default_dtype()
    plot.figures(trained("poisson1d"))
    assert dict(matplotlib.rcParams) == before
    assert torch.get_default_dtype() == dtype


def drawn(ax):
    """What one pair of axes shows, in numbers."""
    lines = [line.get_xydata() for line in ax.lines]
    maps = [np.asarray(mesh.get_array()) for mesh in ax.collections if mesh.get_array() is not None]
    return [ax.get_title(), ax.get_xlabel(), ax.get_yscale(), *lines, *maps]


@pytest.mark.parametrize("name", sweep(("losses", "spectra", "drift", "solution", "maps"), "losses", "solution", "maps"))
def test_figures_are_drawn_on_axes_of_the_users(name):
    run = trained("kovasznay" if name == "maps" else "poisson1d")
    call = plot.solution if name in ("solution", "maps") else getattr(plot, name)
    arguments = (run.problem, run.network) if name in ("solution", "maps") else (run,)
    expected = [ax for ax in call(*arguments).axes if ax.get_label() != "<colorbar>"]
    if name == "solution":  # columns there, a field after the other here: the same for one field
        assert len(expected) == 2
    figure = Figure()
    below = figure.subfigures(2, 1)[1]
    title = figure.suptitle("mine")
    axes = below.subplots(3, 3) if name == "maps" else below.subplots(1, len(expected))
    assert call(*arguments, ax=axes) is figure
    assert figure.get_suptitle() == "mine" and title in figure.texts
    for here, there in zip(np.ravel(axes), expected, strict=True):
        for a, b in zip(drawn(here), drawn(there), strict=True):
            assert np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b


def test_one_panel_on_one_pair_of_axes():
    run, figure = trained("poisson1d"), Figure()
    ax = figure.subplots()
    plot.draw_panels(plot.loss_panels(run)[:1], ax, titles=False)
    assert ax.get_title() == "" and len(ax.lines) == 2


def test_other_axes_are_refused():
    run, figure = trained("poisson1d"), Figure()
    with pytest.raises(ValueError, match=r"ax has 1 axes for 2 panels \(loss of each.*; relative L2 error.*subplots\(1, 2\)"):
        plot.losses(run, ax=figure.subplots())
    with pytest.raises(ValueError, match="ax has 4 axes for 2 panels"):
        plot.losses(run, ax=Figure().subplots(2, 2))
    with pytest.raises(TypeError, match=r"ax has a Figure; give matplotlib axes, such as plt\.subplots"):
        plot.losses(run, ax=figure)


@pytest.mark.filterwarnings("error")
def test_what_is_zero_throughout_is_drawn_without_a_logarithm():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1, activation="relu")  # whose second derivatives are zero
    recorder = pinntk.Recorder(problem, network, problem.sample(residual=8, boundary=2), optimizer="adam", snapshot_every=1)
    recorder.log(0, {"poisson": 0.0, "ends": 0.0}, lr=0.1)
    run = recorder.run
    zero = next(panel for panel in plot.spectrum_panels(plot.first_and_last(run)) if panel.title == "eigenvalues of K_rr")
    (axes,) = plot.single_figure(zero).axes
    assert axes.get_yscale() == "linear" and "all are zero" in axes.get_legend().get_texts()[0].get_text()
    for panel in plot.loss_panels(run):
        plot.svg(plot.single_figure(panel))
    plot.svg(plot.single_figure(zero))


def test_weights_that_never_change_have_no_panel():
    titles = {
        name: [panel.title for panel in plot.loss_panels(trained("poisson1d", **settings))]
        for name, settings in {"fixed": {}, "ntk": {"weighting": NTK(every=1)}}.items()
    }
    assert titles["fixed"] == ["loss of each condition", "relative L2 error"]
    assert titles["ntk"] == ["loss of each condition", "loss weight λ", "relative L2 error"]


def test_spectra_end_where_rounding_begins():
    run = trained("poisson1d")
    (axes,) = plot.single_figure(plot.spectrum_panels(plot.first_and_last(run))[0]).axes
    for line, blocks in zip(axes.lines, plot.first_and_last(run).values(), strict=True):
        values = blocks.eigvalsh().numpy()[::-1]
        assert np.allclose(line.get_ydata(), values[values > blocks.floor()])


def test_many_names_stand_below_the_axes_and_nothing_leaves_the_figure():
    run = trained("plate_with_hole")
    figure = plot.single_figure(plot.loss_panels(run)[0])
    (ax,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    names = ax.get_legend().get_window_extent(renderer)
    assert len(ax.get_legend().get_texts()) == len(run.problem.names) > 4
    assert names.y1 <= ax.xaxis.label.get_window_extent(renderer).y0 + 1
    shown = [names, *(text.get_window_extent(renderer) for text in (ax.xaxis.label, ax.yaxis.label))]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in shown)
    assert ax.get_position().height > 0.5
    few = plot.single_figure(plot.loss_panels(trained("poisson1d"))[0])
    assert few.get_figheight() < figure.get_figheight()
    assert all(ax.get_ylabel() for panel in plot.loss_panels(run) for ax in plot.single_figure(panel).axes)


def test_an_axis_is_logarithmic_over_more_than_a_decade():
    for values, scale in (([1.0, 2.0], "linear"), ([1e-3, 1.0], "log"), ([0.0, 1e3], "linear")):
        ax = Figure().subplots()
        value_axis(ax, np.array(values))
        assert ax.get_yscale() == scale


def test_coefficients_have_their_error_bars_at_the_end():
    run = trained("heat_inverse")
    panel = plot.loss_panels(run, {"kappa": 0.25})[-1]
    (ax,) = plot.single_figure(panel).axes
    (_, low), (_, high) = ax.collections[0].get_segments()[0]
    last = run.column("coefficient/kappa")[1][-1]
    assert (low, high) == pytest.approx((last - 0.25, last + 0.25))
    assert "± 0.25" in panel.text


def test_a_matrix_of_many_conditions_has_a_color_bar_in_place_of_numbers():
    for count, numbers, axes in ((3, 9, 1), (7, 0, 2)):
        figure = plot.single_figure(matrix_panel("cosines", np.eye(count), [f"condition_{i}" for i in range(count)]))
        assert (len(figure.axes[0].texts), len(figure.axes)) == (numbers, axes)


@pytest.mark.parametrize("name", ["poisson1d", "heat1d", "wave2d"])
def test_axes_have_the_units_of_the_problem(name):
    problem = pinntk.load(name)
    places = [problem.coordinates[axis] for axis in problem.domain.space]
    problem = replace(problem, units={**dict.fromkeys(places, "m"), "u": "K"})
    figure = plot.solution(problem, pinntk.nn.MLP(problem, width=4, depth=1))
    labels = [label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel(), ax.get_title())]
    assert f"{places[0]} [m]" in labels and any("u [K]" in label for label in labels + [figure.get_suptitle()])
    assert not set(places) & set(labels)


@pytest.mark.filterwarnings("error")  # matplotlib's, where axes have no room beside their labels
def test_long_names_of_what_is_compared_leave_room_for_the_axes():
    longest = "soap:1000000:lr=3e-3:weight_decay=0.01:betas=(0.99,0.999)"
    rows = tuple(
        Row({"problem": "allen_cahn", "optimizer": name}, 0, 0.1 * k, 1.0, 5, 1.0, "", curve=[[0.0, 1.0], [1.0, 0.1 * k]])
        for k, name in enumerate((longest, longest.replace("soap", "adam"), "lbfgs"), 1)
    )
    figure = plot.summary(Summary("", rows, tuple(row.labels for row in rows)))
    FigureCanvasAgg(figure).draw()
    scores, times = figure.axes
    assert min(scores.get_position().width, times.get_position().width) > 0.3
    assert [label.get_text().replace("\n", "") for label in scores.get_yticklabels()][-1] == longest
    for words in (*scores.get_yticklabels(), *times.get_legend().get_texts()):
        box = words.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width


@pytest.mark.parametrize(
    "errors", [[1.87e-4], [1.8701e-4, 1.8702e-4], [12345.0], [0.5, 0.7], [1e-3, 5e-3], [1e-6, 1e-2], [0.0]]
)
def test_the_errors_of_a_comparison_can_be_read_off(errors):
    rows = tuple(Row({"problem": "kdv"}, seed, error, 1.0, 5, 1.0, "") for seed, error in enumerate(errors))
    figure = plot.summary(Summary("", rows, (rows[0].labels,)))
    figure.canvas.draw()
    axis, low, high = figure.axes[0].xaxis, *sorted(figure.axes[0].get_xlim())
    ticks = [label for label in axis.get_ticklabels() if label.get_text() and low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in ticks]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert len({label.get_text() for label in ticks}) == len(ticks)
