"""What an examination and its findings say: as numbers for machines, as text for a terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from math import isfinite
from pathlib import Path
from textwrap import wrap
from typing import Any

from pinntk._util.numbers import number
from pinntk._util.version import __version__
from pinntk.diagnostics import Diagnosis, Examination, Finding, weights_by_name
from pinntk.diagnostics._judgment import error_of_zero
from pinntk.problem import Problem
from pinntk.problem._parameters import at_accuracy
from pinntk.reporting._calls import call_of
from pinntk.run._network import network_class

FORMAT = 1  # of diagnosis.json, raised when a key changes its meaning or goes
NOTHING = "nothing found"
_HEADLINES = {  # by the worst severity
    "critical": "Something is badly wrong with this run",
    "warning": "This run could do much better",
    "note": "Nothing needs a change",
}
_HEALTHY = "Nothing found"
_UNKNOWN = "Too little is known to say what is wrong"
_OF_A_PROBLEM = {
    "critical": "This problem cannot be solved as it is stated",
    "warning": "This problem is hard as it is stated",
    "note": "Nothing needs a change",
}


def diagnosis(x: Examination, findings: Sequence[Finding]) -> dict[str, Any]:
    """Verdict, findings and numbers, ready for `json.dumps`; what is infinite or not a number becomes None.

    Keys and their meanings: docs/DIAGNOSIS.md. The numbers are those of `Examination`, by their names there. What cannot be
    measured is left out and named, with the reason, under "not_measured"; what could not be judged, as a `Diagnosis` says, is
    under "unjudged". A prescription that changes the configuration has
    "command", which makes that change, or where there is none "call", the lines of Python that do.
    """
    found = [finding.as_json() for finding in findings]
    for place, prescription in enumerate((p for f in found for p in f["prescriptions"] if p["changes"]), 1):
        prescription["command"] = _command(x, place)
        if prescription["command"] is None:
            prescription["call"] = call_of(x, prescription["changes"], place)
    unjudged = _unjudged(findings)
    whole = {
        "format": FORMAT,
        "version": __version__,
        "run": _folder(x),
        "problem": x.problem.name,
        "parameters": dict(x.problem.parameters),
        "up_to": x.problem.up_to.strip(),
        "solution_accuracy": x.problem.solution_accuracy,
        "steps": None if x.run is None else x.run.step,
        "verdict": _HEADLINES[findings[0].severity] if findings else _UNKNOWN if unjudged else _HEALTHY,
        "findings": found,
        "unjudged": unjudged,
        "numbers": _numbers(x),
    }
    return json.loads(json.dumps(_json_value(whole), default=str))


def checked(problem: Problem, findings: Sequence[Finding]) -> dict[str, Any]:
    """What `pinntk.check` found, ready for `json.dumps`, with the keys of a `diagnosis` that apply."""
    unjudged = _unjudged(findings)
    whole = {
        "format": FORMAT,
        "version": __version__,
        "problem": problem.name,
        "parameters": dict(problem.parameters),
        "verdict": _OF_A_PROBLEM[findings[0].severity] if findings else _UNKNOWN if unjudged else _HEALTHY,
        "findings": [finding.as_json() for finding in findings],
        "unjudged": unjudged,
    }
    return json.loads(json.dumps(_json_value(whole), default=str))


def _unjudged(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [asdict(rule) for rule in findings.unjudged] if isinstance(findings, Diagnosis) else []


def _folder(x: Examination) -> str | None:
    return None if x.run is None or x.run.folder is None else str(x.run.folder)


def _command(x: Examination, place: int) -> str | None:
    folder = _folder(x)
    if folder is None or (x.run is not None and (x.run.config.get("recorded") or network_class(x.run.config) is None)):
        return None  # no command can train that again
    return f"pinntk rescue {shlex.quote(folder)}" + (f" --prescription {place}" if place > 1 else "")


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _numbers(x: Examination) -> dict[str, Any]:
    groups: dict[str, Callable[[], Any]] = {
        "relative_error": lambda: x.relative_error,
        "estimated_error": lambda: _estimated(x),
        "conditions": lambda: _conditions(x),
        "imbalance": lambda: x.balance.imbalance,
        "gradient_imbalance": lambda: x.balance.gradient_imbalance,
        "alignment": lambda: x.balance.alignment,
        "cosines": lambda: x.balance.cosines,
        "spectrum": lambda: {
            "modes": len(x.spectrum.values),
            "largest": float(x.spectrum.values[0]),
            "rank": x.spectrum.rank,
            "condition": x.spectrum.condition,
            "effective_rank": x.spectrum.effective_rank,
            "decay": x.spectrum.decay,
            "stable_step": x.spectrum.stable_step,
        },
        "drift": lambda: _drift(x),
        "weights_by_name": lambda: weights_by_name(x.kernel, x.balance.errors),
        "layers": lambda: [asdict(layer) for layer in x.layers],
        "coefficients": lambda: {name: asdict(found) for name, found in x.coefficients.items()},
    }
    found, missing = {}, {}
    for name, measure in groups.items():
        try:
            found[name] = measure()
        except (ValueError, RuntimeError, ArithmeticError) as error:
            missing[name] = str(error)
    return {**found, "not_measured": missing}


def _estimated(x: Examination) -> float:
    """Raises ArithmeticError where a condition depends on no field, so that nothing is known of the solution from it."""
    if error_of_zero(x) is not None:
        raise ArithmeticError("zero is the only solution, and errors relative to it mean nothing")
    if not isfinite(x.estimate.relative):
        raise ArithmeticError(f"nothing changes the error of {' and '.join(x.estimate.unmoved)}")
    return x.estimate.relative


def _conditions(x: Examination) -> dict[str, dict[str, Any]]:
    b = x.balance
    return {
        name: {
            "kind": x.problem[name].kind,
            "points": len(x.points[name]),
            "loss": b.loss[name],
            "weight": b.weights[name],
            "trace": b.trace[name],
            "mean_diagonal": b.mean_diagonal[name],
            "rate": b.rate[name],
            "gradient_norm": b.gradient_norm[name],
        }
        for name in b.names
    }


def _drift(x: Examination) -> dict[str, float]:
    if x.run is None:
        return {}
    columns = {"kernel": x.run.kernel_drift(), "parameters": x.run.column("drift")}
    return {name: float(values[-1]) for name, (_, values) in columns.items() if len(values)}


# In words.


def change_lines(changes: Mapping[str, Any]) -> list[str]:
    """One line a change, as it will stand in config.json."""
    return [f"{place} = {json.dumps(value)}" for place, value in changes.items()]


def name_of(code: str) -> str:
    """A code as a name: "Spectral bias" of "spectral-bias"."""
    return code.replace("-", " ").replace("_", " ").capitalize()


def text(found: Mapping[str, Any], width: int = 80) -> str:
    """The verdict of a `diagnosis` for a terminal."""
    lines = _lines(title(found), "", width)
    for sentence in coefficient_sentences(found):
        lines += _lines(sentence, "", width)
    lines += _finding_lines(found, width)
    if not found["findings"]:
        lines += ["", *_lines(healthy_sentence(found), "", width)]
    for sentence in unjudged_sentences(found):
        lines += ["", *_lines(sentence, "", width)]
    conditions = found["numbers"].get("conditions")
    if conditions:
        lines += ["", f"{'condition':<16} {'points':>7} {'loss':>10} {'weight':>10} {'rate':>10} {'|gradient|':>10}"]
        for name, row in conditions.items():
            shown = [number(row[key]) for key in ("loss", "weight", "rate", "gradient_norm")]
            lines.append(f"{name:<16} {row['points']:>7} " + " ".join(f"{value:>10}" for value in shown))
    lines += _lines(alignment_sentence(found), "", width)
    for name, reason in found["numbers"]["not_measured"].items():
        lines += _lines(f"{name.replace('_', ' ')} not measured: {reason}", "", width)
    return "\n".join(lines)


def _finding_lines(found: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for i, finding in enumerate(found["findings"]):
        head = f"{finding['severity'].upper()}: {name_of(finding['code']).lower()}, confidence {finding['confidence']:.0%}"
        lines += ["", head, *_lines(finding["sentence"], "  ", width)]
        for k, prescription in enumerate(finding["prescriptions"]):
            lines += _lines(("To do: " if k == 0 else "Or: ") + prescription["sentence"], "  ", width)
            to_type = prescription.get("command") or prescription.get("call")
            if to_type and (i, k) < (1, 0):
                lines += [f"    {line}" for line in to_type.splitlines()]
    return lines


def checked_text(found: Mapping[str, Any], width: int = 80) -> str:
    """What was `checked`, for a terminal."""
    lines = [*_lines(f"{_name(found)}: {found['verdict'].lower()}", "", width), *_finding_lines(found, width)]
    for sentence in unjudged_sentences(found):
        lines += ["", *_lines(sentence, "", width)]
    return "\n".join(lines)


def _name(found: Mapping[str, Any]) -> str:
    """The problem and its parameters."""
    settings = ", ".join(f"{name}={_setting(value)}" for name, value in found["parameters"].items())
    return str(found["problem"]) + (f" ({settings})" if settings else "")


def title(found: Mapping[str, Any]) -> str:
    """What was examined, in one line."""
    parts = [_name(found)]
    if found["steps"] is not None:
        parts.append(f"{found['steps']:,} steps")
    if found["numbers"].get("relative_error") is not None:
        parts.append(f"relative L2 error {number(found['numbers']['relative_error'])}{error_remark(found)}")
    elif found["numbers"].get("estimated_error") is not None:
        blind = " (blind to the causality found)" if _blind(found) else ""
        parts.append(f"estimated relative L2 error {number(found['numbers']['estimated_error'])}{_up_to(found)}{blind}")
    return ", ".join(parts)


def _blind(found: Mapping[str, Any]) -> bool:
    """Whether the estimated error falls with time where residuals show that later times are fitted to wrong earlier ones."""
    ratios = [one["evidence"].get("late_over_early_error") for one in found["findings"] if one["code"] == "causality"]
    return any(ratio is not None and ratio < 1 for ratio in ratios)


def error_remark(found: Mapping[str, Any]) -> str:
    """What stands behind the relative L2 error: what it is up to, and whether it is that of the known solution itself."""
    error = found["numbers"].get("relative_error")
    return _up_to(found) + ("" if error is None else at_accuracy(error, found["solution_accuracy"]))


def _up_to(found: Mapping[str, Any]) -> str:
    """Such as " up to a constant of p", behind an error of a problem whose field p is free by a constant."""
    return f" {found['up_to']}" if found.get("up_to") else ""


def coefficient_sentences(found: Mapping[str, Any]) -> list[str]:
    """A line for each unknown coefficient: value, error bar, and where it came from."""
    lines = []
    for name, entry in (found["numbers"].get("coefficients") or {}).items():
        value, deviation, start = entry["value"], entry["deviation"], entry["start"]
        if deviation is None:  # infinite
            lines.append(f"{name} = {number(value)}, which the conditions do not determine")
            continue
        moved = start is None or value != start
        came = "" if start is None else f", from {number(start)}" if moved else ", where it started"
        lines.append(f"{name} = {number(value)} +- {number(deviation)}{came}")
    return lines


def unjudged_sentences(found: Mapping[str, Any]) -> list[str]:
    """A line for each thing that rules lacked: which of them, and how to give it."""
    rules: dict[tuple[str, str], list[str]] = {}
    for rule in found["unjudged"]:
        rules.setdefault((rule["reason"], rule["remedy"]), []).append(name_of(rule["code"]).lower())
    return [f"Not judged, since {reason}: {', '.join(names)}. Remedy: {remedy}." for (reason, remedy), names in rules.items()]


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def healthy_sentence(found: Mapping[str, Any]) -> str:
    """Why nothing was found, in numbers."""
    numbers, head = found["numbers"], _UNKNOWN if found["unjudged"] else _HEALTHY
    parts = []
    if numbers.get("relative_error") is not None:
        parts.append(f"the relative L2 error is {number(numbers['relative_error'])}{error_remark(found)}")
    if numbers.get("estimated_error") is not None:
        parts.append(f"the relative L2 error estimated from the kernel is {number(numbers['estimated_error'])}")
    if numbers.get("imbalance") is not None:
        parts.append(f"the rates of the conditions lie within a factor of {number(numbers['imbalance'])}")
    if numbers.get("spectrum"):
        spectrum = numbers["spectrum"]
        parts.append(f"{spectrum['rank']} of {spectrum['modes']} modes of the kernel are above rounding")
    return f"{head}: {'; '.join(parts)}." if parts else f"{head}."


def alignment_sentence(found: Mapping[str, Any]) -> str:
    """How far the gradients of the conditions agree, and of more than two the pair that agrees least; empty for one."""
    numbers = found["numbers"]
    if numbers.get("alignment") is None:
        return ""
    said = f"alignment of the gradients {number(numbers['alignment'])} (1 where they agree, -1 where they cancel)"
    cosines, weight = numbers["cosines"], {name: row["weight"] for name, row in numbers["conditions"].items()}
    pulling = [name for name in cosines if cosines[name][name] and weight[name]]  # the others have no gradient
    if len(pulling) < 3:
        return said
    one, other = min(combinations(pulling, 2), key=lambda pair: cosines[pair[0]][pair[1]])
    return f"{said}; least between {one} and {other}, with a cosine of {number(cosines[one][other])}"


def _lines(sentence: str, indent: str, width: int) -> list[str]:
    return wrap(sentence, width, initial_indent=indent, subsequent_indent=indent)


# Two runs.


def comparison_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows (what, of the first, of the second) that put two diagnoses side by side."""
    rows = [("problem", first["problem"], second["problem"]), ("first finding", _first_code(first), _first_code(second))]

    def row(label: str, *path: str) -> None:
        one, other = _at(first, path), _at(second, path)
        if one is not None or other is not None:
            rows.append((label, number(one), number(other)))

    row("steps", "steps")
    row("relative L2 error", "numbers", "relative_error")
    row("relative error, estimated", "numbers", "estimated_error")
    names = dict.fromkeys([*(_at(first, ("numbers", "conditions")) or {}), *(_at(second, ("numbers", "conditions")) or {})])
    for label, key in (("loss", "loss"), ("weight", "weight"), ("rate", "rate")):
        for name in names:
            row(f"{label} of {name}", "numbers", "conditions", name, key)
    row("imbalance of rates", "numbers", "imbalance")
    row("alignment of gradients", "numbers", "alignment")
    row("largest rate", "numbers", "spectrum", "largest")
    row("modes above rounding", "numbers", "spectrum", "rank")
    row("effective rank", "numbers", "spectrum", "effective_rank")
    row("kernel drift", "numbers", "drift", "kernel")
    row("parameter drift", "numbers", "drift", "parameters")
    return rows


def comparison_text(rows: Sequence[tuple[str, str, str]], labels: Sequence[str], width: int = 80) -> str:
    """`comparison_rows` for a terminal."""
    left = min(max(len(row[0]) for row in rows), width // 3)
    longest = max(map(len, (*labels, *(value for row in rows for value in row[1:]))))
    column = min((width - left - 4) // 2, longest + 2)
    lines = [f"{'':<{left}}  " + "  ".join(f"{_end(label, column):>{column}}" for label in labels)]
    for what, *values in rows:
        lines.append(f"{_end(what, left):<{left}}  " + "  ".join(f"{_end(value, column):>{column}}" for value in values))
    return "\n".join(lines)


def label_of(found: Mapping[str, Any]) -> str:
    """The name of a run: its folder."""
    return Path(found["run"]).name if found["run"] else found["problem"]


def _first_code(found: Mapping[str, Any]) -> str:
    return found["findings"][0]["code"].replace("-", " ") if found["findings"] else NOTHING


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _end(label: str, most: int) -> str:
    """The last so many letters, where names differ."""
    return label if len(label) <= most else "…" + label[1 - most :]
