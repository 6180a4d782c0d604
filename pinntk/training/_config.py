"""`TrainConfig`: what a training is to do, the same to `pinntk.train`, the command line and config.json."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from pinntk._util.frozen import FrozenDict, same_values
from pinntk.geometry._sampling import TRAINED_ON
from pinntk.problem import Problem
from pinntk.run import EarlyStopping
from pinntk.run._recorder import UNKNOWN
from pinntk.solvers import is_solver
from pinntk.solvers._chain import names_of, read_chain
from pinntk.training._chain_parts import check_chain, parts_of
from pinntk.training._checks import check_numbers, check_optimizer, check_together
from pinntk.training._coefficients import make_coefficient_scales
from pinntk.training._counts import solver_counts
from pinntk.training._given import (
    ADAPTIVE,
    Settings,
    build,
    check_names,
    intervals,
    make_adaptive,
    make_causal,
    make_early_stopping,
    make_monitor,
    make_points,
    make_weighting,
    name_of,
    names_checked,
    weighting_from_json,
)
from pinntk.training._monitor import Monitor
from pinntk.training._optimizers import SCHEDULES, default_schedule, is_known, name_of_class
from pinntk.training._resampling import RAD
from pinntk.training._retaining import R3
from pinntk.weighting import NTK, Causal, Combiner, Weighting
from pinntk.weighting._composite import part
from pinntk.weighting._ntk import OF_SOLVERS

if TYPE_CHECKING:
    from typing_extensions import Unpack

GIVEN = "given"  # config.json's word for points that were tensors
_DERIVED: Any = None  # a default that follows from other settings; in a `TrainConfig` that was made, it is a value
_STEPS = 10_000


def _setting(
    default: Any, help: str = "", *, group: str = "training", belongs_to: str = "", free: bool = False, **option: Any
) -> Any:
    """A field of `TrainConfig`.

    help, group, option: of its option of `pinntk train`, which it has if there is a help text
    belongs_to: "optimizer" where another optimizer takes its own default, "schedule" where another schedule does too,
        "solver" where only going to a solver or coming from one does
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

    steps: of the optimizer, 10,000 unless given; of a chain the sum
    seconds: stop after that much time, without that of compiling, if the steps take longer; a cosine schedule then ends with it
    optimizer, lr, optimizer_options: a torch optimizer by name ("adam", "lbfgs", "gradient-descent", ...), "ssbroyden"
        (`pinntk.solvers.SelfScaledBroyden`), or a factory taking the parameters; or a solver on the kernel,
        "gauss-newton" or "natural-gradient" (`pinntk.solvers`), whose options are its arguments. A solver stops when it
        cannot improve; `Run.stop_reason` says why. Or a chain, one after the other on the same network: "adam:2000,
        lbfgs:500:history_size=20, gauss-newton:50", or a list of such parts, of pairs (optimizer, steps) and of mappings
        {"optimizer": "adam", "steps": 2000, "lr": 0.01}. What belongs to an optimizer is then a part's own
    schedule, decay, decay_every: of the learning rate, see `pinntk.training.make_schedule`; by default it falls to zero
        along a cosine, so that Adam's spikes are over at the end, and is constant for "lbfgs"; "constant" for plain gradient
        descent
    clip: the largest norm of a gradient, over all parameters together: a longer one is made as long; None for any. Not with
        what searches the length of its steps
    average: decay of an exponential moving average of the parameters, as in 0.999, kept beside them: `Run.averaged` is the
        network with it, and averaged/relative_error of the history its error. `Run.network` is the one that is trained
    early_stopping: `pinntk.EarlyStopping(...)`, or "METRIC:PATIENCE", as in "relative_error:20"; True for its defaults
    weighting: an object of `pinntk.weighting`, or its name for the defaults: of loss weights, such as `Fixed(...)` (all ones if
        None) and "ntk", or of points, such as "rba"; several that act on different things as ["ntk", "rba"] or "ntk+rba". Of
        an object that remembers, a training has a copy. With a solver, None is NTK(every=25, momentum=0.0)
    causal: `pinntk.weighting.Causal(...)`, or a number, its epsilon: residuals at later times count once those before are
        small; beside schemes of loss weights and "remaining-time", but not with a solver
    points: counts by kind or name ({"boundary": 100}), or tensors by condition name; see `Problem.sample`
    sampling: "sobol", which is None, "uniform", "grid" or "latin-hypercube"
    resample: draw fresh points every so many steps; 0 keeps the first ones; None is 0, and 1 with a solver
    adaptive: fresh points of residuals fall where the errors are large, by `pinntk.RAD(...)`, or those with large errors stay,
        by `pinntk.R3()`; "rad" or "r3" for the defaults, True for those of RAD. Needs `resample`; the first points, and those
        of other conditions, are drawn as without it. With a solver None is: once points prove too few; their importance weights
        then keep the losses mean squares over the domain
    grow: with a solver and fresh points, their number may grow up to this factor (8 unless given), when they prove too few
    coefficient_scales: {coefficient: s}: it is trained as s times a number of size 1, s to the nearest power of 2; None for the
        sizes that `pinntk.diagnostics.scales` finds above 10 or below 0.001, {} for none
    seed: of points, and of whatever draws random numbers in the training
    log_every, eval_every (error, traces, drift), checkpoint_every, snapshot_every (kernel): in steps; by default 400, 100
        (but not more often than every 10 steps), 20 and 10 times per run; 0 is never
    compile: give the step's gradient to `torch.compile`: 5 to 30 seconds of waiting, which `seconds` and the history leave out,
        then 2 to 4 times faster steps; needs a C++ compiler, and says why where it does not work. Python code inside the
        network runs once only
    monitor: measure the kernel and diagnose while training, by `pinntk.Monitor(...)`; True for its defaults, at most 5 % of
        the time. It changes nothing of the training

    Raises ValueError or TypeError, naming the setting, its value and the fix, for settings that cannot be.

    >>> TrainConfig(steps=2000, optimizer="lbfgs").schedule
    'constant'
    """

    steps: int = _setting(_DERIVED, "optimizer steps (default: 10000; of a chain the sum)", free=True, type=int)
    seconds: float | None = _setting(
        None, "at most so much time: 90, 3m or 1.5h (default: no limit)", free=True, type="duration", metavar="TIME"
    )
    optimizer: str | Callable = _setting(
        "adam",
        "adam, lbfgs, gradient-descent, any other of torch.optim, ssbroyden, natural-gradient or gauss-newton, for "
        "which `pinntk solve` has fitting defaults (default: adam); soap and others with pinntk[optimizers]; or a chain, as "
        "in 'adam:2000:lr=0.01, lbfgs:500'",
    )
    lr: float | None = _setting(None, "learning rate (default: torch's for the optimizer)", belongs_to="optimizer", type=float)
    optimizer_options: Mapping[str, Any] = _setting(
        _DERIVED,
        "other settings of the optimizer, as in weight_decay=0; may be repeated",
        belongs_to="optimizer",
        action="merged",
        metavar="NAME=VALUE,...",
    )
    schedule: str | Callable | None = _setting(
        None, "of the learning rate (default: cosine; for lbfgs constant)", belongs_to="optimizer", choices=SCHEDULES
    )
    decay: float = _setting(0.9, "factor of the exponential schedule (default: 0.9)", belongs_to="schedule", type=float)
    decay_every: int = _setting(
        1000, "steps in which it acts once (default: 1000)", belongs_to="schedule", type=int, metavar="STEPS"
    )
    clip: float | None = _setting(
        None, "largest norm of a gradient; longer ones become as long (default: any)", belongs_to="optimizer", type=float
    )
    average: float | None = _setting(
        None, "decay of a moving average of the parameters kept beside them, as in 0.999 (default: none)", type=float
    )
    early_stopping: EarlyStopping | None = _setting(
        None,
        "stop when a column of metrics.csv has not got better for so many rows, as in relative_error:20; alone: loss:10",
        free=True,
        nargs="?",
        const="loss:10",
        metavar="METRIC:ROWS",
    )
    weighting: Weighting = _setting(_DERIVED)
    causal: Causal | None = _setting(None)
    points: Mapping[str, Any] = _setting(_DERIVED)
    sampling: str = _setting(_DERIVED, belongs_to="solver")
    resample: int = _setting(
        _DERIVED, "draw fresh points every so many steps (default: never)", belongs_to="solver", type=int, metavar="STEPS"
    )
    adaptive: RAD | R3 | bool | None = _setting(
        None,
        "with --resample: fresh points where residuals are large (rad), or points with large ones stay (r3); alone: rad",
        belongs_to="solver",
        nargs="?",
        const="rad",
        choices=tuple(ADAPTIVE),
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
        "the steps as one compiled graph: slow to start, then 2 to 4 times faster",
        belongs_to="solver",
        free=True,
        action="store_const",
        const=True,
    )
    monitor: Monitor | None = _setting(None, free=True)
    _derived: ClassVar[tuple[str, ...]] = ()  # settings that were not given; of each configuration its own
    _parts: ClassVar[tuple[TrainConfig, ...]] = ()  # of a chain, likewise

    if TYPE_CHECKING:

        def __init__(self, **settings: Unpack[Settings]) -> None: ...

    def __post_init__(self) -> None:
        derived = tuple(name for name in SETTINGS if getattr(self, name) is None)
        chain = read_chain(self.optimizer)
        if self.steps is None:
            self._set(steps=_STEPS if chain is None else chain.steps)
        check_numbers(self)
        self._set(
            _derived=derived,
            optimizer=name_of_class(self.optimizer) if chain is None else chain,
            seed=operator.index(self.seed),
            optimizer_options=FrozenDict(self.optimizer_options or {}),
            causal=make_causal(self.causal),
            early_stopping=make_early_stopping(self.early_stopping),
            monitor=make_monitor(self.monitor),
            points=FrozenDict(make_points(self.points)),
            sampling=self.sampling or TRAINED_ON,
            coefficient_scales=make_coefficient_scales(self.coefficient_scales),
            weighting=NTK(**OF_SOLVERS) if self._solves and self.weighting is None else make_weighting(self.weighting),
            **{name: every for name, every in intervals(self.steps).items() if getattr(self, name) is None},
        )
        if chain is None:
            self._set_what_follows()
        else:
            check_chain(self, chain, {name: f.metadata["belongs_to"] for name, f in SETTINGS.items()})
            self._set(_parts=parts_of(chain, self._given(), TrainConfig))

    def _set_what_follows(self) -> None:
        """Defaults by the optimizer, which for a chain are each part's own."""
        check_optimizer(self)
        fresh = self.solver and not self.fixed_points
        self._set(
            schedule=self.schedule or (None if self.solver else default_schedule(self.optimizer)),
            resample=int(fresh) if self.resample is None else self.resample,
        )
        self._set(
            adaptive=make_adaptive(self.adaptive, self.resample, self.solver),
            grow=float((8.0 if self.solver and self.resample else 1.0) if self.grow is None else self.grow),
        )
        check_together(self)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _given(self) -> dict[str, Any]:
        """The settings that do not follow from others."""
        return {name: getattr(self, name) for name in SETTINGS if name not in self._derived}

    @property
    def parts(self) -> tuple[TrainConfig, ...]:
        """The settings of each part of a chain, each with its own steps; of any other optimizer these."""
        return self._parts or (self,)

    @property
    def solver(self) -> bool:
        """Whether a solver on the kernel takes the steps, and no torch optimizer; of a chain see `parts`."""
        return is_solver(self.optimizer)

    @property
    def _solves(self) -> bool:
        """Whether a solver takes any steps."""
        return any(map(is_solver, names_of(self.optimizer)))

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

    @property
    def r3(self) -> R3 | None:
        """Which points stay when fresh ones are drawn; None where none do."""
        return self.adaptive if isinstance(self.adaptive, R3) else None

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
        kept = self._given()
        return TrainConfig(**{**kept, **defaults_with(kept, settings), **settings})

    def describe(self, problem: Problem) -> dict[str, Any]:
        """The sections "training" and "weighting" of config.json."""
        training = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weighting"}
        training["optimizer_options"] = dict(self.optimizer_options)
        if self.fixed_points:
            training["points"] = GIVEN
        else:  # of a chain the rest is each part's own
            training["points"] = dict(self.points) if self._parts else problem.counts(**self.counts(problem))
        for name in ("optimizer", "schedule"):
            value = training[name]
            training[name] = value if value is None or isinstance(value, str) else name_of(value)
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
        if isinstance(given := settings.get("points"), Mapping) and any(getattr(rows, "ndim", 0) for rows in given.values()):
            training.pop("sampling", None)  # of points that it drew
        if isinstance(points := training.get("points"), Mapping):
            training["points"] = {name: n for name, n in points.items() if n is not None}
        for name in ("optimizer", "schedule"):
            value = training.get(name)
            known = all(map(is_known, names_of(value))) if name == "optimizer" else value in SCHEDULES
            if name not in settings and isinstance(value, str) and not known:
                what = "is not known" if value == UNKNOWN else f"was a function, {value}"
                raise ValueError(f"the run's {name} {what}; give it: train_as(config, {name}=...)")
        for name, kind in NESTED.items():
            if isinstance(value := training.get(name), Mapping):
                training[name] = build(name, kind, value)
        if config.get("weighting") is not None and "weighting" not in settings:
            training["weighting"] = weighting_from_json(config["weighting"])
        return cls(**{**training, **defaults_with(training, settings), **settings})


NESTED: dict[str, Callable[..., Any]] = {  # by `describe`; or None
    "early_stopping": EarlyStopping,
    "adaptive": RAD,
    "causal": Causal,
    "monitor": Monitor,
}
SETTINGS = {f.name: f for f in fields(TrainConfig)}


def defaults_with(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of what belongs to the optimizer or the schedule of `before`, where `changes` bring another one: Adam's
    learning rate is not that of L-BFGS. The steps of a chain are those of its parts.
    """
    kinds: set[str] = set()
    chain = read_chain(before.get("optimizer", "adam"))
    steps: dict[str, Any] = {}
    if "optimizer" in changes:
        old, new, other = before.get("optimizer", "adam"), changes["optimizer"], read_chain(changes["optimizer"])
        if other is not None:
            steps = {"steps": other.steps}
        if (chain is None or other is None) and not _same_optimizer(old, new):
            both = is_solver(old) == is_solver(new) and chain is None and other is None
            kinds |= {"optimizer", "schedule"} | (set() if both else {"solver"})
    elif chain is not None and "steps" in changes:
        steps = {"optimizer": chain.with_steps(changes["steps"])}
    if "schedule" in changes and changes["schedule"] != before.get("schedule"):
        kinds.add("schedule")
    return {name: f.default for name, f in SETTINGS.items() if f.metadata["belongs_to"] in kinds} | steps


def _same_optimizer(a: Any, b: Any) -> bool:
    return bool(a == b) or (isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower())
