"""Diagnoses, rescues, figures, reports and the command line with a network on a device: what they say on the CPU.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

import json
import types
from copy import deepcopy
from functools import cache, cached_property

import numpy as np
import pytest
import torch

import pinntk
from pinntk import diagnostics
from pinntk.cli import main
from pinntk.diagnostics import Examination
from pinntk.reporting import _html as report
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot
from tests.device.on_device import F64, NAME, PRETEND, covers, on_device, same
from tests.device.trainings import BOX, COUNTS, FEW, diffusion, numbers, trained

LOOSE = 1e-7 if PRETEND else 1e-6  # of what is divided by numbers near rounding, such as K's smallest eigenvalues
MEASURED = [name for name, part in vars(Examination).items() if isinstance(part, cached_property)]


@cache
def pair() -> tuple[pinntk.Run, pinntk.Run]:
    """The same training on the device and on the CPU, with a history and snapshots."""
    settings = {"steps": 6, "snapshot_every": 3, "log_every": 1, "points": COUNTS | {"residual": 30}}
    found, expected = (trained(device, network=None, **settings) for device in (NAME, "cpu"))
    return found, expected


@cache
def examined() -> list[Examination]:
    return [pinntk.examine(run) for run in pair()]


@covers(pinntk.examine)
@pytest.mark.parametrize("name", MEASURED)
def test_every_measurement(name):
    found, expected = (getattr(x, name) for x in examined())
    if isinstance(expected, torch.nn.Module):
        found, expected = found.state_dict(), expected.state_dict()
        assert on_device(found)
    assert type(found) is type(expected)
    same(found, expected, LOOSE)


def test_measurements_of_a_network_without_a_run():
    run = pair()[0]
    x = pinntk.examine(run.network, run.problem, {name: rows.cpu() for name, rows in run.points.items()})
    assert on_device(x.kernel.values)
    same(x.balance.trace, pinntk.traces(run.network, run.problem, run.points))
    assert all(isinstance(finding, pinntk.Finding) for finding in pinntk.diagnose(x))


@covers(pinntk.diagnose, pinntk.Finding, pinntk.Prescription)
def test_findings():
    found, expected = map(pinntk.diagnose, examined())
    assert [type(finding) for finding in found] == [pinntk.Finding] * len(expected)
    same([finding.code for finding in found], [finding.code for finding in expected])
    assert all(isinstance(p, pinntk.Prescription) for finding in found for p in finding.prescriptions)


@pytest.mark.parametrize("code", diagnostics.RULES)
def test_every_rule_runs(code):
    """Whether or not it finds anything: its numbers are made from tensors of the device."""
    found, expected = (diagnostics.RULES[code](x) for x in examined())
    assert (found is None) == (expected is None)
    if expected is not None:
        same(found.evidence, expected.evidence, LOOSE)
        same(dict(found.arrays), dict(expected.arrays), LOOSE)


def _measures(x: Examination) -> dict:
    """Each function of pinntk.diagnostics, called with the run's tensors where they are."""
    run, d = x.run, diagnostics
    first, last = (run.snapshots[step] for step in (0, max(run.snapshots)))
    e = {name: part.detach() for name, part in pinntk.errors(run.network, run.problem, x.few).items()}
    rows = x.points["heat"]
    given = (run.network, run.problem, x.points)
    with torch.no_grad():
        values = run.network(rows)[:, 0]
    fields = d.field_kernel(run.network, run.problem, rows[:3], x.few)
    dynamics = d.dynamics(x.kernel, e, x.weights)
    spectrum = d.spectrum(x.kernel, x.weights)
    clear = None if PRETEND else int((spectrum.values > 1e-6 * spectrum.values[0]).sum())  # of others any mixture is as good
    return {
        "balance": d.balance(*given, x.weights),
        "weights_by_name": d.weights_by_name(x.kernel, e),
        "gradient_alignment": d.gradient_alignment(x.kernel.matrix()),
        "drift": [d.drift(first, last), d.drift(first, last, 3)],
        "parameter_drift": d.parameter_drift([p.detach() * 0.9 for p in run.network.parameters()], run.network),
        "frozen_prediction": d.frozen_prediction(*given, x.weights, 1e-3, [1, 2]),
        "dynamics": [dynamics.losses([0.1, 1.0]), dynamics.errors_after([1, 5], 1e-4), dynamics.largest_stable_step()],
        "changes": [dynamics.changes(fields, [0.1]), dynamics.changes_after(fields, [3], 1e-4)],
        "field_kernel": fields,
        "spectrum": [spectrum.values, spectrum.project(e)[:clear].abs(), spectrum.share(e)[:clear], spectrum.unlearned(e, 1.0)],
        "remaining": spectrum.remaining({name: part.cpu() for name, part in e.items()}, 1.0)[:clear],
        "error_frequency": d.error_frequency(rows, values),
        "mode_frequency": d.mode_frequency(x.kernel, spectrum.vectors[:, :3], "heat"),
        "estimate": d.estimate(*given, samples=20, residuals=20, others=10),
        "causality": d.causality(*given, slices=3),
        "coverage": d.coverage(run.problem, x.points),
        "redundancy": d.redundancy(x.kernel),
        "where_missing": d.where_missing(*given, dense=50, top=5),
        "layers": d.layers(*given),
        "input_scale": d.input_scale(run.network, run.problem),
        "output_scale": d.output_scale(*given),
        "scales": [torch.tensor(size) for size in d.scales(run.problem, x.points).fields.values()],
        "precision_floor": d.precision_floor(*given),
        "trivial": d.trivial(*given),
        "undetermined": d.undetermined(*given, samples=20),
        "natural_step": d.natural_step(*given, x.weights),
        "progress": d.progress(run),
        "prediction_horizon": d.prediction_horizon(*run.column("loss/heat"), run.column("loss/heat")[1]),
        "diagnose": len(d.diagnose(x)),
        "check": len(d.check(run.problem, run.network)),
        "trial_space": d.trial_space(run.problem.domain, 1).powers,
        "examine": x.few,
    }


@covers(pinntk.check)
def test_every_function_of_the_diagnostics():
    found, expected = map(_measures, examined())
    functions = {name for name in diagnostics.__all__ if isinstance(getattr(diagnostics, name), types.FunctionType)}
    assert functions <= set(expected)
    for name, part in expected.items():
        same(found[name], part, LOOSE, name)
    assert on_device(found["field_kernel"])


@covers(pinntk.rescue, pinntk.Rescue)
def test_rescue(tmp_path, monkeypatch):
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: [])  # which test_findings has
    prescription = pinntk.Prescription("take longer", {"training.steps": 4, "training.lr": 1e-2, "weighting": "ntk"})
    rescues = []
    for device, folder in ((NAME, "there"), ("cpu", "here")):
        out = tmp_path / folder
        run = trained(device, pinntk.load("heat_inverse"), points=FEW | {"data": 10}, out=out / "run")
        rescues.append(pinntk.rescue(run, findings=[], prescription=prescription, out=out, device=device, progress=False))
    found, expected = rescues
    assert isinstance(found, pinntk.Rescue) and on_device(found.after.network.state_dict())
    same(numbers(found.after), numbers(expected.after), LOOSE)
    same([found.score_before, found.score_after], [expected.score_before, expected.score_after], LOOSE)


@covers(
    plot.Panel,
    plot.draw_panels,
    plot.single_figure,
    plot.figure_grid,
    plot.svg,
    plot.comparison_panels,
    plot.condition_panels,
    plot.drift_panels,
)
@covers(
    plot.estimate_panels, plot.finding_panels, plot.first_and_last, plot.loss_panels, plot.mode_panels, plot.residual_panels
)
@covers(plot.estimate_panels, plot.solution_panels, plot.spectrum_panels)
def test_every_panel():
    panels = []
    for x in examined():
        run = x.run
        panels.append(
            [
                *plot.comparison_panels({"a": run, "b": run}),
                *plot.condition_panels(x),
                *plot.drift_panels(run),
                *plot.estimate_panels(x),
                *(panel for finding in pinntk.diagnose(x) for panel in plot.finding_panels(finding, run.problem)),
                *plot.loss_panels(run),
                *plot.mode_panels(x),
                *plot.residual_panels(x),
                *(panel for row in plot.solution_panels(run.problem, run.network) for panel in row),
                *plot.spectrum_panels(plot.first_and_last(run)),
            ]
        )
    assert all(isinstance(panel, plot.Panel) for panel in panels[0])
    assert [panel.title for panel in panels[0]] == [panel.title for panel in panels[1]]
    for panel in panels[0]:
        assert plot.svg(plot.single_figure(panel)) == b""
    assert len(plot.figure_grid([panels[0]]).axes) >= len(panels[0])
    assert plot.draw_panels(panels[0][:1], plot.single_figure(panels[0][0]).axes[0]).axes


@covers(plot.Sheet, plot.animation, plot.solution_sheets)
def test_space_and_time():
    problem = pinntk.load("wave2d")
    expected = pinntk.nn.MLP(problem, width=4, depth=1, **F64)
    (here,), (there,) = (plot.solution_sheets(problem, one) for one in (deepcopy(expected).to(NAME), expected))
    assert isinstance(here, plot.Sheet) and here.text == there.text
    assert plot.animation(problem, expected.to(NAME)).startswith(b"GIF")


@covers(plot.part_names, plot.picture, plot.picture_panel)
def test_the_picture_of_a_problem():
    problem = pair()[0].problem
    (axes,) = plot.picture(problem).axes
    assert len(axes.collections) == len(problem.names)
    assert plot.picture_panel(problem).title == "points and boundary" and plot.part_names(problem.domain)


@covers(plot.figures, plot.save, plot.write, plot.drift, plot.losses, plot.solution, plot.spectra)
def test_every_figure(tmp_path):
    run = pair()[0]
    figures = {"drift": plot.drift(run), "losses": plot.losses(run), "spectra": plot.spectra(run)}
    figures["solution"] = plot.solution(run.problem, run.network)
    assert set(plot.figures(run)) == set(figures)
    assert {path.stem for path in plot.save(run, tmp_path)} == set(figures)
    assert plot.write(figures["drift"], tmp_path / "drift.svg").is_file()


def test_reports(tmp_path):
    texts = []
    for x in examined():
        findings = pinntk.diagnose(x)
        report.write_report(tmp_path / "report.html", x, findings)
        report.write_comparison(tmp_path / "comparison.html", (x, findings), (x, findings))
        found = verdict.diagnosis(x, findings)
        report.write_diagnosis(tmp_path / "diagnosis.json", found)
        texts.append(json.loads((tmp_path / "diagnosis.json").read_text()))
    same(*texts, LOOSE)


def said(capsys, *arguments) -> str:
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def test_the_command_line(capsys, tmp_path):
    small = ["--width", 4, "--depth", 1, "--dtype", "float64", "--points", "residual=8,boundary=3,initial=3"]
    folder, printed = tmp_path / "run", []
    said(capsys, "train", "heat_inverse", *small, "--device", NAME, "--quiet", "--steps", 2, "-o", folder)
    said(capsys, "train", "--resume", folder, "--steps", 3, "--device", "cpu")
    for device in (NAME, "cpu"):
        place = ["--device", device]
        text = said(capsys, "kernel", "--run", folder, *place, "-o", tmp_path / f"{device}.npz").replace(f"{device}.npz", "")
        text += said(capsys, "kernel", "heat_inverse", *small, *place)
        printed.append(text)
    assert printed[0] == printed[1]
    same(*(pinntk.KernelBlocks.load(tmp_path / f"{device}.npz").values for device in (NAME, "cpu")), LOOSE)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_the_command_line_from_training_to_rescue(capsys, tmp_path):
    small = ["--width", 4, "--depth", 1, "--points", "residual=8", "--quiet", "--device", NAME]
    folder = tmp_path / "run"
    infinite = ["kernel", "poisson1d", "--infinite", "--activation", "sin", "--points", "residual=3,boundary=2", "--device"]
    assert said(capsys, *infinite, NAME) == said(capsys, *infinite, "cpu")
    said(capsys, "train", "poisson1d", *small, "--steps", 3, "--monitor", "-o", folder)
    said(capsys, "diagnose", folder)
    said(capsys, "rescue", folder, "--device", NAME, "--quiet", "-o", tmp_path / "rescued")
    said(capsys, "solve", "poisson1d", *small, "--steps", 2, "-o", tmp_path / "solved")
    said(capsys, "diagnose", folder, tmp_path / "solved")
    said(capsys, "plot", folder)


@covers(pinntk.DependentPointsError)
def test_what_mixes_points_is_refused_there_too():
    problem = diffusion()

    class Mixing(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    with pytest.raises(pinntk.DependentPointsError):
        pinntk.kernel(Mixing(2, 1, device=NAME, **F64), problem, problem.sample(residual=4))


@covers(pinntk.UnidentifiedError)
def test_what_data_do_not_say_is_refused_there_too():
    @pinntk.residual(BOX)
    def heat(u_t, kappa):
        return u_t + 0 * kappa

    problem = pinntk.Problem(BOX, [heat], coefficients={"kappa": 1.0})
    network = pinntk.nn.MLP(problem, width=4, depth=1, device=NAME, **F64)
    with pytest.raises(pinntk.UnidentifiedError, match="kappa"):
        pinntk.posterior(network, problem, problem.sample(residual=4), {"heat": 1.0})


@covers(pinntk.cached)
def test_numbers_in_the_cache_are_arrays(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    kept = pinntk.cached("device", lambda: {"x": torch.ones(3, device=NAME).cpu().numpy()})
    assert np.array_equal(kept["x"], np.ones(3))
