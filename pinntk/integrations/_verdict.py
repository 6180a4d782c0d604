"""The diagnosis of a recorded training, as files in its folder and as a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinntk.diagnostics import Finding, diagnose, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_diagnosis, write_report
from pinntk.run import Run
from pinntk.run._folder import DIAGNOSIS, REPORT


def diagnose_into(run: Run, folder: Path, most: int = 3) -> tuple[list[Finding], str]:
    """The findings of a run and a text of the first of them; writes diagnosis.json and report.html in `folder`.

    most: findings in the text

    Raises as `pinntk.diagnose`: NonFiniteError, naming condition and points, for errors that are NaN or infinite.
    """
    x = examine(run)
    findings = diagnose(x)
    found = verdict.diagnosis(x, findings)
    write_diagnosis(folder / DIAGNOSIS, found)
    report = write_report(folder / REPORT, x, findings)
    return findings, "\n".join([verdict.title(found), *_lines(findings, most), f"report in {report}"])


def _lines(findings: Sequence[Finding], most: int) -> list[str]:
    lines = [] if findings else ["nothing found"]
    for finding in findings[:most]:
        lines.append(str(finding))
        lines += [f"  to do: {prescription.sentence}" for prescription in finding.prescriptions[:1]]
    if len(findings) > most:
        lines.append(f"and {len(findings) - most} more")
    return lines
