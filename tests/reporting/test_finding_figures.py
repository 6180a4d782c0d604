"""Every finding and every comparison has its figures."""

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

import pinntk
from pinntk.diagnostics import Finding
from pinntk.reporting import plot
from tests.reporting.reports import UNKNOWN, reported, trained

pytestmark = pytest.mark.xdist_group("report")  # one worker, for what they share


@pytest.mark.parametrize("rendered", [False, pytest.param(True, marks=[pytest.mark.pixels, pytest.mark.slow])])
def test_findings_of_every_kind_have_their_figures(rendered):
    before = dict(matplotlib.rcParams)
    problem = pinntk.load("burgers")
    grid = np.random.default_rng(0).random((1200, 2))
    cases = {
        ("step", "loss"): (np.arange(4), np.array([4.0, 3, 2, 1])),
        ("eigenvalues", "share"): (np.array([4.0, 1, 1e-20]), np.array([0.1, 0.2, 0.7])),
        ("time", "error", "residual", "diagonal"): (np.arange(4), np.arange(4.0), np.array([1.0, np.nan, 1, 100]), np.ones(4)),
        ("time", "error", "true_error", "residual", "diagonal"): (*np.arange(12.0).reshape(3, 4), np.ones(4), np.ones(4)),
        ("mean", "std", "low", "high"): (np.ones(2), np.ones(2), np.zeros(2), 2 * np.ones(2)),
        ("saturated", "saturated_at_start", "dead"): (np.array([0.5, np.nan]), np.array([0.8, np.nan]), np.array([0.0, 0.1])),
        ("noise", "error"): (np.full(3, 1e-7), np.full(3, 1e-3)),
        ("x", "hole"): (grid, np.array([0.5, 0.5])),
        ("x", "candidates"): (grid, grid[:5]),
        ("x", "deviation", "free"): (grid, grid[:, 0], grid[:, 1]),
        ("x", "error"): (grid, grid[:, 0]),
        ("cosines",): (np.eye(3),),
        ("of my own",): (np.array([[1.0, 2, 3]]),),
    }
    for names, arrays in cases.items():
        finding = Finding(code="any", severity="note", sentence="Any.", arrays=dict(zip(names, arrays, strict=True)))
        panels = plot.finding_panels(finding, problem)
        assert panels, names
        for panel in panels:
            assert plot.single_figure(panel).axes, names
            assert "nan" not in panel.text, panel.text
            assert bool(plot.svg(plot.single_figure(panel))) == rendered
    assert plot.finding_panels(Finding(code="any", severity="note", sentence="Any."), problem) == []
    assert (
        plot.finding_panels(Finding(code="any", severity="note", sentence="Any.", arrays={"gone": np.full(3, np.nan)}), problem)
        == []
    )
    assert dict(matplotlib.rcParams) == before


@pytest.mark.pixels
def test_a_comparison_has_its_figures(run):
    panels = plot.comparison_panels({"a": run, "b": trained("poisson1d", lr=1e-2)})
    assert len(panels) > 1
    assert all(ElementTree.fromstring(plot.svg(plot.single_figure(panel))).tag.endswith("svg") for panel in panels)


def test_an_unknown_finding_is_drawn_and_named(tmp_path, run):
    page = reported(tmp_path / "report.html", run, [UNKNOWN])
    assert "Of ones own" in page.text
    assert "some values" in page.text
    assert "Nothing needs a change" in page.text
