"""`NTKWeighting`: a weighting of PINA by exact kernel traces, which a Lightning checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from pina.weighting import BaseWeighting
from torch import Tensor

from pinntk._util.distributed import any_rank
from pinntk.integrations._forms import column_names
from pinntk.integrations._traces import LossTrace, TraceReader, over_processes
from pinntk.integrations.pina._support import (
    require_mean,
    require_physics,
    require_points_apart,
    require_precision,
    trained_parameters,
    unknowns,
)
from pinntk.integrations.pina._traces import (
    is_rounding,
    residuals_of,
    squares_of,
    trace_together,
    traces_apart,
)
from pinntk.ntk._rounding import suspects
from pinntk.ntk.graph import leaf_parameters
from pinntk.weighting import NTK

_COLUMNS = ("together", "apart")


class NTKWeighting(BaseWeighting, Callback):  # type: ignore[misc]  # which are Any to mypy
    """Loss weights for PINA's solvers from exact kernel traces: `PINN(problem, model, weighting=NTKWeighting(every=100))`.

    The rule is that of `pinntk.weighting.NTK`, with theta all that is trained: the network, and an inverse problem's unknown
    parameters. Traces come from the graphs of the losses that PINA computed, in the very step that is due, so nothing is
    evaluated twice and the new weights act in that step. Validation and tests use the weights and never change them.

    every: optimizer steps between updates, the first before the first step. PINA trains on all points at once unless the
        trainer has a `batch_size`; then, and only then, a step is an epoch. With batches, traces are those of the step's batch
    momentum: weight of the old value in a moving average, in [0, 1)
    normalization: "mean" or "sum", as for `pinntk.weighting.NTK`
    columns: of a condition with several residuals, as a SystemEquation has: "together", one weight, as in PINA; or "apart",
        a weight each, named "name[0]", "name[1]" and so on, in a loss that is the sum of their own mean squares, as though
        each were a condition of its own

    It is a Lightning callback too, which the solver brings to its trainer by itself: checkpoints hold the weights, and
    `trainer.train(ckpt_path=...)` goes on with them. They hold the unknown parameters of an inverse problem as well, which
    PINA leaves out of its own. L-BFGS sees one set of weights in all evaluations of a step, and so do accumulated gradients.

    Works with PINN, GradientPINN, CausalPINN and RBAPINN; the traces are those of the loss that they minimize, gradients of
    residuals and weights of points included. Raises ValueError for other solvers, for one that belongs to another solver, for
    half or mixed precision, for dropout and batch normalization, and for a loss that is no mean square (`LpLoss`, or another
    reduction). A condition that the network meets by construction has weight 1, and a warning.

    >>> from pina import Condition
    >>> from pina.domain import CartesianDomain
    >>> from pina.equation.zoo import FixedValue
    >>> from pina.model import FeedForward
    >>> from pina.problem import SpatialProblem
    >>> from pina.solver import PhysicsInformedSingleModelSolver as PINN
    >>> class Still(SpatialProblem):
    ...     output_variables = ["u"]
    ...     spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
    ...     conditions = {"ends": Condition(domain=spatial_domain.partial(), equation=FixedValue(0.0))}
    >>> solver = PINN(Still(), FeedForward(1, 1), weighting=NTKWeighting(every=100))
    >>> solver.weighting.last_saved_weights()  # none before the first step
    {}
    """

    def __init__(self, every: int = 100, momentum: float = 0.9, normalization: str = "mean", columns: str = "together") -> None:
        BaseWeighting.__init__(self)
        if columns not in _COLUMNS:
            raise ValueError(f"columns={columns!r}: use 'together' or 'apart'")
        self._rule = NTK(every, momentum, normalization)
        self._columns = columns
        self._reader = TraceReader()
        self._saved_weights: dict[str, float] = {}
        self._updated_at: int | None = None  # optimizer steps before the newest update, in this training
        self._batch: dict[str, Any] = {}  # the data of every condition
        self._one_column: set[str] = set()

    # Belonging to one solver.

    @property
    def _solver(self) -> Any:
        return self.__dict__.get("_owner")

    @_solver.setter
    def _solver(self, solver: Any) -> None:  # PINA sets it when the solver is made
        if solver is not None:
            require_physics(solver, "NTKWeighting")
            if self._solver is not None and self._solver is not solver:
                raise ValueError("this NTKWeighting belongs to another solver; make one for each: weighting=NTKWeighting()")
            solver.configure_callbacks = self._callbacks
        self.__dict__["_owner"] = solver

    def set_model(self, model: Any) -> None:
        """Which only DeepXDE calls. Raises TypeError."""
        raise TypeError("this NTKWeighting is PINA's; with DeepXDE use pinntk.integrations.deepxde.NTKWeighting")

    def _callbacks(self) -> list[Callback]:
        """What Lightning adds to the trainer's callbacks: those of the solver's class, and this one where it is not there."""
        own = type(self._solver).configure_callbacks(self._solver)
        there = self._solver.trainer.callbacks
        other = [one for one in there if isinstance(one, NTKWeighting) and one is not self]
        if other or sum(one is self for one in there) > 1:
            raise ValueError("Trainer(callbacks=...) holds an NTKWeighting; leave it out: the solver brings its own")
        own = [*own] if isinstance(own, list | tuple) else [own]
        return own if self in there else [*own, self]

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if getattr(pl_module, "weighting", None) is not self:
            raise ValueError(
                "NTKWeighting is among the trainer's callbacks and not in its solver; use PINN(..., weighting=...)"
            )
        require_precision(trainer, pl_module, "NTKWeighting")
        require_points_apart(pl_module, "NTKWeighting")
        require_mean(pl_module, "NTKWeighting")

    # Weights in the loss.

    def aggregate(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the losses of conditions, after an update where one is due."""
        trainer = self.solver.trainer
        if trainer.training and self._is_due(trainer.global_step):
            self._update(losses)
            self._updated_at = trainer.global_step
        parts = losses if self._columns == "together" else self._apart(losses)
        weighted = [self._saved_weights.get(name, 1.0) * part.as_subclass(Tensor).reshape(()) for name, part in parts.items()]
        return torch.stack(weighted).sum()

    def update_weights(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """PINA's hook for weights by epochs: they stay as they are, since `aggregate` counts steps."""
        return dict(self._saved_weights)

    def _is_due(self, step: int) -> bool:
        return step != self._updated_at and (step % self._rule.every == 0 or not self._saved_weights)

    def _update(self, losses: Mapping[str, Tensor]) -> None:
        reader, parameters = self._reader, leaf_parameters(trained_parameters(self.solver))
        found: dict[str, LossTrace] = {}
        places: dict[str, tuple[str, int | None]] = {}  # of each trace: the condition, and which column
        for name, loss in losses.items():
            points = len(self._batch[name]["input"])
            if self._columns == "together":
                found[name] = trace_together(reader, name, squares_of(name, loss, points), parameters)
                places[name] = name, None
            else:
                apart = traces_apart(reader, name, residuals_of(name, loss, points), parameters)
                found |= apart
                places |= {block: (name, column) for column, block in enumerate(apart)}
        sizes, counts = over_processes(found, self.solver.device)
        traces = {block: counts[block] * size for block, size in sizes.items()}
        for block in suspects(sizes):
            name, column = places[block]
            real = not is_rounding(reader, name, self._batch[name], self.solver, column)
            traces[block] = traces[block] if any_rank(real, self.solver.device) else 0.0
        old = {name: self._saved_weights.get(name, 1.0) for name in found} if self._saved_weights else None
        self._saved_weights = {**self._saved_weights, **self._rule.update(old, traces, counts)}

    def _apart(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses by column; those of conditions with one column as they are."""
        found: dict[str, Tensor] = {}
        for name, loss in losses.items():
            errors = None if name in self._one_column else residuals_of(name, loss, len(self._batch[name]["input"]))
            if errors is None or errors.shape[1] == 1:
                self._one_column.add(name)
                found[name] = loss
            else:
                found |= dict(zip(column_names(name, errors.shape[1]), errors.square().mean(0), strict=True))
        return found

    # Lightning's hooks.

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._updated_at = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._keep(batch)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._keep(batch)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._keep(batch)

    def _keep(self, batch: Any) -> None:
        self._batch = dict(batch)

    def state_dict(self) -> dict[str, Any]:
        unknown = {name: p.detach().clone() for name, p in unknowns(self.solver).items()}
        return {"weights": dict(self._saved_weights), "unknown": unknown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved_weights = dict(state["weights"])
        with torch.no_grad():
            for name, p in unknowns(self.solver).items():
                if name in state["unknown"]:
                    p.copy_(state["unknown"][name])
