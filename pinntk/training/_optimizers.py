"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pinntk._util.likeness import nearest
from pinntk.diagnostics._progress import SEARCHING
from pinntk.solvers import SOLVERS, Muon, SelfScaledBroyden
from pinntk.training._more_optimizers import check_options, class_of_library, hint_of_library, more_optimizers

_NAMED: dict[str, Callable[..., Optimizer]] = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
}
_NAMED |= {"gradient-descent": torch.optim.SGD, "muon": Muon, "ssbroyden": SelfScaledBroyden}
_OPTIONS: dict[str, dict[str, Any]] = {
    "lbfgs": {"line_search_fn": "strong_wolfe", "history_size": 50},
    "soap": {"weight_decay": 0.0},  # the library's 0.01 ends above the least loss
}
SCHEDULES = ("constant", "exponential", "cosine")


def default_schedule(optimizer: str | Callable) -> str:
    """The schedule where none is given.

    "cosine", so that Adam's spikes are over at the end; "constant" for L-BFGS, whose learning rate is the first trial of a line
    search: a small one makes it crawl; and for "ssbroyden", which has none.
    """
    return "constant" if isinstance(optimizer, str) and optimizer.lower() in SEARCHING else "cosine"


def optimizers() -> list[str]:
    """Names of torch's and of pinntk's own that `train(optimizer=...)` takes; others see `more_optimizers`."""
    return sorted(_NAMED)


def is_known(name: str) -> bool:
    """Whether it names an optimizer or a solver; SOAP also where its library is missing, which is then said."""
    return name in _NAMED or name in SOLVERS or name == "soap" or name in more_optimizers()


def optimizer_class(optimizer: str | Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """What a name of `optimizers()` stands for ("gradient-descent" is SGD without momentum); a factory is itself.

    Raises ValueError, with the nearest name, for an unknown one; TypeError for an optimizer that was built already.
    """
    if isinstance(optimizer, Optimizer):
        raise TypeError("optimizer is an optimizer already; give its name, or a factory: lambda parameters: Adam(parameters)")
    if callable(optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise TypeError(f"optimizer={optimizer!r}: a name, such as 'adam', or a factory: lambda parameters: Adam(parameters)")
    name = optimizer.lower()
    if found := _NAMED.get(name) or class_of_library(name):
        return found
    close = nearest(name, [*optimizers(), *SOLVERS, *more_optimizers()])
    hint = f"did you mean {close!r}? " if close else ""
    raise ValueError(
        f"optimizer {optimizer!r} is unknown; {hint}Known: {', '.join([*optimizers(), *SOLVERS])}{hint_of_library()}"
    )


def name_of_class(optimizer: Any) -> Any:
    """The name of one of torch's classes; anything else as it is."""
    return next((name for name, made in _NAMED.items() if made is optimizer), optimizer)


def make_optimizer(
    optimizer: str | Callable[..., Optimizer], parameters: list[Tensor], lr: float | None, options: Mapping[str, Any]
) -> Optimizer:
    """From a name or from a factory taking parameters.

    lr: None leaves torch's default for that optimizer. Raises ValueError for an unknown name or option.
    """
    made = optimizer_class(optimizer)
    if not isinstance(optimizer, (str, type)):
        return made(parameters)
    name = optimizer.lower() if isinstance(optimizer, str) else ""
    keywords = {**_OPTIONS.get(name, {}), **({} if lr is None else {"lr": lr}), **options}
    try:
        check_options(made, keywords)
        return made(parameters, **keywords)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"optimizer {optimizer!r} with {keywords}: {error}") from error


def make_schedule(
    schedule: str | Callable[[Optimizer], LRScheduler],
    optimizer: Optimizer,
    steps: int,
    decay: float,
    decay_every: int,
    elapsed: Callable[[], float] | None = None,
) -> LRScheduler:
    """A learning-rate schedule by name, or from a factory that takes the optimizer.

    "constant"; "exponential": factor `decay` every `decay_every` steps, continuously; "cosine": to zero over `steps`, or over
    the time where that ends first.

    elapsed: the share of the time that is over; None where there is no limit
    """
    if not isinstance(schedule, str):
        return schedule(optimizer)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule {schedule!r} is unknown; use one of {', '.join(SCHEDULES)}, or a factory")
    factors = {
        "constant": lambda step: 1.0,
        "exponential": lambda step: decay ** (step / decay_every),
        "cosine": lambda step: (1 + cos(pi * min(max(step / steps, elapsed() if elapsed else 0.0), 1))) / 2,
    }
    return LambdaLR(optimizer, factors[schedule])
