"""`pinntk.Recorder`: the history of a training that pinntk does not do, so that it can be diagnosed."""

from __future__ import annotations

import operator
import os
import weakref
from collections.abc import Iterable, Mapping, Set
from math import isfinite
from time import perf_counter
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pinntk._util.likeness import did_you_mean
from pinntk._util.precision import without_autocast
from pinntk._util.version import __version__
from pinntk._util.warn import warn_user
from pinntk.ntk._blocks import check_weights
from pinntk.problem import Points, Problem
from pinntk.residuals._points import to_network
from pinntk.run._callbacks import Callback, as_callbacks, ask
from pinntk.run._configuration import FORMAT
from pinntk.run._history import Run
from pinntk.run._network import describe_network
from pinntk.run._recording import RecordedFolder, RecordedNetwork, as_number, folder_of_this_process, weighting_of
from pinntk.run._source import describe_problem

UNKNOWN = "unknown"  # an optimizer that was not named
_ONE = 1e-3  # of a factor, within which a loss is taken to have that factor in it
_OWN = ("step", "seconds", "learning_rate")  # columns that `log` writes from arguments


class Recorder:
    """Records a training of your own, in your own loop, as a `Run`: for `pinntk.diagnose`, reports and figures.

    network, points: what is trained, {condition: (n, d)}; make the recorder before the first step: it keeps the initial
        parameters, with which rules compare
    folder: a run folder, as `pinntk.train` writes; `Run.load(folder, network, problem=problem)` reads it. Written when at
        least 5 seconds have passed, and when the recorder is closed, deleted, or the program ends; of several processes by
        the first. None keeps the run in memory
    optimizer: the `torch.optim.Optimizer`, whose learning rate (of its first group) is then read at each `log`, or its name,
        such as "adam", "lbfgs", "sgd"; None for unknown: rules about the step are then not judged
    weights: of the losses, {condition: lambda_i}, until `log` gives others; 1 for conditions left out
    budget: share of the time that measuring the relative error may take; where it would take more, the column is left out of
        that row. None for no bound
    snapshot_every: steps between kernels on at most 100 points of each condition; 0 for none
    on_log: a function of the run, or several, called after each row: see `pinntk.EarlyStopping`
    resume: go on in `folder` after the steps recorded there, with the weights recorded there where none are given; the network
        is yours to restore. What was recorded of the step at which it goes on, and of later ones, is forgotten
    overwrite: remove the run in `folder`

    Nothing of the training changes: parameters, gradients, modes and random states stay as they are. What is measured is
    measured in evaluation mode. A loss that is a tensor is read, for which a GPU has to finish its work: log every so many
    steps.

    Raises TypeError, ValueError and pinntk.DependentPointsError for what does not fit, as `pinntk.train`; FileExistsError for
    a folder with a run; BusyFolderError for one that is in use.

    >>> import pinntk, torch
    >>> problem = pinntk.load("poisson1d")
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    >>> recorder = Recorder(problem, network, points, optimizer=adam)
    >>> for step in range(3):
    ...     losses = {name: e.square().mean() for name, e in pinntk.errors(network, problem, points).items()}
    ...     _ = recorder.log(step, losses)
    ...     adam.zero_grad()
    ...     sum(losses.values()).backward()
    ...     _ = adam.step()
    >>> recorder.run.column("learning_rate")[1].tolist()
    [0.01, 0.01, 0.01]
    """

    @without_autocast
    def __init__(
        self,
        problem: Problem,
        network: nn.Module,
        points: Points,
        folder: str | os.PathLike | None = None,
        *,
        optimizer: Optimizer | str | None = None,
        weights: Mapping[str, Any] | None = None,
        budget: float | None = 0.05,
        snapshot_every: int = 0,
        on_log: Callback | Iterable[Callback] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ):
        if not isinstance(problem, Problem) or not isinstance(network, nn.Module):
            given = f"Recorder({type(problem).__name__}, {type(network).__name__}, ...)"
            raise TypeError(f"{given}: the order is Recorder(problem, network, points)")
        if budget is not None and not 0 < budget <= 1:
            raise ValueError(f"budget={budget!r}: a share of the time, such as 0.05, or None for no bound")
        if not isinstance(snapshot_every, int) or isinstance(snapshot_every, bool) or snapshot_every < 0:
            raise ValueError(f"snapshot_every={snapshot_every!r}: a whole number of steps, 0 for never")
        if resume and folder is None:
            raise ValueError("resume=True needs folder=, that of the run to continue")
        self._optimizer = optimizer if isinstance(optimizer, Optimizer) else None
        self._on_log = as_callbacks("on_log", on_log)
        self._budget, self._snapshot_every, self._next_snapshot = budget, snapshot_every, 0
        own = _kept(network, problem, points)
        self._network = RecordedNetwork(problem, network, own)
        self.run = Run(problem, network, _config(problem, network, _optimizer_name(optimizer)), points=own)
        self.run.initial = self._network.initial
        self.run.weights = dict.fromkeys(own, 1.0)
        self._weigh(weights)
        self._given = frozenset(weights or ())  # names of weights that are not those of the folder
        self._began = self._network.losses(own)
        self._measuring, self._bad, self._closed = 0.0, set[str](), False
        self._folder: RecordedFolder | None = None
        if (path := folder_of_this_process(folder)) is not None:
            self.run.folder = path
            self._folder = RecordedFolder(self.run, path)
            self._folder.open(resume, overwrite)
            self._network.initial = self.run.initial
            self._weigh(weights)
            self._plan_snapshot()
        self._resumed = bool(self.run.history)
        self._start = perf_counter() - self.run.seconds
        self._finalizer = None if self._folder is None else weakref.finalize(self, self._folder.close)

    @without_autocast
    def log(
        self,
        step: int,
        losses: Mapping[str, Any] | None = None,
        lr: float | None = None,
        weights: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        points: Points | None = None,
        **more: Any,
    ) -> bool:
        """Adds a row to the history; whether a function of `on_log` asks for the end of the training.

        step: steps done, above that of the row before
        losses: {condition: mean(e^2)} of every condition, without any weight, as numbers or tensors; None to have them
            measured on the points
        lr: the learning rate; None for the optimizer's
        weights: {condition: lambda_i} from now on; those before for conditions left out
        seconds: that the training took so far; None for the time since the recorder was made
        points: {condition: (n, d)} that are trained on from now on, where they were drawn anew
        more: other numbers, a column each; `loss` is what is minimized, where that is not the weighted sum of losses;
            `relative_error` in place of measuring it

        A loss that is NaN or infinite is recorded, with a warning that names it, once a condition. Raises ValueError for a
        step that does not come after the last one, for unknown names (with the nearest known one), for losses that are missing
        and for what is no single number; all of that before anything is recorded.
        """
        run = self.run
        if self._closed:
            raise ValueError("the recorder is closed; make another one, with resume=True to go on in its folder")
        step = self._next_step(step)
        drawn = None if points is None else _kept(run.network, run.problem, points)
        if drawn is not None and set(drawn) != set(run.points):
            raise ValueError(f"points are of {tuple(drawn)}, and were of {self._names()}; give them for the same conditions")
        columns = {name: as_number(name, value) for name, value in more.items()}
        self._check_columns(columns)
        rate = self._learning_rate(lr)
        spent = None if seconds is None else as_number("seconds", seconds)
        given = None if losses is None else self._read(losses)
        self._weigh(weights)
        run.points = run.points if drawn is None else drawn
        found = self._network.losses(run.points) if given is None else given
        if given is not None and step <= 1 and not self._resumed and drawn is None:
            self._compare(given)
        run.seconds = perf_counter() - self._start if spent is None else spent
        self._forget_from(step, self._given.union(weights or ()))
        row: dict[str, float] = {"step": step, "seconds": round(run.seconds, 3), **rate}
        row["loss"] = sum(run.weights[name] * loss for name, loss in found.items())
        row |= {f"loss/{name}": loss for name, loss in found.items()}
        row |= {f"weight/{name}": weight for name, weight in run.weights.items()}
        own = self._network
        row |= {**own.coefficients(), **self._relative_error(columns), **own.drift(), **columns}
        run.history.append(row)
        run.step = step
        run.config["training"]["steps"] = max(1, step)
        if run.config["training"]["lr"] is None:
            run.config["training"]["lr"] = rate.get("learning_rate")
        self._name_bad(step, found)
        self._snapshot(step)
        if self._folder is not None:
            self._folder.save_if_due()
        run.stop_reason = ask(self._on_log, run)
        return bool(run.stop_reason)

    def save(self) -> None:
        """Writes the run folder now; nothing without a folder."""
        if self._folder is not None and not self._closed:
            self._folder.save()

    def close(self) -> None:
        """Writes the run folder and lets go of it. `run` stays; nothing more can be logged."""
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Recorder({self.run!r}, {len(self.run.history)} rows)"

    # What is given.

    def _next_step(self, step: int) -> int:
        try:
            step = operator.index(step)
        except TypeError:
            raise TypeError(f"step={step!r}: a whole number of steps") from None
        last = self.run.history[-1]["step"] if self.run.history and not self._resumed else -1
        if step <= last:
            raise ValueError(f"step={step} after step {last}: steps increase; a second training needs a recorder of its own")
        return step

    def _forget_from(self, step: int, given: Set[str]) -> None:
        """Where recording goes on from a checkpoint that is older than the last row: rows and snapshots of that step and later
        ones, and weights that came later, of conditions that none were given for.
        """
        run = self.run
        if not self._resumed:
            return
        self._resumed = False
        kept = [row for row in run.history if row["step"] < step]
        last = kept[-1] if kept else run.history[0]
        run.weights = {
            name: weight if name in given else last.get(f"weight/{name}", weight) for name, weight in run.weights.items()
        }
        run.history = kept
        run.config["weighting"] = weighting_of(run)
        for late in [one for one in run.snapshots if one >= step]:
            del run.snapshots[late]
        if self._folder is not None:
            self._folder.remove_snapshots(step)
        self._plan_snapshot()

    def _read(self, losses: Mapping[str, Any]) -> dict[str, float]:
        """In the order of the conditions."""
        if not isinstance(losses, Mapping):
            raise TypeError(f"losses is a {type(losses).__name__}; a loss by condition, as in {{{self._names()[0]!r}: 0.1}}")
        for name in losses:
            self._check_name("losses", name)
        if missing := [name for name in self._names() if name not in losses]:
            listed = ", ".join(map(repr, missing))
            raise ValueError(f"the losses of {listed} are missing; give all of {self._names()}, or None to have them measured")
        return {name: as_number(f"losses[{name!r}]", losses[name]) for name in self._names()}

    def _weigh(self, weights: Mapping[str, Any] | None) -> None:
        """Takes weights in the place of those before."""
        run = self.run
        for name in weights or ():
            self._check_name("weights", name)
        given = {name: as_number(f"weights[{name!r}]", value) for name, value in (weights or {}).items()}
        new = {**run.weights, **given}
        check_weights(new, self._names())
        changed = bool(run.history) and new != run.weights
        run.weights = new
        adaptive = changed or run.config["weighting"]["name"] != "fixed"
        run.config["weighting"] = {"name": "adaptive"} if adaptive else {"name": "fixed", **new}

    def _names(self) -> tuple[str, ...]:
        return tuple(self.run.points)

    def _check_name(self, what: str, name: str) -> None:
        if name in self._names():
            return
        hint = did_you_mean(str(name), self._names())
        raise ValueError(f"{what} has {name!r}; the conditions recorded are {self._names()}{hint}")

    def _check_columns(self, columns: Mapping[str, float]) -> None:
        for name in columns:
            if name in _OWN or name.startswith(("loss/", "weight/", "weighed_loss/")):
                raise ValueError(f"{name!r} is a column that log writes itself; give it as lr, losses, weights or seconds")

    def _learning_rate(self, lr: float | None) -> dict[str, float]:
        if lr is None and self._optimizer is not None:
            lr = self._optimizer.param_groups[0].get("lr")
        if lr is None:
            return {}
        rate = as_number("lr", lr)
        if not (isfinite(rate) and rate >= 0):
            raise ValueError(f"lr={rate!r}: a finite number of at least 0")
        return {"learning_rate": rate}

    def _compare(self, losses: Mapping[str, float]) -> None:
        """Warns where the first losses have the number of points or the weight in them, as sums and weighted losses do."""
        for name, loss in losses.items():
            measured, n, weight = self._began[name], len(self.run.points[name]), self.run.weights[name]
            if not (isfinite(loss) and measured > 0) or abs(loss / measured - 1) < _ONE:
                continue
            factors = {"number of points": n, "weight": weight, "number of points and weight": n * weight}
            for what, factor in factors.items():
                if factor and abs(loss / measured / factor - 1) < _ONE:
                    warn_user(
                        f"losses[{name!r}] is {loss:.4g}, and mean(e^2) on its points was {measured:.4g} when recording began: "
                        f"it seems to have its {what} in it, a factor of {factor:g}; give mean(e^2) without any weight"
                    )
                    break

    def _name_bad(self, step: int, losses: Mapping[str, float]) -> None:
        bad = [name for name, loss in losses.items() if not isfinite(loss) and name not in self._bad]
        if bad:
            self._bad.update(bad)
            said = " and of ".join(f"{name!r} ({losses[name]})" for name in bad)
            warn_user(f"step {step}: the loss of {said} is not finite; it is recorded as it is")

    # What is measured.

    def _relative_error(self, columns: Mapping[str, float]) -> dict[str, float]:
        """The relative error, where a solution is known, it was not given, and the budget has room for it."""
        if not self.run.problem.has_solution or "relative_error" in columns:
            return {}
        elapsed = perf_counter() - self._start
        if self._measuring and self._budget is not None and self._measuring > self._budget * elapsed:
            return {}
        start = perf_counter()
        error = self._network.relative_error()
        self._measuring += perf_counter() - start
        return {"relative_error": error}

    def _plan_snapshot(self) -> None:
        self._next_snapshot = max(self.run.snapshots, default=-self._snapshot_every) + self._snapshot_every

    def _snapshot(self, step: int) -> None:
        if not self._snapshot_every or step < self._next_snapshot or self._bad:
            return
        blocks = self._network.snapshot()
        self.run.snapshots[step] = blocks
        if self._folder is not None:
            self._folder.add_snapshot(step, blocks)
        self._plan_snapshot()


def _kept(network: nn.Module, problem: Problem, points: Points) -> dict[str, torch.Tensor]:
    """Copies in the network's dtype, so that a later change of the user's tensors changes nothing; what is shared stays so."""
    moved = to_network(network, problem.check(points))
    copies = {id(rows): rows.detach().clone() for rows in moved.values()}
    return {name: copies[id(rows)] for name, rows in moved.items()}


def _optimizer_name(optimizer: Optimizer | str | None) -> str:
    if optimizer is None:
        return UNKNOWN
    if not isinstance(optimizer, (Optimizer, str)) or not optimizer:
        raise TypeError(f"optimizer={optimizer!r}: a torch.optim.Optimizer, or a name such as 'adam'")
    return (optimizer if isinstance(optimizer, str) else type(optimizer).__name__).lower()


def _config(problem: Problem, network: nn.Module, optimizer: str) -> dict[str, Any]:
    """config.json of a training that pinntk knows little of."""
    training: dict[str, Any] = {
        "steps": 1,
        "seconds": None,
        "optimizer": optimizer,
        "optimizer_options": {},
        "lr": None,
        "schedule": None,
        "points": "given",
        "coefficient_scales": {},
        "seed": 0,
    }
    return {
        "format": FORMAT,
        "recorded": True,
        "problem": describe_problem(problem),
        "network": describe_network(network),
        "training": training,
        "weighting": {"name": "fixed"},
        "versions": {"pinntk": __version__, "torch": torch.__version__},
    }
