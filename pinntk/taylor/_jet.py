"""The jet: truncated Taylor coefficients of whatever flows through a network, eaten by any nn.Module unchanged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk.taylor import _fused as fused
from pinntk.taylor._basis import Basis


class UnsupportedOperationError(TypeError):
    """The Taylor engine has no rule for an operation; nested reverse-mode autograd may still know it."""

    def __init__(self, operation: str, reason: str = "has no Taylor rule"):
        super().__init__(f"{operation} {reason}")
        self.operation = operation


class DependentPointsError(ValueError):
    """An operation makes one point's output depend on other points, so per-point errors and kernels lose their meaning."""


RULES: dict[Callable, Callable] = {}  # filled by the modules of rules


class Jet:
    """Taylor coefficients of a batch of values, in place of the (n, ...) tensor that an nn.Module expects.

    basis: which S coefficients are carried
    components: [S, n, ...]; components[0] is the value
    tape: records the parameters' linear uses (`pinntk.ntk._tape`), or None

    Implements `__torch_function__`: `nn.Linear`, `torch.tanh`, `torch.cat`, `+`, slicing and so on return jets. `shape`
    and friends are those of the value. Raises UnsupportedOperationError for an operation with no rule, DependentPointsError for
    one that mixes points (dimension 0).

    >>> x = Jet.seed(Basis.spanning([(2,)], 1), torch.tensor([[0.0], [1.0]]))
    >>> torch.sin(x).derivative((2,)).flatten().tolist() == (-torch.sin(torch.tensor([0.0, 1.0]))).tolist()
    True
    """

    __slots__ = ("basis", "components", "differentiated", "tape", "viewed")

    def __init__(self, basis: Basis, components: Tensor, tape: Any = None):
        self.basis, self.components, self.tape = basis, components, tape
        self.differentiated = torch.is_grad_enabled()
        self.viewed = False  # whether another jet may be a view of these components, or these components one of another's

    @classmethod
    def seed(cls, basis: Basis, points: Tensor, tape: Any = None) -> Jet:
        """The jet of the identity at `points` (n, d): value x, first derivatives one, all others zero."""
        components = points.new_zeros((basis.size, *points.shape))
        components[0] = points
        for axis in range(basis.dimension):
            if basis.unit(axis) in basis:
                components[basis.position(basis.unit(axis)), :, axis] = 1
        return cls(basis, components, tape)

    def like(self, components: Tensor) -> Jet:
        if torch.is_grad_enabled() != self.differentiated:  # autograd would cut the coordinates' derivatives too
            raise UnsupportedOperationError("torch.no_grad() inside the network")
        if components.dtype != self.dtype:
            _check_dtype(components)
        return Jet(self.basis, components, self.tape)

    def view_like(self, components: Tensor) -> Jet:
        """As `like`, for components that may share memory with these."""
        jet = self.like(components)
        jet.viewed = self.viewed = True
        return jet

    @property
    def value(self) -> Tensor:
        return self.components[0]

    def derivative(self, index: tuple[int, ...]) -> Tensor:
        """d^index of every entry, shaped like the value."""
        return self._combine(self.basis.derivative_terms(index))

    def laplacian(self, axes: tuple[int, ...]) -> Tensor:
        """The sum of second derivatives over `axes`, shaped like the value."""
        return self._combine(self.basis.laplacian_terms(axes))

    def _combine(self, terms: list[tuple[int, float]]) -> Tensor:
        parts = [self.components[s] if factor == 1 else factor * self.components[s] for s, factor in terms]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    @classmethod
    def __torch_function__(cls, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _call(func, *args, **(kwargs or {}))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """numpy_array * jet, and the like."""
        func = _UFUNCS.get(ufunc)
        if func is None or method != "__call__" or kwargs:
            raise UnsupportedOperationError(f"numpy.{ufunc.__name__}", "leaves the autograd graph; use torch's function")
        return _call(func, *inputs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedOperationError("a conversion to numpy", "leaves the autograd graph; use torch's functions")

    # What a forward pass asks of its input.

    @property
    def shape(self) -> torch.Size:
        return self.components.shape[1:]

    @property
    def ndim(self) -> int:
        return self.components.ndim - 1

    @property
    def dtype(self) -> torch.dtype:
        return self.components.dtype

    @property
    def device(self) -> torch.device:
        return self.components.device

    @property
    def requires_grad(self) -> bool:
        return self.components.requires_grad

    @property
    def is_cuda(self) -> bool:
        return self.components.is_cuda

    def size(self, dim: int | None = None) -> torch.Size | int:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return self.shape.numel()

    nelement = numel

    def is_floating_point(self) -> bool:
        return True

    def is_complex(self) -> bool:
        return False

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Jet(shape={tuple(self.shape)}, S={self.basis.size}, dtype={self.dtype})"

    def new_zeros(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.components.new_zeros(*size, **kwargs)

    def new_ones(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.components.new_ones(*size, **kwargs)

    def new_full(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.components.new_full(*size, **kwargs)

    def new_empty(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.components.new_empty(*size, **kwargs)

    def new_tensor(self, *values: Any, **kwargs: Any) -> Tensor:
        return self.components.new_tensor(*values, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Tensor methods: x.sin() is torch.Tensor.sin(x)."""
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"'Jet' object has no attribute {name!r}")
        if name.endswith("_"):
            raise UnsupportedOperationError(f"Tensor.{name}", _IN_PLACE)
        if getattr(Tensor, name) not in RULES:
            raise UnsupportedOperationError(f"Tensor.{name}")
        return partial(_call, getattr(Tensor, name), self)

    def replace_in_place(self, result: Jet, operation: str) -> Jet:
        """Takes over the result of an in-place operation, as every name of this jet will see. Refused once a view of
        these components exists, which torch would change too.
        """
        if self.viewed or result.shape != self.shape:
            raise UnsupportedOperationError(operation, _IN_PLACE)
        self.components = result.components.to(self.dtype)
        return self

    @property
    def mT(self) -> Jet:  # noqa: N802 torch's name
        if self.ndim < 3:
            raise UnsupportedOperationError("Tensor.mT", "moves the points away from dimension 0")
        return _call(torch.transpose, self, -2, -1)

    def __getitem__(self, index: Any) -> Jet:
        return _call(Tensor.__getitem__, self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise UnsupportedOperationError("x[...] = value", _IN_PLACE)

    def __iter__(self) -> Any:
        return iter(_call(torch.unbind, self, 0))

    def __pos__(self) -> Jet:
        return self

    def __rsub__(self, other: Any) -> Jet:
        return _call(torch.add, _call(torch.neg, self), other)

    __hash__ = object.__hash__


def _operator(func: Callable) -> Callable:
    return lambda self, *other: _call(func, self, *other)


def _reverse_operator(func: Callable) -> Callable:
    return lambda self, other: _call(func, other, self)


def _in_place_operator(func: Callable, spelled: str) -> Callable:
    return lambda self, other: self.replace_in_place(_call(func, self, other), spelled)


def _refusal(spelled: str, reason: str = "has no Taylor rule") -> Callable:
    def method(self: Jet, *other: Any) -> Any:
        raise UnsupportedOperationError(spelled, reason)

    return method


_OPERATORS: dict[str, Callable] = {
    "neg": torch.neg,
    "abs": torch.abs,
    "add": torch.add,
    "radd": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "rmul": torch.mul,
    "truediv": torch.div,
    "pow": torch.pow,
    "matmul": torch.matmul,
    "mod": torch.remainder,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
}
for _dunder, _func in _OPERATORS.items():
    setattr(Jet, f"__{_dunder}__", _operator(_func))
_REVERSE_OPERATORS: dict[str, Callable] = {
    "rtruediv": torch.div,
    "rpow": torch.pow,
    "rmatmul": torch.matmul,
    "rmod": torch.remainder,
}
for _dunder, _func in _REVERSE_OPERATORS.items():
    setattr(Jet, f"__{_dunder}__", _reverse_operator(_func))
for _dunder, _func, _spelled in (
    ("iadd", torch.add, "x += y"),
    ("isub", torch.sub, "x -= y"),
    ("imul", torch.mul, "x *= y"),
    ("itruediv", torch.div, "x /= y"),
    ("ipow", torch.pow, "x **= y"),
    ("imod", torch.remainder, "x %= y"),
):
    setattr(Jet, f"__{_dunder}__", _in_place_operator(_func, _spelled))
for _dunder, _spelled in {"floordiv": "x // y", "rfloordiv": "y // x", "ifloordiv": "x //= y", "contains": "y in x"}.items():
    setattr(Jet, f"__{_dunder}__", _refusal(_spelled))
for _type in ("bool", "int", "float", "complex", "index"):
    setattr(Jet, f"__{_type}__", _refusal(f"{_type}(x)", "makes one Python number of values that differ from point to point"))

_UFUNCS: dict[np.ufunc, Callable] = {
    np.add: torch.add,
    np.subtract: torch.sub,
    np.multiply: torch.mul,
    np.divide: torch.div,
    np.power: torch.pow,
    np.matmul: torch.matmul,
    np.equal: torch.eq,
    np.not_equal: torch.ne,
    np.less: torch.lt,
    np.less_equal: torch.le,
    np.greater: torch.gt,
    np.greater_equal: torch.ge,
}
_IN_PLACE = "changes a tensor in place, which the Taylor engine cannot follow (write y = f(x) instead)"


def _call(func: Callable, *args: Any, **kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        raise UnsupportedOperationError(f"{_name(func)}(out=...)", _IN_PLACE)
    handler = RULES.get(func)
    if handler is None:
        raise UnsupportedOperationError(_name(func))
    return _apply(handler, func, *args, **kwargs)


def _apply(handler: Callable, func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls a rule with torch's spellings of its arguments. What a rule cannot do with them is for autograd to do, or to
    refuse with torch's own error.
    """
    if kwargs:
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
    in_place = kwargs.pop("inplace", False)
    try:
        result = handler(*args, **kwargs)
    except _HEARD:
        raise
    except _ORDINARY as error:
        if fused.writes_plainly():  # the compiler's own refusal
            raise
        failure = f"has no Taylor rule for these arguments ({_first_line(error)})"
        raise UnsupportedOperationError(_name(func), failure) from error
    return args[0].replace_in_place(result, f"{_name(func)}(inplace=True)") if in_place else result


# What is raised about an operation's arguments; not what torch.utils.checkpoint raises to end a forward pass early.
_ORDINARY = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
_HEARD = (UnsupportedOperationError, DependentPointsError, torch.OutOfMemoryError, MemoryError)


def through(network: Callable, jet: Jet) -> Any:
    """network(jet).

    Whatever else the network raises on a jet (a scripted function, `torch.func.vmap`, a test of the type of its input) is an
    operation without a rule: autograd can follow it, or raises the network's own error.
    """
    try:
        return network(jet)
    except _HEARD:
        raise
    except _ORDINARY as error:
        if fused.writes_plainly():
            raise
        failure = f"raised {type(error).__name__} on the Taylor engine's input ({_first_line(error)})"
        raise UnsupportedOperationError(type(network).__name__, failure) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _check_dtype(components: Tensor) -> None:
    if not components.is_floating_point():
        raise UnsupportedOperationError(f"a value of dtype {components.dtype}")
    if torch.is_autocast_enabled(components.device.type):
        raise UnsupportedOperationError("torch.autocast inside the network")


def _name(func: Callable) -> str:
    """torch.fft.fft or Tensor.cumsum, as the user wrote it."""
    qualified: str = getattr(func, "__qualname__", None) or getattr(func, "__name__", None) or repr(func)
    qualified = qualified.replace("_VariableFunctionsClass.", "torch.")
    if "." in qualified:
        return qualified.replace("TensorBase", "Tensor").replace("_TensorBase", "Tensor")
    module = getattr(func, "__module__", None) or "torch"
    return f"{module.replace('torch._C._nn', 'torch.nn.functional')}.{qualified}"
