"""Scalar Taylor coefficients, as in `series`, of functions with kinks. At a kink they are those that torch's autograd gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import _series as series
from pinntk.taylor._series import Series


def piecewise(function: Callable[[Tensor], Tensor], *slopes: Callable[[Tensor], Tensor]) -> Series:
    """A function with kinks between polynomials, from its derivatives / k!, at the kinks those of torch's autograd."""

    def coefficients(x: Tensor, order: int) -> list[Tensor]:
        zeros = [torch.zeros_like(x)] * (order - len(slopes)) if order > len(slopes) else []
        return [function(x), *(slope(x).to(x.dtype) for slope in slopes[:order]), *zeros]

    return coefficients


relu = piecewise(torch.relu, lambda x: x > 0)
absolute = piecewise(torch.abs, torch.sign)
hardsigmoid = piecewise(lambda x: F.relu6(x + 3) / 6, lambda x: ((x > -3) & (x < 3)).to(x.dtype) / 6)
hardswish = piecewise(
    F.hardswish,
    lambda x: torch.where(x < 3, (x > -3) * (x / 3 + 0.5), torch.ones_like(x)),
    lambda x: ((x > -3) & (x < 3)).to(x.dtype) / 6,
)


def leaky_relu(negative_slope: float = 0.01) -> Series:
    return piecewise(
        lambda x: F.leaky_relu(x, negative_slope),
        lambda x: torch.where(x > 0, torch.ones_like(x), negative_slope),
    )


def threshold(limit: float, value: float) -> Series:
    return piecewise(lambda x: F.threshold(x, limit, value), lambda x: x > limit)


def hardshrink(limit: float) -> Series:
    return piecewise(lambda x: F.hardshrink(x, limit), lambda x: (x < -limit) | (x > limit))


def softshrink(limit: float) -> Series:
    return piecewise(lambda x: F.softshrink(x, limit), lambda x: (x < -limit) | (x > limit))


def hardtanh(low: float, high: float) -> Series:
    return piecewise(lambda x: F.hardtanh(x, low, high), lambda x: (x > low) & (x < high))


def clamp(low: Any, high: Any) -> Series:
    def inside(x: Tensor) -> Tensor:
        keep = torch.ones_like(x, dtype=torch.bool)
        if low is not None:
            keep = keep & (x >= low)
        if high is not None:
            keep = keep & (x <= high)
        return keep

    return piecewise(lambda x: torch.clamp(x, low, high), inside)


def elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Series:
    """scale x above 0, scale alpha (e^(input_scale x) - 1) below. At 0, torch's slope is that of below and its second
    derivative is 0.
    """

    def coefficients(x: Tensor, order: int) -> list[Tensor]:
        c = [scale * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(input_scale * x, max=0.0)))]
        below = series.exp(torch.where(x < 0, input_scale * x, torch.zeros_like(x)), order)
        for k in range(1, order + 1):
            curved = scale * alpha * input_scale**k * below[k]
            above = scale if k == 1 else 0.0
            c.append(torch.where(x <= 0 if k == 1 else x < 0, curved, torch.full_like(x, above)))
        return c

    return coefficients
