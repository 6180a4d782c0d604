"""The diagnosis of a recorded training, as files in its folder and as a few lines; a folder that is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinntk.diagnostics import Finding, diagnose, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_diagnosis, write_report
from pinntk.run import Run
from pinntk.run._folder import CHECKPOINT, DIAGNOSIS, REPORT


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
    return findings, "\n".join([verdict.title(found), *_lines(found["findings"], most), f"report in {report}"])


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


def require_free(folder: Path, overwrite: bool, other: str = "") -> None:
    """Raises FileExistsError where a folder holds a run, in the words of a callback that cannot go on in it.

    other: a further remedy, such as ", or ..."
    """
    if not overwrite and (folder / CHECKPOINT).exists():
        raise FileExistsError(f"{folder} already holds a run; give overwrite=True, which removes it, or another folder{other}")
