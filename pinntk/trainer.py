"""`pinntk.train`: minimises L = sum_i lambda_i mean(e_i^2) with fixed or kernel-based weights, logged and resumable."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pinntk.evaluate import check_network, errors, to_network
from pinntk.ntk import KernelBlocks, kernel
from pinntk.ntk.assemble import checked_traces
from pinntk.ntk.factors import trained_parameters
from pinntk.optimize import make_optimizer, make_schedule
from pinntk.problem import Points, Problem
from pinntk.run import (
    CHECKPOINT,
    CONFIG,
    SNAPSHOTS,
    Run,
    all_finite,
    check_identity,
    describe_network,
    identity,
    load_state,
    read_checkpoint,
    read_config,
    write_checkpoint,
    write_config,
    write_metrics,
)
from pinntk.weighting import Fixed

_SNAPSHOT_POINTS = 100  # a condition's points in the kernel snapshots, at most


class NonFiniteLoss(ArithmeticError):
    """A loss became NaN or infinite."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the step was finished and, with a run folder, a checkpoint written."""


@dataclass
class _Settings:
    """How often things happen, in steps; 0 is never."""

    steps: int
    log_every: int
    eval_every: int
    checkpoint_every: int
    snapshot_every: int
    resample: int


def train(
    problem: Problem,
    network: nn.Module,
    *,
    steps: int = 10_000,
    optimizer: str | Callable = "adam",
    lr: float | None = None,
    optimizer_options: Mapping[str, Any] | None = None,
    schedule: str | Callable = "exponential",
    decay: float = 0.9,
    decay_every: int = 1000,
    weighting: Any = None,
    points: Points | Mapping[str, int] | None = None,
    sampling: str = "uniform",
    resample: int = 0,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    log_every: int | None = None,
    eval_every: int | None = None,
    checkpoint_every: int | None = None,
    snapshot_every: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
) -> Run:
    """Trains `network` in place, and the problem's coefficients with it.

    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...) or a factory
        taking the parameters
    schedule, decay, decay_every: of the learning rate, see `pinntk.optimize.make_schedule`; by default it falls by 0.9
        every 1,000 steps, the field's habit; "constant" for plain gradient descent
    weighting: `pinntk.weighting.Fixed(...)` (all ones if None) or `pinntk.weighting.NTK(...)`
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    resample: draw fresh points every so many steps; 0 keeps the first ones
    out: the run folder, made if need be; must not hold a run already unless `resume`
    resume: continue the run in `out` from its checkpoint; with the same arguments the result equals that of a run that was
        never stopped, on CPU to the last bit. `steps` may grow
    log_every, eval_every (error, traces, drift), checkpoint_every, snapshot_every (kernel): in steps; by default 400, 100
        (but not more often than every 10 steps), 20 and 10 times a run; 0 is never
    device, dtype: move the network there first
    progress: show a bar when standard error is a terminal

    Raises ValueError for arguments, points or a network that do not fit; NonFiniteLoss, naming the step, the condition and
    the last good checkpoint; Interrupted on Ctrl-C, after a checkpoint.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}: a whole number of at least 1")
    cadence = {"log_every": log_every, "eval_every": eval_every, "checkpoint_every": checkpoint_every}
    cadence |= {"snapshot_every": snapshot_every, "resample": resample}
    for name, value in cadence.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    habit = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}
    every = {
        name: max(least, steps // times) if cadence[name] is None else cadence[name] for name, (times, least) in habit.items()
    }
    weighting = Fixed() if weighting is None else weighting
    network.to(device=device, dtype=dtype)
    fixed_points = points is not None and all(isinstance(rows, Tensor) for rows in points.values()) and len(points) > 0
    if fixed_points and resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    counts = {} if points is None or fixed_points else dict(points)
    config = {
        "problem": {"name": problem.name, "source": problem.source or problem.name, "parameters": dict(problem.parameters)},
        "network": describe_network(network),
        "training": {
            "steps": steps,
            "optimizer": optimizer if isinstance(optimizer, str) else repr(optimizer),
            "lr": lr,
            "optimizer_options": dict(optimizer_options or {}),
            "schedule": schedule if isinstance(schedule, str) else repr(schedule),
            "decay": decay,
            "decay_every": decay_every,
            "points": "given" if fixed_points else problem.counts(**counts),
            "sampling": sampling,
            "resample": resample,
            "seed": seed,
            **every,
        },
        "weighting": weighting.describe(),
        "versions": {"torch": torch.__version__},
    }
    training = _Training(
        problem=problem,
        network=network,
        weighting=weighting,
        settings=_Settings(steps, resample=resample, **every),
        sample=lambda draw: problem.sample(seed=seed + 1_000_003 * draw, method=sampling, dtype=torch.float64, **counts),
        seed=seed,
        run=Run(problem, network, config, folder=None if out is None else Path(out)),
    )
    training.set_points(problem.check(points) if fixed_points else training.sample(0))
    check_network(network, problem, training.points)
    training.optimizer = make_optimizer(optimizer, list(training.parameters.values()), lr, optimizer_options or {})
    training.schedule = make_schedule(schedule, training.optimizer, steps, decay, decay_every)
    training.weights = weighting.start(problem)
    training.open_folder(resume)
    like = next(iter(training.parameters.values()))
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), _deferred_interrupt() as interrupted:
        training.seed_generators()
        training.loop(interrupted, progress)
    return training.run


@dataclass
class _Training:
    """The state of a training between steps."""

    problem: Problem
    network: nn.Module
    weighting: Any
    settings: _Settings
    sample: Callable[[int], dict[str, Tensor]]
    seed: int
    run: Run
    optimizer: Any = None
    schedule: Any = None
    points: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    updates: int = 0  # of the weights so far
    step: int = 0  # steps done
    seconds: float = 0.0
    rng: Mapping[str, Tensor] | None = None  # to restore on resume

    def __post_init__(self) -> None:
        self.parameters = trained_parameters(self.network, self.problem)
        self.initial = [p.detach().clone() for p in self.network.parameters()]
        counts = self.run.config["training"]["points"]
        counts = self.problem.default_counts() if counts == "given" else counts
        few = {name: min(n, _SNAPSHOT_POINTS) for name, n in counts.items() if n is not None}
        self.snapshot_points = self.problem.sample(seed=self.seed, dtype=torch.float64, **few)
        own = getattr(self.weighting, "points", None)
        self.kernel_points = None if own is None else self.problem.sample(seed=self.seed, dtype=torch.float64, **own)

    def set_points(self, points: Points) -> None:
        self.points = to_network(self.network, points)

    # The run folder.

    def open_folder(self, resume: bool) -> None:
        folder = self.run.folder
        if folder is None:
            if resume:
                raise ValueError("resume=True needs out=, the folder of the run to continue")
            return
        if resume:
            self._resume(folder)
        elif (folder / CONFIG).exists() or (folder / CHECKPOINT).exists():
            raise FileExistsError(f"{folder} already holds a run; resume it, or name another folder")
        write_config(folder, self.run.config)

    def _resume(self, folder: Path) -> None:
        config, state = read_config(folder), read_checkpoint(folder)
        check_identity(state, self.problem, folder)
        for section in ("network", "training", "weighting"):
            then, now = config[section], _as_json(self.run.config[section])
            for key in now:
                free = key in ("steps", "log_every", "eval_every", "checkpoint_every", "snapshot_every")
                if not free and then.get(key) != now[key]:
                    raise ValueError(
                        f"cannot resume {folder}: it was trained with {key}={then.get(key)!r}, now {key}={now[key]!r}; "
                        "give the same settings, or name another folder"
                    )
        load_state(state, self.network, self.problem, folder)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.initial = [start.to(p) for start, p in zip(state["initial"], self.initial, strict=True)]
        self.step, self.updates, self.seconds = state["step"], state["updates"], state["seconds"]
        self.weights, self.rng = dict(state["weights"]), state["rng"]
        self.set_points(state["points"])
        self.run.history = [row for row in state["history"] if row["step"] < self.step]
        for path in sorted((folder / SNAPSHOTS).glob("*.npz")):
            self.run.snapshots[int(path.stem)] = KernelBlocks.load(path)

    def checkpoint(self) -> None:
        """Writes metrics and checkpoint, unless a parameter is not finite: the last good ones stay."""
        if self.run.folder is None or not all_finite(list(self.network.parameters())):
            return
        write_metrics(self.run.folder, self.run.history)
        cuda = next(iter(self.parameters.values())).is_cuda
        shared = {id(rows): rows for rows in self.points.values()}  # torch.save keeps what is shared shared
        state = {
            "identity": identity(self.problem),
            "step": self.step,
            "updates": self.updates,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "coefficients": self.problem.coefficients.state_dict(),
            "initial": self.initial,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "weights": self.weights,
            "points": {name: shared[id(rows)] for name, rows in self.points.items()},
            "rng": {"cpu": torch.get_rng_state(), **({"cuda": torch.cuda.get_rng_state()} if cuda else {})},
            "history": self.run.history,
        }
        write_checkpoint(self.run.folder, state)

    def seed_generators(self) -> None:
        if self.rng is None:
            torch.manual_seed(self.seed)
            return
        torch.set_rng_state(self.rng["cpu"])
        if "cuda" in self.rng:
            torch.cuda.set_rng_state(self.rng["cuda"])

    # Training.

    def loop(self, interrupted: threading.Event, progress: bool) -> None:
        settings, clock = self.settings, perf_counter() - self.seconds
        bar = tqdm(
            desc=self.problem.name,
            total=settings.steps,
            initial=self.step,
            disable=None if progress else True,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:.0f}% [{remaining} left] {postfix}",
        )
        with bar:
            while self.step < settings.steps:
                self._update_points_and_weights()
                measured = self._measure() if _due(self.step, settings.eval_every) else {}
                rate = self.optimizer.param_groups[0]["lr"]
                losses = self._take_step()
                self.seconds = perf_counter() - clock
                if measured or _due(self.step, settings.log_every):
                    self._log(losses, rate, measured)
                    bar.set_postfix_str(self._summary(), refresh=False)
                self.step += 1
                bar.update()
                if interrupted.is_set():
                    self._stop()
                if _due(self.step, settings.checkpoint_every) and self.step < settings.steps:
                    self.checkpoint()
            self._finish()
            bar.set_postfix_str(self._summary())

    def _update_points_and_weights(self) -> None:
        if self.step and _due(self.step, self.settings.resample):
            self.set_points(self.sample(self.step // self.settings.resample))
        if _due(self.step, self.settings.snapshot_every):
            self._snapshot()
        if _due(self.step, self.weighting.every):
            on = self._traced_points()
            counts = {name: len(rows) for name, rows in on.items()}
            found = checked_traces(self.network, self.problem, on)
            self.weights = self.weighting.update(self.weights if self.updates else None, found, counts)
            self.updates += 1

    def _traced_points(self) -> Points:
        return self.points if self.kernel_points is None else self.kernel_points

    def _losses(self) -> dict[str, Tensor]:
        """The unweighted losses L_i = mean(e_i^2), for the conditions that have points."""
        return {name: e.square().mean() for name, e in errors(self.network, self.problem, self.points).items()}

    def _take_step(self) -> dict[str, Tensor]:
        """One optimizer step; returns the losses before it, the weighted total as "loss"."""
        before: dict[str, Tensor] = {}

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            losses = self._losses()
            total = self._total(losses)
            if not before:
                self._check_finite(total, losses)
                before.update({"loss": total.detach()}, **{f"loss/{name}": loss.detach() for name, loss in losses.items()})
            total.backward()
            return total

        self.optimizer.step(closure)
        self.schedule.step()
        return before

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        return sum(self.weights[name] * loss for name, loss in losses.items())

    def _check_finite(self, total: Tensor, losses: Mapping[str, Tensor]) -> None:
        if bool(torch.isfinite(total)):
            return
        bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
        kept = "no checkpoint was written"
        if self.run.folder is not None and (self.run.folder / CHECKPOINT).exists():
            kept = f"the last good checkpoint is {self.run.folder / CHECKPOINT}"
        raise NonFiniteLoss(
            f"step {self.step}: the loss of {' and of '.join(map(repr, bad)) or 'the weighted sum'} is not finite; {kept}. "
            "Lower the learning rate, or look for a logarithm, root or division in the operator"
        )

    def _measure(self) -> dict[str, float]:
        """Error, traces, coefficients and drift of the parameters, norm(theta - theta_0) / norm(theta_0)."""
        row = {
            f"trace/{name}": value for name, value in checked_traces(self.network, self.problem, self._traced_points()).items()
        }
        row |= {f"coefficient/{name}": value.item() for name, value in self.problem.coefficients.items()}
        if self.problem.has_solution:
            row["error"] = self.problem.error(self.network)
        with torch.no_grad():
            moved = [(p - start).norm() for p, start in zip(self.network.parameters(), self.initial, strict=True)]
            row["drift"] = float(torch.stack(moved).norm() / torch.stack([start.norm() for start in self.initial]).norm())
        return row

    def _log(self, losses: Mapping[str, Tensor], rate: float, measured: Mapping[str, float]) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 3), "learning_rate": float(rate)}
        row |= {key: float(value) for key, value in losses.items()}
        row |= {f"weight/{name}": self.weights[name] for name in self.points}
        self.run.history.append({**row, **measured})

    def _summary(self) -> str:
        """The progress bar's tail: the last error measured, each condition's loss and weight in their order."""
        if not self.run.history:
            return ""
        losses = " ".join(f"{self.run.history[-1][f'loss/{name}']:.1e}" for name in self.points)
        weights = " ".join(f"{self.weights[name]:.3g}" for name in self.points)
        error = "" if self.run.error is None else f"error {self.run.error:.1e}, "
        return f"{error}losses {losses}, weights {weights}"

    def _snapshot(self) -> None:
        blocks = kernel(self.network, self.problem, self.snapshot_points)
        self.run.snapshots[self.step] = blocks
        if self.run.folder is not None:
            blocks.save(self.run.folder / SNAPSHOTS / f"{self.step:08d}.npz")

    def _stop(self) -> None:
        self.checkpoint()
        self._publish()
        kept = f"; resume it from {self.run.folder}" if self.run.folder is not None else ""
        raise Interrupted(f"stopped after step {self.step} of {self.settings.steps}{kept}")

    def _finish(self) -> None:
        with torch.no_grad():
            losses = {f"loss/{name}": loss for name, loss in self._losses().items()}
        losses["loss"] = self._total({key.removeprefix("loss/"): value for key, value in losses.items()})
        if self.settings.snapshot_every:
            self._snapshot()
        self._log(losses, self.optimizer.param_groups[0]["lr"], self._measure())
        self._publish()
        self.checkpoint()

    def _publish(self) -> None:
        self.run.weights, self.run.step = dict(self.weights), self.step


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that a step is never cut in two; a second Ctrl-C interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
