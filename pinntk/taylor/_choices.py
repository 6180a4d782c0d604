"""Rules that choose between values, point by point, and so have the derivatives of what they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.taylor import _kinks as kinks
from pinntk.taylor import _series as series
from pinntk.taylor._jet import RULES, Jet, UnsupportedOperationError
from pinntk.taylor._rules import check_alignment, compose, compose_plain, constant, embed, first_jet, mul, operand, rule


@rule("where", spaces=(torch,))
def where(condition: Tensor, input: Any, other: Any) -> Jet:
    x = first_jet(input, other)
    check_alignment(x, condition.shape)
    yes, no = (side.components if isinstance(side, Jet) else embed(x, constant(x, side)) for side in (input, other))
    return x.like(torch.where(condition, yes, no))


RULES[Tensor.where] = lambda input, condition, other: where(condition, input, other)


@rule("masked_fill")
def masked_fill(input: Jet, mask: Tensor, value: Any) -> Jet:
    return where(mask, value, input)


@rule("clamp", "clip")
def clamp(input: Jet, min: Any = None, max: Any = None) -> Jet:
    if not isinstance(input, Jet):
        raise UnsupportedOperationError("torch.clamp of a constant by what depends on the input")
    if isinstance(min, Jet) or isinstance(max, Jet):
        y = input if min is None else where(input.value < _value(min), min, input)
        return y if max is None else where(y.value > _value(max), max, y)
    if not (isinstance(min, Tensor) or isinstance(max, Tensor)):
        return compose(input, kinks.clamp(min, max))
    bounds = (None if bound is None else _tensor_of(input, bound) for bound in (min, max))
    return compose_plain(input, kinks.clamp(*(bound if bound is None else constant(input, bound) for bound in bounds)))


@rule("clamp_min")
def clamp_min(input: Jet, min: Any) -> Jet:
    return clamp(input, min)


@rule("clamp_max")
def clamp_max(input: Jet, max: Any) -> Jet:
    return clamp(input, None, max)


@rule("maximum")
def maximum(input: Any, other: Any) -> Jet:
    return _select(input, other, torch.gt)


@rule("minimum")
def minimum(input: Any, other: Any) -> Jet:
    return _select(input, other, torch.lt)


def _select(x: Any, y: Any, before: Callable) -> Jet:
    """x where before(x, y), y where before(y, x), their mean where they are equal: torch splits the slope there."""
    left, right = _value(x), _value(y)
    return where(before(left, right), x, where(before(right, left), y, 0.5 * (x + y)))


def _value(t: Any) -> Any:
    return t.value if isinstance(t, Jet) else t


@rule("logit")
def logit(x: Jet, eps: float | None = None) -> Jet:
    return compose(x if eps is None else clamp(x, eps, 1 - eps), series.logit)


@rule("xlogy")
def xlogy(input: Any, other: Any) -> Jet:
    """0 at an input of 0, whatever the logarithm."""
    x = first_jet(input, other)
    left, right = (_value(_tensor_of(x, t)) for t in (input, other))
    ended = (left == 0) & (right <= 0)
    logarithm = torch.log(where(ended, 1.0, other) if isinstance(other, Jet) else right)
    return where(ended, 0.0, mul(input, logarithm))


def _tensor_of(x: Jet, t: Any) -> Any:
    if isinstance(t, Jet):
        return t
    t = operand(x, t)
    return t if isinstance(t, Tensor) else x.components.new_tensor(t)


# What depends on values alone and is constant almost everywhere.


def _of_values(function: Callable) -> Callable:
    def handler(*args: Any, **kwargs: Any) -> Tensor:
        x = first_jet(*args, *kwargs.values())
        for arg in args:
            if hasattr(arg, "shape"):
                check_alignment(x, arg.shape)
        args = tuple(torch.as_tensor(arg, device=x.device) if isinstance(arg, np.ndarray) else _value(arg) for arg in args)
        return function(*args, **{key: _value(arg) for key, arg in kwargs.items()}).detach()

    return handler


_COMPARISONS = "lt less le less_equal gt greater ge greater_equal eq ne not_equal isclose logical_and logical_or logical_xor"
_JUMPS = "isnan isinf isfinite isposinf isneginf signbit logical_not sign sgn floor ceil round trunc fix heaviside"

for _name in f"{_COMPARISONS} {_JUMPS}".split():
    for _space in (torch, Tensor):
        if hasattr(_space, _name):
            RULES[getattr(_space, _name)] = _of_values(getattr(_space, _name))
