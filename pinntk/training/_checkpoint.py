"""The checkpoint of a training: everything that a resumed run needs to be the run that was never stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from pinntk._util import distributed, randomness
from pinntk.run import BusyFolderError, Run
from pinntk.run._checkpoint import all_finite, check_identity, load_state, read_checkpoint, write_checkpoint
from pinntk.run._configuration import read_config, write_config
from pinntk.run._folder import CHECKPOINT, CONFIG, clear_folder, is_foreign, lock_folder, write_metrics
from pinntk.run._history import state_of
from pinntk.run._network import arguments_of
from pinntk.run._slabs import clear_series, holds_series, slab_after, stage_after
from pinntk.run._snapshots import read_snapshots
from pinntk.run._source import source_change
from pinntk.run._trust import remember_trained
from pinntk.solvers._chain import read_chain
from pinntk.training._config import SETTINGS
from pinntk.training._probe import Probe


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Checkpoint:
    """Of a run in its folder; without a folder it keeps nothing.

    parts: what has a state of its own, by name, in the order in which states are put back
    """

    def __init__(self, run: Run, probe: Probe, parts: Mapping[str, Stateful], device: torch.device):
        self.run, self.probe, self.parts, self.device = run, probe, dict(parts), device
        self._rng: Mapping[str, torch.Tensor] | None = None

    @property
    def path(self) -> Path | None:
        """Of the last good checkpoint; None where none was written."""
        path = None if self.run.folder is None else self.run.folder / CHECKPOINT
        return path if path is not None and path.exists() else None

    @contextmanager
    def open(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """Prepares the folder, goes on from the checkpoint in it if `resume`, and holds its lock meanwhile."""
        folder = self.run.folder
        if folder is None:
            if resume:
                raise ValueError("resume=True needs out=, the folder of the run to continue")
            yield
            return
        if resume:
            read_config(folder)  # before a lock makes the folder
        with ExitStack() as held:
            self._lock(folder, held)
            if resume:
                self._restore(folder)
            else:
                self._check_free(folder, overwrite)
            if distributed.rank() == 0:
                if not resume and any((folder / name).exists() for name in (CONFIG, CHECKPOINT)):  # of a run: that is checked
                    clear_folder(folder)  # also what is left of one that died before its first checkpoint
                if not resume:
                    clear_series(folder)
                write_config(folder, self.run.config)
                remember_trained(self.run.problem.source)
            yield

    def _lock(self, folder: Path, held: ExitStack) -> None:
        """The first process holds the lock; all are refused where it has none."""
        refused: BusyFolderError | None = None
        if distributed.rank() == 0:
            try:
                held.enter_context(lock_folder(folder))
            except BusyFolderError as error:
                refused = error
        if distributed.any_rank(refused is not None, self.device):
            raise refused or BusyFolderError(f"{folder} is in use: another process trains in it")

    def _check_free(self, folder: Path, overwrite: bool) -> None:
        if distributed.any_rank(is_foreign(folder), self.device):
            raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder")
        if not overwrite and distributed.any_rank(self.path is not None or holds_series(folder), self.device):
            raise FileExistsError(f"{folder} already holds a run; resume it, overwrite it, or name another folder")

    def save(self) -> None:
        """Writes metrics and checkpoint, unless a parameter is not finite: the last good ones stay."""
        run = self.run
        if run.folder is None or distributed.rank() or not all_finite(list(run.network.parameters())):
            return
        write_metrics(run.folder, run.history)
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        write_checkpoint(run.folder, {**state_of(run), "parts": parts, "rng": randomness.states(self.device)})

    def mark(self, reason: str) -> None:
        """Leaves with the last good checkpoint why the training ended, and all rows of its history, also those after it."""
        if self.path is None or distributed.rank():
            return
        folder, history = self.path.parent, self.run.history
        write_metrics(folder, history)
        ended = {"stop_reason": reason, "diverged": True, "history": history}
        write_checkpoint(folder, {**read_checkpoint(folder), **ended})

    def seed_generators(self, seed: int) -> None:
        """Random states of a new run, or those of the checkpoint."""
        randomness.seed(seed, self.device)
        if self._rng is not None:
            randomness.restore(self._rng, self.device)

    def _restore(self, folder: Path) -> None:
        config, state, run = read_config(folder), read_checkpoint(folder), self.run
        if config.get("recorded"):
            raise ValueError(f"cannot resume {folder}: pinntk.Recorder wrote it, and no optimizer's state; name another folder")
        check_identity(state, run.problem, folder)
        if after := slab_after(folder, run.problem):
            raise ValueError(
                f"cannot resume {folder}: {after.name} begins as it ended, and would not any more; resume {folder.parent}, or "
                f"a copy of {folder.name} elsewhere"
            )
        if after := stage_after(folder):
            raise ValueError(
                f"cannot resume {folder}: {after.name} began as it ended, and would not any more; resume {folder.parent}, or a "
                f"copy of {folder.name} elsewhere"
            )
        if change := source_change(config["problem"], run.problem):
            raise ValueError(
                f"cannot resume {folder}: {change}; put it back (config.json holds a copy), or train anew in another folder"
            )
        check_same_settings(folder, config, run.config)
        if "grown" in config:  # what its network was before
            run.config["grown"] = config["grown"]
        load_state(state, run.network, run.problem, folder)
        steps = run.config["training"]["steps"]
        if state["step"] > steps:
            at = state["step"]
            raise ValueError(f"cannot resume {folder} to step {steps}: it is at step {at} already; give steps of at least {at}")
        initial = zip(state["initial"], self.probe.initial, strict=True)
        self.probe.initial = [start.to(p) for start, p in initial]
        for name in list(self.parts):  # the first, a chain's place, makes others of them
            if name in state["parts"]:  # a monitor may have joined
                try:
                    self.parts[name].load_state_dict(state["parts"][name])
                except ValueError as error:
                    raise ValueError(f"cannot resume {folder}: {error}") from error
        self._rng = state["rng"]
        run.step = state["step"]
        run.history = [row for row in state["history"] if row["step"] < state["step"]]
        run.seconds = state["seconds"]
        run.snapshots.update(read_snapshots(folder, state["step"]))


def check_same_settings(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting that a resumed run may not change."""
    for section in ("network", "training", "weighting"):
        then, new = _entries(before, section), _entries(json.loads(json.dumps(now, default=str)), section)
        for key in dict.fromkeys((*new, *then)):
            free = section == "training" and key in SETTINGS and SETTINGS[key].metadata["free"]
            if not free and then.get(key) != new.get(key) and not (key == "optimizer" and _goes_on(then[key], new[key])):
                raise ValueError(
                    f"cannot resume {folder}: it was trained with {key}={then.get(key)!r}, now {key}={new.get(key)!r}; "
                    "give the same settings, or name another folder"
                )


def _goes_on(before: Any, now: Any) -> bool:
    """Whether a chain of optimizers has become longer at its end."""
    chain, longer = read_chain(before), read_chain(now)
    return chain is not None and longer is not None and chain.goes_on_as(longer)


def _entries(config: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Of a section of config.json, with the network's arguments among the others."""
    entries = dict(config[section])
    if section != "network":
        return entries
    return {"class": entries["class"], **arguments_of(entries), **entries, "arguments": None}
