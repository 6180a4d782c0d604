"""`TrainConfig`: what a training is to do, the same to `pinntk.train`, the command line and config.json."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

from pinntk._util.frozen import FrozenDict, same_values
from pinntk.geometry._sampling import METHODS
from pinntk.problem import Problem
from pinntk.run._recorder import UNKNOWN
from pinntk.solvers import is_solver
from pinntk.training._coefficients import make_coefficient_scales
from pinntk.training._counts import solver_counts
from pinntk.training._given import (
    Settings,
    build,
    check_names,
    make_adaptive,
    make_causal,
    make_monitor,
    make_points,
    make_weighting,
    names_checked,
    weighting_from_json,
)
from pinntk.training._monitor import Monitor
from pinntk.training._optimizers import SCHEDULES, default_schedule, name_of_class, optimizer_class, optimizers
from pinntk.training._resampling import RAD
from pinntk.training._scheme_checks import check_schemes
from pinntk.weighting import NTK, Causal, Combiner, Weighting
from pinntk.weighting._composite import part

if TYPE_CHECKING:
    from typing_extensions import Unpack

GIVEN = "given"  # config.json's word for points that were tensors
_DERIVED: Any = None  # a default that follows from other settings; in a `TrainConfig` that was made, it is a value
_HABITS = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}


def _setting(
    default: Any, help: str = "", *, group: str = "training", belongs_to: str = "", free: bool = False, **option: Any
) -> Any:
    """A field of `TrainConfig`.

    help, group, option: of its option of `pinntk train`, which it has if there is a help text
    belongs_to: "optimizer" where another optimizer takes its own default, "solver" where only going to a solver or coming
        from one does
    free: whether a run may be resumed with another value
    """
    return field(
        default=default, metadata={"help": help, "group": group, "option": option, "belongs_to": belongs_to, "free": free}
    )


def _interval(help: str) -> Any:
    return _setting(_DERIVED, help, group="logging", free=True, type=int, metavar="STEPS")


@names_checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainConfig:
    """The settings of a training.

    What is None when it is made becomes the default that follows from the others, where there is one. A configuration does not
    change: `replace` makes another.

    steps: of the optimizer
    seconds: stop after that much time, if the steps take longer
    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...), "ssbroyden"
        (`pinntk.solvers.SelfScaledBroyden`), or a factory taking the parameters; or a solver on the kernel,
        "gauss-newton" or "natural-gradient" (`pinntk.solvers`), whose options are its arguments. A solver stops when it
        cannot improve; `Run.stop_reason` says why
    schedule, decay, decay_every: of the learning rate, see `pinntk.training.make_schedule`; by default it falls to zero
        along a cosine, so that Adam's spikes are over at the end, and is constant for "lbfgs"; "constant" for plain gradient
        descent
    weighting: an object of `pinntk.weighting`, or its name for the defaults: of loss weights, such as `Fixed(...)` (all ones if
        None) and "ntk", or of points, such as "rba"; several that act on different things as ["ntk", "rba"] or "ntk+rba". Of
        an object that remembers, a training has a copy. With a solver, None is NTK(every=25)
    causal: `pinntk.weighting.Causal(...)`, or a number, its epsilon: residuals at later times count once those before are
        small; beside schemes of loss weights, but not with a solver
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    sampling: "uniform", "grid", "latin-hypercube" or "sobol"; None is uniform, and sobol with a solver
    resample: draw fresh points every so many steps; 0 keeps the first ones; None is 0, and 1 with a solver
    adaptive: fresh points of residuals fall where the errors are large, by `pinntk.RAD(...)`; True for its defaults. Needs
        `resample`; the first points, and those of other conditions, are drawn as without it. With a solver None is: once
        points prove too few; their importance weights then keep the losses mean squares over the domain
    grow: with a solver and fresh points, their number may grow up to this factor (8 unless given), when they prove too few
    coefficient_scales: {coefficient: s}: it is trained as s times a number of size 1, s to the nearest power of 2; None for the
        sizes that `pinntk.diagnostics.scales` finds above 10 or below 0.001, {} for none
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
    seconds: float | None = _setting(
        None, "at most so much time: 90, 3m or 1.5h (default: no limit)", free=True, type="duration", metavar="TIME"
    )
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
    coefficient_scales: Mapping[str, float] | None = _setting(None)
    seed: int = _setting(0)
    log_every: int = _interval("losses and weights (default: 400 times per run)")
    eval_every: int = _interval("relative L2 error, traces, drift (default: 100 times per run)")
    checkpoint_every: int = _interval("checkpoint (default: 20 times per run)")
    snapshot_every: int = _interval("kernel blocks (default: 10 times per run)")
    compile: bool = _setting(
        False,
        "the steps as one compiled graph: slow to start, then 1.5 to 3 times faster",
        belongs_to="solver",
        free=True,
        action="store_const",
        const=True,
    )
    monitor: Monitor | None = _setting(None, free=True)
    _derived: ClassVar[tuple[str, ...]] = ()  # settings that were not given; of each configuration its own

    if TYPE_CHECKING:

        def __init__(self, **settings: Unpack[Settings]) -> None: ...

    def __post_init__(self) -> None:
        _check_numbers(self)
        derived = tuple(name for name in SETTINGS if getattr(self, name) is None)
        self._set(
            _derived=derived,
            optimizer=name_of_class(self.optimizer),
            seed=operator.index(self.seed),
            optimizer_options=FrozenDict(self.optimizer_options or {}),
            causal=make_causal(self.causal),
            monitor=make_monitor(self.monitor),
            points=FrozenDict(make_points(self.points)),
            coefficient_scales=make_coefficient_scales(self.coefficient_scales),
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
            adaptive=make_adaptive(self.adaptive, self.resample, self.solver),
            grow=float((8.0 if self.solver and self.resample else 1.0) if self.grow is None else self.grow),
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
    def point_scheme(self) -> Weighting | None:
        """The scheme that weighs points, if there is one."""
        return part(self.weighting, "points")

    @property
    def combiner(self) -> Combiner | None:
        """What combines the gradients of conditions, if anything does."""
        found = part(self.weighting, "gradients")
        return found if isinstance(found, Combiner) else None

    @property
    def rad(self) -> RAD | None:
        """How fresh points are drawn where errors are large; None where they never are."""
        if self.adaptive is None:
            return RAD() if self.solver and self.resample else None
        return self.adaptive if isinstance(self.adaptive, RAD) else None

    def counts(self, problem: Problem) -> dict[str, int]:
        """Numbers of points to draw, by kind or by name of conditions; others have the problem's own."""
        return solver_counts(problem, self.points) if self.solver else dict(self.points)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrainConfig) and all(
            same_values(getattr(self, name), getattr(other, name)) for name in SETTINGS
        )

    __hash__ = None  # type: ignore[assignment]  # it holds dictionaries, and perhaps tensors

    def replace(self, **settings: Unpack[Settings]) -> TrainConfig:
        """A copy with other values, from which defaults follow anew. With another optimizer, what belongs to the one before
        is its own default again, unless given.
        """
        check_names(settings)
        kept = {name: getattr(self, name) for name in SETTINGS if name not in self._derived}
        if "optimizer" in settings:
            kept |= defaults_of_another(self.optimizer, settings["optimizer"])
        return TrainConfig(**{**kept, **settings})

    def describe(self, problem: Problem) -> dict[str, Any]:
        """The sections "training" and "weighting" of config.json."""
        training = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weighting"}
        training["optimizer_options"] = dict(self.optimizer_options)
        training["points"] = GIVEN if self.fixed_points else problem.counts(**self.counts(problem))
        for name in ("optimizer", "schedule"):
            value = training[name]
            training[name] = value if value is None or isinstance(value, str) else _name_of_function(value)
        for name in NESTED:
            if hasattr(training[name], "describe"):
                training[name] = training[name].describe()
        return deepcopy({"training": training, "weighting": self.weighting.describe()})

    @classmethod
    def from_json(cls, config: Mapping[str, Any], **settings: Any) -> TrainConfig:
        """The settings in a config.json, or in what `pinntk.training.apply_changes` made of it.

        settings: override what it says

        Raises ValueError, naming it, for what a text cannot hold and `settings` do not give: points given as tensors, an
        optimizer or a schedule given as a function, a weighting of one's own.
        """
        training = dict(config.get("training") or {})
        settings = {k: v for k, v in settings.items() if v is not None or k not in ("points", "weighting", "optimizer")}
        check_names({**training, **settings})
        if training.get("points") == GIVEN and "points" not in settings:
            raise ValueError("the run was trained on points given as tensors; give them: train_as(config, points=...)")
        if isinstance(points := training.get("points"), Mapping):
            training["points"] = {name: n for name, n in points.items() if n is not None}
        for name, known in (("optimizer", optimizers()), ("schedule", SCHEDULES)):
            value = training.get(name)
            if name not in settings and isinstance(value, str) and value.lower() not in known and not is_solver(value):
                what = "is not known" if value == UNKNOWN else f"was a function, {value}"
                raise ValueError(f"the run's {name} {what}; give it: train_as(config, {name}=...)")
        for name, kind in NESTED.items():
            if isinstance(value := training.get(name), Mapping):
                training[name] = build(name, kind, value)
        if config.get("weighting") is not None and "weighting" not in settings:
            training["weighting"] = weighting_from_json(config["weighting"])
        if "optimizer" in settings:
            training |= defaults_of_another(training.get("optimizer", "adam"), settings["optimizer"])
        return cls(**{**training, **settings})


NESTED: dict[str, Callable[..., Any]] = {"adaptive": RAD, "causal": Causal, "monitor": Monitor}  # by `describe`; or None
SETTINGS = {f.name: f for f in fields(TrainConfig)}


def _name_of_function(value: Any) -> str:
    """The same in every session, so that a run can be resumed with it."""
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__qualname__


def _intervals(steps: int) -> dict[str, int]:
    """Steps between logs, evaluations, checkpoints and snapshots by default."""
    return {name: max(least, steps // times) for name, (times, least) in _HABITS.items()}


def defaults_of_another(before: str | Callable, after: str | Callable) -> dict[str, Any]:
    """The defaults of what belongs to an optimizer, where another one comes: Adam's learning rate is not that of L-BFGS."""
    if before == after or (isinstance(before, str) and isinstance(after, str) and before.lower() == after.lower()):
        return {}
    kinds = {"optimizer", "solver"} if is_solver(before) != is_solver(after) else {"optimizer"}
    return {name: f.default for name, f in SETTINGS.items() if f.metadata["belongs_to"] in kinds}


# Checks of single settings.


def _check_numbers(config: TrainConfig) -> None:
    for name in ("seconds", "lr", "decay", "grow"):
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
    for name in (*_HABITS, "resample"):
        value = getattr(config, name)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}={value!r}: a whole number of steps, 0 for never")
    if config.seconds is not None and not config.seconds > 0:
        raise ValueError(f"seconds={config.seconds!r}: above 0, or None for no limit")
    if config.decay is None or config.decay <= 0:
        raise ValueError(f"decay={config.decay!r}: a factor above 0")
    if isinstance(config.seed, bool) or not hasattr(config.seed, "__index__"):
        raise TypeError(f"seed={config.seed!r}: a whole number")
    if not 0 <= config.seed < 2**63:
        raise ValueError(f"seed={config.seed!r}: at least 0, and below 2^63")
    if config.sampling is not None and config.sampling not in METHODS:
        raise ValueError(f"sampling={config.sampling!r}: one of {', '.join(METHODS)}")


# Checks of settings that meet.


def _check_optimizer(config: TrainConfig) -> None:
    optimizer = config.optimizer
    if not config.solver:
        optimizer_class(optimizer)  # raises for an unknown one
        if isinstance(config.schedule, str) and config.schedule not in SCHEDULES:
            raise ValueError(f"schedule {config.schedule!r} is unknown; use one of {', '.join(SCHEDULES)}, or a factory")
        names = () if isinstance(optimizer, (str, type)) else ("lr", "optimizer_options")
        if named := next((name for name in names if _is_given(getattr(config, name))), None):
            raise ValueError(f"{named}={getattr(config, named)!r} does not apply to a factory: use it in there")
    elif named := next((name for name in ("lr", "schedule", "compile") if _is_given(getattr(config, name))), None):
        raise ValueError(f"{named}={getattr(config, named)!r} does not apply to optimizer={optimizer!r}; leave it out")
    if config.solver and config.causal is not None:
        raise ValueError(
            f"causal weights change with every step, and optimizer={optimizer!r} compares losses between steps; leave causal "
            'out, or use a gradient optimizer, such as "adam" or "lbfgs"'
        )
    if config.grow is not None and (config.grow < 1 or (config.grow > 1 and not config.solver)):
        raise ValueError(f"grow={config.grow!r}: at least 1, and only with a solver, such as optimizer='gauss-newton'")


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != {}


def _check_together(config: TrainConfig) -> None:
    if config.fixed_points and config.resample:
        raise ValueError("resample needs counts, such as points={'residual': 1000}; given tensors stay as they are")
    check_schemes(
        config.weighting, config.optimizer_name, config.resample, config.causal is not None, config.solver, config.compile
    )
