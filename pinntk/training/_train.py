"""`pinntk.train`: minimises L = sum_i lambda_i mean(e_i^2), logged and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.interrupt import deferred_interrupt
from pinntk._util.precision import without_autocast
from pinntk._util.randomness import forked
from pinntk.problem import EVEN, Points, Problem
from pinntk.problem._coordinates import check_coordinates
from pinntk.residuals import NonFiniteError, check_network
from pinntk.run import Run
from pinntk.solvers import SOLVERS
from pinntk.training._config import arguments, described
from pinntk.training._loop import NonFiniteLoss, Settings, Training
from pinntk.training._monitor import Monitor, Watch
from pinntk.training._optimizers import default_schedule, make_optimizer, make_schedule
from pinntk.training._point_weights import Ascent, Causality
from pinntk.training._resampling import RAD, adapted_points
from pinntk.training._updates import Gradient, Solving
from pinntk.weighting import NTK, SCHEMES, Causal, SelfAdaptive


@without_autocast
def train(
    problem: Problem,
    network: nn.Module,
    *,
    steps: int = 10_000,
    seconds: float | None = None,
    optimizer: str | Callable = "adam",
    lr: float | None = None,
    optimizer_options: Mapping[str, Any] | None = None,
    schedule: str | Callable | None = None,
    decay: float = 0.9,
    decay_every: int = 1000,
    weighting: Any = None,
    causal: Causal | float | None = None,
    points: Points | Mapping[str, int] | None = None,
    sampling: str | None = None,
    resample: int | None = None,
    adaptive: RAD | bool | None = None,
    grow: float | None = None,
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
    monitor: Monitor | bool | None = None,
    progress: bool = True,
) -> Run:
    """Trains `network` in place, and the problem's coefficients with it.

    seconds: stop after that much time, if the steps take longer
    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...), "ssbroyden"
        (`pinntk.solvers.SelfScaledBroyden`), or a factory taking the parameters; or a solver on the kernel,
        "gauss-newton" or "natural-gradient" (`pinntk.solvers`), whose options are its arguments. A solver stops when it
        cannot improve; `Run.stopped` says why
    schedule, decay, decay_every: of the learning rate, see `pinntk.training.make_schedule`; by default it falls to zero
        along a cosine, so that Adam's spikes are over at the end, and is constant for "lbfgs"; "constant" for plain gradient
        descent
    weighting: `pinntk.weighting.Fixed(...)` (all ones if None), `NTK(...)` or `GradientNorm(...)`; or `SelfAdaptive(...)`, of
        points in place of conditions; "ntk", "gradient-norm" or "self-adaptive" for the defaults. With a solver, None is
        NTK(every=25)
    causal: `pinntk.weighting.Causal(...)`, or a number, its epsilon: residuals at later times count once those before are
        small; beside any weighting, but not with a solver
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    sampling: "uniform", "grid", "latin-hypercube" or "sobol"; None is uniform, and sobol with a solver
    resample: draw fresh points every so many steps; 0 keeps the first ones; None is 0, and 1 with a solver
    adaptive: fresh points of residuals fall where the errors are large, by `pinntk.RAD(...)`; True for its defaults. Needs
        `resample`; the first points, and those of other conditions, are drawn as without it. With a solver None is: once
        points prove too few; their importance weights then keep the losses mean squares over the domain
    grow: with a solver and fresh points, their number may grow up to this factor (4 unless given), when they prove too few
    out: the run folder, made if need be; must not hold a run already unless `resume` or `overwrite`, which removes it
    resume: continue the run in `out` from its checkpoint; with the same arguments the result equals that of a run that was
        never stopped, on CPU to the last bit. `steps` may grow
    log_every, eval_every (error, traces, drift), checkpoint_every, snapshot_every (kernel): in steps; by default 400, 100
        (but not more often than every 10 steps), 20 and 10 times a run; 0 is never
    device, dtype: move the network there first; the problem's coefficients follow it to its device, and keep their dtype
    compile: give the step's gradient to `torch.compile`: 10 to 30 seconds of waiting, then 1.5 to 3 times faster steps;
        needs a C++ compiler, and says why where it does not work. Python code inside the network runs once only
    monitor: measure the kernel and diagnose while training, by `pinntk.Monitor(...)`; True for its defaults, at most 5 % of
        the time. It changes nothing of the training
    progress: show a bar when standard error is a terminal

    Raises ValueError for arguments, points or a network that do not fit; NonFiniteLoss, naming the step, the condition and
    the last good checkpoint; Interrupted on Ctrl-C, after a checkpoint.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> run = pinntk.train(problem, network, steps=20, points=points, progress=False)
    >>> steps, losses = run.column("loss")
    >>> run.step, bool(losses[-1] < losses[0])
    (20, True)
    """
    if not isinstance(problem, Problem) or not isinstance(network, nn.Module):
        raise TypeError(f"train({type(problem).__name__}, {type(network).__name__}): the order is train(problem, network)")
    cadence = {"log_every": log_every, "eval_every": eval_every, "checkpoint_every": checkpoint_every}
    cadence |= {"snapshot_every": snapshot_every}
    _check_numbers(steps, seconds, decay, decay_every, {**cadence, "resample": resample})
    solving = isinstance(optimizer, str) and optimizer.lower() in SOLVERS
    causal, monitor = _causal(causal), _monitor(monitor)
    if solving:
        _check_solver(optimizer, causal, {"lr": lr, "schedule": schedule, "compile": compile or None})
    if grow is not None and (grow < 1 or (grow > 1 and not solving)):
        raise ValueError(f"grow={grow!r}: at least 1, and only with a solver, such as optimizer='gauss-newton'")
    every = _intervals(steps, cadence)
    weighting = NTK(every=25) if solving and weighting is None else _weighting(weighting)
    _move(network, problem, device, dtype)
    fixed_points, counts = _counts(problem, points, resample, solving)
    sampling = sampling or ("sobol" if solving else "uniform")
    resample = int(solving and not fixed_points) if resample is None else resample
    rad = _rad(adaptive, resample, solving)
    if isinstance(weighting, SelfAdaptive):
        _check_self_adaptive(solving, resample, causal)
    schedule = schedule or (None if solving else default_schedule(optimizer))
    grow = (4.0 if solving and resample else 1.0) if grow is None else float(grow)
    config = described(
        problem,
        network,
        weighting,
        steps=steps,
        seconds=seconds,
        optimizer=optimizer,
        lr=lr,
        optimizer_options=dict(optimizer_options or {}),
        schedule=schedule,
        decay=decay,
        decay_every=decay_every,
        points=None if fixed_points else counts,
        sampling=sampling,
        resample=resample,
        adaptive=rad if adaptive else False if solving and adaptive is False else None,
        causal=causal,
        grow=grow,
        seed=seed,
        compile=compile,
        monitor=monitor,
        **every,
    )

    def sample(draw: int, growth: float) -> tuple[Points, Points]:
        drawn = {"seed": seed + 1_000_003 * draw, "method": sampling, "dtype": torch.float64}
        wanted = _grown(problem, counts, growth)
        if draw == 0 or not training.method.adapting:
            return problem.sample(**drawn, **wanted), EVEN
        given = {name: n for name, n in problem.counts(**wanted).items() if n is not None}
        points, importance = adapted_points(rad, network, problem, given, **drawn)
        return points, importance if solving else EVEN

    training = Training(
        problem=problem,
        network=network,
        weighting=weighting,
        settings=Settings(steps, resample=resample, seconds=seconds, **every),
        sample=sample,
        pointwise=_pointwise(causal, weighting, network, problem, seed),
        seed=seed,
        fixed=fixed_points,
        run=Run(problem, network, config, folder=None if out is None else Path(out)),
    )
    drawn, importance = (problem.check(points), EVEN) if fixed_points else training.sample(0, 1.0)
    for name, rows in drawn.items():
        check_coordinates(problem.domain, name, rows, training.like["dtype"])
    training.set_points(drawn, importance)
    check_network(network, problem, training.points)
    if solving:
        solver = SOLVERS[optimizer.lower()](network, problem, **(optimizer_options or {}))
        training.method = Solving(solver, most=grow, fresh=bool(resample), adapting=None if adaptive is None else bool(rad))
    else:
        torch_optimizer = make_optimizer(optimizer, list(training.parameters.values()), lr, optimizer_options or {})
        rate = make_schedule(schedule, torch_optimizer, steps, decay, decay_every)
        training.method = Gradient(network, problem, torch_optimizer, rate, compile, adapting=rad is not None)
    training.weights = weighting.start(problem)
    if monitor is not None:
        training.watch = Watch(monitor, training.run, training.points)
    if problem.has_solution:
        problem.error(network)  # a wrong `exact` fails here, before anything is written
    training.open_folder(resume, overwrite)
    _go(training, progress)
    return training.run


def train_as(
    config: Mapping[str, Any],
    *,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    progress: bool = True,
    problem: Problem | None = None,
    network: nn.Module | None = None,
    points: Points | Mapping[str, int] | None = None,
    **settings: Any,
) -> Run:
    """Trains as a config.json says: the same problem, network and settings, from the start, on CPU to the last bit (but for
    a network that `train(dtype=...)` converted: this one starts with weights that were never rounded).

    config: `Run.config`, or what `pinntk.training.changed` made of it
    out, resume, overwrite, device, progress: as in `train`
    problem, network, points, settings: arguments of `train` in the place of what config says

    Raises ValueError, naming it, for what a text cannot hold and was not given: a network of one's own, points given as
    tensors, a problem without a file, an optimizer or a schedule given as a function.
    """
    given = arguments(config, problem, network, points, **settings)
    return train(**given, out=out, resume=resume, overwrite=overwrite, device=device, progress=progress)


def _check_numbers(
    steps: int, seconds: float | None, decay: float, decay_every: int, cadence: Mapping[str, int | None]
) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}: a whole number of at least 1")
    for name, value in cadence.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds={seconds!r}: above 0, or None for no limit")
    if decay <= 0 or decay_every < 1:
        raise ValueError(f"decay={decay!r}, decay_every={decay_every!r}: a factor above 0, and at least 1 step")


def _check_solver(optimizer: str, causal: Causal | None, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for what has no meaning for a solver."""
    if named := next((name for name, value in settings.items() if value is not None), None):
        raise ValueError(f"{named}={settings[named]!r} has no meaning for optimizer={optimizer!r}; leave it out")
    if causal is not None:
        raise ValueError(
            f"causal weights change with every step, and optimizer={optimizer!r} compares losses between steps; leave causal "
            'out, or use a gradient optimizer, such as "adam" or "lbfgs"'
        )


def _causal(causal: Causal | float | None) -> Causal | None:
    causal = Causal(causal) if isinstance(causal, (int, float)) and not isinstance(causal, bool) else causal
    if not (causal is None or isinstance(causal, Causal)):
        raise TypeError(f"causal={causal!r}: give epsilon, as in causal=1.0, or pinntk.weighting.Causal(...)")
    return causal


def _intervals(steps: int, cadence: Mapping[str, int | None]) -> dict[str, int]:
    """Steps between logs, evaluations, checkpoints and snapshots; what is None by habit: so often in a run, at the most."""
    habit = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}
    return {
        name: max(least, steps // times) if cadence[name] is None else cadence[name] for name, (times, least) in habit.items()
    }


def _move(network: nn.Module, problem: Problem, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
    network.to(device=device, dtype=dtype)
    for like in network.parameters():
        problem.coefficients.to(like.device)  # beside the network: an optimizer may put gradients into one vector
        break


def _counts(
    problem: Problem, points: Points | Mapping[str, int] | None, resample: int | None, solving: bool
) -> tuple[bool, dict[str, int]]:
    """Whether points were given as tensors, and counts by kind or name if not."""
    if points is not None and not isinstance(points, Mapping):
        raise TypeError(
            f"points={type(points).__name__}: give counts, as in {{'residual': 1000}}, or tensors by condition name"
        )
    fixed = bool(points) and not any(isinstance(rows, int) for rows in points.values())
    if fixed and resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    counts = {} if points is None or fixed else dict(points)
    return fixed, solver_counts(problem, counts) if solving and not fixed else counts


def _go(training: Training, progress: bool) -> None:
    with forked(training.like["device"]), deferred_interrupt() as interrupted:
        training.seed_generators()
        try:
            training.loop(interrupted, progress)
        except NonFiniteLoss:
            raise
        except NonFiniteError as error:
            raise training.blown_up(str(error)) from error


def _monitor(monitor: Monitor | bool | None) -> Monitor | None:
    if not (monitor is None or isinstance(monitor, (Monitor, bool))):
        raise TypeError(f"monitor={monitor!r}: give True, or pinntk.Monitor(...)")
    if monitor and distributed.world() > 1:
        raise ValueError("the monitor runs in one process; start it without torchrun, or leave monitor out")
    return Monitor() if monitor is True else monitor or None


def _check_self_adaptive(solving: bool, resample: int, causal: Causal | None) -> None:
    """Raises ValueError for what self-adaptive weights do not go with."""
    for refused, reason in (
        (solving, "are ascended in every step, and a solver compares losses between steps; use a gradient optimizer"),
        (resample, f"belong to points, which resample={resample!r} would replace; leave resample out"),
        (causal is not None, "and causal ones both weigh points; use one or the other"),
        (distributed.world() > 1, "run in one process; start it without torchrun"),
    ):
        if refused:
            raise ValueError(f"self-adaptive weights {reason}")


def _pointwise(
    causal: Causal | None, weighting: Any, network: nn.Module, problem: Problem, seed: int
) -> Causality | Ascent | None:
    if isinstance(weighting, SelfAdaptive):
        return Ascent(weighting, network, problem, seed)
    return causal and Causality(causal, network, problem)


def _rad(adaptive: RAD | bool | None, resample: int, solving: bool) -> RAD | None:
    if not (adaptive is None or isinstance(adaptive, (RAD, bool))):
        raise TypeError(f"adaptive={adaptive!r}: give True, or pinntk.RAD(...)")
    if adaptive and not resample:
        raise ValueError("adaptive points need resample, the steps between draws, as in resample=1000")
    if adaptive is True or (adaptive is None and solving and resample):
        return RAD()
    return adaptive or None


def solver_counts(problem: Problem, counts: Mapping[str, int]) -> dict[str, int]:
    """Points of a solver's first steps, by condition, where the user names none: few, since they grow; both ends of an
    interval once."""
    line = problem.domain.dimension == 1
    default = {"residual": 200 if line else 2000, "data": None}
    problem.counts(**counts)
    chosen = {
        c.name: counts.get(c.name, counts.get(c.kind, default.get(c.kind, 2 if line else 200))) for c in problem.conditions
    }
    return {name: n for name, n in chosen.items() if n is not None}


def _grown(problem: Problem, counts: Mapping[str, int], growth: float) -> dict[str, int]:
    """More points for every condition that has more than the two ends of an interval."""
    if growth == 1:
        return dict(counts)
    return {
        c.name: int(growth * n) if c.kind == "residual" or problem.domain.dimension > 1 else n
        for c in problem.conditions
        if (n := counts.get(c.name)) is not None
    }


def _weighting(weighting: Any) -> Any:
    if weighting is None or isinstance(weighting, str):
        if weighting is not None and weighting not in SCHEMES:
            known = ", ".join(map(repr, SCHEMES))
            raise ValueError(f"weighting={weighting!r} is unknown; use {known}, or an object of pinntk.weighting")
        return SCHEMES[weighting or "fixed"]()
    if isinstance(weighting, Causal):
        raise TypeError("causal weights go beside a weighting: train(..., causal=pinntk.weighting.Causal(...))")
    if isinstance(weighting, type) or not hasattr(weighting, "update"):
        raise TypeError(f"weighting={weighting!r}: give an object, such as pinntk.weighting.NTK(every=100)")
    if (measures := getattr(weighting, "measures", "traces")) not in ("traces", "gradient norms"):
        raise ValueError(f"weighting with measures={measures!r}: 'traces' or 'gradient norms'")
    return weighting
