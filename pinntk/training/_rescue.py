"""`pinntk.rescue`: a run is diagnosed, trained again as prescribed, with as many steps, and compared with what it was."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf, isnan
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pinntk.diagnostics import Finding, Prescription, diagnose
from pinntk.ntk import traces
from pinntk.residuals import errors
from pinntk.run import Run
from pinntk.run._folder import CHECKPOINT
from pinntk.training._changes import apply_changes
from pinntk.training._loop import Interrupted, NonFiniteLossError
from pinntk.training._train import train_as

_FRESH = 7_654_321  # seed of the points that two runs are compared on: of no training
_WIDTH = 80


@dataclass(frozen=True, eq=False)
class Attempt:
    """One training of a rescue.

    prescription: what was changed
    run: what came of it; None if it broke off
    score: the metric's number, inf if it broke off
    findings: of the new run
    failure: why it broke off, else ""
    """

    prescription: Prescription
    run: Run | None
    score: float
    findings: tuple[Finding, ...] = ()
    failure: str = ""


class _Candidate(NamedTuple):
    """The run to build upon."""

    run: Run
    score: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class Rescue:
    """A run before and after, from `rescue`; as text, both side by side.

    before, after: `after` is the best of all runs, `before` itself if nothing helped
    findings: of `before`
    applied: the prescriptions that lead from `before` to `after`, in order
    attempts: every training, whether it helped or not
    metric: what scores are: "relative L2 error", or "loss on fresh points" where no solution is known: the sum of
        mean(e_i^2) n_i / Tr K_ii over the conditions, with the kernel of `before`, so that units do not matter
    score_before, score_after: smaller is better
    ended: why there were no more attempts
    """

    before: Run
    after: Run
    findings: tuple[Finding, ...]
    applied: tuple[Prescription, ...]
    attempts: tuple[Attempt, ...]
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


def rescue(
    run: Run,
    *,
    prescription: int | Prescription | None = None,
    attempts: int = 1,
    out: str | os.PathLike | None = None,
    findings: Sequence[Finding] | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Rescue:
    """Diagnoses a run, makes the first change that is prescribed, trains again from the start with as many steps, and compares.

    Further attempts diagnose the best run so far and make the next change that has not been tried. What comes out worse is
    kept beside it, and not built upon. The old run and its folder stay as they are.

    prescription: for the first attempt, one of `prescriptions(findings)` by its number from 1, or one of your own
    attempts: trainings, at most
    out: the run folder of the first attempt; those of further ones are OUT-2, OUT-3, ... Where one holds the same run already,
        it goes on from its checkpoint, so that an interrupted rescue is continued by the same call
    findings: of the run, if they are known; else it is diagnosed

    Raises ValueError for a number that no prescription has, and, with the change to make by hand, for a run that cannot be
    built again from its configuration, such as that of a network of your own.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> run = pinntk.train(problem, pinntk.nn.MLP(problem, width=4, depth=1), steps=2, points={"residual": 5}, progress=False)
    >>> own = pinntk.Prescription("a larger step", {"training.lr": 0.01})
    >>> rescued = pinntk.rescue(run, prescription=own, findings=[], progress=False)
    >>> rescued.before is run and rescued.score_after <= rescued.score_before
    True
    """
    if not isinstance(run, Run):
        raise TypeError(f"rescue({type(run).__name__}): give a run, from pinntk.train or pinntk.Run.load(folder)")
    if not isinstance(attempts, int) or attempts < 1:
        raise ValueError(f"attempts={attempts!r}: a whole number of at least 1")
    out = None if out is None else Path(out)
    if out is not None and run.folder is not None:
        own = Path(run.folder).resolve()
        if own == out.resolve() or own in out.resolve().parents:
            raise ValueError(f"out={os.fspath(out)!r} is the folder of the run itself; name another one")
    found = tuple(diagnose(run) if findings is None else findings)
    measure, metric = _metric(run)
    start = _Candidate(run, measure(run), found)
    chosen = _select(prescription, found)
    best, tried = start, [run.config]
    applied: tuple[Prescription, ...] = ()
    done: list[Attempt] = []
    ended = f"{attempts} attempt{'s' if attempts > 1 else ''}, as asked for"
    for number in range(1, attempts + 1):
        prescribed = chosen if number == 1 and chosen else _next_prescription(best, tried)
        if prescribed is None:
            ended = _nothing_left(best, done)
            break
        config = apply_changes(best.run.config, prescribed.changes)
        tried.append(config)
        folder = None if out is None else out if number == 1 else out.with_name(f"{out.name}-{number}")
        this = _train_again(run, config, prescribed, folder, measure, device=device, progress=progress)
        done.append(this)
        if this.run is not None and this.score < best.score:
            best, applied = _Candidate(this.run, this.score, this.findings), (*applied, prescribed)
    return Rescue(run, best.run, found, applied, tuple(done), metric, start.score, best.score, ended)


def prescriptions(findings: Sequence[Finding]) -> list[Prescription]:
    """Those that change a configuration, in order: their places, from 1, are their numbers."""
    return [prescription for finding in findings for prescription in finding.prescriptions if prescription.changes]


def _select(prescription: int | Prescription | None, findings: Sequence[Finding]) -> Prescription | None:
    if prescription is None or isinstance(prescription, Prescription):
        return prescription
    known = prescriptions(findings)
    if not isinstance(prescription, int) or not 1 <= prescription <= len(known):
        listed = "".join(f"\n  {number}  {entry.sentence}" for number, entry in enumerate(known, 1))
        raise ValueError(f"prescription {prescription!r}: there are {len(known)} that change the configuration{listed}")
    return known[prescription - 1]


def _next_prescription(best: _Candidate, tried: Sequence[Mapping[str, Any]]) -> Prescription | None:
    """The first prescription that gives another configuration than all before, with no more steps."""
    for entry in prescriptions(best.findings):
        new = apply_changes(best.run.config, entry.changes)
        affordable = new["training"]["steps"] <= best.run.config["training"]["steps"]
        if affordable and all(_settings(new) != _settings(old) for old in tried):
            return entry
    return None


def _settings(config: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps([config["network"], config["training"], config["weighting"]], default=str))


def _nothing_left(best: _Candidate, done: Sequence[Attempt]) -> str:
    if not best.findings:
        return "nothing is found" + (" any more" if done else ": there is nothing to rescue")
    if prescriptions(best.findings):
        return "everything that is prescribed has been tried"
    by_hand = [entry.sentence for finding in best.findings for entry in finding.prescriptions]
    advice = "; ".join(by_hand) or "; ".join(finding.sentence for finding in best.findings)
    return f"no change of the configuration is prescribed: what was found needs a person. {advice}"


def _train_again(
    old: Run,
    config: dict[str, Any],
    prescribed: Prescription,
    folder: Path | None,
    measure: Callable[[Run], float],
    **options: Any,
) -> Attempt:
    given: dict[str, Any] = {}
    if config["training"]["points"] == "given":
        given["points"] = old.points
    built = not old.problem.source or old.problem.slab  # in Python; a slab begins with a network
    if built and not old.problem.coefficients:  # with coefficients it has been trained too
        given["problem"] = replace(old.problem)
    resume = folder is not None and (folder / CHECKPOINT).exists()
    try:
        run = train_as(config, out=folder, resume=resume, **given, **options)
    except NonFiniteLossError as error:
        return Attempt(prescribed, None, inf, failure=str(error))
    except Interrupted as error:
        raise Interrupted(f"{error}; or go on with the rescue by the same command") from None
    except ValueError as error:
        if resume:  # it is another run's folder
            raise
        raise ValueError(
            f"cannot train again: {error}. By hand: {prescribed.sentence.rstrip('.')} ({_changes_text(prescribed.changes)})"
        ) from error
    return Attempt(prescribed, run, measure(run), tuple(diagnose(run)))


def _metric(before: Run) -> tuple[Callable[[Run], float], str]:
    """A number for a run, small for a good one, and its name."""
    if before.problem.has_solution:
        return lambda run: _number(run.problem.relative_error(run.network)), "relative L2 error"
    counts = before.config["training"]["points"]
    counts = {} if counts == "given" else {name: n for name, n in counts.items() if n is not None}
    points = before.problem.sample(counts, seed=_FRESH, dtype=torch.float64)
    points = {name: rows for name, rows in points.items() if name in before.points}
    sizes = traces(_double(before.network), before.problem, points)
    weights = {name: len(points[name]) / size for name, size in sizes.items() if 0 < size < inf}

    def loss(run: Run) -> float:
        with torch.no_grad():
            found = errors(_double(run.network), run.problem, points)
        return _number(sum(weight * float(found[name].square().mean()) for name, weight in weights.items()))

    return loss, "loss on fresh points"


def _number(score: float) -> float:
    return inf if isnan(score) else float(score)


def _double(network: nn.Module) -> nn.Module:
    return deepcopy(network).to("cpu", torch.float64)


# As text.


def _side_by_side(rescue: Rescue) -> str:
    lines = []
    for finding in rescue.findings:
        lines += _lines(f"found {finding}")
    for number, this in enumerate(rescue.attempts, 1):
        lines += _lines(f"attempt {number}: {this.prescription.sentence}")
        lines += _lines(f"  {_changes_text(this.prescription.changes)}")
        if this.failure:
            lines += _lines(f"  broke off: {this.failure}")
    trained = {
        f"attempt {number}": _Candidate(this.run, this.score, this.findings)
        for number, this in enumerate(rescue.attempts, 1)
        if this.run is not None
    }
    if len(trained) > 3:  # columns that fit: the best, and the latest
        kept = {*sorted(trained, key=lambda name: trained[name].score)[:1], *list(trained)[-2:]}
        trained = {name: this for name, this in trained.items() if name in kept}
    runs = {"before": _Candidate(rescue.before, rescue.score_before, rescue.findings), **trained}
    lines += ["", *_table(rescue, runs)] if rescue.attempts else []
    return "\n".join([*lines, "", *_lines(_verdict(rescue))]).strip("\n")


def _table(rescue: Rescue, runs: Mapping[str, _Candidate]) -> list[str]:
    lines = [f"{'':<22}" + "".join(f"{name:>14}" for name in runs)]

    def row(title: str, values: Sequence[str]) -> None:
        lines.append(f"{title[:22]:<22}" + "".join(f"{value[:13]:>14}" for value in values))

    lasts = [run.history[-1] if run.history else {} for run, _, _ in runs.values()]
    for kind, form in (("loss", ".2e"), ("weight", ".3g")):
        for name in rescue.before.problem.names:
            key = f"{kind}/{name}"
            if any(key in last for last in lasts):
                row(f"{kind} {name}", [format(last[key], form) if key in last else "-" for last in lasts])
    row("steps", [str(run.step) for run, _, _ in runs.values()])
    row("seconds", [format(last["seconds"], ".0f") if "seconds" in last else "-" for last in lasts])
    row("first finding", [found[0].code if found else "none" for _, _, found in runs.values()])
    row(rescue.metric, [format(score, ".3e") for _, score, _ in runs.values()])
    return lines


def _verdict(rescue: Rescue) -> str:
    if not rescue.attempts:
        return rescue.ended
    if rescue.after is rescue.before:
        return f"nothing helped: the run stays as it was ({rescue.ended})"
    number = next(number for number, this in enumerate(rescue.attempts, 1) if this.run is rescue.after)
    where = "" if rescue.after.folder is None else f", {rescue.after.folder}"
    return f"attempt {number} is the best{where}: {rescue.metric} {rescue.improvement:.3g} times smaller ({rescue.ended})"


def _changes_text(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{place} = {json.dumps(value, default=str)}" for place, value in changes.items())


def _lines(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False)
