"""What a rescue leaves behind: its rounds, the runs before and after, and both side by side as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from math import inf

from markupsafe import Markup

from pinntk._util.html import page, table
from pinntk.diagnostics import Finding, Prescription
from pinntk.diagnostics._wording import capital
from pinntk.run import Run
from pinntk.training._changes import changes_text
from pinntk.training._slabs import Slabs

_WIDTH = 80
HELP = 1.25  # times smaller, below which a score is about what it was


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"Round({self.prescription.sentence!r}, score {self.score:.3g}{f', {self.failure}' if self.failure else ''})"


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        rounds = f"{len(self.rounds)} round{'' if len(self.rounds) == 1 else 's'}"
        scores = f"{self.metric} {self.score_before:.3g} -> {self.score_after:.3g}"
        return f"Rescue({self.before.problem.name}, {rounds}, {scores})"

    def _repr_html_(self) -> str:
        """What came of it, what was found and changed, and the runs side by side."""
        item = Markup("<p>{}: {}{}</p>")
        parts = [item.format("Found", finding.sentence, "") for finding in self.findings]
        for number, this in enumerate(self.rounds, 1):
            failure = f" ({'broke off: ' if this.run is None else ''}{this.failure})" if this.failure else ""
            parts.append(item.format(f"Round {number}", this.prescription.sentence, failure))
            parts.append(Markup("<pre>{}</pre>").format(changes_text(this.prescription.changes)))
        if self.rounds:
            head, *rows = _rows(self)
            parts.append(table(head, rows))
        return page(capital(_verdict(self)), *parts)


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
    lines += ["", *_table(rescue)] if rescue.rounds else []
    return "\n".join([*lines, "", *wrapped(_verdict(rescue))]).strip("\n")


def _table(rescue: Rescue) -> list[str]:
    return [f"{title[:22]:<22}" + "".join(f"{value[:13]:>14}" for value in values) for title, *values in _rows(rescue)]


def _rows(rescue: Rescue) -> list[list[str]]:
    """The run before and at most three rounds, in columns, under their heads."""
    rounds = {f"round {number}": this for number, this in enumerate(rescue.rounds, 1) if this.run is not None}
    if len(rounds) > 3:  # columns that fit: the best, and the latest
        kept = {*sorted(rounds, key=lambda name: rounds[name].score)[:1], *list(rounds)[-2:]}
        rounds = {name: this for name, this in rounds.items() if name in kept}
    runs = [rescue.before, *(this.run for this in rounds.values() if this.run is not None)]
    rows = [["", "before", *rounds]]
    lasts = [_last(run) for run in runs]
    names = [("loss", name, ".2e") for name in rescue.before.problem.names]
    names += [("weight", name, ".3g") for name in rescue.before.problem.names]
    names += [("coefficient", name, ".5g") for name in rescue.before.problem.coefficients]
    for kind, name, form in names:
        key = f"{kind}/{name}"
        if any(key in last for last in lasts):
            rows.append([f"{kind} {name}", *(format(last[key], form) if key in last else "-" for last in lasts)])
    taken = [run.step if isinstance(run, Run) else sum(part.step for part in run.runs) for run in runs]
    rows.append(["steps", *map(str, taken)])
    rows.append(["seconds", *(format(last["seconds"], ".0f") if "seconds" in last else "-" for last in lasts)])
    findings = [rescue.findings, *(this.findings for this in rounds.values())]
    rows.append(["first finding", *(found[0].code if found else "none" for found in findings)])
    scores = [rescue.score_before, *(this.score for this in rounds.values())]
    rows.append([rescue.metric, *(format(score, ".3e") for score in scores)])
    return rows


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
