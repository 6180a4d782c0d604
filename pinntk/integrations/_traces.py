"""Exact kernel traces of losses and error vectors from anybody's code, by their autograd graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from pinntk._util import distributed
from pinntk._util.warn import warn_user
from pinntk.ntk._certificate import gross_deviation
from pinntk.ntk._factored import Factors
from pinntk.ntk.graph import (
    FEW,
    OWNERS,
    LossError,
    LossTerm,
    UnstructuredError,
    certified_rows,
    errors_of_loss,
    is_square,
    read_by,
    shaped_terms,
)
from pinntk.ntk.graph._walk import Node, operation, post_order, saved_value, shape_of
from pinntk.residuals import NonFiniteError

_MANY_PARTS = 64  # columns, or rows, of errors that are read one after the other
_ROWS_AT_ONCE = 256  # of J, where it comes row by row
_ENTRY_BY_ENTRY = ("add", "sub", "rsub", "mul", "div", "neg", "pow")
_FADED = 1e4  # roundings of 1, as of sin(pi x) at x = 1000
_CHEAP = 64  # errors whose rows nobody has to be warned of

Way = tuple[str, str]  # how errors are taken apart, "all", "columns" or "rows", and which of OWNERS


class LossTrace(NamedTuple):
    """Of one condition's loss, sum_t f_t mean(e_t^2) over its terms t.

    size: sum_t f_t / n_t Tr J_t J_t^T, a number in float64: the trace of the kernel of the loss as it is minimized
    n: errors, by which the trace is n times the size; Tr K where the loss is mean(e^2)
    """

    size: Tensor
    n: int


class TraceReader:
    """Traces of losses by name; remembers how the errors of each were read."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, int], Way] = {}
        self._warned: set[str] = set()

    def of(self, name: str, value: Tensor, parameters: Mapping[str, Tensor]) -> LossTrace:
        """value: a scalar loss, or errors of any other shape, of which the loss is their mean square.

        Raises LossError for a loss that is no sum of mean squares; ValueError where there is no graph, or it does not reach
        the parameters, or it computes in half precision;
        NonFiniteError for NaN.
        """
        _check_finite(name, value.detach())
        terms = _terms(name, value)
        leaves = {get_gradient_edge(p).node for p in parameters.values()}
        if not terms:
            raise ValueError(f"{name} is zero times its squares, and no weight changes that; leave it out of the losses")
        graphs = [post_order(get_gradient_edge(term.errors).node) for term in terms]
        for nodes in graphs:
            _check_precision(name, nodes)
        if all(leaves.isdisjoint(nodes) for nodes in graphs):
            raise ValueError(
                f"{name} depends on none of the {len(parameters)} parameters that NTKWeights was given; give all that the "
                "optimizer trains, as in NTKWeights([network, other_network]), and look for a detach() before the loss"
            )
        n = sum(term.errors.numel() for term in terms)
        for term in terms:
            self._check_shape(name, term.errors)
        size = self.size_of(name, terms, parameters)
        if n > _CHEAP and any(node.name() == "CompiledFunctionBackward" for nodes in graphs for node in nodes):
            self._warn(name, f"it comes from torch.compile, so every update of the weights takes {n} of its backward passes")
        return LossTrace(size, n)

    def size_of(self, name: str, terms: Iterable[LossTerm], parameters: Mapping[str, Tensor]) -> Tensor:
        """As in `LossTrace`, of a loss that is known by its terms, whose errors have any shape."""
        size = torch.zeros((), dtype=torch.float64)
        for number, (factor, errors) in enumerate(terms):
            size = size + self._squared_norm((name, number), errors, parameters) * factor / errors.numel()
        return size

    def _squared_norm(self, key: tuple[str, int], errors: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Of J = d errors / d theta: the trace of J J^T."""
        if not errors.requires_grad:
            return torch.zeros((), dtype=torch.float64)
        if errors.grad_fn is None:  # a parameter, as in a penalty on weights
            own = any(get_gradient_edge(p).node is get_gradient_edge(errors).node for p in parameters.values())
            return torch.tensor(float(errors.numel() if own else 0), dtype=torch.float64, device=errors.device)
        errors = errors.squeeze() if errors.numel() > 1 else errors.reshape(1)
        reasons = []
        for way in dict.fromkeys([*([self._ways[key]] if key in self._ways else []), *_ways(errors)]):
            try:
                found = sum(_diagonal_sum(read_by(way[1], e, parameters, name=key[0])) for e in _parts(errors, way[0]))
            except UnstructuredError as error:
                reasons.append(str(error))
                continue
            self._ways[key] = way
            assert isinstance(found, Tensor)
            return found
        return self._row_by_row(key[0], errors.reshape(-1), parameters, reasons)

    def _row_by_row(self, name: str, errors: Tensor, parameters: Mapping[str, Tensor], reasons: Sequence[str]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=errors.device)
        for part in errors.split(_ROWS_AT_ONCE):
            found = certified_rows(part, parameters, name)
            assert found.origin is not None and found.origin.certificate is not None
            if found.origin.certificate > gross_deviation(errors.dtype):
                self._warn(name, "a backward pass in its graph is not linear in its seed, so its trace depends on the seed")
            total = total + _diagonal_sum(found)
        if len(errors) > _CHEAP:
            reason = "; ".join(dict.fromkeys(reasons))
            self._warn(
                name, f"{reason}; its trace is exact, but every update of the weights takes {len(errors)} backward passes"
            )
        return total

    def _check_shape(self, name: str, errors: Tensor) -> None:
        """Warns of the (n, n) differences of an (n, 1) and an (n,)."""
        found = stretched(errors)
        if found is not None:
            n, given = len(errors), " and a ".join(map(str, found))
            self._warn(
                name,
                f"its errors have shape {(n, n)}, made by broadcasting a {given}: each of {n} values meets all others. Give "
                "both the same shape, as by target.reshape(-1, 1)",
            )

    def _warn(self, name: str, message: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warn_user(f"{name}: {message}")


def over_processes(found: Mapping[str, LossTrace], device: torch.device) -> tuple[dict[str, float], dict[str, int]]:
    """({name: size}, {name: n}) of all processes: as DDP averages gradients, of the mean of their losses."""
    here = torch.stack([part.size.to(device) for part in found.values()]).tolist()
    sizes = distributed.all_sum_numbers(here, device)
    counts = distributed.all_sum_numbers([part.n for part in found.values()], device)
    shares = [size / distributed.world() for size in sizes]
    return dict(zip(found, shares, strict=True)), dict(zip(found, map(int, counts), strict=True))


def _terms(name: str, value: Tensor) -> list[LossTerm]:
    if value.ndim == 0:
        try:
            return shaped_terms(value)
        except LossError as error:
            if isinstance(error.__cause__, RuntimeError):  # of autograd
                raise error.__cause__ from error
            raise LossError(f"{name}: {error}; give its errors, a tensor of shape (n,), in place of the loss") from error
    if value.grad_fn is None and not value.requires_grad:
        raise ValueError(f"{name} has no autograd graph: it was detached, or computed under torch.no_grad or by numpy")
    if is_square(value):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and is squared already; give the errors themselves, or their mean square"
        )
    if value.numel() == 1 and _is_loss(value):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and is a sum of squares: give a loss as one number, by .squeeze()"
        )
    return [LossTerm(1.0, value.clone() if value.is_leaf else value)]


def _check_finite(name: str, value: Tensor) -> None:
    if value.isfinite().all():
        return
    if value.ndim == 0:
        raise NonFiniteError(f"{name} is {value.item()}: its errors are not finite; look at the step before")
    bad = int((~value.isfinite()).sum())
    raise NonFiniteError(f"{name} is not finite in {bad} of its {value.numel()} errors; look at their points")


def _is_loss(value: Tensor) -> bool:
    try:
        errors_of_loss(value)
    except LossError:
        return False
    return True


def _check_precision(name: str, nodes: Iterable[Node]) -> None:
    outputs = (metadata for node in nodes for metadata in getattr(node, "_input_metadata", ()))
    half = {str(metadata.dtype) for metadata in outputs} & {"torch.float16", "torch.bfloat16"}
    if half:
        raise ValueError(
            f"{name} is computed in {half.pop()}, which leaves nothing of a derivative's digits; compute this loss outside of "
            "torch.autocast, with a network in float32"
        )


def fades(value: Tensor, parameters: Mapping[str, Tensor]) -> bool:
    """Whether something trained is multiplied in this graph by a tensor that is all rounding of numbers of size 1, as by
    sin(pi x) at x = 1: a number that it is multiplied by, as of its units, may be as small.
    """
    leading = {get_gradient_edge(p).node for p in parameters.values()}
    for node in post_order(get_gradient_edge(value).node):
        inputs = [m in leading for m, _ in node.next_functions]
        if not any(inputs):
            continue
        leading.add(node)
        if node.name() == "MulBackward0" and not all(inputs):
            factor = saved_value(node, "self" if inputs[1] else "other")
            if isinstance(factor, Tensor) and factor.ndim and factor.is_floating_point():
                size = float(factor.abs().max())
                if 0 < size <= _FADED * torch.finfo(factor.dtype).eps:
                    return True
    return False


def stretched(errors: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes (n, 1) and (n,) that met in errors (n, n); None where that is not what happened. What does not depend on
    parameters is not in the graph: an (n, 1) that has become (n, n) met an (n,), and an (n,) met an (n, 1).
    """
    shape = tuple(errors.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 3 or errors.grad_fn is None:
        return None
    column, flat = (shape[0], 1), shape[:1]
    seen, stack = set(), [errors.grad_fn]
    while stack:
        node = stack.pop()
        if node in seen or operation(node) not in _ENTRY_BY_ENTRY:
            continue
        seen.add(node)
        inputs = [(m, shape_of(m, i)) for m, i in node.next_functions if m is not None]
        shapes = {there for _, there in inputs}
        if shapes and shapes <= {column, flat}:
            return column, flat
        stack += [m for m, there in inputs if there == shape]
    return None


def _ways(errors: Tensor) -> list[Way]:
    """How to read errors of this shape, the likeliest first."""
    if errors.numel() <= FEW:
        return []
    parts = ["all"]
    if errors.ndim > 1:
        parts += ["columns"] if errors.shape[-1] <= _MANY_PARTS else []
        parts += ["rows"] if errors.shape[0] <= _MANY_PARTS else []
    return [(part, owners) for owners in OWNERS for part in parts]


def _parts(errors: Tensor, part: str) -> list[Tensor]:
    if part == "all":
        return [errors.reshape(-1)]
    if part == "columns":
        return list(errors.reshape(-1, errors.shape[-1]).unbind(1))
    return list(errors.reshape(len(errors), -1).unbind(0))


def _diagonal_sum(found: Factors) -> Tensor:
    return found.diagonal.sum()
