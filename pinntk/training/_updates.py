"""How a training takes one step: a torch optimizer on the gradient, or a solver on the kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pinntk._util import distributed
from pinntk.problem import Problem
from pinntk.solvers import SOLVERS, SelfScaledBroyden, Solver
from pinntk.training._batch import Batch
from pinntk.training._config import TrainConfig
from pinntk.training._losses import weighted_sum
from pinntk.training._optimizers import make_optimizer, make_schedule
from pinntk.training._step import Step

Losses = dict[str, Tensor]  # {condition: mean(g e^2)}, with point weights g

_STALE = 100  # steps of a solver that bring neither the least nor the median loss a tenth down: it gives up
_REFUSED = 5  # steps refused one after the other before it gives up
_NOISY = 3.0  # loss on fresh points over the loss that a step left on its own, beyond which there are too few
_GROWTH = 1.5


class Update(Protocol):
    growth: float  # of the number of points
    adapting: bool  # whether fresh points fall where the errors are large
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

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def make_update(config: TrainConfig, network: nn.Module, problem: Problem, parameters: list[Tensor]) -> Update:
    """What `config.optimizer` asks for. Raises ValueError for options that it does not have."""
    if config.solver:
        try:
            solver = SOLVERS[config.optimizer_name](network, problem, **config.optimizer_options)
        except TypeError as error:
            raise ValueError(f"optimizer {config.optimizer!r} with {dict(config.optimizer_options)}: {error}") from error
        adapting = None if config.adaptive is None else bool(config.adaptive)
        return SolverUpdate(solver, config.grow, fresh=bool(config.resample), adapting=adapting)
    optimizer = make_optimizer(config.optimizer, parameters, config.lr, config.optimizer_options)
    schedule = make_schedule(config.schedule or "constant", optimizer, config.steps, config.decay, config.decay_every)
    return GradientUpdate(Step(network, problem, config.compile), optimizer, schedule, adapting=config.rad is not None)


class GradientUpdate:
    """A torch optimizer with its learning-rate schedule."""

    growth = 1.0

    def __init__(self, gradient: Step, optimizer: Optimizer, schedule: LRScheduler, adapting: bool = False):
        self.adapting = adapting
        self._gradient, self._optimizer, self._schedule = gradient, optimizer, schedule
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        p = sum(parameter.numel() for parameter in self._parameters)
        self.work = p**2 if isinstance(optimizer, SelfScaledBroyden) else p

    def step(self, batch: Batch, check: Callable[[Losses], None]) -> Losses:
        before: Losses = {}

        def closure() -> Tensor:
            self._optimizer.zero_grad()
            shares = self._gradient(batch) if batch.points else {}
            found = over_all(shares, batch.counts, self._parameters[0])
            if not before:
                check(found)
                before.update(found)
            distributed.all_sum_gradients(self._parameters)
            return weighted_sum(found, batch.weights)

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch adds tensors to floats
        self._schedule.step()
        return before

    def columns(self) -> dict[str, float]:
        return {"learning_rate": float(self._optimizer.param_groups[0]["lr"])}

    def stop_reason(self) -> str:
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_optimizer(self._optimizer, dict(state["optimizer"]))
        self._schedule.load_state_dict(state["schedule"])


class SolverUpdate:
    """A solver on the kernel. Where fresh points show a loss much larger than the one that the last step left on its own,
    the step fits the points and not the equation: then they fall where the errors are large, and if that does not do their
    number grows, up to `most` times. Point weights make up for where the points fall.

    adapting: whether points fall where the errors are large: from the start, never, or (None) once they prove too few
    """

    work = 0.0

    def __init__(
        self,
        solver: Solver,
        most: float = 1.0,
        fresh: bool = True,
        adapting: bool | None = None,
    ):
        if distributed.world() > 1:
            raise ValueError("solvers run in one process; start them without torchrun")
        self._solver, self._most, self._fresh = solver, most, fresh
        self.growth = 1.0
        self.adapting, self._may_adapt = bool(adapting), adapting is None
        self._damping = float("nan")
        self._remaining: float | None = None  # the loss that the last step left
        self._noise: deque[float] = deque(maxlen=5)
        self._losses: deque[float] = deque(maxlen=2 * _STALE)  # on fresh points they scatter tenfold
        self._refused = 0

    def step(self, batch: Batch, check: Callable[[Losses], None]) -> Losses:
        total = sum(batch.weights.values())
        fresh = {name: weight / total for name, weight in batch.weights.items()}
        before, self._solver.weights = self._solver.weights, fresh
        report = self._solver.step(batch.points, batch.point_weights)
        self._damping = report.damping
        if before is not None and before != fresh and report.loss_before:  # what is remembered was measured by other weights
            self._rescale(report.loss_before / sum(before[name] * loss for name, loss in report.losses.items()))
        losses = {name: batch.like.new_tensor(loss) for name, loss in report.losses.items()}
        check(losses)
        self._refused = 0 if report.accepted else self._refused + 1
        self._losses.append(report.loss_before)
        if self._fresh and self._remaining:
            self._noise.append(report.loss_before / self._remaining)
        self._remaining = report.loss
        if len(self._noise) == self._noise.maxlen and median(self._noise) > _NOISY:
            self._improve_points()
        return losses

    def _rescale(self, factor: float) -> None:
        """What is remembered of the losses, in the loss weights of now."""
        self._losses = deque((factor * loss for loss in self._losses), self._losses.maxlen)
        self._remaining = None if self._remaining is None else self._remaining * factor

    def _improve_points(self) -> None:
        if self._may_adapt and not self.adapting:
            self.adapting = True
            self._remaining = None  # such points see losses that even ones missed
        elif self.growth < self._most:
            self.growth = min(_GROWTH * self.growth, self._most)
        else:
            return
        self._noise.clear()
        self._losses.clear()
        self._refused = 0

    def columns(self) -> dict[str, float]:
        return {"damping": self._damping, "growth": self.growth, "adapting": float(self.adapting)}

    def stop_reason(self) -> str:
        if self._refused >= _REFUSED:
            return f"no damping lowers the loss in {_REFUSED} steps: a minimum of these points, or the rounding of the dtype"
        if self._stale():
            return f"the loss has not fallen by a tenth in {_STALE} steps"
        return ""

    def _stale(self) -> bool:
        if len(self._losses) < 2 * _STALE:
            return False
        earlier, later = list(self._losses)[:_STALE], list(self._losses)[_STALE:]
        return min(later) > 0.9 * min(earlier) and median(later) > 0.9 * median(earlier)

    def state_dict(self) -> dict[str, Any]:
        own: dict[str, Any] = {"damping": self._damping, "growth": self.growth, "adapting": self.adapting}
        own |= {"remaining": self._remaining, "noise": list(self._noise)}
        return {"solver": self._solver.state_dict(), **own, "losses": list(self._losses), "refused": self._refused}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._solver.load_state_dict(state["solver"])
        self._damping, self.growth, self.adapting = state["damping"], state["growth"], state["adapting"]
        self._remaining = state["remaining"]
        self._noise.extend(state["noise"])
        self._losses.extend(state["losses"])
        self._refused = state["refused"]


def over_all(shares: Mapping[str, Tensor], counts: Mapping[str, int], like: Tensor) -> Losses:
    """The losses mean(e_i^2) over all processes, from this one's shares of them."""
    zero = torch.zeros((), dtype=like.dtype.to_real(), device=like.device)
    sums = distributed.all_sum(torch.stack([shares.get(name, zero).detach() for name in counts]))
    return dict(zip(counts, sums, strict=True))


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
