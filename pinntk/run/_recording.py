"""What a recorder measures of a network in somebody else's training, and the folder that it keeps."""

from __future__ import annotations

import os
from contextlib import ExitStack
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk.geometry._sampling import generator
from pinntk.ntk import KernelBlocks, kernel
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network, errors
from pinntk.residuals._probe import untouched
from pinntk.run._checkpoint import all_finite, check_identity, read_checkpoint, write_checkpoint
from pinntk.run._configuration import read_config, write_config
from pinntk.run._folder import CHECKPOINT, CONFIG, clear_folder, is_foreign, lock_folder, write_metrics
from pinntk.run._history import Run, state_of
from pinntk.run._network import drift
from pinntk.run._slabs import clear_series, holds_series
from pinntk.run._snapshots import read_snapshots, remove_snapshots, write_snapshot
from pinntk.run._trust import remember_trained

_SNAPSHOT_POINTS, _SNAPSHOT_ROWS = 100, 4000  # of a condition, and of all together, in the kernel snapshots
_PAUSE, _TIMES = 5.0, 20.0  # between two savings: seconds, and how many times as long as the last one took


class RecordedNetwork:
    """Measurements of a network that leave it, its gradients, its mode and all random states as they were.

    initial: its parameters when recording began
    """

    def __init__(self, problem: Problem, network: nn.Module, points: Points):
        self.problem, self.network = problem, network
        self.initial = [p.detach().clone() for p in network.parameters()]
        self._few = _few(points)
        with untouched(network):
            check_network(network, problem, points)

    def losses(self, points: Points) -> dict[str, float]:
        """mean(e_i^2) by condition."""
        with untouched(self.network), torch.no_grad():
            found = errors(self.network, self.problem, points)
        return {name: float(e.double().square().mean()) for name, e in found.items()}

    def relative_error(self) -> float:
        with untouched(self.network):
            return self.problem.relative_error(self.network)

    def coefficients(self) -> dict[str, float]:
        return {f"coefficient/{name}": value.item() for name, value in self.problem.coefficients.items()}

    def drift(self) -> dict[str, float]:
        """norm(theta - theta_0) / norm(theta_0)."""
        if not self.initial:
            return {}
        return {"drift": drift(self.network, self.initial)}

    def snapshot(self) -> KernelBlocks:
        """The kernel on a few points."""
        with untouched(self.network):
            return kernel(self.network, self.problem, self._few)


def _few(points: Points) -> dict[str, Tensor]:
    """At most 100 points of each condition; what conditions share stays shared."""
    most = max(1, min(_SNAPSHOT_POINTS, _SNAPSHOT_ROWS // len(points)))
    kept: dict[int, Tensor] = {}
    for rows in points.values():
        places = torch.from_numpy(generator(0, "snapshot", len(rows)).permutation(len(rows))[:most])
        kept.setdefault(id(rows), rows[places.to(rows.device)])
    return {name: kept[id(rows)] for name, rows in points.items()}


class RecordedFolder:
    """The run folder of a recorder, locked until it is closed."""

    def __init__(self, run: Run, folder: Path):
        self.run, self.folder = run, folder
        self._held, self._owner = ExitStack(), os.getpid()
        self._last = self._cost = 0.0

    def open(self, resume: bool, overwrite: bool) -> None:
        """Raises as `pinntk.train` does for its `out`."""
        folder, run = self.folder, self.run
        if resume:
            read_config(folder)  # before a lock makes the folder
        self._held.enter_context(lock_folder(folder))
        try:
            if resume:
                self._restore()
            else:
                self._check_free(overwrite)
                if any((folder / name).exists() for name in (CONFIG, CHECKPOINT)):
                    clear_folder(folder)
                clear_series(folder)
            write_config(folder, run.config)
            remember_trained(run.problem.source)
        except BaseException:
            self._held.close()
            raise

    def _check_free(self, overwrite: bool) -> None:
        folder = self.folder
        if is_foreign(folder):
            raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder")
        if not overwrite and ((folder / CHECKPOINT).exists() or holds_series(folder)):
            raise FileExistsError(f"{folder} already holds a run; give resume=True, overwrite=True, or another folder")

    def _restore(self) -> None:
        folder, run = self.folder, self.run
        state = read_checkpoint(folder)
        check_identity(state, run.problem, folder)
        if not read_config(folder).get("recorded"):
            raise ValueError(f"{folder} was trained by pinntk.train and not recorded; name another folder")
        then, now = ([tuple(p.shape) for p in parameters] for parameters in (state["initial"], run.initial))
        if then != now:
            raise ValueError(f"{folder} was recorded of another network: parameters of shapes {then} there, {now} here")
        run.initial = [start.to(p) for start, p in zip(state["initial"], run.initial, strict=True)]
        run.history, run.step, run.seconds = state["history"], state["step"], state["seconds"]
        run.weights = {name: state["weights"].get(name, weight) for name, weight in run.weights.items()}
        run.snapshots.update(read_snapshots(folder, state["step"]))
        run.config["weighting"] = weighting_of(run)
        run.config["training"]["lr"] = next(iter(run.column("learning_rate")[1].tolist()), None)

    def add_snapshot(self, step: int, blocks: KernelBlocks) -> None:
        write_snapshot(self.folder, step, blocks)

    def remove_snapshots(self, first: int) -> None:
        remove_snapshots(self.folder, first)

    def save_if_due(self) -> None:
        if perf_counter() - self._last >= max(_PAUSE, _TIMES * self._cost):
            self.save()

    def save(self) -> None:
        """Writes config.json, metrics.csv and, unless a parameter is not finite, the checkpoint: the last good one stays."""
        start, run = perf_counter(), self.run
        write_config(self.folder, run.config)
        write_metrics(self.folder, run.history)
        if all_finite(list(run.network.parameters())):
            write_checkpoint(self.folder, state_of(run))
        self._last = perf_counter()
        self._cost = self._last - start

    def close(self) -> None:
        """Saves, and lets go of the folder. A process that was forked from the one that opened it has no part in it."""
        if os.getpid() != self._owner:
            return
        with self._held:
            self.save()


def weighting_of(run: Run) -> dict[str, Any]:
    """Of config.json: fixed weights, or adaptive ones where any row has others than the run."""
    fixed = all(row.get(f"weight/{name}", weight) == weight for row in run.history for name, weight in run.weights.items())
    return {"name": "fixed", **run.weights} if fixed else {"name": "adaptive"}


def folder_of_this_process(folder: str | os.PathLike | None) -> Path | None:
    """Of several processes the first one writes."""
    return None if folder is None or distributed.rank() else Path(folder)


def as_number(what: str, value: Any) -> float:
    """A number from a float, an array or a tensor of one element. Raises TypeError or ValueError, naming it, for others."""
    value = value.detach() if isinstance(value, Tensor) else value
    if (shape := tuple(getattr(value, "shape", ()))) and prod(shape) != 1:
        raise ValueError(f"{what} has shape {shape}; a single number, such as e.square().mean()")
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, complex):
        raise TypeError(f"{what} is complex; a real number, as from mean(|e|^2)")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} is a {type(value).__name__}; a number, or a tensor of one element") from error
