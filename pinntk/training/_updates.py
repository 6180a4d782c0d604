"""How a training takes one step: a torch optimizer on the gradient, or a solver on the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pinntk._util import distributed
from pinntk.problem import Problem
from pinntk.run import Run
from pinntk.solvers import SOLVERS, SelfScaledBroyden
from pinntk.training._batch import Batch
from pinntk.training._checks import not_clipped
from pinntk.training._coefficients import ScaledCoefficients, coefficient_scales
from pinntk.training._combined_step import CombinedStep
from pinntk.training._config import TrainConfig
from pinntk.training._losses import over_all, weighted_sum
from pinntk.training._optimizers import make_optimizer, make_schedule
from pinntk.training._points import TrainingPoints
from pinntk.training._scheme_checks import not_one_gradient
from pinntk.training._solver_update import SolverUpdate
from pinntk.training._step import Step
from pinntk.weighting import Combiner

Losses = dict[str, Tensor]  # {condition: mean(g e^2)}, with point weights g
_SEARCHING = (LBFGS, SelfScaledBroyden)  # they find the length of a step themselves


class Update(Protocol):
    growth: float  # of the number of points
    adapting: bool  # whether fresh points fall where the errors are large
    hold: bool  # whether points and weights stay as they are, until `growth` changes
    searching: bool  # whether it finds the length of a step itself, by more than one look at the losses
    work: float  # multiply-adds of the largest operation beside those on the points, and a solver's own

    def step(self, batch: Batch, check: Callable[[Losses], None]) -> Losses:
        """One step; returns the losses before it over all processes. `check` raises where they are not finite."""
        ...

    def columns(self) -> dict[str, float]:
        """For the log, of the step about to be taken."""
        ...

    def stop_reason(self) -> str:
        """Why no further step helps; "" while it may."""
        ...

    def status(self) -> str:
        """For the line of progress, where it stands; "" if there is nothing to say."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def make_update(
    config: TrainConfig,
    network: nn.Module,
    problem: Problem,
    parameters: list[Tensor],
    points: TrainingPoints,
    elapsed: Callable[[], float] | None = None,
) -> Update:
    """What `config.optimizer` asks for. Raises ValueError for options that it does not have, and for an optimizer that does not
    go with what combines or clips gradients.
    """
    scales = coefficient_scales(problem, config.coefficient_scales)
    if config.solver:
        options = {"coefficient_scales": scales} if scales else {}
        try:
            solver = SOLVERS[config.optimizer_name](network, problem, **options, **config.optimizer_options)
        except TypeError as error:
            raise ValueError(f"optimizer {config.optimizer!r} with {dict(config.optimizer_options)}: {error}") from error
        adapting = None if config.adaptive is None else bool(config.adaptive)
        return SolverUpdate(solver, points, config.grow, config.resample, adapting)
    coefficients = ScaledCoefficients(problem, scales)
    moved = coefficients.in_place_of(parameters)
    optimizer = make_optimizer(config.optimizer, moved, config.lr, config.optimizer_options)
    schedule = make_schedule(config.schedule or "constant", optimizer, config.steps, config.decay, config.decay_every, elapsed)
    if isinstance(optimizer, _SEARCHING):  # also where a factory made it
        name = type(optimizer).__name__
        if config.combiner is not None:
            raise ValueError(not_one_gradient(config.combiner, name))
        if config.clip is not None:
            raise ValueError(not_clipped(config.clip, name))
    gradient = Step(network, problem, config.compile)
    return GradientUpdate(
        gradient,
        optimizer,
        schedule,
        coefficients,
        adapting=config.rad is not None,
        combiner=config.combiner,
        seed=config.seed,
        clip=config.clip,
    )


def share_of_time(limit: float | None, config: TrainConfig, run: Run) -> Callable[[], float] | None:
    """How much of the time is over, where there is a limit, and it is all one optimizer's."""
    return None if limit is None or len(config.parts) > 1 else lambda: run.seconds / limit


class GradientUpdate:
    """A torch optimizer with its learning-rate schedule.

    clip: the largest norm of a gradient, in the parameters that the optimizer moves; None for any
    """

    growth, hold = 1.0, False

    def __init__(
        self,
        gradient: Step,
        optimizer: Optimizer,
        schedule: LRScheduler,
        coefficients: ScaledCoefficients,
        adapting: bool = False,
        combiner: Combiner | None = None,
        seed: int = 0,
        clip: float | None = None,
    ):
        self.adapting, self._coefficients, self._clip = adapting, coefficients, clip
        self.gradient, self._optimizer, self._schedule = gradient, optimizer, schedule
        self.searching = isinstance(optimizer, _SEARCHING)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        p = sum(parameter.numel() for parameter in self._parameters)
        self.work = p**2 if isinstance(optimizer, SelfScaledBroyden) else p
        self._combined = None if combiner is None else CombinedStep(combiner, self._apart, self._parameters, seed)

    def step(self, batch: Batch, check: Callable[[Losses], None]) -> Losses:
        before: Losses = {}

        def closure() -> Tensor:
            self._optimizer.zero_grad()
            self._coefficients.give()
            shares = self._losses(batch) if self._combined is None else self._combined.losses(batch)
            found = over_all(shares, batch.counts, self._parameters[0])
            if not before:
                check(found)
                before.update(found)
            if self._combined is None:
                distributed.all_sum_gradients(self._parameters)
            else:
                self._combined.combine()
            if self._clip is not None:
                nn.utils.clip_grad_norm_(self._parameters, self._clip)
            return weighted_sum(found, batch.weights)

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch adds tensors to floats
        self._coefficients.give()
        self._schedule.step()
        return before

    def _losses(self, batch: Batch) -> Losses:
        """This process's share of them; the gradient in what the optimizer moves is left there."""
        shares = self.gradient(batch) if batch.points else {}
        self._coefficients.pull()
        return shares

    def _apart(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The same of each condition alone, one after the other."""
        for name, loss in self.gradient.apart(batch):
            self._coefficients.pull()
            yield name, loss

    def columns(self) -> dict[str, float]:
        return {"learning_rate": float(self._optimizer.param_groups[0]["lr"])}

    def stop_reason(self) -> str:
        return ""

    def status(self) -> str:
        return ""

    def state_dict(self) -> dict[str, Any]:
        state = {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}
        state |= {} if self._combined is None else {"combined": self._combined.state_dict()}
        return state | {"coefficient_scales": dict(self._coefficients.scales)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_optimizer(self._optimizer, dict(state["optimizer"]))
        self._schedule.load_state_dict(state["schedule"])
        self._coefficients.load(state.get("coefficient_scales", {}))
        if self._combined is not None:
            self._combined.load_state_dict(state["combined"])


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """As `load_state_dict`, which would cast what an optimizer remembers to the dtype of the parameter."""
    optimizer.load_state_dict(state)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def placed(value: Any, device: torch.device) -> Any:
        if isinstance(value, list):
            return [placed(entry, device) for entry in value]
        return value.to(device) if isinstance(value, Tensor) and value.ndim else value

    for i, saved in state["state"].items():
        for key, value in saved.items():
            if isinstance(value, list) or (
                isinstance(value, Tensor) and value.dtype != optimizer.state[parameters[i]][key].dtype
            ):
                optimizer.state[parameters[i]][key] = placed(value, parameters[i].device)
