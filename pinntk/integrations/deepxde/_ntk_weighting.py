"""`NTKWeighting`: exact NTK weights in `dde.Model.train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import deepxde as dde
import numpy as np
import torch
from torch import Tensor

from pinntk._util.warn import warn_user
from pinntk.integrations.deepxde._conditions import forget_replaced
from pinntk.integrations.deepxde._errors import Block, evaluate, require_mean_squares, traces
from pinntk.integrations.deepxde._lbfgs import forget_curvature
from pinntk.integrations.deepxde._model import require_backend, require_model, untouched
from pinntk.weighting import NTK

_CERTIFIED = 10  # every so many updates what is read from the graph is compared with autograd again
_KEY = "pinntk_ntk_weighting"  # in the optimizer's first parameter group, which `model.save` writes and `restore` reads


class NTKWeighting(dde.callbacks.Callback):  # type: ignore[misc]  # DeepXDE has no types
    """A DeepXDE callback that sets the model's loss weights from exact kernel traces, by the rule of `pinntk.weighting.NTK`.

        model.train(iterations=20_000, callbacks=[NTKWeighting(every=100)])

    Every equation and every condition is a block of its own, in DeepXDE's order of losses, with
    lambda_i = sum_j Tr K~_jj / Tr K~_ii. The traces are those of the current training points and of all that the optimizer
    trains, external variables included.

    every: steps between updates. The first is before the first step of a training; L-BFGS, which DeepXDE calls for 1,000
        iterations at a time, gets them at its start and between such calls, and then forgets the curvature of the old loss
    momentum: weight of the old value in a moving average, in [0, 1)
    normalization: "mean" or "sum", as in `pinntk.weighting.NTK`

    weights: {loss: its weight}, empty before the first update; losses are named pde (pde_1, pde_2 of a system) and after their
        conditions' classes, numbered where there are several (DirichletBC_1, DirichletBC_2)
    history: [(step, weights)], one entry an update

    The weights replace `loss_weights` of `model.compile`, with a warning where those were not all equal; a weight of 0, which
    takes a loss out, stays. DeepXDE's printed losses and its "best model" are of weighted losses, so at each update the
    best model so far is disregarded: losses under different weights cannot be compared.

    Where a resampler draws points anew, boundary values are computed for them; DeepXDE alone can keep those of points before.

    `model.save` and `model.restore` keep the weights, with the optimizer's state. `state_dict` and `load_state_dict` are for
    other files.

    Raises ValueError for another backend than PyTorch, for float16 and mixed precision, and in training for data that are not
    PDE or TimePDE (operator learning), losses that are no mean squares, networks with dropout or batch normalization, a second
    NTKWeighting in one list of callbacks, and a second model.
    """

    def __init__(self, every: int = 100, momentum: float = 0.9, normalization: str = "mean"):
        require_backend("NTKWeighting")
        super().__init__()
        self._scheme = NTK(every=every, momentum=momentum, normalization=normalization)
        self.weights: dict[str, float] = {}
        self.history: list[tuple[int, dict[str, float]]] = []
        self._since = every  # steps since the last update
        self._seen = 0  # DeepXDE's step when that was counted
        self._off: frozenset[str] = frozenset()  # losses of weight 0, as the user gave it
        self._ours: list[float] | None = None  # the loss weights that the model has from here
        self._loaded = False
        self._said_not_finite = False
        self._points_of: np.ndarray | None = None  # the training points of the last step
        self._certified: tuple = ()  # the code of the blocks that were read with a certificate
        self._rounding: dict[str, bool] = {}  # whether small kernels of those are

    @property
    def state_key(self) -> str:
        """Which only Lightning asks for. Raises TypeError."""
        raise TypeError("this NTKWeighting is DeepXDE's; with PINA use pinntk.integrations.pina.NTKWeighting")

    def set_model(self, model: Any) -> None:
        """Called by `model.train`. Raises ValueError for what has no kernel, and for a second model."""
        if self.model is not None and model is not self.model:
            raise ValueError("this NTKWeighting is of another model; make one for each model")
        require_model(model, "NTKWeighting")
        super().set_model(model)

    def on_train_begin(self) -> None:
        """Checks the losses, and takes up weights that were restored."""
        model = self.model
        if sum(isinstance(callback, NTKWeighting) for callback in model.callbacks.callbacks) > 1:
            raise ValueError("callbacks has NTKWeighting twice, and a model has one set of loss weights; keep one")
        with untouched(model):
            blocks = evaluate(model)
            require_mean_squares(model, blocks)
        names = [block.name for block in blocks]
        self._take_given(names)
        saved = model.opt.param_groups[0].get(_KEY)
        if saved is not None and not self._loaded:
            self.load_state_dict(saved)
        elif not self._loaded:
            self._since = self._scheme.every  # an optimizer that has not met these weights
        self._loaded, self._seen = False, model.train_state.step
        if self.weights:
            if list(self.weights) != names:
                raise ValueError(f"weights are of the losses {list(self.weights)}, and this model has {names}")
            self._apply()

    def on_epoch_begin(self) -> None:
        """Before a step, and before a call of L-BFGS."""
        self._points_of = forget_replaced(self.model, self._points_of)
        if self._since >= self._scheme.every:
            self._update()

    def on_batch_end(self) -> None:
        """Counts steps, and hands the state to the optimizer before a `ModelCheckpoint` saves it."""
        step = self.model.train_state.step
        self._since, self._seen = self._since + step - self._seen, step
        self.model.opt.param_groups[0][_KEY] = self.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """{"weights": {loss: weight}, "since": steps since the last update}."""
        return {"weights": dict(self.weights), "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where the run of this state ended, at the next `model.train`."""
        self.weights, self._since, self._loaded = dict(state["weights"]), int(state["since"]), True

    def _take_given(self, names: Sequence[str]) -> None:
        """The user's own loss weights."""
        given = self.model.loss_weights
        if given is self._ours:
            return
        if given is None:
            self._off = frozenset()
            return
        values = np.asarray(given, dtype=float).reshape(-1)
        self._off = frozenset(name for name, value in zip(names, values, strict=False) if value == 0)
        kept = {value for value in values.tolist() if value != 0}
        if len(kept) > 1:
            said = ", ".join(f"{value:.4g}" for value in values)
            warn_user(f"NTKWeighting replaces loss_weights=[{said}] of model.compile; leave one of the two out")

    def _update(self) -> None:
        model = self.model
        with untouched(model):
            blocks = evaluate(model)
            active = [block for block in blocks if block.name not in self._off]
            code = tuple(block.code for block in active)
            certify = code != self._certified or len(self.history) % _CERTIFIED == 0
            if certify:
                self._rounding.clear()
            found = traces(model, active, certify, self._rounding)
            self._certified, self._since = code, 0
            if not all(map(isfinite, found.values())):
                self._say_not_finite(found)
                return
            old = {block.name: self.weights[block.name] for block in active} if self.weights else None
            fresh = self._scheme.update(old, found, {block.name: block.errors.numel() for block in active})
            self.weights = {block.name: fresh.get(block.name, 0.0) for block in blocks}
            if isinstance(model.opt, torch.optim.LBFGS):
                forget_curvature(model.opt, _gradient(model, blocks, self.weights))
        self.history.append((model.train_state.step, dict(self.weights)))
        self._apply()
        model.train_state.disregard_best()

    def _apply(self) -> None:
        self._ours = list(self.weights.values())
        self.model.loss_weights = self._ours

    def _say_not_finite(self, found: Mapping[str, float]) -> None:
        if not self._said_not_finite:
            self._said_not_finite = True
            names = [name for name, trace in found.items() if not isfinite(trace)]
            warn_user(
                f"the kernel of {', '.join(names)} is not finite at step {self.model.train_state.step}; the loss weights "
                "stay as they are. Look for a training that diverges, or a derivative that is infinite at a point"
            )


def _gradient(model: Any, blocks: Sequence[Block], weights: Mapping[str, float]) -> Tensor:
    """(p,) of the weighted loss, in the optimizer's order of parameters."""
    loss = torch.stack([weights[block.name] * block.errors.square().mean() for block in blocks]).sum()
    parameters = [p for group in model.opt.param_groups for p in group["params"]]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)])
