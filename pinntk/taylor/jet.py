"""The jet: truncated Taylor coefficients of whatever flows through a network, eaten by any nn.Module unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pinntk.taylor.basis import Basis


class UnsupportedOperation(TypeError):
    """The Taylor engine has no rule for an operation; nested reverse-mode autograd may still know it."""

    def __init__(self, operation: str, reason: str = "has no Taylor rule"):
        super().__init__(f"{operation} {reason}")
        self.operation = operation


class DependentPoints(ValueError):
    """An operation makes one point's output depend on other points, so per-point errors and kernels lose their meaning."""


RULES: dict[Callable, Callable] = {}  # filled by pinntk.taylor.rules


class Jet:
    """Taylor coefficients of a batch of values, in place of the (n, ...) tensor that an nn.Module expects.

    basis: which S coefficients are carried
    data: [S, n, ...]; data[0] is the value
    tape: records the parameters' linear uses (`pinntk.ntk.tape`), or None

    Implements `__torch_function__`: `nn.Linear`, `torch.tanh`, `torch.cat`, `+`, slicing and so on return jets. `shape`
    and friends are those of the value. Raises UnsupportedOperation for an operation with no rule, DependentPoints for
    one that mixes points (dimension 0).

    >>> x = Jet.seed(Basis.spanning([(2,)], 1), torch.tensor([[0.0], [1.0]]))
    >>> torch.sin(x).derivative((2,)).flatten().tolist() == (-torch.sin(torch.tensor([0.0, 1.0]))).tolist()
    True
    """

    __slots__ = ("basis", "data", "differentiated", "tape", "viewed")
    __array_ufunc__ = None  # numpy_array * jet comes to Jet.__rmul__, not to an object array

    def __init__(self, basis: Basis, data: Tensor, tape: Any = None):
        self.basis, self.data, self.tape = basis, data, tape
        self.differentiated = torch.is_grad_enabled()
        self.viewed = False  # whether another jet may be a view of these data, or these data one of another's

    @classmethod
    def seed(cls, basis: Basis, points: Tensor, tape: Any = None) -> Jet:
        """The jet of the identity at `points` (n, d): value x, first derivatives one, all others zero."""
        data = points.new_zeros((basis.size, *points.shape))
        data[0] = points
        for axis in range(basis.dimension):
            if basis.unit(axis) in basis:
                data[basis.position(basis.unit(axis)), :, axis] = 1
        return cls(basis, data, tape)

    def like(self, data: Tensor) -> Jet:
        if torch.is_grad_enabled() != self.differentiated:  # autograd would cut the coordinates' derivatives too
            raise UnsupportedOperation("torch.no_grad() inside the network")
        return Jet(self.basis, data, self.tape)

    def view_like(self, data: Tensor) -> Jet:
        """As `like`, for data that may share memory with these."""
        jet = self.like(data)
        jet.viewed = self.viewed = True
        return jet

    @property
    def value(self) -> Tensor:
        return self.data[0]

    def derivative(self, index: tuple[int, ...]) -> Tensor:
        """d^index of every entry, shaped like the value."""
        return self._combine(self.basis.derivative_terms(index))

    def laplacian(self, axes: tuple[int, ...]) -> Tensor:
        """The sum of second derivatives over `axes`, shaped like the value."""
        return self._combine(self.basis.laplacian_terms(axes))

    def _combine(self, terms: list[tuple[int, float]]) -> Tensor:
        parts = [self.data[s] if factor == 1 else factor * self.data[s] for s, factor in terms]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    @classmethod
    def __torch_function__(cls, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("out") is not None:
            raise UnsupportedOperation(f"{_name(func)}(out=...)", _IN_PLACE)
        handler = RULES.get(func)
        if handler is None:
            raise UnsupportedOperation(_name(func))
        return _apply(handler, _name(func), *args, **kwargs)

    # What a forward pass asks of its input.

    @property
    def shape(self) -> torch.Size:
        return self.data.shape[1:]

    @property
    def ndim(self) -> int:
        return self.data.ndim - 1

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    @property
    def device(self) -> torch.device:
        return self.data.device

    @property
    def requires_grad(self) -> bool:
        return self.data.requires_grad

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda

    def size(self, dim: int | None = None) -> torch.Size | int:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return self.shape.numel()

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Jet(shape={tuple(self.shape)}, S={self.basis.size}, dtype={self.dtype})"

    def new_zeros(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.data.new_zeros(*size, **kwargs)

    def new_ones(self, *size: Any, **kwargs: Any) -> Tensor:
        return self.data.new_ones(*size, **kwargs)

    def new_tensor(self, *values: Any, **kwargs: Any) -> Tensor:
        return self.data.new_tensor(*values, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Tensor methods: x.sin() is torch.Tensor.sin(x)."""
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"'Jet' object has no attribute {name!r}")
        if name.endswith("_"):
            raise UnsupportedOperation(f"Tensor.{name}", _IN_PLACE)
        handler = RULES.get(getattr(Tensor, name))
        if handler is None:
            raise UnsupportedOperation(f"Tensor.{name}")
        return partial(_apply, handler, f"Tensor.{name}", self)

    def changed(self, result: Jet, operation: str) -> Jet:
        """Takes over the result of an in-place operation, as every name of this jet will see. Refused once a view of
        these data exists, which torch would change too."""
        if self.viewed:
            raise UnsupportedOperation(operation, _IN_PLACE)
        self.data = result.data
        return self

    def __getitem__(self, index: Any) -> Jet:
        return RULES[Tensor.__getitem__](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise UnsupportedOperation("x[...] = value", _IN_PLACE)

    def __neg__(self) -> Jet:
        return RULES[torch.neg](self)

    def __pos__(self) -> Jet:
        return self

    def __abs__(self) -> Jet:
        return RULES[torch.abs](self)

    def __add__(self, other: Any) -> Jet:
        return RULES[torch.add](self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Jet:
        return RULES[torch.sub](self, other)

    def __rsub__(self, other: Any) -> Jet:
        return RULES[torch.add](-self, other)

    def __mul__(self, other: Any) -> Jet:
        return RULES[torch.mul](self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        return RULES[torch.div](self, other)

    def __rtruediv__(self, other: Any) -> Jet:
        return RULES[torch.div](other, self)

    def __pow__(self, other: Any) -> Jet:
        return RULES[torch.pow](self, other)

    def __rpow__(self, other: Any) -> Jet:
        return RULES[torch.pow](other, self)

    def __matmul__(self, other: Any) -> Jet:
        return RULES[torch.matmul](self, other)

    def __rmatmul__(self, other: Any) -> Jet:
        return RULES[torch.matmul](other, self)

    def __iadd__(self, other: Any) -> Jet:
        return self.changed(self + other, "x += y")

    def __isub__(self, other: Any) -> Jet:
        return self.changed(self - other, "x -= y")

    def __imul__(self, other: Any) -> Jet:
        return self.changed(self * other, "x *= y")

    def __itruediv__(self, other: Any) -> Jet:
        return self.changed(self / other, "x /= y")

    def __ipow__(self, other: Any) -> Jet:
        return self.changed(self**other, "x **= y")

    def __mod__(self, other: Any) -> Jet:
        raise UnsupportedOperation("x % y")

    def __floordiv__(self, other: Any) -> Jet:
        raise UnsupportedOperation("x // y")

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Tensor:
        return self.value == _value(other)

    def __ne__(self, other: Any) -> Tensor:
        return self.value != _value(other)

    def __lt__(self, other: Any) -> Tensor:
        return self.value < _value(other)

    def __le__(self, other: Any) -> Tensor:
        return self.value <= _value(other)

    def __gt__(self, other: Any) -> Tensor:
        return self.value > _value(other)

    def __ge__(self, other: Any) -> Tensor:
        return self.value >= _value(other)


_IN_PLACE = "changes a tensor in place, which the Taylor engine cannot follow (write y = f(x) instead)"


def _apply(handler: Callable, name: str, *args: Any, **kwargs: Any) -> Any:
    """Calls a rule with torch's spellings of its arguments."""
    in_place = kwargs.pop("inplace", False)
    for spelling, ours in (("axis", "dim"), ("ord", "p")):
        if spelling in kwargs:
            kwargs[ours] = kwargs.pop(spelling)
    try:
        result = handler(*args, **kwargs)
    except UnsupportedOperation:
        raise
    except TypeError:
        try:
            inspect.signature(handler).bind(*args, **kwargs)
        except TypeError as error:
            raise UnsupportedOperation(name, f"has no Taylor rule for these arguments ({error})") from None
        raise
    return args[0].changed(result, f"{name}(inplace=True)") if in_place else result


def _value(other: Any) -> Any:
    return other.value if isinstance(other, Jet) else other


def _name(func: Callable) -> str:
    """torch.fft.fft or Tensor.cumsum, as the user wrote it."""
    qualified = getattr(func, "__qualname__", None) or getattr(func, "__name__", repr(func))
    qualified = qualified.replace("_VariableFunctionsClass.", "torch.")
    if "." in qualified:
        return qualified.replace("TensorBase", "Tensor").replace("_TensorBase", "Tensor")
    module = getattr(func, "__module__", None) or "torch"
    return f"{module.replace('torch._C._nn', 'torch.nn.functional')}.{qualified}"
