"""What every rule of loss weights would give now, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.html import page, table
from pinntk._util.numbers import number
from pinntk._util.precision import without_autocast
from pinntk.ntk import traces
from pinntk.ntk._rounding import vanishing
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.weighting._by_name import inverse_shares, measures
from pinntk.weighting._combiner import Combiner
from pinntk.weighting._config import ConFIG
from pinntk.weighting._gradients import errors_and_gradients
from pinntk.weighting._pcgrad import PCGrad
from pinntk.weighting._rba import RBA
from pinntk.weighting._relobralo import ReLoBRaLo
from pinntk.weighting._remaining_time import RemainingTime
from pinntk.weighting._softadapt import SoftAdapt
from pinntk.weighting._upgrad import UPGrad
from pinntk.weighting._vrba import VRBA

_SETTLED = 1000  # the step as of which vRBA's sharpness is taken
_MEASURED = {  # row: (quantity of `measures`, what it is)
    "ntk": ("mean-diagonal", "n_i / Tr K_ii: of the loss as it is minimized; jaxpi too"),
    "ntk, as printed": ("trace", "1 / Tr K_ii: Wang, Yu & Perdikaris 2022; NTK(normalization='sum')"),
    "gradient-norm": ("gradient-norm", "1 / |grad L_i|: Wang, Teng & Perdikaris 2021"),
    "PINNacle's NTK": ("kernel-sum", "1 / |grad of the sum of e_i|^2: no trace, signs cancel"),
    "PhysicsNeMo's NTK": ("root-loss-gradient", "1 / |grad sqrt(mean e_i^2)|: no trace, it follows the errors"),
    "PhysicsNeMo's, sums": ("root-sum-gradient", "1 / |grad sqrt(sum e_i^2)|: the same of losses as sums"),
    "PINA's NTK": ("inverted-gradient", "|grad L_i|: no trace, and the other way round"),
}
_COMBINERS: Mapping[str, Callable[[], Combiner]] = {"config": ConFIG, "pcgrad": PCGrad, "upgrad": UPGrad}


@dataclass(frozen=True, eq=False, repr=False)
class WeightComparison:
    """Loss weights by rule and condition, each rule's scaled to add up to the number of conditions, as all ones do.

    weights: {rule: {condition: weight}}
    meanings: {rule: what its weights are made of}
    losses: {condition: mean(e_i^2)}
    left_out: the conditions that depend on no parameter, which no rule weighs
    """

    weights: Mapping[str, Mapping[str, float]]
    meanings: Mapping[str, str]
    losses: Mapping[str, float]
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Its values, as JSON has them."""
        return {
            "weights": {rule: dict(weights) for rule, weights in self.weights.items()},
            "meanings": dict(self.meanings),
            "losses": dict(self.losses),
            "left_out": list(self.left_out),
        }

    def __repr__(self) -> str:
        names = [name for name in self.losses if name not in self.left_out]
        rows = [["", *names], *([rule, *(number(w[name]) for name in names)] for rule, w in self.weights.items())]
        widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
        lines = ["  ".join(_placed(row, widths)).rstrip() for row in rows]
        lines += ["", *(f"{rule}: {meaning}" for rule, meaning in self.meanings.items())]
        if self.left_out:
            lines.append(f"without {', '.join(self.left_out)}, which no parameter reaches")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = [name for name in self.losses if name not in self.left_out]
        rows = ([rule, *(w[name] for name in names), self.meanings[rule]] for rule, w in self.weights.items())
        left = f", without {', '.join(self.left_out)}, which no parameter reaches" if self.left_out else ""
        remark = f"each row scaled to add up to {len(names)}{left}"
        return page("loss weights, by rule", table(["", *names, "made of"], rows), remark=remark)


@without_autocast
def compare(
    network: nn.Module, problem: Problem, points: Points, before: Mapping[str, float] | None = None
) -> WeightComparison:
    """What each rule of loss weights, and what other packages call NTK weights, would give the network now.

    points: {condition: (n, d)}
    before: mean(e_i^2) of each condition some steps ago, as in a row of `Run.history`, for the rules that compare losses, which
        are not in the table without it

    Each row adds up to the number of conditions, since only ratios tell rules apart; momentum, and how often a scheme updates,
    are left out. "rba" and "vrba" weigh points: theirs is how many times mean(e_i^2) a condition's loss would be, once settled
    on the errors of now, and of vrba after 1,000 steps. So does "remaining-time", of a problem with time. Combiners of
    gradients, where TorchJD is installed, weigh conditions by the w_i of their gradient sum_i w_i grad L_i, which may be below
    0. Self-adaptive and causal weights depend on the training.

    Raises ValueError for points that do not fit and NonFiniteError for errors with NaN.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> found = compare(pinntk.nn.MLP(problem, width=8, depth=1), problem, problem.sample(residual=20, boundary=2, seed=0))
    >>> sorted(found.weights["ntk"]), round(sum(found.weights["ntk"].values()), 6)
    (['ends', 'poisson'], 2.0)
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem, points)")
    points = problem.check(points)
    if before is not None and (missing := [name for name in points if name not in before]):
        raise ValueError(f"before={dict(before)}: it has no {missing[0]!r}; give mean(e^2) of {', '.join(points)}")
    check_network(network, problem, points)
    e, (slopes, sums) = errors_and_gradients(network, problem, points, lambda e: e.square().mean(), torch.sum)
    trace = traces(network, problem, points)
    mean_diagonal = {name: trace[name] / len(rows) for name, rows in points.items()}
    none = vanishing(network, problem, points, mean_diagonal)
    kept = [i for i, name in enumerate(e) if name not in none]
    if not kept:
        raise ValueError(f"{', '.join(e)}: no condition depends on the parameters, and there is nothing to weigh")
    names, rows = [name for i, name in enumerate(e) if i in kept], slopes[kept]
    quantities = {
        name: measures(trace[name], n := len(e[name]), float(e[name].norm()), float(g.norm()) * n / 2, float(s.square().sum()))
        for name, g, s in zip(names, rows, sums[kept], strict=True)
    }
    losses = {name: float(error.square().mean()) for name, error in e.items()}
    found: dict[str, tuple[dict[str, float], str]] = {"fixed": (dict.fromkeys(names, 1.0), "1")}
    for row, (quantity, meaning) in _MEASURED.items():
        found[row] = inverse_shares({name: quantities[name][quantity] for name in names}), meaning
    own = {row: found.pop(row) for row in ("fixed", *list(_MEASURED)[:3])}
    own |= _by_losses(losses, before, names) | _of_points(e, problem, points) | _combined(rows, names)
    found = own | found  # those of other packages at the end
    return WeightComparison(
        weights={row: _scaled({name: weights.get(name, 1.0) for name in names}) for row, (weights, _) in found.items()},
        meanings={row: meaning for row, (_, meaning) in found.items()},
        losses=losses,
        left_out=tuple(name for name in e if name in none),
    )


def _by_losses(
    losses: Mapping[str, float], before: Mapping[str, float] | None, names: list[str]
) -> dict[str, tuple[dict[str, float], str]]:
    if before is None:
        return {}
    now, then = ({name: values[name] for name in names} for values in (losses, before))
    return {
        "relobralo": (ReLoBRaLo().balance(now, then), "softmax of L_i / (T L_i before): Bischof & Kraus 2025"),
        "softadapt": (SoftAdapt().rule(now, then), "softmax of L_i / L_i before: Heydari et al. 2019, the form for PINNs"),
    }


def _of_points(e: Mapping[str, Tensor], problem: Problem, points: Points) -> dict[str, tuple[dict[str, float], str]]:
    found: dict[str, tuple[dict[str, float], str]] = {}
    for name, scheme in (("rba", RBA()), ("vrba", VRBA())):
        if not any(condition.kind in scheme.conditions for condition in problem.conditions):
            continue
        times = {}
        for condition in scheme.names(problem):
            if condition in e and (total := float(e[condition].square().sum())):
                settled = scheme.rule(torch.zeros_like(e[condition]), e[condition], _SETTLED) * scheme.bound / scheme.eta
                times[condition] = float((settled * e[condition]).square().sum()) / total
        found[name] = (
            times,
            "sum (l e)^2 / sum e^2 of residuals, l settled: "
            + ("Anagnostopoulos et al. 2024" if name == "rba" else "Toscano et al. 2025"),
        )
    try:
        weights = RemainingTime().at(problem, points)
    except ValueError:  # no time, or no residual that holds throughout it
        return found
    times = {}
    for condition, g in weights.items():
        if total := float(e[condition].square().sum()):
            times[condition] = float((g.to(e[condition]) * e[condition].square()).sum()) / total
    found["remaining-time"] = times, "mean(g e^2) / mean(e^2) of residuals, g by the time that is left"
    return found


def _combined(rows: Tensor, names: list[str]) -> dict[str, tuple[dict[str, float], str]]:
    if find_spec("torchjd") is None or find_spec("quadprog") is None:
        return {}
    found = {}
    for name, made in _COMBINERS.items():
        combined = made().combine(rows)
        lengths = rows.norm(dim=1).clamp(min=torch.finfo(rows.dtype).tiny)
        shares = torch.linalg.lstsq((rows / lengths[:, None]).T, combined[:, None], driver="gelsd").solution[:, 0] / lengths
        found[name] = dict(zip(names, shares.tolist(), strict=True)), "w_i of the gradient sum w_i grad L_i, by TorchJD"
    return found


def _scaled(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(map(abs, weights.values()))
    return {name: len(weights) * weight / total if total else weight for name, weight in weights.items()}


def _placed(row: list[str], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(words.rjust(width) for words, width in others)]
