"""What a training left behind."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from pinntk._util.html import beside, curves, facts, page, table
from pinntk._util.numbers import number
from pinntk.ntk import KernelBlocks
from pinntk.problem import Points, Problem
from pinntk.run._checkpoint import check_identity, identity, load_state, read_checkpoint
from pinntk.run._configuration import read_config
from pinntk.run._network import build_network
from pinntk.run._slabs import problem_examined
from pinntk.run._snapshots import read_snapshots


@dataclass(frozen=True)
class MonitorReport:
    """What a `pinntk.Monitor` has to say of a run.

    seconds, share: what it cost, and the share of the training's time
    measurements, diagnoses, skipped: how many of them, and how many measurements were due that its budget had no room for
    horizon: the last step measured until which the first kernel, frozen, predicted every condition's loss within 10 %
    broken: the first step measured at which it did not; None while it does, and where it predicts nothing
    warned: codes of the findings that it has warned of
    """

    seconds: float
    share: float
    measurements: int
    diagnoses: int
    skipped: int
    horizon: int | None
    broken: int | None
    warned: tuple[str, ...]


@dataclass(repr=False)
class Run:
    """What a training left behind.

    history: one row a logged step: step, seconds, loss (what is minimized), learning_rate, or of a solver damping, growth (of
        the number of points), adapting and converging (0 or 1); loss/NAME (without any weight), weight/NAME, with causal
        weights causal (the smallest of them) and epsilon, with weights that points remember mean_point_weight/NAME and
        max_point_weight/NAME, with weights that follow from places weighed_loss/NAME, and where measured trace/NAME,
        coefficient/NAME, relative_error (L2), drift (of the parameters), with `average` averaged/loss, averaged/relative_error
        and averaged/coefficient/NAME
    snapshots: kernels by step
    weights: the loss weights at the end
    points: the training points at the end, {condition: (n, d)}
    point_weights: the g of the loss's mean(g e^2), {condition: (n,)}, under causal weights and schemes of point weights, and of
        a solver's points where they fall by the errors: there loss/NAME is the mean with the latter, which estimates the mean
        over the domain
    step: steps done
    seconds: that they took
    folder: the run folder, or None
    stop_reason: why training ended before its last step; "" if it did not
    diverged: whether it ended since a number was NaN or infinite; the run is then that of the last good checkpoint
    monitor: what a `pinntk.Monitor` has to say, or None
    averaged: the network with the moving average of its parameters, where `average` asked for it; `network`, of which all else
        is said, has those of the last step
    initial: the network's parameters, in their order, when the training began; empty where they are not known

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> run = pinntk.train(problem, network, steps=2, points=points, log_every=1, progress=False)
    >>> steps, losses = run.column("loss")
    >>> steps.tolist()
    [0, 1, 2]
    """

    problem: Problem
    network: nn.Module
    config: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, KernelBlocks] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    points: Points = field(default_factory=dict)
    point_weights: Points = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    folder: Path | None = None
    stop_reason: str = ""
    diverged: bool = False
    monitor: MonitorReport | None = None
    averaged: nn.Module | None = None
    initial: list[Tensor] = field(default_factory=list)

    def __repr__(self) -> str:
        relative = "" if self.relative_error is None else f", relative error {self.relative_error:.2e}{self.problem.up_to}"
        return f"Run({self.problem.name}, {self.step} steps{relative}, folder={self.folder})"

    def _repr_html_(self) -> str:
        """What came out, the losses in a table and over steps."""
        p, error, losses = self.problem, self.relative_error, {name: self.column(f"loss/{name}") for name in self.problem.names}
        rows = []
        for name, (_, values) in losses.items():
            first, last = (float(values[0]), float(values[-1])) if len(values) else (None, None)
            rows.append([name, len(self.points.get(name, ())), first, last, self.weights.get(name)])
        lines = [*((name, self._fitted(name)) for name in p.coefficients), ("stopped", self.stop_reason)]
        lines.append(("folder", "" if self.folder is None else str(self.folder)))
        known = "" if error is None else f", relative L2 error {number(error)}{p.remark(error)}"
        return page(
            " ".join(filter(None, [p.name, p.settings()])),
            table(["condition", "points", "loss at first", "at last", "weight"], rows),
            facts(lines),
            beside(
                curves(losses, title="losses, mean(e²)", across="step"),
                curves({"": self.column("relative_error")}, title="relative L2 error", across="step"),
            ),
            remark=f"{self.step:,} steps, {number(self.seconds)} s{known}",
        )

    def _fitted(self, name: str) -> str:
        _, values = self.column(f"coefficient/{name}")
        start = f", from {number(float(values[0]))}" if len(values) else ""
        return number(float(self.problem.coefficients[name].detach())) + start

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one quantity, where it was measured."""
        rows = [(row["step"], row[name]) for row in self.history if name in row]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return np.array(steps), np.array(values)

    @property
    def relative_error(self) -> float | None:
        """The last relative L2 error (of fields that are free by a constant, without it), or None if the problem has no known
        solution.
        """
        _, values = self.column("relative_error")
        return float(values[-1]) if len(values) else None

    def kernel_drift(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps, and norm_F(K(t) - K(0)) / norm_F(K(0)) at the snapshots."""
        steps = sorted(self.snapshots)
        if not steps:
            return np.array([]), np.array([])
        start = self.snapshots[steps[0]].numpy()
        drift = [np.linalg.norm(self.snapshots[step].numpy() - start) / np.linalg.norm(start) for step in steps]
        return np.array(steps), np.array(drift)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        network: nn.Module | None = None,
        *,
        problem: Problem | None = None,
        trust: bool = False,
    ) -> Run:
        """Reads a run folder. A `pinntk.nn` network is rebuilt; one of your own is passed in, and gets the weights.

        problem: in the place of the one that the folder names, whose file is then not run; one built in Python has no file

        trust: run the problem file that the folder names although you have not run it on this machine before, and remember
            that; see `pinntk.run.check_trust`

        Warns where the problem's file has changed since. Raises FileNotFoundError for a folder without a run, ValueError for
        a damaged one, UntrustedFileError for a problem file of somebody else's.
        """
        folder = Path(folder)
        config = read_config(folder)
        state = read_checkpoint(folder)
        problem = problem_examined(config["problem"], folder, problem, trust)
        check_identity(state, problem, folder)
        network = build_network(config, problem) if network is None else network
        load_state(state, network, problem, folder)
        saved, averages = (state["parts"].get(name) for name in ("monitor", "averages"))
        averaged = None if averages is None else deepcopy(network)
        if averaged is not None:
            averaged.load_state_dict(averages["network"])
        return cls(
            problem,
            network,
            config,
            history=state["history"],
            snapshots=read_snapshots(folder, state["step"]),
            weights=state["weights"],
            points=state["points"],
            point_weights=state["point_weights"],
            step=state["step"],
            seconds=state["seconds"],
            folder=folder,
            stop_reason=state["stop_reason"],
            diverged=state["diverged"],
            averaged=averaged,
            initial=state["initial"],
            monitor=saved and MonitorReport(**{**saved["report"], "warned": tuple(saved["report"]["warned"])}),
        )


def state_of(run: Run) -> dict[str, Any]:
    """What a checkpoint holds of any training; that of pinntk adds its parts and random states."""
    return {
        "identity": identity(run.problem),
        "step": run.step,
        "seconds": run.seconds,
        "stop_reason": run.stop_reason,
        "diverged": run.diverged,
        "network": run.network.state_dict(),
        "coefficients": run.problem.coefficients.state_dict(),
        "initial": list(run.initial),
        "weights": run.weights,
        "points": run.points,
        "point_weights": run.point_weights,
        "parts": {},
        "rng": {},
        "history": run.history,
    }
