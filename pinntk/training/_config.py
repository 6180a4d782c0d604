"""`TrainConfig`: what a training is to do, the same to `pinntk.train`, the command line and config.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from pinntk.problem import Problem
from pinntk.problem._sampling import METHODS
from pinntk.solvers import is_solver
from pinntk.training._counts import solver_counts
from pinntk.training._monitor import Monitor
from pinntk.training._optimizers import SCHEDULES, default_schedule, optimizer_class, optimizers
from pinntk.training._resampling import RAD
from pinntk.weighting import NTK, SCHEMES, Causal, Fixed, SelfAdaptive, Weighting

GIVEN = "given"  # config.json's word for points that were tensors
_DERIVED: Any = None  # a default that follows from other settings; in a `TrainConfig` that was made, it is a value
_HABITS = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}


def _setting(default: Any, help: str = "", *, belongs_to: str = "", free: bool = False, **option: Any) -> Any:
    """A field of `TrainConfig`.

    help, option: of its option on the command line, which it has if there is a help text
    belongs_to: "optimizer" where another optimizer takes its own default, "solver" where only going to a solver or coming
        from one does
    free: whether a run may be resumed with another value
    """
    return field(default=default, metadata={"help": help, "option": option, "belongs_to": belongs_to, "free": free})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training. What is None when it is made becomes the value that it stands for.

    steps: of the optimizer
    seconds: stop after that much time, if the steps take longer
    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...), "ssbroyden"
        (`pinntk.solvers.SelfScaledBroyden`), or a factory taking the parameters; or a solver on the kernel,
        "gauss-newton" or "natural-gradient" (`pinntk.solvers`), whose options are its arguments. A solver stops when it
        cannot improve; `Run.stop_reason` says why
    schedule, decay, decay_every: of the learning rate, see `pinntk.training.make_schedule`; by default it falls to zero
        along a cosine, so that Adam's spikes are over at the end, and is constant for "lbfgs"; "constant" for plain gradient
        descent
    weighting: an object of `pinntk.weighting`: `Fixed(...)` (all ones if None), `NTK(...)` or `GradientNorm(...)`; or
        `SelfAdaptive(...)`, of points in place of conditions; "ntk", "gradient-norm" or "self-adaptive" for the defaults. With
        a solver, None is NTK(every=25)
    causal: `pinntk.weighting.Causal(...)`, or a number, its epsilon: residuals at later times count once those before are
        small; beside fixed, NTK or gradient-norm weights, but not with a solver
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    sampling: "uniform", "grid", "latin-hypercube" or "sobol"; None is uniform, and sobol with a solver
    resample: draw fresh points every so many steps; 0 keeps the first ones; None is 0, and 1 with a solver
    adaptive: fresh points of residuals fall where the errors are large, by `pinntk.RAD(...)`; True for its defaults. Needs
        `resample`; the first points, and those of other conditions, are drawn as without it. With a solver None is: once
        points prove too few; their importance weights then keep the losses mean squares over the domain
    grow: with a solver and fresh points, their number may grow up to this factor (4 unless given), when they prove too few
    seed: of points, and of whatever draws random numbers in the training
    log_every, eval_every (error, traces, drift), checkpoint_every, snapshot_every (kernel): in steps; by default 400, 100
        (but not more often than every 10 steps), 20 and 10 times per run; 0 is never
    compile: give the step's gradient to `torch.compile`: 10 to 30 seconds of waiting, then 1.5 to 3 times faster steps;
        needs a C++ compiler, and says why where it does not work. Python code inside the network runs once only
    monitor: measure the kernel and diagnose while training, by `pinntk.Monitor(...)`; True for its defaults, at most 5 % of
        the time. It changes nothing of the training

    Raises ValueError or TypeError, naming the setting, its value and the fix, for settings that cannot be.

    >>> TrainConfig(steps=2000, optimizer="lbfgs").schedule
    'constant'
    """

    steps: int = _setting(10_000, "optimizer steps (default: 10000)", free=True, type=int)
    seconds: float | None = _setting(None, "at most so much time (default: no limit)", free=True, type=float)
    optimizer: str | Callable = _setting(
        "adam",
        "adam, lbfgs, gradient-descent, any other of torch.optim, ssbroyden, natural-gradient or gauss-newton, for "
        "which `pinntk solve` has fitting defaults (default: adam)",
    )
    lr: float | None = _setting(None, "learning rate (default: torch's for the optimizer)", belongs_to="optimizer", type=float)
    optimizer_options: Mapping[str, Any] = _setting(_DERIVED, belongs_to="optimizer")
    schedule: str | Callable | None = _setting(
        None,
        "of the learning rate (default: cosine; for lbfgs constant)",
        belongs_to="optimizer",
        choices=SCHEDULES,
    )
    decay: float = _setting(0.9, "factor of the exponential schedule (default: 0.9)", type=float)
    decay_every: int = _setting(1000, "steps in which it acts once (default: 1000)", type=int, metavar="STEPS")
    weighting: Weighting = _setting(_DERIVED)
    causal: Causal | None = _setting(None)
    points: Mapping[str, Any] = _setting(_DERIVED)
    sampling: str = _setting(_DERIVED, belongs_to="solver")
    resample: int = _setting(
        _DERIVED,
        "draw fresh points every so many steps (default: never)",
        belongs_to="solver",
        type=int,
        metavar="STEPS",
    )
    adaptive: RAD | bool | None = _setting(
        None,
        "with --resample: fresh residual points where the errors are large (RAD)",
        belongs_to="solver",
        action="store_const",
        const=True,
    )
    grow: float = _setting(_DERIVED, belongs_to="optimizer")
    seed: int = _setting(0)
    log_every: int = _setting(_DERIVED, "losses and weights (default: 400 times per run)", free=True, type=int, metavar="STEPS")
    eval_every: int = _setting(
        _DERIVED, "error, traces, drift (default: 100 times per run)", free=True, type=int, metavar="STEPS"
    )
    checkpoint_every: int = _setting(_DERIVED, "checkpoint (default: 20 times per run)", free=True, type=int, metavar="STEPS")
    snapshot_every: int = _setting(_DERIVED, "kernel blocks (default: 10 times per run)", free=True, type=int, metavar="STEPS")
    compile: bool = _setting(
        False,
        "the steps as one compiled graph: slow to start, then 1.5 to 3 times faster",
        belongs_to="solver",
        free=True,
        action="store_const",
        const=True,
    )
    monitor: Monitor | None = _setting(None, free=True)

    def __post_init__(self) -> None:
        _check_numbers(self)
        self._set(
            optimizer_options=dict(self.optimizer_options or {}),
            causal=_causal(self.causal),
            monitor=_monitor(self.monitor),
            points=_points(self.points),
            weighting=NTK(every=25) if self.solver and self.weighting is None else make_weighting(self.weighting),
        )
        _check_optimizer(self)
        fresh = self.solver and not self.fixed_points
        self._set(
            schedule=self.schedule or (None if self.solver else default_schedule(self.optimizer)),
            sampling=self.sampling or ("sobol" if self.solver else "uniform"),
            resample=int(fresh) if self.resample is None else self.resample,
        )
        self._set(
            adaptive=_adaptive(self),
            grow=float((4.0 if self.solver and self.resample else 1.0) if self.grow is None else self.grow),
            **{name: every for name, every in _intervals(self.steps).items() if getattr(self, name) is None},
        )
        _check_together(self)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def solver(self) -> bool:
        """Whether a solver on the kernel takes the steps, and no torch optimizer."""
        return is_solver(self.optimizer)

    @property
    def optimizer_name(self) -> str:
        """In small letters; "" for a factory."""
        return self.optimizer.lower() if isinstance(self.optimizer, str) else ""

    @property
    def fixed_points(self) -> bool:
        """Whether the points are tensors of the user's."""
        return bool(self.points) and not any(isinstance(rows, int) for rows in self.points.values())

    @property
    def self_adaptive(self) -> bool:
        return isinstance(self.weighting, SelfAdaptive)

    @property
    def rad(self) -> RAD | None:
        """How fresh points are drawn where errors are large; None where they never are."""
        if self.adaptive is None:
            return RAD() if self.solver and self.resample else None
        return self.adaptive if isinstance(self.adaptive, RAD) else None

    def counts(self, problem: Problem) -> dict[str, int]:
        """Numbers of points to draw, by kind or by name of conditions; others have the problem's own."""
        return solver_counts(problem, self.points) if self.solver else dict(self.points)

    def replace(self, **settings: Any) -> TrainConfig:
        """A copy with other values. A new optimizer takes its own defaults for what belongs to an optimizer, unless given."""
        check_names(settings)
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        kept |= {name: None for name, every in _intervals(self.steps).items() if kept[name] == every}  # they follow from steps
        if "optimizer" in settings:
            kept |= defaults_of_another(self.optimizer, settings["optimizer"])
        return TrainConfig(**{**kept, **settings})

    def describe(self, problem: Problem) -> dict[str, Any]:
        """The sections "training" and "weighting" of config.json."""
        training = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weighting"}
        training["points"] = GIVEN if self.fixed_points else problem.counts(**self.counts(problem))
        for name in ("optimizer", "schedule"):
            value = training[name]
            training[name] = value if value is None or isinstance(value, str) else repr(value)
        for name in NESTED:
            if hasattr(training[name], "describe"):
                training[name] = training[name].describe()
        return {"training": training, "weighting": self.weighting.describe()}

    @classmethod
    def from_json(cls, config: Mapping[str, Any], **settings: Any) -> TrainConfig:
        """The settings in a config.json, or in what `pinntk.training.changed` made of it.

        settings: override what it says

        Raises ValueError, naming it, for what a text cannot hold and `settings` do not give: points given as tensors, an
        optimizer or a schedule given as a function, a weighting of one's own.
        """
        training = {**config.get("training", {})}
        check_names({**training, **settings})
        points = training.get("points")
        if points == GIVEN and settings.get("points") is None:
            raise ValueError("the run was trained on points given as tensors; give them: train_as(config, points=...)")
        if isinstance(points, Mapping):
            training["points"] = {name: n for name, n in points.items() if n is not None}
        for name, known in (("optimizer", optimizers()), ("schedule", SCHEDULES)):
            value = training.get(name)
            if name not in settings and value is not None and value.lower() not in known and not is_solver(value):
                raise ValueError(f"the run's {name} was a function, {value}; give it: train_as(config, {name}=...)")
        for name, kind in NESTED.items():
            if isinstance(value := training.get(name), Mapping):
                training[name] = _built(name, kind, value)
        if "weighting" in config and settings.get("weighting") is None:
            training["weighting"] = _weighting_from_json(config["weighting"])
        return cls(**{**training, **settings})


NESTED: dict[str, Callable[..., Any]] = {"adaptive": RAD, "causal": Causal, "monitor": Monitor}  # by `describe`; or None
SETTINGS = {f.name: f for f in fields(TrainConfig)}


def _intervals(steps: int) -> dict[str, int]:
    """Steps between logs, evaluations, checkpoints and snapshots by default."""
    return {name: max(least, steps // times) for name, (times, least) in _HABITS.items()}


def check_names(settings: Iterable[str]) -> None:
    """Raises TypeError, with the nearest name, for a setting that there is not."""
    for name in settings:
        if name not in SETTINGS:
            close = get_close_matches(name, SETTINGS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; settings are {', '.join(SETTINGS)}"
            raise TypeError(f"train has no setting {name!r}{hint}")


def defaults_of_another(before: str | Callable, after: str | Callable) -> dict[str, Any]:
    """The defaults of what belongs to an optimizer, where another one comes: Adam's learning rate is not that of L-BFGS."""
    if before == after:
        return {}
    kinds = {"optimizer", "solver"} if is_solver(before) != is_solver(after) else {"optimizer"}
    return {name: f.default for name, f in SETTINGS.items() if f.metadata["belongs_to"] in kinds}


def make_weighting(weighting: Any) -> Weighting:
    """The object of `pinntk.weighting` that a name, None (all ones) or an object stands for."""
    if weighting is None:
        return Fixed()
    if isinstance(weighting, str):
        if weighting not in SCHEMES:
            known = ", ".join(map(repr, SCHEMES))
            raise ValueError(f"weighting={weighting!r} is unknown; use {known}, or an object of pinntk.weighting")
        return SCHEMES[weighting]()
    if isinstance(weighting, Causal):
        raise TypeError("causal weights go beside a weighting: train(..., causal=pinntk.weighting.Causal(...))")
    if isinstance(weighting, type) or not hasattr(weighting, "update"):
        raise TypeError(f"weighting={weighting!r}: give an object, such as pinntk.weighting.NTK(every=100)")
    if (measures := getattr(weighting, "measures", None)) not in ("traces", "gradient norms"):
        raise ValueError(f"weighting with measures={measures!r}: 'traces' or 'gradient norms'")
    return weighting


def _weighting_from_json(described: Mapping[str, Any] | str) -> Weighting:
    options = {"name": described} if isinstance(described, str) else dict(described)
    name = options.pop("name", None)
    if name not in SCHEMES:
        raise ValueError(f"weighting {name!r} is none of {', '.join(SCHEMES)}; give it: train_as(config, weighting=...)")
    return _built(f"weighting {name!r}", SCHEMES[name], options)


def _built(what: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{what} with {dict(options)}: {error}") from error


# Checks of single settings.


def _check_numbers(config: TrainConfig) -> None:
    for name in ("seconds", "lr", "decay", "grow"):
        value = getattr(config, name)
        if not isinstance(value, (int, float, type(None))):
            raise TypeError(f"{name}={value!r}: a number")
    for name in ("steps", "decay_every"):
        value = getattr(config, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: a whole number of at least 1")
    if not isinstance(config.compile, bool):
        raise TypeError(f"compile={config.compile!r}: True or False")
    for name in (*_HABITS, "resample"):
        value = getattr(config, name)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    if config.seconds is not None and not config.seconds > 0:
        raise ValueError(f"seconds={config.seconds!r}: above 0, or None for no limit")
    if config.decay is None or config.decay <= 0:
        raise ValueError(f"decay={config.decay!r}: a factor above 0")
    if not isinstance(config.seed, int):
        raise TypeError(f"seed={config.seed!r}: a whole number")
    if not 0 <= config.seed < 2**63:
        raise ValueError(f"seed={config.seed!r}: at least 0, and below 2^63")
    if config.sampling is not None and config.sampling not in METHODS:
        raise ValueError(f"sampling={config.sampling!r}: one of {', '.join(METHODS)}")


def _causal(causal: Any) -> Causal | None:
    causal = Causal(causal) if isinstance(causal, (int, float)) and not isinstance(causal, bool) else causal
    if not (causal is None or isinstance(causal, Causal)):
        raise TypeError(f"causal={causal!r}: give epsilon, as in causal=1.0, or pinntk.weighting.Causal(...)")
    return causal


def _monitor(monitor: Any) -> Monitor | None:
    if not (monitor is None or isinstance(monitor, (Monitor, bool))):
        raise TypeError(f"monitor={monitor!r}: give True, or pinntk.Monitor(...)")
    return Monitor() if monitor is True else monitor or None


def _points(points: Any) -> dict[str, int] | dict[str, Tensor]:
    if points is not None and not isinstance(points, Mapping):
        raise TypeError(
            f"points={type(points).__name__}: give counts, as in {{'residual': 1000}}, or tensors by condition name"
        )
    return dict(points or {})


def _adaptive(config: TrainConfig) -> RAD | bool | None:
    adaptive = config.adaptive
    if not (adaptive is None or isinstance(adaptive, (RAD, bool))):
        raise TypeError(f"adaptive={adaptive!r}: give True, or pinntk.RAD(...)")
    if adaptive and not config.resample:
        raise ValueError("adaptive points need resample, the steps between draws, as in resample=1000")
    if adaptive is False and not config.solver:
        return None
    return RAD() if adaptive is True else adaptive


# Checks of settings that meet.


def _check_optimizer(config: TrainConfig) -> None:
    optimizer = config.optimizer
    if not config.solver:
        optimizer_class(optimizer)  # raises for an unknown one
        if isinstance(config.schedule, str) and config.schedule not in SCHEDULES:
            raise ValueError(f"schedule {config.schedule!r} is unknown; use one of {', '.join(SCHEDULES)}, or a factory")
    elif named := next((name for name in ("lr", "schedule", "compile") if getattr(config, name) not in (None, False)), None):
        raise ValueError(f"{named}={getattr(config, named)!r} does not apply to optimizer={optimizer!r}; leave it out")
    if config.solver and config.causal is not None:
        raise ValueError(
            f"causal weights change with every step, and optimizer={optimizer!r} compares losses between steps; leave causal "
            'out, or use a gradient optimizer, such as "adam" or "lbfgs"'
        )
    if config.grow is not None and (config.grow < 1 or (config.grow > 1 and not config.solver)):
        raise ValueError(f"grow={config.grow!r}: at least 1, and only with a solver, such as optimizer='gauss-newton'")


def _check_together(config: TrainConfig) -> None:
    if config.fixed_points and config.resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    if not config.self_adaptive:
        return
    for refused, reason in (
        (config.solver, "are ascended in every step, and a solver compares losses between steps; use a gradient optimizer"),
        (config.resample, f"belong to points, which resample={config.resample!r} would replace; leave resample out"),
        (config.causal is not None, "and causal ones both weigh points; use one or the other"),
    ):
        if refused:
            raise ValueError(f"self-adaptive weights {reason}")
