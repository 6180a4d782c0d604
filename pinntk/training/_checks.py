"""Which settings of a training cannot be: alone, together, or without any effect."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

import torch

from pinntk.diagnostics._progress import SEARCHING
from pinntk.geometry._sampling import METHODS, TRAINED_ON
from pinntk.problem import Problem
from pinntk.training._optimizers import SCHEDULES, make_optimizer, optimizer_class
from pinntk.training._scheme_checks import check_schemes

_EVERY = ("log_every", "eval_every", "checkpoint_every", "snapshot_every", "resample")


# Checks of single settings.


def check_numbers(config: Any) -> None:
    for name in ("seconds", "lr", "decay", "grow", "clip", "average"):
        value = getattr(config, name)
        if not isinstance(value, (int, float, type(None))) or isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: a number")
        if value is not None and not isfinite(value):
            raise ValueError(f"{name}={value!r}: a finite number")
    for name in ("steps", "decay_every"):
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r}: a whole number of at least 1")
    if not isinstance(config.compile, bool):
        raise TypeError(f"compile={config.compile!r}: True or False")
    for name in _EVERY:
        value = getattr(config, name)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    if config.seconds is not None and not config.seconds > 0:
        raise ValueError(f"seconds={config.seconds!r}: above 0, or None for no limit")
    if config.decay is None or config.decay <= 0:
        raise ValueError(f"decay={config.decay!r}: a factor above 0")
    if config.clip is not None and config.clip <= 0:
        raise ValueError(f"clip={config.clip!r}: a norm above 0, or None for any")
    if config.average is not None and not 0 < config.average < 1:
        raise ValueError(f"average={config.average!r}: a decay between 0 and 1, such as 0.999, or None for no average")
    _check_choices(config)


def _check_choices(config: Any) -> None:
    if isinstance(config.seed, bool) or not hasattr(config.seed, "__index__"):
        raise TypeError(f"seed={config.seed!r}: a whole number")
    if not 0 <= config.seed < 2**63:
        raise ValueError(f"seed={config.seed!r}: at least 0, and below 2^63")
    if config.sampling is not None and config.sampling not in METHODS:
        raise ValueError(f"sampling={config.sampling!r}: one of {', '.join(METHODS)}")


# Checks of settings that meet.


def check_optimizer(config: Any) -> None:
    optimizer = config.optimizer
    if not config.solver:
        optimizer_class(optimizer)  # raises for an unknown one
        if isinstance(optimizer, str) and config.optimizer_options:  # and for what it does not take
            make_optimizer(optimizer, [torch.nn.Parameter(torch.zeros(1, 1))], config.lr, config.optimizer_options)
        if isinstance(config.schedule, str) and config.schedule not in SCHEDULES:
            raise ValueError(f"schedule {config.schedule!r} is unknown; use one of {', '.join(SCHEDULES)}, or a factory")
        names = () if isinstance(optimizer, (str, type)) else ("lr", "optimizer_options")
        if named := next((name for name in names if _is_given(getattr(config, name))), None):
            raise ValueError(f"{named}={getattr(config, named)!r} does not apply to a factory: use it in there")
    elif named := next((name for name in ("lr", "schedule", "clip", "compile") if _is_given(getattr(config, name))), None):
        raise ValueError(f"{named}={getattr(config, named)!r} does not apply to optimizer={optimizer!r}; leave it out")
    if config.clip is not None and config.optimizer_name in SEARCHING:
        raise ValueError(not_clipped(config.clip, optimizer))
    if config.solver and config.causal is not None:
        raise ValueError(
            f"causal weights change with every step, and optimizer={optimizer!r} compares losses between steps; leave causal "
            'out, or use a gradient optimizer, such as "adam" or "lbfgs"'
        )
    if config.grow is not None and (config.grow < 1 or (config.grow > 1 and not config.solver)):
        raise ValueError(f"grow={config.grow!r}: at least 1, and only with a solver, such as optimizer='gauss-newton'")


def not_clipped(clip: float, optimizer: str) -> str:
    """Why the gradients of an optimizer are not clipped."""
    return f"clip={clip!r}: {optimizer!r} searches the length of its steps by the gradient as it is; leave clip out"


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != {}


def check_together(config: Any) -> None:
    if config.fixed_points and config.resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    if config.r3 is not None and config.sampling == "grid":
        raise ValueError(
            "adaptive='r3' keeps the number of points, and sampling='grid' draws as many as a grid has; use 'uniform', 'sobol' "
            "or 'latin-hypercube'"
        )
    _check_idle(config)
    check_schemes(config.weighting, config.optimizer_name, config.resample, config.causal is not None, config.solver)


def check_fits(config: Any, problem: Problem) -> None:
    """Raises ValueError for weights, causal weights or points that are of other problems than this."""
    config.weighting.start(problem)
    problem.counts(config.weighting.points or {})
    if config.causal is not None:
        config.causal.names(problem)
    if config.fixed_points:
        problem.check(config.points)
        return
    for part in config.parts:
        problem.counts(**part.counts(problem))


class Idle(NamedTuple):
    """Settings that change nothing of a training.

    names: of the settings
    when: where they change nothing
    neutral: the value that they have there, unless another one is given
    why: what is wrong, and what to do
    """

    names: tuple[str, ...]
    when: Callable[[Any], bool]
    neutral: Callable[[Any, str], Any]
    why: str


IDLE = (
    Idle(
        ("decay", "decay_every"),
        lambda config: config.schedule != "exponential",
        lambda config, name: type(config).__dataclass_fields__[name].default,
        "acts with schedule='exponential' only; add that, or leave it out",
    ),
    Idle(
        ("schedule",),
        lambda config: config.optimizer_name == "ssbroyden",
        lambda config, name: "constant",
        "changes nothing of optimizer='ssbroyden', which has no learning rate; leave it out",
    ),
    Idle(
        ("sampling",),
        lambda config: config.fixed_points,
        lambda config, name: TRAINED_ON,
        "changes nothing of points that are given as tensors; leave it out",
    ),
    Idle(
        ("grow",),
        lambda config: not config.resample,
        lambda config, name: 1.0,
        "acts where fresh points are drawn only; add resample=1, or leave it out",
    ),
)


def _check_idle(config: Any) -> None:
    """Raises ValueError for a setting that would have no effect."""
    for idle in IDLE:
        for name in idle.names if idle.when(config) else ():
            value = getattr(config, name)
            if value != idle.neutral(config, name):
                raise ValueError(f"{name}={value!r} {idle.why}")
