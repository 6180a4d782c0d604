"""What networks are made of: activations, initial weights, numbers of inputs and outputs, and the scale of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.problem import Problem
from pinntk.taylor import Jet
from pinntk.taylor._kinks import piecewise
from pinntk.taylor._rules import compose
from pinntk.taylor._series import Series


def srelu(x: Tensor) -> Tensor:
    """(1 - x)_+ (x)_+, one bump on [0, 1] (Liu, Cai & Xu 2020)."""
    return _of(x, _SRELU)


def phi(x: Tensor) -> Tensor:
    """(x)_+^2 - 3 (x - 1)_+^2 + 3 (x - 2)_+^2 - (x - 3)_+^2, one bump on [0, 3] (Liu, Cai & Xu 2020): twice the quadratic
    B-spline. The four squares cancel beyond 3, but their rounding would grow with x^2, so x is cut off there.
    """
    return _of(x, _PHI)


def _of(x: Any, function: Series) -> Any:
    """On a jet by its own derivatives: operation by operation, its formula is many times the work."""
    return compose(x, function) if isinstance(x, Jet) else function(x, 0)[0]


def _between(x: Tensor, low: float, high: float, values: Tensor) -> Tensor:
    return torch.where((x >= low) & (x <= high), values, torch.zeros_like(x))


def _srelu(x: Tensor) -> Tensor:
    x = torch.clamp(x, 0, 1)
    return x * (1 - x)


def _phi(x: Tensor) -> Tensor:
    x = torch.clamp(x, 0, 3)
    return x.square() - 3 * torch.relu(x - 1).square() + 3 * torch.relu(x - 2).square()


_SRELU = piecewise(
    _srelu,
    lambda x: _between(x, 0, 1, 1 - 2 * x),
    lambda x: _between(x, 0, 1, -torch.ones_like(x)),
)
_PHI = piecewise(
    _phi,
    lambda x: _between(x, 0, 3, 2 * x - 6 * torch.relu(x - 1) + 6 * torch.relu(x - 2)),
    lambda x: _between(x, 0, 3, 1 - 3 * (x > 1).to(x.dtype) + 3 * (x > 2).to(x.dtype)),
)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "cos": torch.cos,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "relu": torch.relu,
    "erf": torch.erf,
    "srelu": srelu,
    "phi": phi,
    "identity": lambda x: x,
}
INITIALIZATIONS = ("xavier", "normal", "lecun", "kaiming")
PARAMETRIZATIONS = ("standard", "ntk")


def check_known(name: str, value: Any, known: Iterable[str]) -> None:
    """Raises ValueError for a name that is none of `known`."""
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(known)}")


def check_sizes(**sizes: Any) -> None:
    """Raises ValueError, naming it, for what is not a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}={size!r}: a whole number of at least 1")


def parse_scales(name: str, scales: Any) -> list[float]:
    """As floats. Raises ValueError unless they are one or more finite numbers above 0."""
    found = list(scales) if isinstance(scales, Sequence) and not isinstance(scales, str) else []
    if not found or not all(isinstance(a, (int, float)) and isfinite(a) and a > 0 for a in found):
        raise ValueError(f"{name}={scales!r}: one or more finite numbers above 0, as in (1.0, 10.0)")
    return [float(a) for a in found]


def dimensions(kind: str, problem: Problem | None, inputs: int | None, outputs: int | None) -> tuple[int, int]:
    """Numbers of inputs and outputs: those of the problem, or those given. Raises ValueError for both or neither."""
    if problem is not None and not isinstance(problem, Problem):
        got = type(problem).__name__
        raise TypeError(f"{kind}({problem!r}): problem is a {got}; give a pinntk.Problem, as from pinntk.load")
    if problem is None and (inputs is None or outputs is None):
        raise ValueError(f"{kind} needs a problem, or inputs= and outputs=")
    if problem is not None and (inputs is not None or outputs is not None):
        raise ValueError(f"{kind} takes inputs= and outputs= from the problem; give one or the other")
    if problem is not None:
        return problem.domain.dimension, len(problem.fields)
    check_sizes(inputs=inputs, outputs=outputs)
    assert inputs is not None and outputs is not None
    return inputs, outputs


def scale(problem: Problem | None, inputs: int, normalize: bool | None) -> tuple[bool, Tensor, Tensor]:
    """Whether to normalize (by default where a problem is given), and mean and standard deviation of the coordinates over
    the domain, both (inputs,), float64; zeros and ones where not. Raises ValueError without a problem to ask.
    """
    normalize = problem is not None if normalize is None else normalize
    if normalize and problem is None:
        raise ValueError("normalize=True needs a problem, whose domain says what the inputs are")
    if problem is None or not normalize:
        return False, torch.zeros(inputs, dtype=torch.float64), torch.ones(inputs, dtype=torch.float64)
    bounds = torch.tensor(problem.domain.bounds, dtype=torch.float64)
    return True, bounds.mean(1), (bounds[:, 1] - bounds[:, 0]) / sqrt(12)  # of the uniform distribution


def draw(fan_in: int, fan_out: int, rule: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) in float64, so that a seed gives the same network in every dtype.

    rule: one of `INITIALIZATIONS`, or "ntk": all N(0, 1)
    """

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    if rule == "kaiming":
        bound = 1 / sqrt(fan_in)
        weight, bias = (torch.rand(*s, generator=generator, dtype=torch.float64) for s in ((fan_out, fan_in), (fan_out,)))
        return bound * (2 * weight - 1), bound * (2 * bias - 1)
    if rule == "xavier":
        return normal(fan_out, fan_in) * sqrt(2 / (fan_in + fan_out)), torch.zeros(fan_out, dtype=torch.float64)
    if rule == "lecun":
        return normal(fan_out, fan_in) / sqrt(fan_in), torch.zeros(fan_out, dtype=torch.float64)
    if rule == "normal":
        return normal(fan_out, fan_in) / sqrt(fan_in), normal(fan_out)
    return normal(fan_out, fan_in), normal(fan_out)
