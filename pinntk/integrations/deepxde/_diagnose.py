"""`Diagnose`: a callback that records a DeepXDE training and says what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import deepxde as dde
import numpy as np

from pinntk.diagnostics import Finding
from pinntk.integrations._recorded import OnLog, RecordedTraining
from pinntk.integrations.deepxde._conditions import forget_replaced
from pinntk.integrations.deepxde._errors import evaluate
from pinntk.integrations.deepxde._from_model import from_model, training_points
from pinntk.integrations.deepxde._model import require_backend, require_model, untouched
from pinntk.run import Run


class Diagnose(dde.callbacks.Callback):  # type: ignore[misc]  # which is Any to mypy
    """Records a training of DeepXDE as a run and diagnoses it at the end.

        model.train(iterations=20_000, callbacks=[Diagnose("runs/mine")])

    The training is the same as without it, to the last bit; but where a resampler draws points anew, boundary values are
    computed for them, and DeepXDE alone can keep those of points before. At the end there are `diagnosis.json` and
    `report.html` in the folder, and the first findings are told; `run` and `findings` have them all. It costs an evaluation of
    all losses at each row of the history, and the diagnosis.

    folder: a run folder, as `pinntk.train` writes
    every: steps between two rows of the history; L-BFGS, which DeepXDE calls for 1,000 iterations at a time, has one a call
    on_log: a function of the run, or several, called after each row, as for `pinntk.Recorder`; True ends the training
    tell: gets the text of the first findings; None for nobody
    overwrite: remove the run in the folder

    Losses are recorded without weights, the model's loss weights beside them, and the relative error where `dde.data` has a
    solution: that at DeepXDE's test points. A second `model.train`, as with L-BFGS after Adam, goes on in the same run.

    Works on the models of `from_model`. Raises ValueError for others, for a second Diagnose in one list of callbacks and for a
    second model; FileExistsError for a folder with a run. What fails later, as the diagnosis of a network with NaN or a full
    disk, is a warning: the training goes on, and its results are not lost.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = 100,
        on_log: OnLog = None,
        tell: Callable[[str], Any] | None = print,
        overwrite: bool = False,
    ):
        require_backend("Diagnose")
        super().__init__()
        self._training, self._tell = RecordedTraining(folder, every, on_log, overwrite), tell
        self._trained_at: np.ndarray | None = None  # the training points of the last step

    @property
    def run(self) -> Run | None:
        """What was recorded; None before the training."""
        return self._training.run

    @property
    def findings(self) -> list[Finding]:
        """Those of the diagnosis, the most important first; none before the end of the training."""
        return self._training.findings

    @property
    def state_key(self) -> str:
        """Which only Lightning asks for. Raises TypeError."""
        raise TypeError("this Diagnose is DeepXDE's; with PINA use pinntk.integrations.pina.Diagnose")

    def on_exception(self, *_: Any) -> None:
        """Which Lightning calls after an exception."""

    def set_model(self, model: Any) -> None:
        """Called by `model.train`. Raises ValueError for what cannot be diagnosed, and for a second model."""
        if self.model is not None and model is not self.model:
            raise ValueError("this Diagnose is of another model; make one for each model, with a folder of its own")
        require_model(model, "Diagnose")
        super().set_model(model)

    def on_train_begin(self) -> None:
        """Begins the run, or goes on with it."""
        model = self.model
        if sum(isinstance(callback, Diagnose) for callback in model.callbacks.callbacks) > 1:
            raise ValueError("callbacks has Diagnose twice; keep one")
        network, problem, points = from_model(model)
        with untouched(model):
            weights = _weights(model, problem.names)
            self._training.begin(problem, network, points, model.opt, weights, resume=self.run is not None)
        self._log()

    def on_epoch_begin(self) -> None:
        """Before a step, and before a call of L-BFGS."""
        self._trained_at = forget_replaced(self.model, self._trained_at)

    def on_batch_end(self) -> None:
        """After a step, and after a call of L-BFGS; before a resampler draws the next points."""
        if self._training.due(self.model.train_state.step):
            self._log()

    def on_train_end(self) -> None:
        """Writes the run and its diagnosis."""
        self._log(last=True)
        with untouched(self.model):
            self._training.finish(self._tell)

    def _log(self, last: bool = False) -> None:
        model = self.model
        with untouched(model):
            ends = self._training.record(model.train_state.step, self._measured, last)
        model.stop_training = model.stop_training or ends

    def _measured(self) -> dict[str, Any]:
        """A row's losses, with weights and points as they are now."""
        model = self.model
        self._trained_at = forget_replaced(model, self._trained_at)
        blocks = evaluate(model)
        losses = {block.name: block.loss for block in blocks}
        return {"losses": losses, "weights": _weights(model, tuple(losses)), "points": training_points(model, blocks)}


def _weights(model: Any, names: tuple[str, ...]) -> dict[str, float]:
    given = model.loss_weights
    values = np.ones(len(names)) if given is None else np.asarray(given, dtype=float).reshape(-1)
    return dict(zip(names, values.tolist(), strict=False))
