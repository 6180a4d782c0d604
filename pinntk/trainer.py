"""`pinntk.train`: minimises L = sum_i lambda_i mean(e_i^2) with fixed or kernel-based weights, logged and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pinntk.evaluate import check_network
from pinntk.optimize import make_optimizer, make_schedule
from pinntk.problem import Points, Problem
from pinntk.run import Run, describe_network
from pinntk.training import Settings, Training, deferred_interrupt
from pinntk.weighting import NTK, Fixed


def train(
    problem: Problem,
    network: nn.Module,
    *,
    steps: int = 10_000,
    optimizer: str | Callable = "adam",
    lr: float | None = None,
    optimizer_options: Mapping[str, Any] | None = None,
    schedule: str | Callable = "cosine",
    decay: float = 0.9,
    decay_every: int = 1000,
    weighting: Any = None,
    points: Points | Mapping[str, int] | None = None,
    sampling: str = "uniform",
    resample: int = 0,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    log_every: int | None = None,
    eval_every: int | None = None,
    checkpoint_every: int | None = None,
    snapshot_every: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,
    progress: bool = True,
) -> Run:
    """Trains `network` in place, and the problem's coefficients with it.

    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...), "ssbroyden"
        (`pinntk.solvers.SelfScaledBroyden`), or a factory taking the parameters
    schedule, decay, decay_every: of the learning rate, see `pinntk.optimize.make_schedule`; by default it falls to zero
        along a cosine, so that Adam's spikes are over at the end; "constant" for plain gradient descent
    weighting: `pinntk.weighting.Fixed(...)` (all ones if None) or `pinntk.weighting.NTK(...)`; "ntk" for its defaults
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    resample: draw fresh points every so many steps; 0 keeps the first ones
    out: the run folder, made if need be; must not hold a run already unless `resume` or `overwrite`, which removes it
    resume: continue the run in `out` from its checkpoint; with the same arguments the result equals that of a run that was
        never stopped, on CPU to the last bit. `steps` may grow
    log_every, eval_every (error, traces, drift), checkpoint_every, snapshot_every (kernel): in steps; by default 400, 100
        (but not more often than every 10 steps), 20 and 10 times a run; 0 is never
    device, dtype: move the network there first
    compile: give the step's gradient to `torch.compile`: 10 to 30 seconds of waiting, then 1.5 to 3 times faster steps;
        needs a C++ compiler, and says why where it does not work. Python code inside the network runs once only
    progress: show a bar when standard error is a terminal

    Raises ValueError for arguments, points or a network that do not fit; NonFiniteLoss, naming the step, the condition and
    the last good checkpoint; Interrupted on Ctrl-C, after a checkpoint.
    """
    if not isinstance(problem, Problem) or not isinstance(network, nn.Module):
        raise TypeError(f"train({type(problem).__name__}, {type(network).__name__}): the order is train(problem, network)")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}: a whole number of at least 1")
    cadence = {"log_every": log_every, "eval_every": eval_every, "checkpoint_every": checkpoint_every}
    cadence |= {"snapshot_every": snapshot_every, "resample": resample}
    for name, value in cadence.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    habit = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}
    every = {
        name: max(least, steps // times) if cadence[name] is None else cadence[name] for name, (times, least) in habit.items()
    }
    weighting = _weighting(weighting)
    if decay <= 0 or decay_every < 1:
        raise ValueError(f"decay={decay!r}, decay_every={decay_every!r}: a factor above 0, and at least 1 step")
    network.to(device=device, dtype=dtype)
    if points is not None and not isinstance(points, Mapping):
        raise TypeError(
            f"points={type(points).__name__}: give counts, as in {{'residual': 1000}}, or tensors by condition name"
        )
    fixed_points = bool(points) and not any(isinstance(rows, int) for rows in points.values())
    if fixed_points and resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    counts = {} if points is None or fixed_points else dict(points)
    config = {
        "problem": {"name": problem.name, "source": problem.source or problem.name, "parameters": dict(problem.parameters)},
        "network": describe_network(network),
        "training": {
            "steps": steps,
            "optimizer": optimizer if isinstance(optimizer, str) else repr(optimizer),
            "lr": lr,
            "optimizer_options": dict(optimizer_options or {}),
            "schedule": schedule if isinstance(schedule, str) else repr(schedule),
            "decay": decay,
            "decay_every": decay_every,
            "points": "given" if fixed_points else problem.counts(**counts),
            "sampling": sampling,
            "resample": resample,
            "seed": seed,
            "compile": compile,
            **every,
        },
        "weighting": weighting.describe(),
        "versions": {"torch": torch.__version__},
    }
    training = Training(
        problem=problem,
        network=network,
        weighting=weighting,
        settings=Settings(steps, resample=resample, **every),
        sample=lambda draw: problem.sample(seed=seed + 1_000_003 * draw, method=sampling, dtype=torch.float64, **counts),
        seed=seed,
        fixed=fixed_points,
        compiled=compile,
        run=Run(problem, network, config, folder=None if out is None else Path(out)),
    )
    training.set_points(problem.check(points) if fixed_points else training.sample(0))
    check_network(network, problem, training.points)
    training.optimizer = make_optimizer(optimizer, list(training.parameters.values()), lr, optimizer_options or {})
    training.schedule = make_schedule(schedule, training.optimizer, steps, decay, decay_every)
    training.weights = weighting.start(problem)
    if problem.has_solution:
        problem.error(network)  # a wrong `exact` fails here, before anything is written
    training.open_folder(resume, overwrite)
    like = next(iter(training.parameters.values()))
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), deferred_interrupt() as interrupted:
        training.seed_generators()
        training.loop(interrupted, progress)
    return training.run


def _weighting(weighting: Any) -> Any:
    if weighting is None or isinstance(weighting, str):
        named = {None: Fixed, "fixed": Fixed, "ntk": NTK}
        if weighting not in named:
            raise ValueError(f"weighting={weighting!r} is unknown; use 'fixed', 'ntk', or an object of pinntk.weighting")
        return named[weighting]()
    if isinstance(weighting, type) or not hasattr(weighting, "update"):
        raise TypeError(f"weighting={weighting!r}: give an object, such as pinntk.weighting.NTK(every=100)")
    return weighting
