"""What users may give for a setting, and the value that it or None stands for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, SupportsIndex, TypedDict, TypeVar

from torch import Tensor

from pinntk._util.likeness import nearest
from pinntk.run import EarlyStopping
from pinntk.solvers._chain import Chain
from pinntk.training._monitor import Monitor
from pinntk.training._resampling import RAD
from pinntk.training._retaining import R3
from pinntk.weighting import SCHEMES, Causal, Composite, Fixed, Weighting
from pinntk.weighting._composite import ACTS_ON


class Settings(TypedDict, total=False):
    """What may be given for each setting of `TrainConfig`, whose fields hold what that stands for."""

    steps: int | None
    seconds: float | None
    optimizer: str | Callable[..., Any] | Chain | Sequence[Any]
    lr: float | None
    optimizer_options: Mapping[str, Any] | None
    schedule: str | Callable[..., Any] | None
    decay: float
    decay_every: int
    clip: float | None
    average: float | None
    early_stopping: EarlyStopping | str | bool | None
    weighting: Weighting | str | Sequence[Weighting | str] | None
    causal: Causal | float | Sequence[float] | None
    points: Mapping[str, Any] | None
    sampling: str | None
    resample: int | None
    adaptive: RAD | R3 | str | bool | None
    grow: float | None
    coefficient_scales: Mapping[str, float] | None
    seed: SupportsIndex
    log_every: int | None
    eval_every: int | None
    checkpoint_every: int | None
    snapshot_every: int | None
    compile: bool
    monitor: Monitor | bool | None


ADAPTIVE: dict[str, Callable[[], RAD | R3]] = {"rad": RAD, "r3": R3}
ALIASES = dict.fromkeys(("epochs", "iterations", "max_steps", "num_steps"), "steps")  # of other packages
ALIASES |= {"learning_rate": "lr", "loss_weights": "weighting", "scheduler": "schedule", "num_points": "points"}
_HABITS = {"log_every": (400, 1), "eval_every": (100, 10), "checkpoint_every": (20, 1), "snapshot_every": (10, 1)}
_OF_A_WEIGHTING = ("every", "acts_on", "measures", "points", "start", "describe", "state_dict", "load_state_dict")
MEASURES = ("traces", "gradient norms", "losses")


def check_names(settings: Iterable[str]) -> None:
    """Raises TypeError, with the nearest name, for a setting that there is not."""
    known = Settings.__annotations__
    for name in settings:
        if name in ("on_step", "on_log"):
            raise TypeError(f"{name} is no setting: give it to train or train_as; trainings in time slabs take none")
        if name not in known:
            close = nearest(name, [*known, *ALIASES])
            hint = f"did you mean {ALIASES.get(close, close)!r}?" if close else f"settings are {', '.join(known)}"
            raise TypeError(f"train has no setting {name!r}; {hint}")


Kind = TypeVar("Kind", bound=type)


def names_checked(kind: Kind) -> Kind:
    """A dataclass of settings that says of one that there is not which was meant; Python says that it is unexpected."""
    settled: Any = kind
    made_of: Callable[..., None] = settled.__init__

    @wraps(made_of)
    def init(self: Any, *nothing: Any, **settings: Any) -> None:
        check_names(settings)
        made_of(self, *nothing, **settings)

    settled.__init__ = init
    return kind


def intervals(steps: int) -> dict[str, int]:
    """Steps between logs, evaluations, checkpoints and snapshots by default."""
    return {name: max(least, steps // times) for name, (times, least) in _HABITS.items()}


def make_weighting(weighting: Any) -> Weighting:
    """The object of `pinntk.weighting` that a name, None (all ones), an object, or several of them stand for."""
    if weighting is None:
        return Fixed()
    if isinstance(weighting, (list, tuple)) or (isinstance(weighting, str) and "+" in weighting):
        names = weighting.split("+") if isinstance(weighting, str) else weighting
        return together([make_weighting(name.strip() if isinstance(name, str) else name) for name in names])
    if isinstance(weighting, str):
        if weighting not in SCHEMES:
            known = ", ".join(map(repr, SCHEMES))
            raise ValueError(f"weighting={weighting!r} is unknown; use {known}, or an object of pinntk.weighting")
        return SCHEMES[weighting]()
    if isinstance(weighting, Causal):
        raise TypeError("causal weights go beside a weighting: train(..., causal=pinntk.weighting.Causal(...))")
    if isinstance(weighting, type) or not hasattr(weighting, "update"):
        raise TypeError(f"weighting={weighting!r}: give an object, such as pinntk.weighting.NTK(every=100)")
    if missing := [name for name in _OF_A_WEIGHTING if not hasattr(weighting, name)]:
        raise TypeError(f"weighting={weighting!r} has no {missing[0]!r}: subclass pinntk.weighting.Weighting")
    if weighting.acts_on not in ACTS_ON or weighting.measures not in MEASURES:
        raise ValueError(
            f"weighting with acts_on={weighting.acts_on!r}, measures={weighting.measures!r}: {_either(ACTS_ON)}; "
            f"{_either(MEASURES)}"
        )
    return weighting


def together(schemes: Sequence[Weighting]) -> Weighting:
    """One scheme, or several at once. Raises ValueError for none, and for two that act on the same."""
    parts: list[Weighting] = []
    for scheme in schemes:
        parts += (scheme.conditions, *scheme.beside) if isinstance(scheme, Composite) else (scheme,)
    if not parts:
        raise ValueError("weighting=[]: give a scheme, or leave it out")
    return parts[0] if len(parts) == 1 else Composite(*parts)


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"


def weighting_from_json(described: Mapping[str, Any] | str) -> Weighting:
    """The scheme of section "weighting" of a config.json, whose others are in "beside"; or of a name."""
    options = {"name": described} if isinstance(described, str) else dict(described)
    name = options.pop("name", None)
    if isinstance(name, str) and "+" in name and not options:
        return make_weighting(name)
    beside = options.pop("beside", None) if name in SCHEMES else None
    if name not in SCHEMES:
        raise ValueError(f"weighting {name!r} is none of {', '.join(SCHEMES)}; give it: train_as(config, weighting=...)")
    return together([build(f"weighting {name!r}", SCHEMES[name], options), *map(weighting_from_json, beside or ())])


def build(what: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{what} with {dict(options)}: {error}") from error


def make_causal(causal: Any) -> Causal | None:
    if causal is None or isinstance(causal, Causal):
        return causal
    if isinstance(causal, (int, float, tuple, list)) and not isinstance(causal, bool):
        return Causal(causal)
    raise TypeError(f"causal={causal!r}: give epsilon, as in causal=1.0 or (0.1, 1.0), or pinntk.weighting.Causal(...)")


def make_monitor(monitor: Any) -> Monitor | None:
    if not (monitor is None or isinstance(monitor, (Monitor, bool))):
        raise TypeError(f"monitor={monitor!r}: give True, or pinntk.Monitor(...)")
    return Monitor() if monitor is True else monitor or None


def make_early_stopping(given: Any) -> EarlyStopping | None:
    """From an object, or from METRIC:PATIENCE."""
    if isinstance(given, str):
        metric, _, patience = given.rpartition(":")
        if not metric or not patience.strip().isdecimal():
            raise ValueError(f"early_stopping={given!r}: write METRIC:PATIENCE, as in 'relative_error:20'")
        return EarlyStopping(metric.strip(), int(patience))
    if not (given is None or isinstance(given, (EarlyStopping, bool))):
        raise TypeError(f"early_stopping={given!r}: give pinntk.EarlyStopping(...), or as in 'relative_error:20'")
    return EarlyStopping() if given is True else given or None


def make_points(points: Any) -> dict[str, int] | dict[str, Tensor]:
    if points is not None and not isinstance(points, Mapping):
        raise TypeError(
            f"points={type(points).__name__}: give counts, as in {{'residual': 1000}}, or tensors by condition name"
        )
    found = dict(points or {})
    if any(isinstance(rows, Tensor) or getattr(rows, "ndim", 0) for rows in found.values()):
        return found
    for name, n in found.items():
        try:
            found[name] = operator.index(n)  # numpy's whole numbers too
        except TypeError:
            raise TypeError(f"points[{name!r}]={n!r}: a whole number, or a tensor (n, d) for every condition") from None
    return found


def make_adaptive(adaptive: Any, resample: int, solver: bool) -> RAD | R3 | bool | None:
    if isinstance(adaptive, str):
        if adaptive.lower() not in ADAPTIVE:
            raise ValueError(f"adaptive={adaptive!r}: one of {', '.join(map(repr, ADAPTIVE))}, or pinntk.RAD(...)")
        adaptive = ADAPTIVE[adaptive.lower()]()
    if not (adaptive is None or isinstance(adaptive, (RAD, R3, bool))):
        raise TypeError(f"adaptive={adaptive!r}: give True, pinntk.RAD(...) or pinntk.R3()")
    if solver and isinstance(adaptive, R3):
        raise ValueError(
            "adaptive='r3' keeps points without a probability, and a solver weighs them by theirs; use pinntk.RAD()"
        )
    if adaptive and not resample:
        raise ValueError("adaptive points need resample, the steps between draws, as in resample=1000")
    if adaptive is False and not solver:
        return None
    return RAD() if adaptive is True else adaptive


def name_of(value: Any) -> str:
    """Of a function, a schedule or a chain; the same in every session, so that a run can be resumed with it."""
    if isinstance(value, Chain):
        return str(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__qualname__
