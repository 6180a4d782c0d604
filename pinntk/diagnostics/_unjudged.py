"""What each rule needs to know beside the network, in one table; what could not be judged for the lack of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Unjudged
from pinntk.diagnostics._judgment import failing
from pinntk.diagnostics._progress import Progress
from pinntk.run._recorder import UNKNOWN


@dataclass(frozen=True, eq=False)
class Need:
    """Something that a rule goes by.

    reason, remedy: as in `Unjudged`, where it is not there
    met: whether it is there
    """

    reason: str
    remedy: str
    met: Callable[[Examination], bool]


def _in_history(known: Callable[[Progress], bool]) -> Callable[[Examination], bool]:
    """Of a history, if there is one, by an optimizer that takes steps of a given length."""
    return lambda x: x.progress is None or x.progress.solving or known(x.progress)


_LOG = "pinntk.Recorder(problem, network, points).log(step, losses, lr)"
TRAINING = Need(
    "nothing is known of the training",
    "record it with pinntk.Recorder(problem, network, points), or diagnose a run; trained=True judges what needs no history",
    lambda x: x.trained,
)
LOSSES = Need(
    "the losses of the training are not known, of two steps at least",
    f"record them: {_LOG}",
    lambda x: x.progress is not None or x.diverged,  # that is all there is to know of it
)
RATE = Need(
    "the learning rate is not known",
    f"record it: {_LOG}",
    _in_history(lambda went: isfinite(went.lr)),
)
OPTIMIZER = Need(
    "the optimizer is not known",
    "name it: pinntk.Recorder(problem, network, points, optimizer='adam')",
    lambda x: x.run is None or x.run.config["training"]["optimizer"] != UNKNOWN,
)
MOVED = Need(
    "it is not known how far the parameters have moved",
    "pinntk.Recorder measures it, as the column drift",
    _in_history(lambda went: isfinite(went.moved)),
)
FRESH = Need(
    "the points are given, and no others can be drawn",
    "give a region to draw from: domain= of pinntk.wrap, or draw= of a pinntk.problem.PointSet",
    lambda x: not x.problem.foreign or bool(x.missing),
)
OPERATORS = Need(
    "conditions from other code are known by their errors alone",
    "write them as pinntk.residual and its like, where it matters",
    lambda x: not any(x.weights[name] > 0 for name in x.points if name in x.problem.foreign),
)
FOLLOWED = Need(
    "trial functions leave errors also of problems that have a solution, on a shape with holes or notches like these",
    "check the same conditions on a shape without these, or train and diagnose the run",
    lambda x: not x.statement.untold,
)
SEEN = Need(
    "the points of the conditions miss what trial functions do on a shape with holes or notches like these",
    FOLLOWED.remedy,
    lambda x: not x.statement.freedom.missed,
)
COEFFICIENTS = Need(OPERATORS.reason, OPERATORS.remedy, lambda x: not x.problem.coefficients or OPERATORS.met(x))

# By the code of the finding, or for what is asked last the name of the rule. What is not here needs the network alone. Rules
# that need operators are asked all the same, of the conditions that have them.
NEEDS: Mapping[str, tuple[Need, ...]] = MappingProxyType(
    {
        "too-few-steps": (TRAINING, LOSSES, OPTIMIZER),
        "step-too-small": (TRAINING, LOSSES, RATE, OPTIMIZER, MOVED),
        "step-too-large": (TRAINING, LOSSES, RATE, OPTIMIZER),
        "too-few-points": (TRAINING, FRESH),
        "causality": (TRAINING,),
        "trivial-solution": (TRAINING,),
        "slow-waves": (TRAINING,),
        "unfinished": (TRAINING, LOSSES, RATE),
        "unexplained": (TRAINING,),
        "wrong-problem": (OPERATORS, SEEN),
        "conflict": (OPERATORS, FOLLOWED),
        "undetermined-coefficient": (COEFFICIENTS,),
        "unscaled-output": (OPERATORS,),
        "unscaled-coefficient": (COEFFICIENTS,),
        "unsuitable-activation": (OPERATORS,),
    }
)
_OF_LITTLE_USE = ("slow-waves", "unexplained")  # to name: a weaker form of a rule that was asked, and that no rule explains it


def lacking_need(x: Examination, code: str) -> Need | None:
    """The first need of a rule that is not met."""
    return next((need for need in NEEDS.get(code, ()) if not need.met(x)), None)


def unjudged(x: Examination) -> tuple[Unjudged, ...]:
    """The rules that had nothing to go by; none where all is well, since there is nothing to explain."""
    lacking = {code: need for code in NEEDS if code not in _OF_LITTLE_USE and (need := lacking_need(x, code)) is not None}
    if not lacking or not failing(x):
        return ()
    return tuple(Unjudged(code, need.reason, need.remedy) for code, need in lacking.items())
