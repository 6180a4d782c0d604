"""`Diagnose`: a Lightning callback that records a training of PINA and says what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from pina.loss import PowerLoss

from pinntk._util.distributed import rank
from pinntk.diagnostics import Finding
from pinntk.integrations._recorded import OnLog, RecordedTraining
from pinntk.integrations.pina._solver import from_solver, names_of, training_points
from pinntk.integrations.pina._support import require_mean, require_points_apart, require_precision
from pinntk.residuals._probe import untouched
from pinntk.run import Run
from pinntk.run._folder import CONFIG


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
    training; FileExistsError for a folder with a run. What fails later, as the diagnosis of a network with NaN or a full disk,
    is a warning: the training goes on.

    >>> Diagnose("runs/mine", every=100).findings
    []
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = 100,
        kinds: Mapping[str, str] | None = None,
        on_log: OnLog = None,
        overwrite: bool = False,
    ) -> None:
        self._training, self._kinds = RecordedTraining(folder, every, on_log, overwrite), dict(kinds or {})

    @property
    def run(self) -> Run | None:
        """What was recorded; None before the training."""
        return self._training.run

    @property
    def findings(self) -> list[Finding]:
        """Those of the diagnosis, the most important first; none before the end of the training."""
        return self._training.findings

    def set_model(self, model: Any) -> None:
        """Which only DeepXDE calls. Raises TypeError."""
        raise TypeError("this Diagnose is PINA's; with DeepXDE use pinntk.integrations.deepxde.Diagnose")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self.run is not None:
            raise ValueError("this Diagnose has recorded a training; make another one, with a folder of its own")
        require_precision(trainer, pl_module, "Diagnose")
        require_points_apart(pl_module, "Diagnose")
        _require_mean_squares(pl_module)
        with untouched(pl_module):
            network, problem, points = from_solver(pl_module, self._kinds)
            resume = trainer.global_step > 0 and (self._training.folder / CONFIG).exists()
            optimizer, weights = type(trainer.optimizers[0]).__name__, _weights(pl_module, problem.names)
            self._training.begin(problem, network, points, optimizer, weights, resume)
        self._log(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._training.due(trainer.global_step):
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._log(trainer, pl_module, last=True)
        if rank():
            self._training.close()
            return
        with untouched(pl_module):
            self._training.finish(trainer.print)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._training.close()

    def _log(self, trainer: Any, solver: Any, last: bool = False) -> None:
        with untouched(solver):
            if self._training.record(trainer.global_step, lambda: self._measured(trainer, solver), last):
                trainer.should_stop = True

    def _measured(self, trainer: Any, solver: Any) -> dict[str, Any]:
        """A row's rate, with weights, points and optimizer as they are now; losses are those of all points."""
        run = self.run
        assert run is not None
        optimizer = trainer.optimizers[0]  # another one after a SwitchOptimizer
        run.config["training"]["optimizer"] = type(optimizer).__name__.lower()
        points = training_points(solver, run.problem)
        rate, weights = optimizer.param_groups[0].get("lr"), _weights(solver, run.problem.names)
        return {"lr": rate, "weights": weights, "points": points}


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
