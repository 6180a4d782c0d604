"""`pinntk.rescue`: a run is diagnosed, trained again as prescribed, with as many steps, and compared with what it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from math import inf, isfinite, isnan
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.interrupt import Interrupted
from pinntk._util.progress import say, showing
from pinntk.diagnostics import Finding, Prescription, diagnose
from pinntk.diagnostics._healthy import healthy_traces
from pinntk.ntk import traces
from pinntk.problem import Problem
from pinntk.problem._parameters import at_accuracy
from pinntk.residuals import errors
from pinntk.run import Run
from pinntk.run._folder import CHECKPOINT
from pinntk.run._network import network_class, with_parameters
from pinntk.run._slabs import holds_series
from pinntk.training._changes import apply_changes, call_text, changes_text
from pinntk.training._loop import NonFiniteLossError
from pinntk.training._rescued import HELP, Rescue, Round, learned, wrapped
from pinntk.training._slab_search import slabs_that_hold
from pinntk.training._slabs import Slabs
from pinntk.training._train import problem_of, train_as
from pinntk.training._treatment import applies, next_treatment, prescriptions

_QUARTER, _TIMES = 900.0, 10.0  # the default budget: seconds at least, and times the run's own
_FRESH = 7_654_321  # seed of the points that two runs are compared on: of no training


class _Candidate(NamedTuple):
    """A run that may be built upon, or be the best."""

    run: Run | Slabs
    config: Mapping[str, Any]
    score: float
    findings: tuple[Finding, ...]
    applied: tuple[Prescription, ...] = ()


def rescue(
    run: Run,
    *,
    prescription: int | Prescription | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
    out: str | os.PathLike | None = None,
    findings: Sequence[Finding] | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Rescue:
    """Diagnoses a run, makes the changes that are prescribed, trains again from the start, and compares.

    Each training takes at most as many steps as the run, but by Gauss-Newton up to 100, and in time slabs 25 for each of
    8, up to four times either where one fails; and what a `prescription` that is given asks for.

    Each round starts from the last run that was 1.25 times better, and makes the first change that has not been tried, together
    with those of other findings that touch different settings. The last rounds are by Gauss-Newton and in time slabs, where
    these are prescribed and none before was. It ends when nothing is found any more, everything has been tried, or the
    budget is spent. The old run and its folder stay as they are.

    prescription: for the first round, one of `prescriptions(findings)` by its number from 1, or one of your own
    rounds, seconds: the budget: trainings, at most (3; 1 where a prescription is given), and how long all of them may take
        (10 times as long as the run took, and at least a quarter of an hour); a training that is under way then ends, and
        counts, but for time slabs
    out: the run folder of the first round; those of further ones are OUT-2, OUT-3, ... Where one holds the same run already,
        it goes on from its checkpoint, so that an interrupted rescue is continued by the same call
    findings: of the run, if they are known; else it is diagnosed
    progress: say on standard error what is tried and what came of it

    A network of your own is trained again as a copy, from the parameters that it began with; what a finding would change in it
    is left to you. Raises ValueError for a number that no prescription has, and, with the change to make by hand, for a run
    that cannot be built again, such as one of a problem with coefficients that is in no file.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> run = pinntk.train(problem, pinntk.nn.MLP(problem, width=4, depth=1), steps=2, points={"residual": 5}, progress=False)
    >>> own = pinntk.Prescription("a larger step", {"training.lr": 0.01})
    >>> rescued = pinntk.rescue(run, prescription=own, rounds=1, findings=[], progress=False)
    >>> rescued.before is run and rescued.score_after <= rescued.score_before
    True
    """
    if distributed.world() > 1:
        raise ValueError("rescue runs in one process, since it shares out seconds among trainings: leave torchrun out")
    rounds = (3 if prescription is None else 1) if rounds is None else rounds
    out = _check(run, rounds, seconds, out)
    seconds = _budget(run) if seconds is None else float(seconds)
    with showing(progress):
        found = tuple(diagnose(run) if findings is None else findings)
        return _in_rounds(run, found, _select(prescription, found), rounds, seconds, out=out, device=device, progress=progress)


def _in_rounds(
    run: Run,
    found: tuple[Finding, ...],
    chosen: Prescription | None,
    rounds: int,
    seconds: float,
    *,
    out: Path | None,
    device: torch.device | str | None,
    progress: bool,
) -> Rescue:
    measure, metric = _metric(run)
    best = base = start = _Candidate(run, run.config, measure(run), found)
    tried: list[Mapping[str, Any]] = [run.config]
    done: list[Round] = []
    begun = perf_counter()
    ended = f"{rounds} round{'s' if rounds > 1 else ''}, as asked for"
    for number in range(1, rounds + 1):
        left = seconds - (perf_counter() - begun)
        if left <= 0:
            ended = f"the budget of {seconds:g} s is spent"
            break
        met = at_accuracy(best.score, run.problem.solution_accuracy)  # 0 where no solution is known
        if met and not (number == 1 and chosen):
            ended = f"the error is{met.removeprefix(',')}"
            break
        treatment = chosen if number == 1 and chosen else _next(base, tried, rounds - number + 1)
        if treatment is None:
            ended = _nothing_left(base, done)
            break
        config = apply_changes(base.config, treatment.changes)
        tried.append(config)
        folder = None if out is None else out if number == 1 else out.with_name(f"{out.name}-{number}")
        if progress:
            budget = f"round {number} of at most {rounds} in {seconds:.0f} s"
            _say(f"{budget}: {treatment.sentence} ({changes_text(treatment.changes)})")
        this = _train_again(run, config, treatment, folder, measure, seconds=left, device=device, progress=progress)
        this = _judged(this, metric)
        done.append(this)
        if progress:
            _say(learned(this, base.score, metric))
        if this.run is not None and not this.failure:
            if isinstance(this.run, Slabs):  # perhaps more of them, of more steps
                config = {**config, "training": {**config["training"], "steps": this.run.runs[0].config["training"]["steps"]}}
                config["slabs"] = {"edges": len(this.run.edges) - 1}
            new = _Candidate(this.run, config, this.score, this.findings, (*base.applied, treatment))
            best = min(best, new, key=lambda one: one.score)
            helped = new.score * HELP < base.score
            base = new if helped or (new is best and not _worse(new.findings)) else base
    return Rescue(run, best.run, found, best.applied, tuple(done), metric, start.score, best.score, ended)


def _check(run: Run, rounds: int, seconds: float | None, out: str | os.PathLike | None) -> Path | None:
    if not isinstance(run, Run):
        raise TypeError(f"rescue({type(run).__name__}): give a run, from pinntk.train or pinntk.Run.load(folder)")
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
        raise ValueError(f"rounds={rounds!r}: a whole number of at least 1")
    if seconds is not None and not (isinstance(seconds, (int, float)) and isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds={seconds!r}: above 0, or None for the default")
    out = None if out is None else Path(out)
    if out is not None and run.folder is not None:
        own = Path(run.folder).resolve()
        if own == out.resolve() or own in out.resolve().parents:
            raise ValueError(f"out={os.fspath(out)!r} is the folder of the run itself; name another one")
    return out


def _budget(run: Run) -> float:
    took = run.history[-1].get("seconds", 0.0) if run.history else 0.0
    return max(_QUARTER, _TIMES * took)


def _say(text: str) -> None:
    say("\n".join(wrapped(f"pinntk: {text}")))


def _next(base: _Candidate, tried: Sequence[Mapping[str, Any]], left: int) -> Prescription | None:
    if not _worse(base.findings):
        return None
    return next_treatment(base.findings, base.config, tried, left if left > 1 or len(tried) > 1 else None)


def _worse(findings: Sequence[Finding]) -> list[Finding]:
    """Those that are more than a note."""
    return [finding for finding in findings if finding.severity != "note"]


def _select(prescription: int | Prescription | None, findings: Sequence[Finding]) -> Prescription | None:
    if prescription is None or isinstance(prescription, Prescription):
        return prescription
    known = prescriptions(findings)
    if not isinstance(prescription, int) or not 1 <= prescription <= len(known):
        listed = "".join(f"\n  {number}  {entry.sentence}" for number, entry in enumerate(known, 1))
        raise ValueError(f"prescription {prescription!r}: there are {len(known)} that change the configuration{listed}")
    return known[prescription - 1]


def _nothing_left(base: _Candidate, done: Sequence[Round]) -> str:
    worse = _worse(base.findings)
    if not worse:
        return "nothing is found" + (" any more" if done else ": there is nothing to rescue")
    if any(applies(entry, base.config) for entry in prescriptions(worse)):
        return "everything that is prescribed has been tried"
    by_hand = [entry.sentence for finding in worse for entry in finding.prescriptions]
    advice = "; ".join(by_hand) or "; ".join(finding.sentence for finding in worse)
    return f"no change of the configuration is prescribed: what was found needs a person. {advice}"


def _train_again(
    old: Run,
    config: Mapping[str, Any],
    treatment: Prescription,
    folder: Path | None,
    measure: Callable[[Run | Slabs], float],
    **options: Any,
) -> Round:
    options["seconds"] = min(options["seconds"], config["training"]["seconds"] or inf)
    given: dict[str, Any] = {}
    if config["training"]["points"] == "given":
        given["points"] = old.points
    problem = None
    if old.problem.foreign and old.problem.coefficients:
        raise ValueError(
            f"cannot train again: the coefficients {', '.join(old.problem.coefficients)} are the parameters that the run has "
            f"trained, and code outside pinntk reads them. By hand, from values of your choice: {call_text(treatment.changes)}"
        )
    built = not old.problem.source or old.problem.slab  # in Python; a slab begins with a network
    if built and not old.problem.coefficients:  # with coefficients it has been trained too
        problem = replace(old.problem)
    if (network := _own_network(old, config)) is not None:
        given["network"] = network
    resume = folder is not None and ((folder / CHECKPOINT).exists() or holds_series(folder))
    kind: Callable[..., Run | Slabs] = _in_slabs if config.get("slabs") else train_as
    try:
        run = kind(config, problem=problem, out=folder, resume=resume, **given, **options)
    except NonFiniteLossError as error:
        return Round(treatment, None, inf, failure=str(error))
    except Interrupted as error:
        raise Interrupted(f"{error}; or go on with the rescue by the same command") from None
    except ValueError as error:
        if resume:  # it is another run's folder
            raise
        raise ValueError(
            f"cannot train again: {error}. By hand: {treatment.sentence.rstrip('.')} ({changes_text(treatment.changes)})"
        ) from error
    if isinstance(run, Slabs) and len(run.runs) < len(run.edges) - 1:
        spent = f"the budget was spent after {len(run.runs)} of {len(run.edges) - 1} time slabs"
        return Round(treatment, None, inf, failure=spent)
    return Round(treatment, run, measure(run), tuple(_diagnosed(run)))


def _own_network(old: Run, config: Mapping[str, Any]) -> nn.Module | None:
    """A network that pinntk cannot build, as it was when the run began; None where pinntk can, or where that is not known."""
    if network_class(old.config) is not None or config.get("slabs"):
        return None
    network = with_parameters(old.network, old.initial)
    return None if network is None else network.to(getattr(torch, config["network"]["dtype"]))


def _in_slabs(config: Mapping[str, Any], *, problem: Problem | None, seconds: float, progress: bool, **options: Any) -> Slabs:
    whole = problem_of(config) if problem is None else problem
    say = _say if progress else _in_silence
    return slabs_that_hold(config, whole, seconds=seconds, progress=progress, say=say, **options)


def _in_silence(text: str) -> None:
    pass


def _diagnosed(run: Run | Slabs) -> list[Finding]:
    if isinstance(run, Run):
        return diagnose(run)
    notes: list[Finding] = []
    for part in run.runs:  # an early error explains all later ones
        found = diagnose(part)
        if _worse(found):
            return found
        notes = notes or found
    return notes


def _judged(this: Round, metric: str) -> Round:
    """A field that has collapsed meets its conditions well, and is no success where the solution does not say otherwise."""
    if metric == "relative L2 error" or this.run is None:
        return this
    collapsed = [one for one in this.findings if one.code == "trivial-solution" and one.severity != "note"]
    return replace(this, failure=f"does not count: {collapsed[0].sentence}") if collapsed else this


def _metric(before: Run) -> tuple[Callable[[Run | Slabs], float], str]:
    """A number for a run, small for a good one, and its name."""
    if before.problem.has_solution:
        return lambda run: _number(run.problem.relative_error(run.network)), "relative L2 error"
    counts = before.config["training"]["points"]
    counts = {} if counts == "given" else {name: n for name, n in counts.items() if n is not None}
    points = before.problem.sample(counts, seed=_FRESH, dtype=torch.float64)
    points = {name: rows for name, rows in points.items() if name in before.points}
    sizes = traces(_double(before.network), before.problem, points)
    dead = [name for name, size in sizes.items() if not size > 0]
    sizes |= healthy_traces(before.network, before.problem, points, dead)
    weights = {name: len(points[name]) / size for name, size in sizes.items() if 0 < size < inf}

    def loss(run: Run | Slabs) -> float:
        with torch.no_grad():
            found = errors(_double(run.network), run.problem, points)
        return _number(sum(weight * float(found[name].square().mean()) for name, weight in weights.items()))

    return loss, "loss on fresh points"


def _number(score: float) -> float:
    return inf if isnan(score) else float(score)


def _double(network: nn.Module) -> nn.Module:
    return deepcopy(network).to("cpu", torch.float64)
