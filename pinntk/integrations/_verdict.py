"""The diagnosis of a recorded training, as files in its folder and as a few lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pinntk.diagnostics import Finding, diagnose, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_diagnosis, write_report
from pinntk.run import Run
from pinntk.run._folder import DIAGNOSIS, REPORT

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
    tried(f"{DIAGNOSIS} could not be written", lambda: write_diagnosis(folder / DIAGNOSIS, found))
    report = tried(f"{REPORT} could not be written", lambda: write_report(folder / REPORT, x, findings))
    lines = [verdict.title(found), *_lines(findings, most)]
    return findings, "\n".join(lines if report is None else [*lines, f"report in {report}"])


def reason(failure: Exception) -> str:
    """What is said of an exception: its kind, where its text does not tell."""
    text = " ".join(str(failure).split())
    return (
        text
        if isinstance(failure, (ArithmeticError, OSError, RuntimeError, ValueError)) and text
        else (f"{type(failure).__name__}: {text}".removesuffix(": "))
    )


def _lines(findings: Sequence[Finding], most: int) -> list[str]:
    lines = [] if findings else ["nothing found"]
    for finding in findings[:most]:
        lines.append(str(finding))
        lines += [f"  to do: {prescription.sentence}" for prescription in finding.prescriptions[:1]]
    if len(findings) > most:
        lines.append(f"and {len(findings) - most} more")
    return lines
