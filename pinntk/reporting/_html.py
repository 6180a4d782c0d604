"""One self-contained HTML file that says what is wrong with a run, shows it, and what to change."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from pinntk._util.files import replacing
from pinntk._util.numbers import number
from pinntk.diagnostics import Examination, Finding
from pinntk.diagnostics._evidence import label
from pinntk.diagnostics._wording import capital
from pinntk.problem._page import in_words
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot
from pinntk.reporting.plot import Panel

_TEMPLATES = Path(__file__).parent / "templates"

Diagnosed = tuple[Examination, Sequence[Finding]]


def write_report(path: str | os.PathLike, x: Examination, findings: Sequence[Finding]) -> Path:
    """Writes the report of an examined run, or network, to `path`, whole or not at all.

    findings: as from `pinntk.diagnose(x)`

    The file loads nothing: figures and style are in it. Raises OSError where it cannot be written, TypeError for what is no
    examination.

    >>> import pinntk, tempfile
    >>> problem = pinntk.load("poisson1d")
    >>> x = pinntk.examine(pinntk.nn.MLP(problem, width=4, depth=1), problem, problem.sample(residual=5, boundary=2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(Path(folder) / "report.html", x, []).name
    'report.html'
    """
    if not isinstance(x, Examination):
        raise TypeError(
            f"write_report(path, {type(x).__name__}, ...): give an examination and its findings, x = pinntk.examine(run) or "
            "pinntk.examine(network, problem, points), and pinntk.diagnose(x)"
        )
    found = verdict.diagnosis(x, findings)
    context = {
        "found": found,
        "title": verdict.title(found),
        "coefficients": verdict.coefficient_sentences(found),
        "healthy": verdict.healthy_sentence(found),
        "unjudged": verdict.unjudged_sentences(found),
        "remark": verdict.error_remark(found),
        "alignment": capital(verdict.alignment_sentence(found)),
        "evidence": [_draw(partial(plot.finding_panels, finding, x.problem)) for finding in findings],
        "settings": _settings(x),
        "config": None if x.run is None else json.dumps(x.run.config, indent=2, default=str),
        "losses": [] if x.run is None or not x.run.history else _draw(partial(plot.loss_panels, x.run)),
        "solution": _draw(partial(_solution, x)),
        "residuals": _draw(lambda: plot.residual_panels(x)),
        "spectra": _draw(lambda: _spectra(x)),
        "modes": _draw(lambda: plot.mode_panels(x)),
        "meetings": _draw(lambda: plot.condition_panels(x)),
    }
    return _write(path, "report.html.j2", context)


def write_comparison(path: str | os.PathLike, first: Diagnosed, second: Diagnosed) -> Path:
    """Writes two diagnoses side by side, each (examination of a run, findings), to `path`, whole or not at all."""
    found = [verdict.diagnosis(*diagnosed) for diagnosed in (first, second)]
    labels = distinct_labels([verdict.label_of(part) for part in found])
    runs = {label: x.run for label, (x, _) in zip(labels, (first, second), strict=True) if x.run is not None}
    solved = {label: _draw(partial(_solution, x)) for label, (x, _) in zip(labels, (first, second), strict=True)}
    context = {
        "labels": labels,
        "found": found,
        "titles": list(map(verdict.title, found)),
        "rows": verdict.comparison_rows(*found),
        "figures": _draw(partial(plot.comparison_panels, runs)) if len(runs) == 2 else [],
        "solutions": solved,
    }
    return _write(path, "comparison.html.j2", context)


def write_diagnosis(path: str | os.PathLike, found: Mapping[str, Any]) -> Path:
    """Writes `verdict.diagnosis` as JSON, whole or not at all."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    return Path(path)


def distinct_labels(labels: Sequence[str]) -> list[str]:
    """The labels, told apart by A and B where they are equal."""
    return list(labels) if len(set(labels)) == len(labels) else [f"{label} ({'AB'[i]})" for i, label in enumerate(labels)]


# Pieces.


def _write(path: str | os.PathLike, template: str, context: Mapping[str, Any]) -> Path:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "label": label, "name": verdict.name_of, "changes": verdict.change_lines}
    html = environment.get_template(template).render(**context)
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def _draw(panels: Callable[[], Sequence[Panel]]) -> list[dict[str, str]]:
    """Figures ready for the template; one that cannot be drawn says why in its place."""
    try:
        return [_figure(panel) for panel in panels()]
    except (ValueError, RuntimeError, ArithmeticError) as error:
        return [{"title": f"not drawn: {error}", "alt": "", "source": ""}]


def _figure(panel: Panel) -> dict[str, str]:
    code = base64.b64encode(plot.svg(plot.single_figure(panel))).decode()
    return {"title": panel.title, "alt": panel.text, "source": f"data:image/svg+xml;base64,{code}"}


def _solution(x: Examination) -> list[Panel]:
    return [panel for row in plot.solution_panels(x.problem, x.network) for panel in row]


def _spectra(x: Examination) -> list[Panel]:
    """The kernel then and now, and its drift; where a run kept no snapshots, the kernel now."""
    if x.run is None or not x.run.snapshots:
        return plot.spectrum_panels({"now": x.kernel})
    panels = plot.spectrum_panels(plot.first_and_last(x.run))
    return panels + (plot.drift_panels(x.run) if len(x.run.snapshots) > 1 else [])


def _settings(x: Examination) -> list[tuple[str, str]]:
    """The configuration in a few lines."""
    problem = x.problem
    domain = in_words(problem.domain)
    points = ", ".join(f"{len(rows)} of {name}" for name, rows in x.points.items())
    lines = [("problem", problem.name), ("domain", domain), ("fields", ", ".join(problem.fields)), ("points", points)]
    if x.run is None:
        return lines
    config, shown = x.run.config, number
    network, training, weighting = config["network"], config["training"], dict(config["weighting"])
    arguments = network.get("arguments")
    if arguments:
        layers = "layer" if arguments["depth"] == 1 else "layers"
        own = ("periodic", "fourier", "sigmas", "scales")
        extra = [f"{name} {_features(arguments[name])}" for name in own if arguments.get(name)]
        words = [f"{arguments['depth']} hidden {layers} of {arguments['width']} {arguments['activation']} units"]
        words += [f"{arguments['parametrization']} parametrization", *extra]
    else:
        words = [network["class"]]
    words += [f"{network['parameters']:,} parameters", network["dtype"]]
    unknown = "an unknown rate" if config.get("recorded") else "its default rate"
    rate = unknown if training.get("lr") is None else f"rate {shown(training['lr'])}"
    schedule = f"{training['schedule']} schedule" if training.get("schedule") else None
    taken = [training["optimizer"], rate, schedule, f"{x.run.step:,} of {training['steps']:,} steps"]
    for name in ("resample", "adaptive", "causal"):
        if training.get(name):
            taken.append(f"{name} {_words(training[name])}")
    if seconds := (x.run.history[-1].get("seconds") if x.run.history else None):
        taken.append(f"{shown(seconds)} s")
    scheme = weighting.pop("name", "")
    options = ", ".join(f"{name} {_words(value)}" for name, value in weighting.items() if value not in (None, [], {}))
    lines += [
        ("network", ", ".join(words)),
        ("training", ", ".join(filter(None, taken))),
        ("loss weights", f"{scheme} ({options})" if options else scheme),
    ]
    if x.run.stop_reason:
        lines.append(("stopped", x.run.stop_reason))
    return lines


def _features(value: Any) -> str:
    """Of frequencies that were chosen one by one, how many."""
    chosen = isinstance(value, Mapping) and "frequencies" in value
    return f"of {len(value['frequencies'])} chosen frequencies" if chosen else _words(value)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return " and ".join(map(_words, value))
    return number(value)
