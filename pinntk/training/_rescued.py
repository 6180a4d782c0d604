"""What a rescue leaves behind: its rounds, the runs before and after, and both side by side as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from pinntk.diagnostics import Finding, Prescription
from pinntk.run import Run
from pinntk.training._changes import changes_text
from pinntk.training._slabs import Slabs

_WIDTH = 80
HELP = 1.25  # times smaller, below which a score is about what it was


@dataclass(frozen=True, eq=False)
class Round:
    """One training of a rescue.

    prescription: what was changed; of several findings at once where their changes touch different settings
    run: what came of it, a `pinntk.training.Slabs` where time slabs were prescribed; None if it broke off
    score: the metric's number, inf if it broke off
    findings: of the new run; of slabs, those of the first one that has more than notes
    failure: why it broke off, or does not count, else ""
    """

    prescription: Prescription
    run: Run | Slabs | None
    score: float
    findings: tuple[Finding, ...] = ()
    failure: str = ""


@dataclass(frozen=True, eq=False)
class Rescue:
    """A run before and after, from `rescue`; as text, both side by side.

    before, after: `after` is the best of all runs, `before` itself if nothing helped; a `pinntk.training.Slabs` where time
        slabs were best
    findings: of `before`
    applied: the prescriptions that lead from `before` to `after`, in order
    rounds: every training, whether it helped or not
    metric: what scores are: "relative L2 error", or "loss on fresh points" where no solution is known: the sum of
        mean(e_i^2) n_i / Tr K_ii over the conditions, with the kernel of `before`, so that units do not matter
    score_before, score_after: smaller is better
    ended: why there were no more rounds
    """

    before: Run
    after: Run | Slabs
    findings: tuple[Finding, ...]
    applied: tuple[Prescription, ...]
    rounds: tuple[Round, ...]
    metric: str
    score_before: float
    score_after: float
    ended: str

    @property
    def improvement(self) -> float:
        """How many times smaller the score has become; 1 if nothing helped."""
        if self.after is self.before:
            return 1.0
        return self.score_before / self.score_after if self.score_after else inf

    def __str__(self) -> str:
        return _side_by_side(self)


def learned(this: Round, best: float, metric: str) -> str:
    """What a round has shown, in a line."""
    if this.run is None:
        return f"  broke off: {this.failure}"
    found = this.findings[0].code if this.findings else "nothing"
    where = f" in {len(this.run.runs)} time slabs" if isinstance(this.run, Slabs) else ""
    said = f" {where} {metric} {best:.3g} -> {this.score:.3g}; found: {found}"
    return f"{said}; {this.failure}" if this.failure else said


# As text.


def _side_by_side(rescue: Rescue) -> str:
    lines = []
    for finding in rescue.findings:
        lines += wrapped(f"found {finding}")
    for number, this in enumerate(rescue.rounds, 1):
        lines += wrapped(f"round {number}: {this.prescription.sentence}")
        lines += wrapped(f"  {changes_text(this.prescription.changes)}")
        if this.failure:
            lines += wrapped(f"  {'broke off: ' if this.run is None else ''}{this.failure}")
    runs = {f"round {number}": this for number, this in enumerate(rescue.rounds, 1) if this.run is not None}
    if len(runs) > 3:  # columns that fit: the best, and the latest
        kept = {*sorted(runs, key=lambda name: runs[name].score)[:1], *list(runs)[-2:]}
        runs = {name: this for name, this in runs.items() if name in kept}
    lines += ["", *_table(rescue, runs)] if rescue.rounds else []
    return "\n".join([*lines, "", *wrapped(_verdict(rescue))]).strip("\n")


def _table(rescue: Rescue, rounds: Mapping[str, Round]) -> list[str]:
    runs = [rescue.before, *(this.run for this in rounds.values() if this.run is not None)]
    lines = [f"{'':<22}" + "".join(f"{name:>14}" for name in ("before", *rounds))]

    def row(title: str, values: Sequence[str]) -> None:
        lines.append(f"{title[:22]:<22}" + "".join(f"{value[:13]:>14}" for value in values))

    lasts = [_last(run) for run in runs]
    names = [("loss", name, ".2e") for name in rescue.before.problem.names]
    names += [("weight", name, ".3g") for name in rescue.before.problem.names]
    names += [("coefficient", name, ".5g") for name in rescue.before.problem.coefficients]
    for kind, name, form in names:
        key = f"{kind}/{name}"
        if any(key in last for last in lasts):
            row(f"{kind} {name}", [format(last[key], form) if key in last else "-" for last in lasts])
    row("steps", [str(run.step) if isinstance(run, Run) else str(sum(part.step for part in run.runs)) for run in runs])
    row("seconds", [format(last["seconds"], ".0f") if "seconds" in last else "-" for last in lasts])
    findings = [rescue.findings, *(this.findings for this in rounds.values())]
    row("first finding", [found[0].code if found else "none" for found in findings])
    row(rescue.metric, [format(score, ".3e") for score in (rescue.score_before, *(this.score for this in rounds.values()))])
    return lines


def _last(run: Run | Slabs) -> dict[str, float]:
    """The last logged row; of time slabs their seconds together."""
    if isinstance(run, Run):
        return run.history[-1] if run.history else {}
    return {"seconds": sum(part.history[-1]["seconds"] for part in run.runs if part.history)}


def _verdict(rescue: Rescue) -> str:
    if not rescue.rounds:
        return rescue.ended
    if rescue.after is rescue.before:
        return f"nothing helped: the run stays as it was ({rescue.ended})"
    number = next(number for number, this in enumerate(rescue.rounds, 1) if this.run is rescue.after)
    where = "" if rescue.after.folder is None else f", {rescue.after.folder}"
    metric = rescue.metric + (rescue.before.problem.up_to if rescue.before.problem.has_solution else "")
    if rescue.improvement < HELP:
        what = f"hardly helped: {metric} from {rescue.score_before:.3g} to {rescue.score_after:.3g}"
        return f"round {number}{where} {what} ({rescue.ended})"
    return f"round {number} is the best{where}: {metric} {rescue.improvement:.3g} times smaller ({rescue.ended})"


def wrapped(text: str) -> list[str]:
    """Lines of at most 80 columns, indented as the text is."""
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False)
