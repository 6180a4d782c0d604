"""A training as a series of runs, one after the other: time slabs, stages of a curriculum or members of an ensemble, in a
folder that is locked, and continued by the same only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pinntk._util.interrupt import Interrupted, deferred_interrupt
from pinntk._util.warn import warn_user
from pinntk.problem import Problem
from pinntk.run import Run
from pinntk.run._folder import CHECKPOINT, CONFIG, clear_folder, is_foreign, lock_folder
from pinntk.run._slabs import clear_series, holds_series, length_of, read_series, run_name, write_series
from pinntk.run._source import source_change
from pinntk.training._checkpoint import check_same_settings
from pinntk.training._config import TrainConfig
from pinntk.training._loop import NonFiniteLossError
from pinntk.training._train import train

_RUNS = {"slabs": "slabs", "curriculum": "stages", "ensemble": "members"}  # what its runs are called, by its section


@dataclass(frozen=True)
class Series:
    """A series in progress.

    described: slabs.json, curriculum.json or ensemble.json, whose section `section` says what the series is
    done: stop reasons of the runs that are done
    """

    folder: Path | None
    described: Mapping[str, Any]
    section: str
    resume: bool
    interrupted: threading.Event
    done: list[str]

    def run(self, number: int, problem: Problem, network: nn.Module, config: TrainConfig, **options: Any) -> Run:
        """The run of that number: read where it is done, or trained, or gone on with.

        Raises Interrupted and NonFiniteLossError, which say in which run, and how to go on with all of them.
        """
        name, own = run_name(self.section, number), self.run_folder(number)
        if number < len(self.done):
            assert own is not None
            run = Run.load(own, network, problem=problem)
            run.stop_reason = self.done[number]
            return run
        if self.interrupted.is_set():
            raise Interrupted(f"stopped before {name}{self._how_to_go_on()}")
        try:
            with self.saying_how_to_go_on(f"{name}: "):
                run = train(problem, network, config, out=own, resume=self.may_resume(number), **options)
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{name}: {error}") from error
        self.note(run)
        return run

    def run_folder(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / run_name(self.section, number)

    def may_resume(self, number: int) -> bool:
        """Whether the run of that number goes on from a checkpoint."""
        own = self.run_folder(number)
        return self.resume and own is not None and (own / CHECKPOINT).exists()

    def note(self, run: Run) -> None:
        """That the next run is done."""
        self.done.append(run.stop_reason)
        if self.folder is not None:
            write_series(self.folder, _with_reasons(self.described, self.section, self.done))

    @contextmanager
    def saying_how_to_go_on(self, name: str = "") -> Iterator[None]:
        """With what interrupts a run."""
        try:
            yield
        except Interrupted as error:
            raise Interrupted(f"{name}{str(error).partition(';')[0]}{self._how_to_go_on()}") from None

    def _how_to_go_on(self) -> str:
        if self.folder is None:
            return ""
        return f"; continue with: pinntk train --resume {self.folder}, or train_{self.section}(..., resume=True)"


@contextmanager
def series(
    folder: Path | None, described: Mapping[str, Any], section: str, resume: bool, overwrite: bool, problem: Problem
) -> Iterator[Series]:
    """Prepares the folder and holds its lock."""
    with _opened(folder, described, section, resume, overwrite, problem) as done, deferred_interrupt() as interrupted:
        yield Series(folder, described, section, resume, interrupted, done)


def _with_reasons(described: Mapping[str, Any], section: str, reasons: list[str]) -> dict[str, Any]:
    return {**described, section: {**described[section], "stop_reasons": reasons}}


@contextmanager
def _opened(
    folder: Path | None, described: Mapping[str, Any], section: str, resume: bool, overwrite: bool, problem: Problem
) -> Iterator[list[str]]:
    """The stop reasons of the runs that are done."""
    if folder is None:
        if resume:
            raise ValueError(f"resume=True needs out=, the folder of the {_RUNS[section]} to continue")
        yield []
        return
    done: list[str] = []
    if resume:
        before, described = read_series(folder, section), json.loads(json.dumps(described, default=str))
        done = [str(reason) for reason in before[section]["stop_reasons"]]
        _check_same(folder, before, described, problem, section)
        if len(done) == length_of(described[section]):
            _warn_of_changes(folder, before, described, _RUNS[section])
            described = before
    with lock_folder(folder):
        if not resume:
            _free(folder, overwrite)
        write_series(folder, _with_reasons(described, section, done))
        yield done


def _check_same(folder: Path, before: Mapping[str, Any], described: Mapping[str, Any], problem: Problem, section: str) -> None:
    """Raises ValueError for a series, a problem or settings that a resumed training may not change."""
    for key in ("name", "parameters"):
        then, now = before["problem"][key], described["problem"][key]
        if then != now and str(then) != str(now):
            raise ValueError(f"cannot resume {folder}: its problem has {key} {then!r}, now {now!r}; name another folder")
    if change := source_change(before["problem"], problem):
        raise ValueError(f"cannot resume {folder}: {change}; put it back, or train anew in another folder")
    for key in [key for key in described[section] if key != "stop_reasons"]:
        then, now = before[section].get(key), described[section][key]
        if then != now and str(then) != str(now):  # NaN is never the same
            name = {"edges": "slabs", "values": "curriculum"}.get(key, key)
            raise ValueError(
                f"cannot resume {folder}: it was trained with {name}={then!r}, now {now!r}; give the same, or name another "
                "folder"
            )
    check_same_settings(folder, before, described)


def _warn_of_changes(folder: Path, before: Mapping[str, Any], described: Mapping[str, Any], runs: str) -> None:
    """Of settings that come too late: all runs are done."""
    then, now = before["training"], described["training"]
    if changed := [f"{name}={value}" for name, value in now.items() if name in then and then[name] != value]:
        warn_user(
            f"{folder}: all its {runs} are done and stay as they are, so that {', '.join(changed)} changes nothing; train anew "
            "in another folder"
        )


def _free(folder: Path, overwrite: bool) -> None:
    """Raises FileExistsError for a folder that holds runs, and empties it if `overwrite`."""
    if is_foreign(folder):
        raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder")
    if not overwrite and (holds_series(folder) or (folder / CHECKPOINT).exists()):
        raise FileExistsError(
            f"{folder} already holds a run or a series of runs; resume them, overwrite them, or name another folder"
        )
    if (folder / CONFIG).exists() or (folder / CHECKPOINT).exists():
        clear_folder(folder)
    clear_series(folder)
