"""The training loop: state between steps, weights, logging, checkpoints. `pinntk.train` sets it up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pinntk._util import distributed, randomness
from pinntk._util.threads import of_step, suited
from pinntk.diagnostics._sampling import at_most
from pinntk.ntk import KernelBlocks, kernel, trained_parameters
from pinntk.ntk._assemble import compute_traces
from pinntk.problem import EVEN, Points, Problem
from pinntk.residuals import NonFiniteError
from pinntk.residuals._evaluate import to_network
from pinntk.run import Run
from pinntk.run._run import (
    CHECKPOINT,
    CONFIG,
    SNAPSHOTS,
    all_finite,
    check_identity,
    foreign,
    identity,
    load_state,
    read_checkpoint,
    read_config,
    remove,
    write_checkpoint,
    write_config,
    write_metrics,
)
from pinntk.training._monitor import Watch
from pinntk.training._point_weights import Pointwise
from pinntk.training._step import gradient_norms, losses
from pinntk.training._updates import over_all

_CADENCES = ("log_every", "eval_every", "checkpoint_every", "snapshot_every")
_SNAPSHOT_POINTS = 100  # a condition's points in the kernel snapshots, at most


class NonFiniteLoss(NonFiniteError):
    """A loss, or the kernel measured beside it, became NaN or infinite."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the step was finished and, with a run folder, a checkpoint written."""


@dataclass
class Settings:
    """How often things happen, in steps; 0 is never."""

    steps: int
    log_every: int
    eval_every: int
    checkpoint_every: int
    snapshot_every: int
    resample: int
    seconds: float | None = None  # of training, at most


@dataclass
class Training:
    """The state of a training between steps."""

    problem: Problem
    network: nn.Module
    weighting: Any
    settings: Settings
    sample: Callable[[int, float], tuple[Points, Points]]  # (draw, growth of their number) -> points, point weights
    seed: int
    run: Run
    method: Any = None  # a `Method`
    pointwise: Pointwise | None = None
    point_weights: Points = field(default_factory=lambda: EVEN)  # of the share, in this step
    points: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    updates: int = 0  # of the weights so far
    step: int = 0  # steps done
    seconds: float = 0.0
    rng: Mapping[str, Tensor] | None = None  # to restore on resume
    fixed: bool = False  # whether the points are the user's own
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.parameters = trained_parameters(self.network, self.problem)
        like = next(iter((*self.network.parameters(), *self.parameters.values())))
        self.like = {"dtype": like.dtype.to_real(), "device": like.device}
        distributed.same_everywhere(p.detach() for p in self.parameters.values())
        self.initial = [p.detach().clone() for p in self.network.parameters()]
        counts = self.run.config["training"]["points"]
        counts = self.problem.default_counts() if counts == "given" else counts
        measured = {c.name: len(c.region.rows) for c in self.problem.conditions if c.kind == "data"}
        most = at_most(_SNAPSHOT_POINTS, len(counts))
        few = {name: min(measured[name] if n is None else n, most) for name, n in counts.items()}
        self.snapshot_points = self.problem.sample(seed=self.seed, dtype=torch.float64, **few)
        own = getattr(self.weighting, "points", None)
        self.kernel_points = None if own is None else self.problem.sample(seed=self.seed, dtype=torch.float64, **own)

    def set_points(self, points: Points, point_weights: Points) -> None:
        """The training points, of which this process evaluates its share: all of them unless torchrun started several.

        point_weights: (n,) of points drawn with unequal shares, in one process; `pointwise` makes its own
        """
        self.points = to_network(self.network, points)
        self.counts = {name: len(rows) for name, rows in self.points.items()}
        self.share = {name: rows for name, rows in distributed.shard(self.points).items() if len(rows)}
        self.point_weights = {name: g.to(**self.like) for name, g in point_weights.items()}
        self._work = of_step(self.network, self.problem, self.share)
        if self.pointwise:
            self.pointwise.follow(self.points, self.share)

    # The run folder.

    def open_folder(self, resume: bool, overwrite: bool) -> None:
        folder = self.run.folder
        if folder is None:
            if resume:
                raise ValueError("resume=True needs out=, the folder of the run to continue")
            return
        if resume:
            self._resume(folder)
        elif self._any((folder / CHECKPOINT).exists()):
            if not overwrite:
                raise FileExistsError(f"{folder} already holds a run; resume it, overwrite it, or name another folder")
            if distributed.rank() == 0:
                remove(folder)
        elif self._any(foreign(folder)):
            raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder")
        if distributed.rank() == 0:
            write_config(folder, self.run.config)

    def _resume(self, folder: Path) -> None:
        config, state = read_config(folder), read_checkpoint(folder)
        check_identity(state, self.problem, folder)
        for section in ("network", "training", "weighting"):
            then, now = config[section], _as_json(self.run.config[section])
            for key in now:
                free = key in ("steps", "seconds", "compile", "monitor", *_CADENCES)
                if not free and then.get(key) != now[key]:
                    raise ValueError(
                        f"cannot resume {folder}: it was trained with {key}={then.get(key)!r}, now {key}={now[key]!r}; "
                        "give the same settings, or name another folder"
                    )
        load_state(state, self.network, self.problem, folder)
        if self.fixed and not same_points(state["points"], self.points):
            raise ValueError(f"cannot resume {folder}: it was trained on other points; give the same")
        if state["step"] > self.settings.steps:
            raise ValueError(f"cannot resume {folder} to step {self.settings.steps}: it is at step {state['step']} already")
        self.method.load_state_dict(state["method"])
        self.initial = [start.to(p) for start, p in zip(state["initial"], self.initial, strict=True)]
        self.step, self.updates, self.seconds = state["step"], state["updates"], state["seconds"]
        self.weights, self.rng = dict(state["weights"]), state["rng"]
        if self.pointwise:
            self.pointwise.load_state_dict(state["pointwise"])
        self.set_points(state["points"], state["point_weights"])
        if self.watch and state.get("monitor"):
            self.watch.load_state_dict(state["monitor"])
        self.run.history = [row for row in state["history"] if row["step"] < self.step]
        for path in sorted((folder / SNAPSHOTS).glob("*.npz")):
            self.run.snapshots[int(path.stem)] = KernelBlocks.load(path)

    def checkpoint(self) -> None:
        """Writes metrics and checkpoint, unless a parameter is not finite: the last good ones stay."""
        if self.run.folder is None or distributed.rank() or not all_finite(list(self.network.parameters())):
            return
        write_metrics(self.run.folder, self.run.history)
        shared = {id(rows): rows for rows in self.points.values()}  # torch.save keeps what is shared shared
        state = {
            "identity": identity(self.problem),
            "step": self.step,
            "updates": self.updates,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "coefficients": self.problem.coefficients.state_dict(),
            "initial": self.initial,
            "method": self.method.state_dict(),
            "weights": self.weights,
            "pointwise": self.pointwise.state_dict() if self.pointwise else {},
            "point_weights": dict(self.point_weights),
            "monitor": self.watch.state_dict(self.seconds) if self.watch else {},
            "points": {name: shared[id(rows)] for name, rows in self.points.items()},
            "rng": randomness.states(self.like["device"]),
            "history": self.run.history,
        }
        write_checkpoint(self.run.folder, state)

    def seed_generators(self) -> None:
        randomness.seed(self.seed, self.like["device"])
        if self.rng is not None:
            randomness.restore(self.rng, self.like["device"])

    # Training.

    def loop(self, interrupted: threading.Event, progress: bool) -> None:
        settings, clock = self.settings, perf_counter() - self.seconds
        bar = tqdm(
            desc=self.problem.name,
            total=settings.steps,
            initial=self.step,
            disable=None if progress and distributed.rank() == 0 else True,
            dynamic_ncols=True,
            bar_format="{desc} {n_fmt}/{total_fmt} [{remaining} left]{postfix}",
        )
        with bar:
            while self.step < settings.steps:
                with suited(self._work, self.method.work):
                    losses, described, measured = self._one_step()
                self.seconds = perf_counter() - clock
                if measured or _due(self.step, settings.log_every):
                    self._log(losses, described, measured)
                    bar.set_postfix_str(self._summary(), refresh=False)
                self.step += 1
                bar.update()
                if self._any(interrupted.is_set()):
                    self._stop()
                self.run.stopped = self._reason_to_stop()
                if self.run.stopped:
                    break
                if _due(self.step, settings.checkpoint_every) and self.step < settings.steps:
                    self.checkpoint()
            with suited(self._work, self.method.work):
                self._finish()
            bar.set_postfix_str(self._summary())

    def _one_step(self) -> tuple[dict[str, Tensor], dict[str, float], dict[str, float]]:
        """The losses before it, what the log says of it, and what was measured before it."""
        self._update_points_and_weights()
        watched = self._watched() if self.watch and _due(self.step, self.watch.every) else {}
        measured = {**(self._measure() if _due(self.step, self.settings.eval_every) else {}), **watched}
        described = self._described()
        if self.watch:
            self.watch.step(described.get("learning_rate"), self.weights)
        losses = self.method.take(self.share, self.counts, self.weights, self._check_finite, self.point_weights)
        return losses, described, measured

    def _reason_to_stop(self) -> str:
        """Why to stop before the last step; "" to go on."""
        limit = self.settings.seconds
        if limit is not None and self._any(self.seconds >= limit):
            return f"the time is up ({limit:.0f} s)"
        return self.method.finished()

    def _any(self, flag: bool) -> bool:
        """Whether any process says so: all must stop at the same step."""
        return flag if distributed.world() == 1 else distributed.all_sum_numbers([flag], self.like["device"])[0] > 0

    def _update_points_and_weights(self) -> None:
        if self.step and _due(self.step, self.settings.resample):
            self.set_points(*self.sample(self.step // self.settings.resample, self.method.growth))
        if self.pointwise:
            self._weigh_points()
            self.pointwise.advance()
        if _due(self.step, self.settings.snapshot_every):
            self._snapshot()
        if _due(self.step, self.weighting.every):
            counts = {name: len(rows) for name, rows in self._traced_points().items()}
            self.weights = self.weighting.update(self.weights if self.updates else None, self._measured_for_weights(), counts)
            self.updates += 1

    def _measured_for_weights(self) -> dict[str, float]:
        """What the weighting is made from, of the loss that is minimised."""
        measures = {"traces": partial(self._traces, weighted=True), "gradient norms": self._gradient_norms}
        return measures[getattr(self.weighting, "measures", "traces")]()

    def _weigh_points(self) -> None:
        self.point_weights = self.pointwise.weigh(torch.empty(0, **self.like))

    def _traces(self, weighted: bool = False) -> dict[str, float]:
        """Tr K_ii; weighted: sum_p g_p K_pp, of the loss that is minimised."""
        whole = to_network(self.network, self._traced_points())
        points = {name: rows for name, rows in distributed.shard(whole).items() if len(rows)}
        weights = self._weights_elsewhere(whole, points) if weighted else EVEN
        found = compute_traces(self.network, self.problem, points, weights) if points else {}
        names = list(whole)
        sums = distributed.all_sum_numbers([found.get(name, 0.0) for name in names], self.like["device"])
        return dict(zip(names, sums, strict=True))

    def _weights_elsewhere(self, points: Points, share: Points) -> Points:
        """Point weights on the points of the kernel."""
        if self.pointwise:
            return self.pointwise.elsewhere(points, share)
        return self.point_weights if self.kernel_points is None else EVEN

    def _gradient_norms(self) -> dict[str, float]:
        parameters = list(self.parameters.values())
        return gradient_norms(self.network, self.problem, parameters, self.share, self.counts, self.point_weights)

    def _traced_points(self) -> Points:
        return self.points if self.kernel_points is None else self.kernel_points

    def _total(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses as the log has them, the weighted sum as "loss"."""
        total = sum(self.weights[name] * loss for name, loss in losses.items())
        return {"loss": total, **{f"loss/{name}": loss for name, loss in losses.items()}}

    def _check_finite(self, losses: Mapping[str, Tensor]) -> None:
        if bool(torch.isfinite(self._total(losses)["loss"])):
            return
        bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
        raise self.blown_up(f"the loss of {' and of '.join(map(repr, bad)) or 'the weighted sum'} is not finite")

    def blown_up(self, what: str) -> NonFiniteLoss:
        """What is raised where a number stops being finite."""
        kept = "no checkpoint was written"
        if self.run.folder is not None and (self.run.folder / CHECKPOINT).exists():
            kept = f"the last good checkpoint is {self.run.folder / CHECKPOINT}"
        return NonFiniteLoss(
            f"step {self.step}: {what}; {kept}. Lower the learning rate, or look for a logarithm, root or division in the "
            "operator"
        )

    def _measure(self) -> dict[str, float]:
        """Error, traces, coefficients and drift of the parameters, norm(theta - theta_0) / norm(theta_0)."""
        row = {f"trace/{name}": value for name, value in self._traces().items()}
        row |= {f"coefficient/{name}": value.item() for name, value in self.problem.coefficients.items()}
        if self.problem.has_solution:
            row["error"] = self.problem.error(self.network)
        with torch.no_grad():
            moved = [(p - start).norm() for p, start in zip(self.network.parameters(), self.initial, strict=True)]
            row["drift"] = float(torch.stack(moved).norm() / torch.stack([start.norm() for start in self.initial]).norm())
        return row

    def _described(self) -> dict[str, float]:
        return {**self.method.described(), **(self.pointwise.described() if self.pointwise else {})}

    def _log(self, losses: Mapping[str, Tensor], described: Mapping[str, float], measured: Mapping[str, float]) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 3), **described}
        row |= {key: float(value) for key, value in self._total(losses).items()}
        if self.pointwise:
            row |= {f"loss/{name}": float(loss) for name, loss in self.pointwise.plain.items()}
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
        if distributed.rank():
            return
        blocks = kernel(self.network, self.problem, self.snapshot_points)
        self.run.snapshots[self.step] = blocks
        if self.run.folder is not None:
            blocks.save(self.run.folder / SNAPSHOTS / f"{self.step:08d}.npz")

    def _stop(self) -> None:
        self.checkpoint()
        self._publish()
        folder = self.run.folder
        kept = "" if folder is None else f"; continue with: pinntk train --resume {folder}, or train(..., resume=True)"
        raise Interrupted(f"stopped after step {self.step} of {self.settings.steps}{kept}")

    def _finish(self) -> None:
        if self.pointwise:
            self._weigh_points()
        with torch.no_grad():
            shares = losses(self.network, self.problem, self.share, self.counts, self.point_weights) if self.share else {}
        found = over_all(shares, self.counts, next(iter(self.parameters.values())))
        if self.settings.snapshot_every:
            self._snapshot()
        watched = self._watched() if self.watch else {}
        self._log(found, self._described(), {**self._measure(), **watched})
        self._publish()
        self.checkpoint()

    def _publish(self) -> None:
        self.run.weights, self.run.points, self.run.step = dict(self.weights), dict(self.points), self.step
        self.run.point_weights = dict(self.point_weights)
        self.run.monitor = self.watch and self.watch.report(self.seconds)

    def _watched(self) -> dict[str, float]:
        self._publish()
        return self.watch.look(self.seconds)


def same_points(a: Points, b: Points) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name].to(a[name])) for name in a)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
