"""One self-contained HTML file that says what is wrong with a run, shows it, and what to change."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import floor, log10
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from pinntk._util.files import replacing
from pinntk._util.numbers import number
from pinntk.diagnostics import Examination, Finding
from pinntk.diagnostics._evidence import label
from pinntk.diagnostics._wording import capital
from pinntk.problem._page import in_words
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot
from pinntk.reporting.plot import Panel, Sheet

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
        "key": _key_numbers(x, found),
        "healthy": verdict.healthy_sentence(found),
        "unjudged": verdict.unjudged_sentences(found),
        "error_sentence": _error_sentence(found),
        "alignment": capital(verdict.alignment_sentence(found)),
        "evidence": [draw(partial(plot.finding_panels, finding, x.problem)) for finding in findings],
        "settings": _settings(x),
        "config": None if x.run is None else json.dumps(x.run.config, indent=2, default=str),
        "losses": [] if x.run is None or not x.run.history else draw(partial(plot.loss_panels, x.run, _deviations(found))),
        "constant": _constant_weights(x),
        "solution": [*draw(partial(_solution, x)), *_moving(x)],
        "estimated": [] if x.problem.has_solution or not _estimated(found) else draw(lambda: plot.estimate_panels(x)),
        "residuals": draw(lambda: plot.residual_panels(x)),
        "spectra": draw(lambda: _spectra(x)),
        "modes": draw(lambda: plot.mode_panels(x)),
        "meetings": draw(lambda: plot.condition_panels(x)),
    }
    return write_page(path, "report.html.j2", context)


def write_comparison(path: str | os.PathLike, first: Diagnosed, second: Diagnosed) -> Path:
    """Writes two diagnoses side by side, each (examination of a run, findings), to `path`, whole or not at all."""
    found = [verdict.diagnosis(*diagnosed) for diagnosed in (first, second)]
    labels = distinct_labels([verdict.label_of(part) for part in found])
    runs = {label: x.run for label, (x, _) in zip(labels, (first, second), strict=True) if x.run is not None}
    solved = {label: draw(partial(_solution, x)) for label, (x, _) in zip(labels, (first, second), strict=True)}
    context = {
        "labels": labels,
        "found": found,
        "titles": list(map(verdict.title, found)),
        "rows": verdict.comparison_rows(*found),
        "figures": draw(partial(plot.comparison_panels, runs)) if len(runs) == 2 else [],
        "solutions": solved,
    }
    return write_page(path, "comparison.html.j2", context)


def write_diagnosis(path: str | os.PathLike, found: Mapping[str, Any]) -> Path:
    """Writes `verdict.diagnosis` as JSON, whole or not at all."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    return Path(path)


def distinct_labels(labels: Sequence[str]) -> list[str]:
    """The labels, told apart by A and B where they are equal."""
    return list(labels) if len(set(labels)) == len(labels) else [f"{label} ({'AB'[i]})" for i, label in enumerate(labels)]


# Pieces.


def write_page(path: str | os.PathLike, template: str, context: Mapping[str, Any]) -> Path:
    """Writes a template, filled in, whole or not at all."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "label": label, "name": verdict.name_of, "changes": verdict.change_lines}
    html = environment.get_template(template).render(**context)
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def draw(panels: Callable[[], Sequence[Panel | Sheet]]) -> list[dict[str, Any]]:
    """Figures ready for the template; one that cannot be drawn says why in its place."""
    try:
        return [_figure(panel) for panel in panels()]
    except (ValueError, RuntimeError, ArithmeticError) as error:
        return [{"title": f"not drawn: {error}", "alt": "", "source": "", "large": False}]


def _figure(drawn: Panel | Sheet) -> dict[str, Any]:
    large = isinstance(drawn, Sheet)
    figure = drawn.figure() if isinstance(drawn, Sheet) else plot.single_figure(drawn)
    source = f"data:image/svg+xml;base64,{base64.b64encode(plot.svg(figure)).decode()}"
    return {"title": drawn.title, "alt": drawn.text, "source": source, "large": large}


def _moving(x: Examination) -> list[dict[str, Any]]:
    """The animation, of problems that have one and whose figures can be drawn."""
    try:
        drawn = plot.animation(x.problem, x.network)
    except (ValueError, RuntimeError, ArithmeticError):  # as the figure of the solution says
        return []
    if drawn is None:
        return []
    source = f"data:image/gif;base64,{base64.b64encode(drawn).decode()}"
    alt = "The maps of every field over all of the time, as a moving picture; the maps at several times show the same."
    return [{"title": "over all of the time", "alt": alt, "source": source, "large": True, "moving": True}]


def _solution(x: Examination) -> list[Panel | Sheet]:
    sheets = plot.solution_sheets(x.problem, x.network)
    return [*sheets] or [panel for row in plot.solution_panels(x.problem, x.network) for panel in row]


def _spectra(x: Examination) -> list[Panel]:
    """The kernel then and now, and its drift; where a run kept no snapshots, the kernel now."""
    if x.run is None or not x.run.snapshots:
        return plot.spectrum_panels({"now": x.kernel})
    panels = plot.spectrum_panels(plot.first_and_last(x.run))
    return panels + (plot.drift_panels(x.run) if len(x.run.snapshots) > 1 else [])


def _key_numbers(x: Examination, found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What a reader asks for first: (what, number, remark)."""
    numbers, key = found["numbers"], []
    if numbers.get("relative_error") is not None:
        key.append(("relative L2 error", number(numbers["relative_error"]), verdict.error_remark(found).strip()))
    if _estimated(found):
        key.append(("estimated error", number(numbers["estimated_error"]), ""))
    for name, entry in (numbers.get("coefficients") or {}).items():
        start = "" if entry["start"] is None else f"from {number(entry['start'])}"
        key.append((name, *_with_deviation(entry["value"], entry["deviation"], start)))
    if x.run is not None and x.run.history:
        key.append(("weighted loss", number(x.run.history[-1]["loss"]), ""))
        key.append(("steps", number(x.run.step), ""))
    return key


def _deviations(found: Mapping[str, Any]) -> dict[str, float]:
    entries = found["numbers"].get("coefficients") or {}
    return {name: entry["deviation"] for name, entry in entries.items() if entry["deviation"] is not None}


def _with_deviation(value: float, deviation: float | None, start: str) -> tuple[str, str]:
    """A coefficient to the second digit of its error bar, and where it came from."""
    if deviation is None:
        return number(value), "not determined by the conditions"
    if not 0 < deviation < abs(value) or not 1e-3 <= abs(value) < 1e6:
        return f"{number(value)} ± {number(deviation)}", start
    digits = max(0, 1 - floor(log10(deviation)))
    return f"{value:.{digits}f} ± {deviation:.{digits}f}", start


def _estimated(found: Mapping[str, Any]) -> bool:
    return found["numbers"].get("estimated_error") is not None


def _error_sentence(found: Mapping[str, Any]) -> str:
    """How wrong the solution is, by the known one or as estimated."""
    error, estimated = found["numbers"].get("relative_error"), found["numbers"].get("estimated_error")
    if error is not None:
        without = "" if estimated is None else f"; {number(estimated)} is estimated without the solution"
        return f"Relative L2 error {number(error)}{verdict.error_remark(found)}{without}."
    if estimated is not None:
        return f"The solution is not known; its relative L2 error is estimated to be {number(estimated)}."
    return "The solution is not known, and its error could not be estimated."


def _constant_weights(x: Examination) -> str:
    """Loss weights that no figure shows, since they did not change."""
    if x.run is None or not x.run.history:
        return ""
    kept = {name: x.run.column(f"weight/{name}")[1] for name in x.run.problem.names}
    kept = {name: values for name, values in kept.items() if len(values)}
    if not kept or any(np.ptp(values) > 0 for values in kept.values()):
        return ""
    if len({float(values[0]) for values in kept.values()}) == 1:
        return f"All loss weights λ are {number(float(next(iter(kept.values()))[0]))}, from the first step to the last."
    listed = ", ".join(f"{name} {number(float(values[0]))}" for name, values in kept.items())
    return f"The loss weights λ did not change: {listed}."


def _settings(x: Examination) -> list[tuple[str, str]]:
    """The configuration in a few lines."""
    problem = x.problem
    domain = in_words(problem.domain)
    points = ", ".join(f"{len(rows)} of {name}" for name, rows in x.points.items())
    lines = [
        ("problem", problem.name),
        ("domain", domain),
        ("fields", ", ".join(map(problem.label, problem.fields))),
        ("points", points),
    ]
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
    schemes = [weighting, *weighting.pop("beside", ())]
    lines += [
        ("network", ", ".join(words)),
        ("training", ", ".join(filter(None, taken))),
        ("weights", ", ".join(map(_scheme, schemes))),
    ]
    if x.run.stop_reason:
        lines.append(("stopped", x.run.stop_reason))
    return lines


def _scheme(described: Mapping[str, Any]) -> str:
    options = ", ".join(f"{k} {_words(value)}" for k, value in described.items() if k != "name" and value not in (None, [], {}))
    name = described.get("name", "")
    return f"{name} ({options})" if options else name


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
