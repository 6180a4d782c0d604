"""`Diagnose`: a Lightning callback that records a training of PINA and says what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from pina.loss import PowerLoss
from torch import Tensor

from pinntk._util.distributed import rank
from pinntk._util.warn import warn_user
from pinntk.diagnostics import Finding
from pinntk.integrations._verdict import diagnose_into, require_free
from pinntk.integrations.pina._solver import from_solver, names_of, training_points
from pinntk.integrations.pina._support import require_mean, require_points_apart, require_precision
from pinntk.run import Recorder, Run
from pinntk.run._folder import CONFIG
from pinntk.run._recording import untouched

OnLog = Callable[[Run], Any]


class Diagnose(Callback):  # type: ignore[misc]  # which is Any to mypy
    """Records a training of PINA as a run, diagnoses it at the end: `Trainer(solver, callbacks=[Diagnose("runs/mine")])`.

    Parameters, gradients, random states and the modes of the network stay as they are, so the training is the same as without
    it, to the last bit. At the end there are `diagnosis.json` and `report.html` in the folder, and the trainer prints the first
    findings; `run` and `findings` have them all. It costs an evaluation of all residuals at each row of the history.

    folder: a run folder, as `pinntk.train` writes
    every: optimizer steps between two rows of the history
    kinds: {condition of PINA: kind}, as for `from_solver`
    on_log: a function of the run, or several, called after each row, as for `pinntk.Recorder`; True ends the training
    overwrite: remove the run in the folder

    Losses are mean squares of each condition's residuals on all points of the training; a condition of several has one for each
    of them. A training that goes on from a checkpoint (`ckpt_path`) goes on in its folder.

    Works with the solvers of `from_solver`, one training each. Raises ValueError where `NTKWeighting` does, and for a second
    training; FileExistsError for a folder with a run. Where the network's errors are NaN at the end it warns.

    >>> Diagnose("runs/mine", every=100).findings
    []
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = 100,
        kinds: Mapping[str, str] | None = None,
        on_log: OnLog | Iterable[OnLog] | None = None,
        overwrite: bool = False,
    ) -> None:
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ValueError(f"every={every!r}: a whole number of steps, at least 1")
        self._folder, self._every, self._kinds, self._overwrite = Path(folder), every, dict(kinds or {}), overwrite
        self._on_log = on_log
        self._recorder: Recorder | None = None
        self._points: dict[str, Tensor] = {}
        self._last = -1
        self.findings: list[Finding] = []

    @property
    def run(self) -> Run | None:
        """What was recorded; None before the training."""
        return None if self._recorder is None else self._recorder.run

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self._recorder is not None:
            raise ValueError("this Diagnose has recorded a training; make another one, with a folder of its own")
        require_precision(trainer, pl_module, "Diagnose")
        require_points_apart(pl_module, "Diagnose")
        _require_mean_squares(pl_module)
        resume = trainer.global_step > 0 and (self._folder / CONFIG).exists()
        if not resume:
            require_free(self._folder, self._overwrite, ", or go on from a checkpoint of that training (ckpt_path)")
        with untouched(pl_module):
            network, problem, self._points = from_solver(pl_module, self._kinds)
            self._recorder = Recorder(
                problem,
                network,
                self._points,
                self._folder,
                optimizer=type(trainer.optimizers[0]).__name__,
                weights=_weights(pl_module, problem.names),
                on_log=self._on_log,
                resume=resume,
                overwrite=self._overwrite,
            )
        self._log(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % self._every == 0:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._recorder is None:
            return
        self._log(trainer, pl_module)
        self._recorder.close()
        if rank():
            return
        with untouched(pl_module):
            try:
                self.findings, said = diagnose_into(self._recorder.run, self._folder)
            except (ArithmeticError, MemoryError, RuntimeError, ValueError) as failure:
                warn_user(f"the training was recorded in {self._folder} and could not be diagnosed: {failure}")
                return
        trainer.print(said)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._recorder is not None:
            self._recorder.close()

    def _log(self, trainer: Any, solver: Any) -> None:
        """A row of the history, once a step."""
        if self._recorder is None or trainer.global_step == self._last:
            return
        self._last = trainer.global_step
        optimizer = trainer.optimizers[0]  # another one after a SwitchOptimizer
        rate = optimizer.param_groups[0].get("lr")
        self._recorder.run.config["training"]["optimizer"] = type(optimizer).__name__.lower()
        with untouched(solver):
            problem = self._recorder.run.problem
            points = training_points(solver, problem)
            moved = any(not torch.equal(points[name], rows) for name, rows in self._points.items())
            self._points = points
            weights = _weights(solver, problem.names)
            stop = self._recorder.log(self._last, None, rate, weights, points=points if moved else None)
        if stop:
            trainer.should_stop = True


def _weights(solver: Any, names: tuple[str, ...]) -> dict[str, float]:
    """{condition: lambda_i} by the names of the problem: PINA averages over the columns of a condition."""
    weighting = solver.weighting
    saved = {name: float(weight) for name, weight in weighting.last_saved_weights().items()}
    share = 1 / len(solver.problem.conditions) if weighting.aggregator_fn is torch.mean else 1.0
    found = {}
    for name in solver.problem.conditions:
        columns = names_of(name, names)
        for place, own in enumerate(columns):
            apart = saved.get(f"{name}[{place}]")
            found[own] = share * (apart if apart is not None else saved.get(name, 1.0) / len(columns))
    return found


def _require_mean_squares(solver: Any) -> None:
    require_mean(solver, "Diagnose")
    loss = solver.loss
    squares = isinstance(loss, torch.nn.MSELoss) or (isinstance(loss, PowerLoss) and loss.p == 2 and not loss.relative)
    if not squares:
        raise ValueError(f"the solver's loss is {type(loss).__name__}, and kernels are of mean squares; use torch.nn.MSELoss()")
