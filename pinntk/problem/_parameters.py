"""Numbers that a problem is built with: unknown coefficients, parameters as text, the accuracy of its known solution."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import nn

from pinntk.problem._rows import check_real


def coefficient_parameters(coefficients: Mapping[str, float | nn.Parameter] | nn.ParameterDict) -> nn.ParameterDict:
    """Float64 scalars to train, by name; an nn.Parameter in place of a number is shared, not copied."""
    parameters = nn.ParameterDict()
    for key, value in coefficients.items():
        check_real(f"coefficient {key!r}", value, "coefficients")
        given = isinstance(value, nn.Parameter)
        parameters[key] = value if given else nn.Parameter(torch.tensor(float(value), dtype=torch.float64))
    return parameters


def parameters_text(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in parameters.items())


def accuracy_of(value: Any, known: bool) -> float:
    """The relative L2 error of a known solution, checked; known: whether there is one."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise ValueError(f"solution_accuracy={value!r}: a relative L2 error, from 0 (right to rounding) to below 1")
    if value and not known:
        raise ValueError(
            f"solution_accuracy={value!r}: there is no known solution that it could be of; give exact or reference"
        )
    return float(value)


def at_accuracy(error: float, accuracy: float) -> str:
    """Text such as ", at the accuracy of the reference (4e-05)", to stand behind an error; "" where it is above."""
    return f", at the accuracy of the reference ({accuracy:.2g})" if error <= accuracy and accuracy else ""
