"""What tests/test_rules.py feeds the table of rules: for each name of a rule, calls of it with every argument."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import Jet

# Four points with four features, so that sizes collide.
START = torch.tensor([[0.1, 0.4], [0.3, -0.2], [0.7, 0.5], [-0.6, 0.9]], dtype=torch.float64)
VALUES = {
    "any": [[-1.3, 0.4, 0.8, 2.1], [0.6, -0.2, -2.4, 1.1], [1.7, -0.9, 0.3, -0.5], [-0.7, 1.2, -1.6, 0.25]],
    "large": [[-31.0, 22.0, 19.5, -8.0], [8.0, 21.0, -19.0, 4.0], [3.0, -5.0, 40.0, -25.0], [12.0, -12.0, 6.5, 20.5]],
    "kinks": [[0.0, 1.0, -1.0, 3.0], [-3.0, 6.0, 0.5, -0.5], [0.0, 0.0, 1.0, 1.0], [2.0, -2.0, 0.0, 0.2]],
    "zeros": [[0.0, 0.0, 0.0, 0.0], [0.0, 1.5, 0.0, -2.0], [0.7, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]],
    "positive": [[0.3, 1.4, 0.8, 2.1], [0.6, 3.2, 2.4, 1.1], [1.7, 0.9, 0.25, 0.5], [0.7, 1.2, 1.6, 0.4]],
    "unit": [[0.3, -0.4, 0.8, -0.1], [0.6, 0.2, -0.6, 0.1], [-0.7, 0.5, 0.25, -0.85], [0.15, 0.35, -0.2, 0.4]],
    "above one": [[1.3, 1.4, 1.8, 2.1], [2.6, 3.2, 2.4, 1.1], [1.7, 1.9, 1.25, 1.5], [1.7, 1.2, 1.6, 1.4]],
}


def at(x: Tensor | Jet, values: str = "any", start: Tensor = START) -> Tensor | Jet:
    """(n, 4) features that are exactly VALUES at START, with derivatives of all orders in both coordinates."""
    s, t = (x - start).split(1, 1)
    monomials = torch.cat([s, t, s * s, s * t, t * t, s**3, s * s * t, t**3, s**4, s**3 * t], 1)
    return monomials @ tensor(10, 4) + torch.tensor(VALUES[values], dtype=torch.float64)


def tensor(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


ROW, MATRIX, FULL, CUBE = tensor(4), tensor(4, 3), tensor(4, 4), tensor(3, 4, 4)
WHOLE = torch.tensor([2, 3, 0, 1])
MASK = torch.tensor(VALUES["any"]) > 0.3


@dataclass(frozen=True)
class Case:
    """A call of f, one of the functions that a rule stands for, on features with `values`.

    oracle: what it ought to be, where torch itself is not exact
    """

    call: Callable
    values: str = "any"
    oracle: Callable | None = None


CASES: dict[str, list[Case]] = {}


def case(names: str, call: Callable = lambda f, h: f(h), *values: str, oracle: Callable | None = None) -> None:
    for name in names.split():
        CASES.setdefault(name, []).extend(Case(call, v, oracle) for v in values or ("any",))


def cubes(h: Tensor | Jet) -> Tensor | Jet:
    """(4, 4, 4): points, channels and length of one size."""
    return h.unsqueeze(2) * (2 + h.unsqueeze(1) * ROW)


def chosen(f: Callable, condition: Tensor, x, y):
    return f(condition, x, y) if f is torch.where else f(x, condition, y)


def quietly(f: Callable, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f(*args, **kwargs)


# Elementwise functions of one argument.
case("exp exp2 expm1 sin cos tan sinh cosh tanh atan arctan asinh arcsinh sigmoid expit square erf erfc ndtr neg negative")
case("positive deg2rad rad2deg silu gelu mish softsign tanhshrink selu celu elu relu relu6 leaky_relu hardtanh")
case("hardswish hardshrink softshrink logsigmoid softplus abs absolute rrelu sinc clone contiguous")
case("log log2 log10 log1p sqrt rsqrt reciprocal", lambda f, h: f(h), "positive")
case("asin arcsin acos arccos atanh arctanh", lambda f, h: f(h), "unit")
case("acosh arccosh", lambda f, h: f(h), "above one")
case("reciprocal square", lambda f, h: f(h), "any")
# At -3 and 3 hardswish's rule has the slopes of today's torch, 0 and 1; torch 2.6 has -0.5 and 1.5 there.
HARDSWISH = "hardswish" if torch.func.grad(F.hardswish)(torch.tensor(3.0)) == 1 else ""
case(
    f"relu relu6 hardtanh {HARDSWISH} hardshrink softshrink abs absolute leaky_relu elu celu",
    lambda f, h: f(h),
    "kinks",
)
case("selu rrelu softplus square mish silu gelu tanhshrink softsign logsigmoid", lambda f, h: f(h), "kinks")
case("logsigmoid softplus mish sigmoid tanh silu gelu selu elu celu", lambda f, h: f(h), "large")
case("hardsigmoid", lambda f, h: f(h), "any", "kinks", oracle=lambda h: F.relu6(h + 3) / 6)  # torch has no second derivative
case("logit", lambda f, h: f(h.abs() if isinstance(h, Tensor) else abs(h)), "unit")
case("logit", lambda f, h: f(h, 0.3), "kinks")
case("logit", lambda f, h: f(h, eps=1e-3), "unit")
case("sinc", lambda f, h: f(h), "large", oracle=lambda h: torch.sin(torch.pi * h) / (torch.pi * h))
case("gelu", lambda f, h: f(h, approximate="tanh"), "any", "kinks")
case("softplus", lambda f, h: f(h, beta=2.0, threshold=1.0), "any")
case("softplus", lambda f, h: f(h, 0.5, 0.5), "kinks")  # 0.5 is on the threshold
case("leaky_relu", lambda f, h: f(h, negative_slope=0.3), "kinks")
case("rrelu", lambda f, h: f(h, 0.1, 0.4, False), "kinks")
case("elu", lambda f, h: f(h, alpha=0.7), "kinks")
case("celu", lambda f, h: f(h, 0.5), "kinks")
exact_celu = lambda h: torch.where(h > 0, h, 0.7 * torch.expm1(h / 0.7))  # noqa: E731
case("celu", lambda f, h: f(h, alpha=0.7), "any", oracle=exact_celu)  # torch keeps 1 / alpha in float32
case("hardtanh", lambda f, h: f(h, -0.5, 0.5), "kinks")
case("hardtanh", lambda f, h: f(h, min_val=-0.2, max_val=3.0), "kinks")
case("threshold _threshold", lambda f, h: f(h, 0.5, -7.0), "kinks")
case("hardshrink softshrink", lambda f, h: f(h, lambd=1.0), "kinks")
case("prelu", lambda f, h: f(h, ROW[:1]), "kinks")
case("prelu", lambda f, h: f(h, ROW), "kinks", "any")
case("prelu", lambda f, h: f(cubes(h), ROW), "kinks")
case("glu", lambda f, h: f(h))
case("glu", lambda f, h: f(cubes(h), 1))
case("frac", lambda f, h: f(h), "any", "large")

# Sums, products, powers and choices.
case("add sub subtract mul multiply div divide true_divide", lambda f, h: f(h, h.flip(1)))
for other in (ROW, FULL, FULL[:1], WHOLE, torch.tensor(1.7, dtype=torch.float64), torch.tensor(3), FULL.float()):
    case("add sub subtract rsub mul multiply", lambda f, h, other=other: f(h, other))
    case("add sub subtract mul multiply maximum minimum hypot", lambda f, h, other=other: f(other, h))
    case("div divide true_divide", lambda f, h, other=other: f(h, other.double() + 0.3 if other is WHOLE else other))
    case("div divide true_divide", lambda f, h, other=other: f(other, h))
case("add sub subtract rsub", lambda f, h: f(h, 3, alpha=2))
case("add sub subtract rsub", lambda f, h: f(h, WHOLE, alpha=0.3))
case("add sub subtract", lambda f, h: f(WHOLE, h, alpha=0.3))
case("add sub subtract rsub", lambda f, h: f(h, torch.tensor([1, 2, 3, 255], dtype=torch.uint8)))
case("add sub subtract rsub", lambda f, h: f(h, h * h, alpha=-0.4))
case("add mul", lambda f, h: f(h[:, :1], ROW))
case("add mul", lambda f, h: f(h[:, 0], ROW))  # one number a point
case("add", lambda f, h: f(h, torch.tensor([0.0, -torch.inf, 0.0, 1.0])).softmax(1))
case("add", lambda f, h: f(input=h, other=2.5))
case("rsub", lambda f, h: f(h, 2.0, alpha=0.5))
case("addcmul", lambda f, h: f(h, h.sin(), ROW, value=0.4))
case("addcmul", lambda f, h: f(h, WHOLE, WHOLE, value=0.3))
case("addcmul", lambda f, h: f(ROW, h, h))
case("addcdiv", lambda f, h: f(h, ROW, h, value=0.4))
case("addcdiv", lambda f, h: f(h, ROW, FULL))
case("addcdiv", lambda f, h: f(FULL, h.sin(), h), "positive")
case("lerp", lambda f, h: f(h, h.sin(), 0.3))
case("lerp", lambda f, h: f(h, FULL, ROW))
case("lerp", lambda f, h: f(FULL, h, h.sin()))
case("remainder fmod", lambda f, h: f(h, 0.7), "any", "large")
case("remainder fmod", lambda f, h: f(h, ROW))
case("remainder fmod", lambda f, h: f(h[:, :1], ROW))
for exponent in (0, 1, 2, 3, 7, -2, 2.0, torch.tensor(2), torch.tensor(3.0), WHOLE, WHOLE.double(), WHOLE - 2.0):
    case("pow", lambda f, h, exponent=exponent: f(h, exponent), "any")
for exponent in (1, 2, 3.0, torch.tensor(4)):
    case("pow", lambda f, h, exponent=exponent: f(h, exponent), "zeros")
powers = lambda h: torch.stack([h[:, 0] ** 2, h[:, 1] ** 3, torch.ones(4), h[:, 3]], 1)  # noqa: E731
case("pow", lambda f, h: f(h, WHOLE), "zeros", oracle=powers)  # torch has NaN for the second derivative of x^0 and x^1
for exponent in (0.5, -0.5, 2.5, ROW, FULL, torch.tensor(1.5)):
    case("pow", lambda f, h, exponent=exponent: f(h, exponent), "positive")
case("pow", lambda f, h: f(h[:, :1], WHOLE.double()), "any")
case("pow", lambda f, h: f(h, h.sin()), "positive")
for base in (torch.tensor([2, 3, 1, 5]), ROW.abs(), FULL.square(), torch.tensor(0.4)):
    case("pow", lambda f, h, base=base: f(base, h))
case("pow", lambda f, h: f(2, h))
case("pow", lambda f, h: f(0.3, h))
case("__rpow__", lambda f, h: f(h, 2.5))
case("__rsub__ __rdiv__ __rtruediv__", lambda f, h: f(h, 2.5))
case("__rsub__", lambda f, h: f(h, ROW))
case("__rmatmul__", lambda f, h: f(cubes(h), CUBE[0]))
case("xlogy", lambda f, h: f(h, h.square() + 0.1))
case("xlogy", lambda f, h: f(ROW, h), "positive")
case("xlogy", lambda f, h: f(torch.tensor([0.0, 1.0, 2.0, 0.0]), h * h + 0.5))
case("xlogy", lambda f, h: f(h, 2.0), "zeros")
case("hypot", lambda f, h: f(h, h.flip(1)))
case("atan2 arctan2", lambda f, h: f(h, h.flip(1)))
case("atan2 arctan2", lambda f, h: f(h, ROW))
case("atan2 arctan2", lambda f, h: f(FULL, h))
case("atan2 arctan2", lambda f, h: f(h, h.flip(1) + 0.5), "kinks")
case("logaddexp", lambda f, h: f(h, h.flip(1)), "any", "large")
case("logaddexp", lambda f, h: f(h, ROW))
case("logaddexp", lambda f, h: f(FULL, h))
case("where", lambda f, h: chosen(f, MASK, h, h * h))
case("where", lambda f, h: chosen(f, MASK, h, 0.25))
case("where", lambda f, h: chosen(f, MASK, 2, h))
case("where", lambda f, h: chosen(f, MASK[0], h, ROW))
case("where", lambda f, h: chosen(f, MASK, ROW, h[:, :1]))
case("where", lambda f, h: chosen(f, MASK[:, :1], h[:, :1], FULL))
case("where", lambda f, h: chosen(f, h > 0, h, WHOLE))
case("masked_fill", lambda f, h: f(h, MASK, 0.5))
case("masked_fill", lambda f, h: f(h, MASK[0], torch.tensor(2.0)))
case("masked_fill", lambda f, h: f(h, MASK, -torch.inf).softmax(1))
case("clamp clip", lambda f, h: f(h, -0.5, 0.5), "kinks")
case("clamp clip", lambda f, h: f(h, min=0.5), "kinks")
case("clamp clip", lambda f, h: f(h, max=-1), "kinks")
case("clamp clip", lambda f, h: f(h, 1.0, -1.0), "kinks", "any")
case("clamp clip", lambda f, h: f(h, min=ROW), "any", "kinks")
case("clamp clip", lambda f, h: f(h, ROW, FULL))
case("clamp clip", lambda f, h: f(h, WHOLE, WHOLE + 1), "kinks")
case("clamp clip", lambda f, h: f(h[:, :1], min=ROW, max=torch.tensor(0.7, dtype=torch.float64)))
case("clamp clip", lambda f, h: f(h, min=h.flip(1), max=h.sin() + 0.5))
case("clamp_min", lambda f, h: f(h, 0.5), "kinks")
case("clamp_max", lambda f, h: f(h, 0.5), "kinks")
case("clamp_min clamp_max", lambda f, h: f(h, ROW))
case("maximum minimum", lambda f, h: f(h, h.flip(1)), "any", "zeros")
case("maximum minimum", lambda f, h: f(h, WHOLE.double()), "kinks")
case("lt less le less_equal gt greater ge greater_equal eq ne not_equal isclose", lambda f, h: f(h, ROW))
case("lt less le less_equal gt greater ge greater_equal eq ne not_equal", lambda f, h: f(h, 1.0), "kinks")
case("lt le gt ge eq ne isclose logical_and logical_or logical_xor", lambda f, h: f(h, h.flip(1)), "kinks")
case(
    "isnan isinf isfinite isposinf isneginf signbit logical_not sign sgn floor ceil round trunc fix", lambda f, h: f(h), "kinks"
)
case("round", lambda f, h: f(h, decimals=1))
case("heaviside", lambda f, h: f(h, ROW), "kinks", oracle=lambda h: torch.heaviside(h.detach(), ROW))
case("__abs__ __neg__ __pos__")
case("argmax argmin", lambda f, h: f(h, dim=1))
case("argmax argmin", lambda f, h: f(h, -1, True))
