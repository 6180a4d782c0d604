"""The diagnosis of a recorded training, as files in its folder and as a few lines; a folder that is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pinntk.diagnostics import Finding, diagnose, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_diagnosis, write_report
from pinntk.run import Run
from pinntk.run._folder import CHECKPOINT, DIAGNOSIS, REPORT

Result = TypeVar("Result")


def diagnose_into(run: Run, folder: Path, failed: list[str], most: int = 3) -> tuple[list[Finding], str]:
    """The findings of a run and a text of the first of them; writes diagnosis.json and report.html in `folder`.

    failed: gets what could not be done, and why; the rest is done all the same, and nothing is raised
    most: findings in the text
    """

    def tried(what: str, call: Callable[[], Result]) -> Result | None:
        try:
            return call()
        except Exception as failure:  # of rules, of drawing, of a disk: whatever it is, the training's results are not lost
            failed.append(f"{what}: {reason(failure)}")
            return None

    x = tried("it could not be diagnosed", lambda: examine(run))
    findings = None if x is None else tried("it could not be diagnosed", lambda: diagnose(x))
    if x is None or findings is None:
        return [], ""
    found = tried("its findings could not be put in words", lambda: verdict.diagnosis(x, findings))
    if found is None:
        return findings, ""
    lines = tried("its findings could not be told", lambda: [verdict.title(found), *_lines(found["findings"], most)]) or []
    tried(f"{DIAGNOSIS} could not be written", lambda: write_diagnosis(folder / DIAGNOSIS, found))
    report = tried(f"{REPORT} could not be written", lambda: write_report(folder / REPORT, x, findings))
    return findings, "\n".join(lines if report is None else [*lines, f"report in {report}"])


def reason(failure: Exception) -> str:
    """What is said of an exception: its kind, where its text does not tell."""
    text = " ".join(str(failure).split())
    return (
        text
        if isinstance(failure, (ArithmeticError, OSError, RuntimeError, ValueError)) and text
        else (f"{type(failure).__name__}: {text}".removesuffix(": "))
    )


def _lines(findings: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """Of findings as in diagnosis.json; what to type for the first."""
    lines = [] if findings else ["nothing found"]
    for place, finding in enumerate(findings[:most]):
        lines.append(f"{finding['severity']}: {finding['sentence']}")
        for prescription in finding["prescriptions"][:1]:
            lines.append(f"  to do: {prescription['sentence']}")
            lines += [f"    {line}" for line in prescription.get("call", "").splitlines() if place == 0]
    if len(findings) > most:
        lines.append(f"and {len(findings) - most} more")
    return lines


def require_free(folder: Path, overwrite: bool) -> None:
    """Raises FileExistsError where a folder holds a run, in the words of a callback, which takes no `resume`."""
    if not overwrite and (folder / CHECKPOINT).exists():
        raise FileExistsError(f"{folder} already holds a run; give overwrite=True, which removes it, or another folder")
