"""A training watched while it goes on: its kernel's spectrum and drift, predicted against observed losses, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from pinntk._util.randomness import fork
from pinntk._util.warn import warn_user
from pinntk.diagnostics import Dynamics, diagnose, dynamics, spectrum
from pinntk.diagnostics._sampling import subset
from pinntk.ntk import KernelBlocks, kernel
from pinntk.problem import Points
from pinntk.residuals import NonFiniteError, errors
from pinntk.residuals._values import check_finite
from pinntk.run import MonitorReport, Run

_TOLERANCE = 0.1  # of the observed loss, within which a prediction holds
_FAR = 100.0  # deviation at which the first kernel is not followed any further
_TIMES = 50  # measurements a run, unless `every` says
_SHARES = {"measurements": 0.3, "diagnoses": 0.7}  # of the budget
_AT_THE_END = ("unfinished", "unexplained")  # findings that are none while the training goes on
_BEGUN = 0.05  # of the steps, before which a training has hardly begun, and is not diagnosed
_DIAGNOSIS = 30  # measurements that the first diagnosis may cost, before one was timed
_ROUNDING = 1e-14  # of a condition's first loss, below which its relative deviation means nothing


class TrainingWarning(UserWarning):
    """Something is wrong with a training that is still going on."""


@dataclass(frozen=True)
class Monitor:
    """What to measure while training: `train(..., monitor=Monitor(...))`.

    every: steps between measurements; 50 times a run if None
    budget: share of the training's time that it may take, 0.3 of it for measurements, the rest for diagnoses; one that
        would not fit is left out. None for no bound. The first measurement, before step 1, is always made
    points: of a condition, at most, drawn once from the first training points; the kernel is computed on them

    It logs, as columns of the history and of metrics.csv,

        monitor/lambda_max, monitor/condition, monitor/rank     of D^1/2 K D^1/2: largest eigenvalue, condition number above the
                                                                rounding floor, effective rank
        monitor/drift                                           norm_F(K - K_0) / norm_F(K_0)
        monitor/loss/NAME                                       mean(e_i^2) on these points
        monitor/predicted/NAME                                  the same, predicted at the last measurement: kernel frozen
        monitor/frozen/NAME, monitor/horizon                    the same with the first kernel, since the first measurement; the
                                                                last step until which it stayed within 10 % of all losses
        monitor/deviation                                       the largest |predicted - observed| / observed
        monitor/time                                            sum of learning rates since the last measurement
        monitor/share                                           of the training's time that the monitor has taken

    A prediction is e' = (1 - eta K D)^n e of gradient descent, with the mean of the learning rates and weights passed through.
    For other optimizers, Adam among them, there is no such closed form: time is then fitted so that gradient flow
    predicts the observed weighted sum of losses, and what is compared is how the conditions share it; frozen and horizon are
    not logged. Solvers and weights of points get no prediction. Where a condition has more points than `points`,
    the few stand for all of them, and predict no better than they do.

    From 5 % of the steps on it also diagnoses, and warns with `TrainingWarning` when a finding first appears: each code once.
    Parameters, weights, points and random numbers are never changed. What it can afford depends on the clock, and with it which
    of its columns a row has. Under torchrun the first process measures, and the others wait for what it finds.
    """

    every: int | None = None
    budget: float | None = 0.05
    points: int = 50

    def __post_init__(self) -> None:
        if self.every is not None and (not isinstance(self.every, int) or self.every < 1):
            raise ValueError(f"Monitor(every={self.every!r}): a whole number of steps, at least 1")
        if self.budget is not None and not 0 < self.budget <= 1:
            raise ValueError(f"Monitor(budget={self.budget!r}): a share of the time, such as 0.05, or None for no bound")
        if not isinstance(self.points, int) or self.points < 1:
            raise ValueError(f"Monitor(points={self.points!r}): a whole number of at least 1")

    def describe(self) -> dict[str, Any]:
        return asdict(self)


class MonitorState:
    """`Monitor` at work on a run, whose step, weights and points are kept up to date by the training loop."""

    def __init__(self, monitor: Monitor, run: Run, points: Points, *, steps: int, plain_descent: bool, predicts: bool):
        """plain_descent: whether steps are those of gradient descent; predicts: whether losses can be predicted at all."""
        for part in ("optimize", "spatial", "stats"):  # which load when they are used, and that is no cost of a measurement
            import_module(f"scipy.{part}")
        self.monitor, self.run, self._steps = monitor, run, steps
        self.every = monitor.every or max(1, steps // _TIMES)
        self._few = subset(points, monitor.points)
        self._descent, self._predicts = plain_descent, predicts
        self._costs = dict.fromkeys(_SHARES, 0.0)  # seconds so far
        self._counts = dict.fromkeys(self._costs, 0)
        self._last_costs: dict[str, float] = {}
        self._skipped = 0
        self._warned: list[str] = []
        self._first: Tensor | None = None  # K_0
        self._losses: dict[str, float] = {}  # at the first measurement
        self._last: dict[str, Any] | None = None  # {"step", "kernel", "errors"} of the last measurement
        self._frozen: dict[str, Tensor] = {}  # errors as K_0 predicts them at the last measurement
        self._horizon: int | None = None
        self._broken: int | None = None
        self._time = 0.0  # since the last measurement: the sum of eta
        self._passed: dict[str, float] = {}  # and of eta lambda_i
        self._before: dict[str, Any] | None = None  # what was measured before the look at the end

    def step(self, lr: float | None, weights: Mapping[str, float]) -> None:
        """Called before every step."""
        if lr:
            self._time += lr
            for name, weight in weights.items():
                self._passed[name] = self._passed.get(name, 0.0) + lr * weight

    def look(self, at_the_end: bool = False) -> dict[str, float]:
        """What is measured at this step, in columns of the log, and warnings; nothing where it would cost too much.

        at_the_end: a training that goes on later looks at this step again, and is to find what it would have found
        """
        if at_the_end:
            self._before = self._measured()
        seconds = self.run.seconds
        with fork(next(iter(self._few.values())).device):
            row = {}
            if self._first is None or self._fits_budget("measurements", seconds):
                row = self._time_action("measurements", self._measure)
            else:
                self._skipped += 1
            begun = self.run.step >= _BEGUN * self._steps and self.run.step
            if begun and self._fits_budget("diagnoses", seconds):
                for finding in self._time_action("diagnoses", lambda: diagnose(self.run)):
                    self._warn(finding)
        return {**row, "monitor/share": self.report().share} if row else {}

    def report(self) -> MonitorReport:
        spent, seconds = sum(self._costs.values()), self.run.seconds
        share = spent / max(seconds, spent) if spent else 0.0
        counts = {**self._counts, "skipped": self._skipped}
        return MonitorReport(spent, share, **counts, horizon=self._horizon, broken=self._broken, warned=tuple(self._warned))

    # Cost.

    def _fits_budget(self, what: str, seconds: float) -> bool:
        if self.monitor.budget is None:
            return True
        guess = _DIAGNOSIS * self._last_costs.get("measurements", 0.0)
        expected = self._last_costs.get(what, guess)
        return self._costs[what] + expected <= _SHARES[what] * self.monitor.budget * (seconds + expected)

    def _time_action(self, what: str, action: Any) -> Any:
        start = perf_counter()
        found = action()
        self._last_costs[what] = perf_counter() - start
        self._costs[what] += self._last_costs[what]
        self._counts[what] += 1
        return found

    # Measurements.

    def _measure(self) -> dict[str, float]:
        step, problem, network, weights = self.run.step, self.run.problem, self.run.network, self._weights(self.run.weights)
        with torch.no_grad():
            e = {name: part.double().cpu() for name, part in errors(network, problem, self._few).items()}
        try:
            K = kernel(network, problem, self._few)
            check_finite(network, problem, self._few, e)
        except NonFiniteError:
            return {}  # the training loop stops at such a loss, and says where
        observed = {name: float(part.square().mean()) for name, part in e.items()}
        if self._first is None:
            self._first, self._losses = K.values, observed
            if self._descent and self._predicts:
                self._frozen, self._horizon = e, step
        K_0 = _kernel_with_values(K, self._first)
        spectral = spectrum(K, weights)
        norm = float(self._first.norm())
        row = {
            "monitor/lambda_max": float(spectral.values[0]),
            "monitor/condition": spectral.condition,
            "monitor/rank": spectral.effective_rank,
            "monitor/drift": float((K.values - K_0.values).norm()) / norm if norm else 0.0,
            **{f"monitor/loss/{name}": loss for name, loss in observed.items()},
        }
        if self._predicts and self._last is not None and step > self._last["step"] and self._time:
            row |= self._predictions(K_0, _kernel_with_values(K, self._last["kernel"]), self._last, observed)
        self._last = {"step": step, "kernel": K.values, "errors": e}
        self._time, self._passed = 0.0, {}
        return row

    def _predictions(
        self, K_0: KernelBlocks, K: KernelBlocks, last: Mapping[str, Any], observed: Mapping[str, float]
    ) -> dict[str, float]:
        weights = self._weights({name: passed / self._time for name, passed in self._passed.items()})
        steps = self.run.step - last["step"]
        lr = self._time / steps
        recent = dynamics(K, last["errors"], weights)
        row = {"monitor/time": self._time}
        if self._descent:
            predicted = recent.losses_after(steps, lr).conditions
            row |= self._since_the_start(K_0, weights, steps, lr, observed)
        else:
            time = _fit_time(recent, sum(weights[name] * loss for name, loss in observed.items()))
            predicted = recent.losses(time).conditions
            row["monitor/time"] = time
        row |= {f"monitor/predicted/{name}": float(loss) for name, loss in predicted.items()}
        return {**row, "monitor/deviation": self._deviation(predicted, observed)}

    def _since_the_start(
        self, K_0: KernelBlocks, weights: Mapping[str, float], steps: int, lr: float, observed: Mapping[str, float]
    ) -> dict[str, float]:
        if not self._frozen:
            return {}
        self._frozen = {
            name: torch.from_numpy(e) for name, e in dynamics(K_0, self._frozen, weights).errors_after(steps, lr).items()
        }
        frozen = {name: float(e.square().mean()) for name, e in self._frozen.items()}
        deviation = self._deviation(frozen, observed)
        if self._broken is None and deviation <= _TOLERANCE:
            self._horizon = self.run.step
        elif self._broken is None:
            self._broken = self.run.step
        if not deviation < _FAR:
            self._frozen = {}
        horizon = {} if self._horizon is None else {"monitor/horizon": self._horizon}
        return {**{f"monitor/frozen/{name}": loss for name, loss in frozen.items()}, **horizon}

    def _deviation(self, predicted: Mapping[str, Any], observed: Mapping[str, float]) -> float:
        return max(
            abs(float(predicted[name]) - loss) / max(loss, _ROUNDING * self._losses[name], 1e-300)
            for name, loss in observed.items()
        )

    def _weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        return {name: weights[name] for name in self._few}

    # Findings.

    def _warn(self, finding: Any) -> None:
        at_the_end_only = finding.code in _AT_THE_END and self.run.step < self._steps
        if finding.severity == "note" or finding.code in self._warned or at_the_end_only:
            return
        self._warned.append(finding.code)
        advice = f" Prescription: {finding.prescriptions[0].sentence.rstrip('.')}." if finding.prescriptions else ""
        warn_user(f"step {self.run.step}, {finding.code}: {finding.sentence}{advice}", TrainingWarning)

    # Between sessions.

    def state_dict(self) -> dict[str, Any]:
        return {
            "report": {**asdict(self.report()), "warned": list(self._warned)},
            "costs": dict(self._costs),
            "last_costs": dict(self._last_costs),
            "few": dict(self._few),
            **(self._before or self._measured()),
        }

    def _measured(self) -> dict[str, Any]:
        return {
            "first": self._first,
            "losses": dict(self._losses),
            "last": self._last,
            "frozen": dict(self._frozen),
            "time": self._time,
            "passed": dict(self._passed),
            "horizon": self._horizon,
            "broken": self._broken,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        report = state["report"]
        self._costs, self._last_costs = dict(state["costs"]), dict(state["last_costs"])
        self._counts = {name: report[name] for name in self._costs}
        self._skipped, self._warned = report["skipped"], list(report["warned"])
        self._horizon, self._broken = state["horizon"], state["broken"]
        self._few = {name: rows.to(self._few[name]) for name, rows in state["few"].items()}
        self._first, self._losses, self._last = state["first"], dict(state["losses"]), state["last"]
        self._frozen, self._time, self._passed = dict(state["frozen"]), state["time"], dict(state["passed"])


def _kernel_with_values(K: KernelBlocks, values: Tensor) -> KernelBlocks:
    return KernelBlocks(values.to(K.values), K.names, K.kinds, K.sizes, K.points)


def _fit_time(found: Dynamics, total: float) -> float:
    """The time in which gradient flow lowers the weighted loss to `total`; 0 where it has risen, and where the rates above
    rounding cannot lower it so far, the time in which they have done all they can.
    """

    def excess(log_time: float) -> float:
        return float(found.losses(np.exp(log_time)).total) - total

    moving = found.rates[found.rates > 0]
    if not len(moving) or float(found.losses(0.0).total) <= total:
        return 0.0
    low, high = np.log(1e-12 / moving[-1]), np.log(50 / moving[0])
    if excess(low) <= 0:
        return 0.0
    return float(np.exp(high if excess(high) >= 0 else scipy.optimize.brentq(excess, low, high, xtol=1e-6)))
