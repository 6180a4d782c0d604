"""`pinntk.diagnose`: what is wrong with a training, the root cause first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from torch import nn

from pinntk._util.precision import without_autocast
from pinntk._util.progress import Progress
from pinntk._util.threads import of_step, threads_for
from pinntk.diagnostics import _rules_conditions as conditions
from pinntk.diagnostics import _rules_layers as of_layers
from pinntk.diagnostics import _rules_points as of_points
from pinntk.diagnostics import _rules_problem as of_problem
from pinntk.diagnostics import _rules_sizes as sizes
from pinntk.diagnostics import _rules_training as training
from pinntk.diagnostics import _rules_waves as waves
from pinntk.diagnostics._examination import Examination, examine
from pinntk.diagnostics._finding import SEVERITIES, Diagnosis, Finding
from pinntk.diagnostics._judgment import failing, severity
from pinntk.diagnostics._prescriptions import last_resorts
from pinntk.diagnostics._thresholds import below
from pinntk.diagnostics._unjudged import unjudged
from pinntk.problem import Points, Problem
from pinntk.run import Run

# In the order of causes: of two findings that are as severe and as certain, the one above explains the one below.
RULES: Mapping[str, Callable[[Examination], Finding | None]] = MappingProxyType(
    {
        "independent-condition": of_problem.independent_condition,
        "wrong-problem": of_problem.wrong_problem,
        "unsuitable-activation": of_problem.unsuitable_activation,  # whose network says nothing of what lies beside a corner
        "conflict": of_problem.conflict,
        "undetermined-coefficient": of_problem.undetermined_coefficient,
        "unscaled-output": sizes.unscaled_output,
        "unscaled-coefficient": sizes.unscaled_coefficient,
        "unnormalized-inputs": training.unnormalized_inputs,
        "too-few-steps": training.too_few_steps,
        "step-too-small": training.step_too_small,
        "step-too-large": training.step_too_large,
        "network-too-small": training.network_too_small,  # of three units, one that is saturated is a third
        "saturation": of_layers.saturation,
        "clustered-points": of_points.clustered_points,
        "too-few-points": of_points.too_few_points,
        "imbalance": conditions.imbalance,
        "spectral-bias": waves.spectral_bias,
        "causality": conditions.causality,
        "trivial-solution": conditions.trivial_solution,
        "float32-floor": training.float32_floor,
        "gauge": of_problem.gauge,
    }
)
# Evaluated in this order until one finds something, where none of these does that is as severe as the failure.
LAST: tuple[Callable[[Examination], Finding | None], ...] = (
    waves.slow_waves,
    training.unfinished,
    training.unexplained,
)


@without_autocast
def diagnose(
    network: nn.Module | Run | Examination,
    problem: Problem | None = None,
    points: Points | None = None,
    weights: Mapping[str, float] | None = None,
    *,
    trained: bool = False,
) -> Diagnosis:
    """What is wrong, the most probable root cause first; empty if nothing is.

    Of a run, `diagnose(run)`; of a network, trained or not, `diagnose(network, problem, points, weights)`; or of an
    `Examination`, whose measurements are made once.

    trained: whether such a network has been trained. Rules about the result of a training judge it only then; those that ask
        how it went need a run, as from `pinntk.Recorder`. What was not judged is in `Diagnosis.unjudged`

    Raises NonFiniteError, naming condition and points, where the network's
    errors are NaN or infinite.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> findings = pinntk.diagnose(network, problem, points)
    >>> all(finding.evidence and 0 < finding.confidence <= 1 for finding in findings)
    True
    """
    if isinstance(network, Examination):
        if problem is not None or points is not None or weights is not None or trained:
            raise TypeError("diagnose(examination) knows its problem, points and weights; give the examination alone")
        x = network
    else:
        x = examine(network, problem, points, weights, trained=trained)
    _ = x.errors  # where they are not finite, this names the points that were given, and no rule those that it drew
    with threads_for(of_step(x.network, x.problem, x.points)):
        found = [finding for rule in _one_by_one(x) if (finding := rule(x)) is not None]
        if not _explained(x, found):
            found += [finding for rule in LAST if (finding := rule(x)) is not None][:1]
        codes = [finding.code for finding in found]
        return Diagnosis(_with_last_resorts(x, by_cause(found)), [rule for rule in unjudged(x) if rule.code not in codes])


def _one_by_one(x: Examination) -> Iterator[Callable[[Examination], Finding | None]]:
    with Progress(f"diagnosing {x.problem.name}", len(RULES)) as progress:
        for code, rule in RULES.items():
            progress.tell([code])
            yield rule
            progress.advance()


def _explained(x: Examination, found: Iterable[Finding]) -> bool:
    """Whether there is a finding, and one as severe as the run's failure: a jump in a corner does not explain a field that is
    wrong everywhere.
    """
    least = severity(x) if failing(x) else "warning"
    return any(SEVERITIES.index(finding.severity) <= SEVERITIES.index(least) for finding in found)


def _with_last_resorts(x: Examination, found: list[Finding]) -> list[Finding]:
    """The last finding that a training can mend prescribes Gauss-Newton as well, and time slabs, if none before does."""
    if not x.trained or not failing(x):
        return found
    mendable = [
        place
        for place, finding in enumerate(found)
        if finding.severity != "note" and any(entry.changes for entry in finding.prescriptions)
    ]
    if not mendable:
        return found
    known = [dict(entry.changes) for finding in found for entry in finding.prescriptions]
    more = tuple(entry for entry in last_resorts(x) if dict(entry.changes) not in known)
    last = found[mendable[-1]]
    found[mendable[-1]] = replace(last, prescriptions=(*last.prescriptions, *more))
    return found


def by_cause(findings: Iterable[Finding]) -> list[Finding]:
    """By severity, doubtful ones last, then causes before what they bring about.

    Degrees of confidence are not compared any further: what a cause brings about is often surer than the cause itself. With
    saturated units, say, errors between the points are large beyond doubt.
    """
    places = {code: place for place, code in enumerate((*RULES, *(rule.__name__ for rule in LAST)))}

    def place(found: Finding) -> int:
        of_conditions = any(key.startswith("error_at_zero/") for key in found.evidence)  # that zero meets, trained or not
        return places["wrong-problem"] if of_conditions and found.code == "trivial-solution" else places[found.code]

    return sorted(
        findings, key=lambda found: (SEVERITIES.index(found.severity), below("doubtful", found.confidence), place(found))
    )
