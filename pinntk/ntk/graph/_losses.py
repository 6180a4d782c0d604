"""`errors_of_loss`: the error vectors inside a scalar loss that is a sum of mean squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pinntk.ntk.graph._walk import Node, operation, post_order, shape_of

_LINEAR = {
    "AddBackward0",
    "AliasBackward0",
    "CatBackward0",
    "CloneBackward0",
    "ExpandBackward0",
    "IndexBackward0",
    "MeanBackward0",
    "MeanBackward1",
    "NegBackward0",
    "PermuteBackward0",
    "ReshapeAliasBackward0",
    "RsubBackward1",
    "SelectBackward0",
    "SliceBackward0",
    "SplitBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "StackBackward0",
    "SubBackward0",
    "SumBackward0",
    "SumBackward1",
    "TBackward0",
    "ToCopyBackward0",
    "TransposeBackward0",
    "UnbindBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
    "MaskedSelectBackward0",
    "WhereBackward0",
}

_SUMS = {"AddBackward0", "MeanBackward0", "MeanBackward1", "SumBackward0", "SumBackward1"}
_COLUMNS = _LINEAR - _SUMS - {"NegBackward0", "RsubBackward1", "SubBackward0"}  # they pass entries on as they are


class LossTerm(NamedTuple):
    """factor * mean(errors^2), one part of a loss. errors: (n,) where nothing else is said, attached to its graph."""

    factor: float
    errors: Tensor


class LossError(ValueError):
    """A loss is not a sum of mean squares."""


def errors_of_loss(loss: Tensor) -> list[LossTerm]:
    """The error vectors of a scalar loss, with loss = sum of factor * mean(errors^2), from its autograd graph.

    loss: one number with its graph: sums and multiples of (e**2).mean(), e.square().sum(), nn.MSELoss()(u, v), e.norm()**2,
        torch.dot(e, e), (w * e**2).mean() with constant w >= 0 (then `errors` holds sqrt(w) e), in any nesting

    Errors of several columns are flattened, rows first. Raises LossError, naming the operation, for any other loss (absolute
    values, cross entropy, a product of two terms, a trained weight, a negative factor) and for one without a graph.

    >>> e = torch.tensor([1.0, 3.0], requires_grad=True)
    >>> [(term.factor, term.errors.tolist()) for term in errors_of_loss(3 * (2 * e).square().mean() + e.abs().pow(2).sum())]
    [(3.0, [2.0, 6.0]), (2.0, [1.0, 3.0])]
    """
    return [term for errors, each in _weighted_squares(loss) if (term := _flat_term(errors, each)) is not None]


def shaped_terms(loss: Tensor) -> list[LossTerm]:
    """`errors_of_loss` with errors as they were squared, of any shape; those of weight zero stay, as zeros."""
    return [_term(errors, each) for errors, each in _weighted_squares(loss) if each.any()]


def is_square(e: Tensor) -> bool:
    """Whether the last operation of e squares something, so that it is hardly an error itself."""
    return e.grad_fn is not None and _square_operand(e.grad_fn) is not None


def ends_in_squares(e: Tensor) -> bool:
    """Whether e has columns of squares, or of sums and multiples of squares alone.

    >>> u = torch.ones(3, 1, requires_grad=True)
    >>> ends_in_squares(0.5 * (u**2).squeeze(1)), ends_in_squares(u**2 - 1), ends_in_squares(u**2 * u)
    (True, False, False)
    """
    return e.grad_fn is not None and _ends_in_squares(e.grad_fn)


def _ends_in_squares(node: Node | None) -> bool:
    if node is None:
        return False
    if _square_operand(node) is not None:
        return True
    kind, inputs = node.name(), [m for m, _ in node.next_functions]
    given = [m for m in inputs if m is not None]
    if kind in _COLUMNS:
        return any(map(_ends_in_squares, given))
    if kind in _SUMS:
        return bool(inputs) and all(map(_ends_in_squares, inputs))
    multiple = len(given) == 1 and (kind == "MulBackward0" or (kind == "DivBackward0" and inputs[0] is not None))
    return multiple and _ends_in_squares(given[0])


def _weighted_squares(loss: Tensor) -> list[tuple[Tensor, Tensor]]:
    """[(errors, what each entry's square is multiplied by)], with loss = sum of (each * errors^2).sum(). Raises LossError."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise LossError(f"loss is {got}; give one number, a torch tensor with its graph")
    if loss.grad_fn is None:
        raise LossError("loss has no autograd graph: it was detached, or computed under torch.no_grad or by numpy")
    if loss.is_complex() or not bool(loss.detach().isfinite().all()):
        raise LossError(f"loss is {loss.detach().item()}; give one that is real and finite")
    try:
        with torch.enable_grad():
            squares = _squares(loss.grad_fn)
            coefficients = _coefficients(loss, squares)
            found = [_weighted(node, errors, coefficients[node]) for node, errors in squares.items()]
    except RuntimeError as error:
        if "graph a second time" in str(error):
            raise LossError("the graph of this loss was freed by a backward pass; read it before backward()") from error
        raise LossError(f"the graph of this loss can no longer be read: {str(error).splitlines()[0]}") from error
    total = sum(float((each * errors.detach().double().square()).sum()) for errors, each in found)
    coarsest = max(torch.finfo(t.dtype).eps for t in (loss, *(errors for errors, _ in found)))
    value, rounding = float(loss.detach()), 100 * coarsest**0.75
    if abs(total - value) > rounding * max(abs(value), total):
        raise LossError(f"loss is {value:.6g}, but its squares make {total:.6g}: another part of it has no graph")
    return found


def _squares(root: Node) -> dict[Node, Tensor]:
    """{node that squares: what it squares}: all of them that the loss is a linear function of."""
    found: dict[Node, Tensor] = {}
    seen, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        errors = _square_operand(node)
        if errors is not None:
            found[node] = errors
        else:
            stack += _linear_inputs(node)
    return dict(reversed(found.items()))


def _square_operand(node: Node) -> Tensor | None:
    """e, if the node is e^2, a (mean) square error or a squared norm, before any sum over it; else None. Complex values z, by
    |z|^2 or their norm, are errors (..., 2) of real and imaginary parts.
    """
    found = _real_operand(node)
    if found is None:
        return None
    below: Node = found.grad_fn
    if below is not None and below.name() == "AbsBackward0" and below._saved_self.is_complex():
        found = below._saved_self
    return torch.view_as_real(found) if found.is_complex() else found


def _real_operand(node: Node) -> Tensor | None:
    kind, inputs = node.name(), [m for m, _ in node.next_functions]
    if kind == "PowBackward0" and float(node._saved_exponent) == 2:
        return inputs[0]._saved_self if _is_norm(inputs[0]) else node._saved_self
    if kind == "PowBackward1" and inputs[1] is None and float(node._saved_exponent) == 2:
        return node._saved_self
    if kind == "MulBackward0" and inputs[0] is not None and node.next_functions[0] == node.next_functions[1]:
        return node._saved_self
    if kind == "MseLossBackward0":
        return node._saved_self - node._saved_target
    if kind == "DotBackward0" and node.next_functions[0] == node.next_functions[1]:
        return node._saved_self
    return None


def _is_norm(node: Node) -> bool:
    whole = node.name() == "LinalgVectorNormBackward0" and shape_of(node, 0) == ()
    return whole and float(node._saved_ord) == 2


def _linear_inputs(node: Node) -> list[Node]:
    kind, inputs = node.name(), [m for m, _ in node.next_functions]
    given = [m for m in inputs if m is not None]
    if kind in _LINEAR or (kind in ("MulBackward0", "DotBackward0", "MvBackward0") and len(given) == 1):
        return given
    if kind == "DivBackward0" and inputs[0] is not None and len(given) == 1:
        return given
    if kind == "MulBackward0":
        raise LossError(
            "loss is not a sum of mean squares: it multiplies two trained values, such as a trained weight and a loss"
        )
    raise LossError(f"loss is not a sum of mean squares: it holds '{operation(node)}' outside of a square")


def _coefficients(loss: Tensor, squares: Mapping[Node, Tensor]) -> dict[Node, Tensor]:
    """What each entry of every square is multiplied by in the loss. By the backward passes of the linear operations alone: a
    square may be part of another square's errors too.
    """
    found: dict[Node, list[Tensor | None]] = {loss.grad_fn: [torch.ones_like(loss.detach())]}
    for node in reversed(post_order(loss.grad_fn)):
        if node not in found or node in squares:
            continue
        passed = node(*found[node])
        passed = passed if isinstance(passed, tuple) else (passed,)
        for (below, index), g in zip(node.next_functions, passed, strict=True):
            if below is None or g is None:
                continue
            outputs = found.setdefault(below, [None] * len(below._input_metadata))
            g = g.detach().sum_to_size(shape_of(below, index))
            outputs[index] = g if outputs[index] is None else outputs[index] + g
    return {node: coefficient for node in squares if (coefficient := found[node][0]) is not None}


def _weighted(node: Node, errors: Tensor, coefficient: Tensor) -> tuple[Tensor, Tensor]:
    """(errors, each), of one shape. coefficient: of each squared entry, or one for all of a mean or sum."""
    if node.name() == "MseLossBackward0" and coefficient.ndim == 0 and node._saved_reduction == 1:
        coefficient = coefficient / errors.numel()
    if (coefficient < 0).any():
        raise LossError("loss is not a sum of mean squares: a square is subtracted")
    if errors.ndim > coefficient.ndim > 0:  # real and imaginary parts
        coefficient = coefficient.unsqueeze(-1)
    return errors, coefficient.double().expand(errors.shape)


def _flat_term(errors: Tensor, each: Tensor) -> LossTerm | None:
    """Without the errors of weight zero; None where all are."""
    errors, each = errors.reshape(-1), each.reshape(-1)
    kept = each > 0
    if not kept.any():
        return None
    return _term(errors, each) if kept.all() else _term(errors[kept], each[kept])


def _term(errors: Tensor, each: Tensor) -> LossTerm:
    n = each.numel()
    if each.max() - each.min() <= 8 * torch.finfo(errors.dtype).eps * each.max():
        return LossTerm(float(each.mean()) * n, errors)
    return LossTerm(1.0, (each * n).sqrt().to(errors.dtype) * errors)
