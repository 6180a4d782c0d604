"""Whether conditions that other code computes feel second derivatives, and a network has any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pinntk.diagnostics._architecture import disturbed
from pinntk.diagnostics._sampling import subset
from pinntk.problem import Problem
from pinntk.residuals import errors

_POINTS = 64
_ROUNDING = 1e-9  # of the errors: what changes by less has not changed
_STRAIGHT: dict[Callable, str] = {  # activations without curvature, by name
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), "relu"),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), "leaky_relu"),
    **dict.fromkeys((F.prelu, torch.prelu, Tensor.prelu), "prelu"),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), "hardtanh"),
    **{F.relu6: "relu6", F.rrelu: "rrelu", F.threshold: "threshold"},
}


class _Bent(TorchFunctionMode):
    """Gives every straight activation curvature 1; its values and slopes stay as they are, to the last bit.

    met: the name of the last one
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = ""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func not in _STRAIGHT or not args:
            return func(*args, **(kwargs or {}))
        self.met = _STRAIGHT[func]
        bend = args[0] - args[0].detach()  # zero, with slope 1: its square has neither value nor slope
        return func(*args, **(kwargs or {})) + 0.5 * bend.square()


def without_curvature(network: nn.Module, problem: Problem) -> tuple[str, tuple[str, ...]]:
    """(activation, foreign conditions) whose errors change where the network's straight activations (relu and its like) are
    given a curvature, for a network whose second derivatives are exactly zero at all points, whatever its parameters: what
    those conditions ask for is not there. ("", ()) for any other network.

    It is measured on a float64 copy, at up to 64 points of each condition, with other parameters.
    """
    if not problem.foreign or not isinstance(network, nn.Module):
        return "", ()
    device = next((p.device for p in network.parameters()), None)
    points = subset(problem.sample(method="sobol", dtype=torch.float64, device=device), _POINTS)
    points = {name: points[name] for name in problem.foreign}
    rows = next(iter(points.values()))[:, : problem.domain.dimension]
    activation, changes = "", list[dict[str, Tensor]]()
    for other in disturbed(network):
        with _Bent() as bent:
            other(rows)
        activation = bent.met
        if not activation or _curved(other, rows):
            return "", ()
        if len(changes) < 2:
            changes.append(_change(other, problem, points))
    one, two = changes
    # What a user's own relu of the points alone does is the same for all parameters, and says nothing of the network.
    return activation, tuple(name for name in points if _differ(one[name], two[name]))


def _differ(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() > _ROUNDING * (one.abs().max() + two.abs().max()))


def _curved(network: nn.Module, rows: Tensor) -> bool:
    """Whether any second derivative of any field is other than zero anywhere."""
    with torch.enable_grad():
        rows = rows.detach().clone().requires_grad_()
        for field in network(rows).sum(0):
            (slope,) = torch.autograd.grad(field, rows, create_graph=True)
            for part in slope.sum(0):
                if not part.requires_grad:
                    continue
                (curvature,) = torch.autograd.grad(part, rows, retain_graph=True, allow_unused=True)
                if curvature is not None and bool(curvature.any()):
                    return True
    return False


def _change(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> dict[str, Tensor]:
    """{condition: how its errors change by that curvature, (n,)}; zero where it is rounding."""
    with torch.no_grad():
        straight = errors(network, problem, points)
        with _Bent():
            bent = errors(network, problem, points)
    return {name: bent[name] - e if _differ(bent[name], e) else torch.zeros_like(e) for name, e in straight.items()}
