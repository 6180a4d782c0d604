"""A training of another package that is recorded and, at its end, diagnosed: what the callbacks named `Diagnose` do alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pinntk._util.warn import warn_user
from pinntk.diagnostics import Finding
from pinntk.integrations._verdict import diagnose_into, reason, require_free
from pinntk.problem import Problem
from pinntk.residuals._probe import untouched
from pinntk.run import Recorder, Run
from pinntk.run._callbacks import Callback, as_callbacks, ask

OnLog = Callback | Iterable[Callback] | None


class RecordedTraining:
    """A run with a row every so many steps, and its verdict.

    Nothing that fails in recording or diagnosing ends the training: it is a warning. What `begin` refuses is an error, before
    the first step; what a function of `on_log` raises is the user's.

    folder: a run folder
    every: steps between two rows
    on_log: functions of the run, called after each row
    overwrite: remove the run in the folder
    recorder: None before the training
    findings: of the diagnosis, empty before it
    """

    def __init__(self, folder: str | os.PathLike, every: int, on_log: OnLog, overwrite: bool):
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ValueError(f"every={every!r}: a whole number of steps, at least 1")
        self.folder, self._every, self._overwrite = Path(folder), every, overwrite
        self._on_log = as_callbacks("on_log", on_log)
        self.recorder: Recorder | None = None
        self.findings: list[Finding] = []
        self._last = -1  # the step of the last row
        self._lost = 0  # rows that could not be recorded

    @property
    def run(self) -> Run | None:
        return None if self.recorder is None else self.recorder.run

    def begin(
        self,
        problem: Problem,
        network: nn.Module,
        points: Mapping[str, Tensor],
        optimizer: Optimizer | str,
        weights: Mapping[str, float],
        resume: bool,
    ) -> None:
        """Opens the folder, or goes on in it. Raises as `pinntk.Recorder`."""
        self.close()  # of a training that an error ended
        if not resume:
            require_free(self.folder, self._overwrite)
        self.recorder = Recorder(
            problem,
            network,
            dict(points),
            self.folder,
            optimizer=optimizer,
            weights=weights,
            resume=resume,
            overwrite=self._overwrite and not resume,
        )
        self._last, self._lost = -1, 0

    def due(self, step: int) -> bool:
        """Whether a multiple of `every` has been reached since the last row."""
        return step // self._every > self._last // self._every

    def record(self, step: int, measure: Callable[[], Mapping[str, Any]], last: bool = False) -> bool:
        """A row of the history, once a step; whether a function of `on_log` asks for the end of the training.

        measure: the arguments of `Recorder.log`, the training points as they are now among them
        last: with the relative error, whatever it costs
        """
        if self.recorder is None or step == self._last:
            return False
        self._last = step
        try:
            row = {**measure(), **(self._relative_error() if last else {})}
            known = self.recorder.run.points
            if all(torch.equal(rows, known[name]) for name, rows in row["points"].items()):
                del row["points"]
            self.recorder.log(step, **row)
        except Exception as failure:  # of foreign code, of memory, of a disk: none of them is the training's
            self._lost += 1
            if self._lost == 1:
                warn_user(f"step {step} could not be recorded in {self.folder}, and the training goes on: {reason(failure)}")
            return False
        run = self.recorder.run
        run.stop_reason = ask(self._on_log, run)
        return bool(run.stop_reason)

    def _relative_error(self) -> dict[str, float]:
        assert self.recorder is not None
        run = self.recorder.run
        if not run.problem.has_solution:
            return {}
        with untouched(run.network):
            return {"relative_error": run.problem.relative_error(run.network)}

    def close(self) -> None:
        """Writes the run and lets go of its folder."""
        self._finish([])

    def finish(self, tell: Callable[[str], Any] | None) -> None:
        """The run's end and its diagnosis, of which `tell` gets a few lines. One warning of all that fails."""
        if self.recorder is None:
            return
        failed: list[str] = []
        self._finish(failed)
        self.findings, said = diagnose_into(self.recorder.run, self.folder, failed)
        if tell is not None and said:
            try:
                tell(said)
            except Exception as failure:  # such as a terminal that is closed, or knows no unicode
                failed.append(f"the findings could not be told: {reason(failure)}")
        if failed:
            warn_user(f"the training was recorded in {self.folder}; {'; '.join(failed)}")

    def _finish(self, failed: list[str]) -> None:
        if self.recorder is None:
            return
        try:
            self.recorder.close()
        except Exception as failure:
            failed.append(f"its end could not be written: {reason(failure)}")
