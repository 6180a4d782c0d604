"""Changes of a configuration that several rules prescribe."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import Any

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Prescription
from pinntk.diagnostics._wording import setting
from pinntk.problem._slabs import slab_edges
from pinntk.run import Run
from pinntk.solvers import SOLVERS
from pinntk.solvers._chain import chain_of, names_of
from pinntk.weighting import SCHEMES, Fixed
from pinntk.weighting._ntk import OF_SOLVERS
from pinntk.weighting._point_scheme import PlaceScheme, keeps_points

SOLVER_STEPS = 100  # of Gauss-Newton, each of which costs as much as tens of gradient steps
_SLABS, _SLAB_STEPS = 8, 25  # which take about as long as one training, since later slabs begin close to their solution
_IN_THE_WAY = {"causal": None, "adaptive": None, "compile": False}  # of Gauss-Newton
_OF_AN_OPTIMIZER: dict[str, Any] = {
    "lr": None,
    "schedule": None,
    "optimizer_options": {},
}  # a Gauss-Newton with settings of its own
_HALF = 0.5  # of the natural step, at which Adam starts, to leave room for growing curvature
_LR_RANGE = (1e-4, 1e-2)  # within which Adam's learning rate is prescribed


def sets_loss_weights(weighting: Mapping[str, Any]) -> bool:
    """Whether section "weighting" of a config.json changes the loss weights of conditions in training."""
    name = weighting["name"]
    return name != "fixed" and (name not in SCHEMES or SCHEMES[name].acts_on == "conditions")


def weighs_points(weighting: Mapping[str, Any]) -> bool:
    """Whether it remembers weights of single points, which must stay."""
    return any(keeps_points(SCHEMES.get(part.get("name", ""))) for part in _schemes(weighting))


def by_ntk(run: Run | None, **options: Any) -> dict[str, Any]:
    """The change to NTK weights; weights that follow from where points are stay beside them."""
    weighting = {"name": "ntk", **(options or {"every": 100})}
    schemes = [] if run is None else _schemes(run.config.get("weighting") or {})
    beside = [part for part in schemes if issubclass(SCHEMES.get(part.get("name", ""), Fixed), PlaceScheme)]
    return {"weighting": {**weighting, "beside": beside} if beside else weighting}


def _schemes(weighting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All parts of section "weighting" of a config.json."""
    first = {name: value for name, value in weighting.items() if name != "beside"}
    return [first, *(dict(part) for part in weighting.get("beside", ()))]


def adam_rate(x: Examination) -> float:
    """A learning rate for Adam from the kernel: half of the natural step, rounded to two digits, from 1e-4 to 1e-2."""
    low, high = _LR_RANGE
    step = x.natural_step
    return float(f"{min(max(_HALF * step, low), high):.1e}") if isfinite(step) else high


def solved(run: Run | None) -> bool:
    """Whether a solver took steps of a training, alone or in a chain."""
    return run is not None and any(name in SOLVERS for name in names_of(run.config["training"]["optimizer"]))


def chained(run: Run | None) -> bool:
    """Whether it is a training by a chain of optimizers, each part of which has a learning rate of its own."""
    return run is not None and chain_of(run.config["training"]["optimizer"]) is not None


def slower(run: Run, lr: float) -> Prescription:
    """A lower learning rate; in place of a chain, one training by Adam at it."""
    changes = {"training.lr": lr, "training.schedule": "cosine"}
    if chained(run):
        sentence = f"train by Adam alone, at a learning rate that falls from {setting(lr)} to zero"
        return Prescription(sentence, {"training.optimizer": "adam", **changes})
    return Prescription(f"lower the learning rate to {setting(lr)} and let it fall to zero", changes)


def gauss_newton(run: Run | None) -> dict[str, Any]:
    """The changes that make a training one by Gauss-Newton, in about the same time; of one that is not known, what it needs.

    What belongs to another optimizer is not named, since `pinntk.training.apply_changes` resets it; other settings that would
    stand in the way are, where the run has them.
    """
    training = {} if run is None else run.config["training"]
    alone = names_of(training.get("optimizer", "")) == ("gauss-newton",)
    cleared = _IN_THE_WAY | _OF_AN_OPTIMIZER if alone else _IN_THE_WAY
    solving = solved(run)  # its points stay as they are drawn, perhaps unevenly
    return {
        "training.optimizer": "gauss-newton",
        "training.steps": min(training["steps"], SOLVER_STEPS) if solving else SOLVER_STEPS,
        **({} if training.get("points") == "given" else {"training.resample": 1}),  # points of the user's own stay
        **{f"training.{name}": value for name, value in cleared.items() if training.get(name) not in (value, None)},
        **({"training.sampling": "sobol"} if solving and training.get("sampling") != "sobol" else {}),
        **by_ntk(run, **OF_SOLVERS),
    }


def so_many_steps(run: Run, steps: int) -> dict[str, Any]:
    """The changes that make it take so many; with them as many times the time, where that ended it, or would."""
    limit, taken = run.config["training"].get("seconds"), run.step
    if limit is None or not taken or run.seconds * steps <= limit * taken:
        return {"training.steps": steps}
    return {"training.steps": steps, "training.seconds": ceil(limit * steps / taken)}


def last_resorts(x: Examination) -> tuple[Prescription, ...]:
    """What ends a list of prescriptions: Gauss-Newton, which depends least on weights and step sizes, and evolutions in time
    slabs. Not for what was trained so already.
    """
    whole = Prescription("train by Gauss-Newton, which depends least on weights and steps", gauss_newton(x.run))
    return time_slabs(x) if solved(x.run) else (whole, *time_slabs(x))


def time_slabs(x: Examination) -> tuple[Prescription, ...]:
    """Time slabs by Gauss-Newton, for a problem that has them; else nothing."""
    try:
        slab_edges(x.problem, _SLABS)
    except ValueError:
        return ()
    if x.problem.slab:
        return ()
    changes = {**gauss_newton(x.run), "training.steps": _SLAB_STEPS, "slabs.edges": _SLABS}
    sentence = f"train in time slabs by Gauss-Newton, each from the end of the one before: {_SLABS}, or more where one fails"
    return (Prescription(sentence, changes),)


def even_points(x: Examination, counts: Mapping[str, int]) -> Prescription:
    """So many Sobol points of each condition, given ones left as they are."""
    counts = {name: n for name, n in counts.items() if x.problem[name].region.given is None}
    listed = ", ".join(f"{n} of {name}" for name, n in counts.items())
    return Prescription(f"spread the points evenly: {listed}", {"training.points": counts, "training.sampling": "sobol"})
