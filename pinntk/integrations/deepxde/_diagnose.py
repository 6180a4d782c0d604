"""`Diagnose`: a callback that records a DeepXDE training and says what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import deepxde as dde
import numpy as np

from pinntk._util.warn import warn_user
from pinntk.diagnostics import Finding
from pinntk.integrations._verdict import diagnose_into, require_free
from pinntk.integrations.deepxde._errors import evaluate
from pinntk.integrations.deepxde._from_model import from_model, training_points
from pinntk.integrations.deepxde._model import require_backend, require_model, untouched
from pinntk.run import Recorder, Run

OnLog = Callable[[Run], Any]


class Diagnose(dde.callbacks.Callback):  # type: ignore[misc]  # which is Any to mypy
    """Records a training of DeepXDE as a run and diagnoses it at the end.

        model.train(iterations=20_000, callbacks=[Diagnose("runs/mine")])

    The training is the same as without it, to the last bit. At the end there are `diagnosis.json` and `report.html` in the
    folder, and the first findings are told; `run` and `findings` have them all. It costs an evaluation of all losses at each
    row of the history, and the diagnosis.

    folder: a run folder, as `pinntk.train` writes
    every: steps between two rows of the history; L-BFGS, which DeepXDE calls for 1,000 iterations at a time, has one a call
    on_log: a function of the run, or several, called after each row, as for `pinntk.Recorder`; True ends the training
    tell: gets the text of the first findings; None for nobody
    overwrite: remove the run in the folder

    Losses are recorded without weights, the model's loss weights beside them, and the relative error where `dde.data` has a
    solution: that at DeepXDE's test points. A second `model.train`, as with L-BFGS after Adam, goes on in the same run.

    Works on the models of `from_model`. Raises ValueError for others, for a second Diagnose in one list of callbacks and for a
    second model; FileExistsError for a folder with a run. A diagnosis that fails at the end, as of a network with NaN, is a
    warning: the training's results are not lost.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = 100,
        on_log: OnLog | Iterable[OnLog] | None = None,
        tell: Callable[[str], Any] | None = print,
        overwrite: bool = False,
    ):
        require_backend("Diagnose")
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ValueError(f"every={every!r}: a whole number of steps, at least 1")
        super().__init__()
        self._folder, self._every, self._on_log, self._tell = Path(folder), every, on_log, tell
        self._overwrite, self._resume = overwrite, False
        self._recorder: Recorder | None = None
        self._last = -1  # the step of the last row
        self._points_of: np.ndarray | None = None  # the training points that the recorder has
        self.findings: list[Finding] = []

    @property
    def run(self) -> Run | None:
        """What was recorded; None before the training."""
        return None if self._recorder is None else self._recorder.run

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
        if not self._resume:
            require_free(self._folder, self._overwrite)
        network, problem, points = from_model(model)
        with untouched(model):
            self._recorder = Recorder(
                problem,
                network,
                points,
                self._folder,
                optimizer=model.opt,
                weights=_weights(model, problem.names),
                on_log=self._on_log,
                resume=self._resume,
                overwrite=self._overwrite and not self._resume,
            )
        self._resume, self._last, self._points_of = True, -1, model.data.train_x
        self._log()

    def on_batch_end(self) -> None:
        """After a step, and after a call of L-BFGS; before a resampler draws the next points."""
        if self.model.train_state.step // self._every > self._last // self._every:
            self._log()

    def on_train_end(self) -> None:
        """Writes the run and its diagnosis."""
        if self._recorder is None:
            return
        self._log(last=True)
        self._recorder.close()
        with untouched(self.model):
            try:
                self.findings, said = diagnose_into(self._recorder.run, self._folder)
            except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as failure:
                warn_user(f"the training was recorded in {self._folder} and could not be diagnosed: {failure}")
                return
        if self._tell is not None:
            self._tell(said)

    def _log(self, last: bool = False) -> None:
        """A row of the history, once a step; the last one has the relative error whatever it costs."""
        model, recorder = self.model, self._recorder
        step = model.train_state.step
        if recorder is None or step == self._last:
            return
        moved = model.data.train_x is not self._points_of
        with untouched(model):
            blocks = evaluate(model)
            losses = {block.name: block.loss for block in blocks}
            points = training_points(model, blocks) if moved else None
            problem = recorder.run.problem
            error = {"relative_error": problem.relative_error(model.net)} if last and problem.has_solution else {}
            ends = recorder.log(step, losses, weights=_weights(model, tuple(losses)), points=points, **error)
        self._last, self._points_of = step, model.data.train_x
        model.stop_training = model.stop_training or ends


def _weights(model: Any, names: tuple[str, ...]) -> dict[str, float]:
    given = model.loss_weights
    values = np.ones(len(names)) if given is None else np.asarray(given, dtype=float).reshape(-1)
    return dict(zip(names, values.tolist(), strict=False))
