"""Linear and bilinear maps of jets: products with matrices, constant, trained or made by the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import _fused as fused
from pinntk.taylor._jet import RULES, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._reductions import total
from pinntk.taylor._rules import add, check_alignment, convolve, first_jet, mul, rule


@rule("linear")
def linear(input: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    if not isinstance(input, Jet) or isinstance(weight, Jet):
        raise UnsupportedOperationError("torch.nn.functional.linear with a weight that depends on the input")
    x = input
    if x.ndim < 2:
        raise DependentPointsError("linear on values of shape (n,) takes the points for features; unsqueeze(-1) first")
    if weight.ndim == 1:
        product = linear(x, weight.unsqueeze(0))
        product = product.like(product.components.squeeze(-1))
        return product if bias is None else add(product, bias)
    if bias is not None and bias.shape != weight.shape[:1]:
        return add(linear(x, weight), bias)
    if x.tape is not None:
        return x.like(x.tape.linear(x.components, weight, bias))
    return x.like(fused.linear(x.components, weight, bias))


@rule("matmul", "mm", "bmm")
def matmul(input: Any, other: Any) -> Jet:
    if isinstance(input, Jet) and isinstance(other, Jet):
        if input.ndim < 3 or other.ndim < 3:
            raise DependentPointsError("a matrix product of two values of the network mixes points; use (n, a, b) operands")
        first_jet(input, other)
        return convolve(input, other, torch.matmul)
    x, matrix = (input, other) if isinstance(input, Jet) else (other, input)
    if not isinstance(matrix, Tensor):
        matrix = torch.as_tensor(matrix, dtype=x.dtype, device=x.device)
    if x.ndim < 2 or (x is other and x.ndim == 2):
        raise DependentPointsError("torch.matmul sums over the points; write x @ matrix, with x of shape (n, a)")
    if x is other:
        if matrix.ndim != 2:
            raise UnsupportedOperationError("torch.matmul(tensor, x)", "has a Taylor rule for matrices alone")
        product = linear(x.view_like(x.components.transpose(-1, -2)), matrix)
        return product.view_like(product.components.transpose(-1, -2))
    return _times_matrix(x, matrix)


RULES[Tensor.__rmatmul__] = lambda x, other: matmul(other, x)


def _times_matrix(x: Jet, matrix: Tensor) -> Jet:
    if matrix.ndim == 1:
        product = _times_matrix(x, matrix.unsqueeze(-1))
        return product.like(product.components.squeeze(-1))
    if matrix.ndim == x.ndim > 2 and not (matrix.requires_grad and x.tape is not None):
        check_alignment(x, matrix.shape)
        return x.like(x.components @ matrix)
    if matrix.ndim != 2:
        raise UnsupportedOperationError("torch.matmul(x, tensor of 3 or more dimensions)")
    if x.tape is not None:
        return x.like(x.tape.linear(x.components, matrix, transposed=True))
    return x.like(x.components @ matrix)


@rule("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Jet:
    product = matmul(mat1, mat2)
    product = product if alpha == 1 else mul(product, alpha)
    return product if beta == 0 else add(product, input, alpha=beta)


@rule("vecdot")
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Jet:
    return total(mul(x, y), dim)


@rule("bilinear")
def bilinear(input1: Any, input2: Any, weight: Tensor, bias: Tensor | None = None) -> Jet:
    if isinstance(weight, Jet) or not (isinstance(input1, Jet) and isinstance(input2, Jet)):
        raise UnsupportedOperationError("torch.nn.functional.bilinear of a constant or with a weight that depends on the input")
    products = (input1.unsqueeze(-1) * input2.unsqueeze(-2)).flatten(-2)
    return linear(products, weight.reshape(weight.shape[0], -1), bias)


@rule("einsum")
def einsum(equation: str, *operands: Any) -> Jet:
    """Contractions that are linear in one jet, or bilinear in two that hold the same points."""
    equation = equation.replace(" ", "")
    operands = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    jets = [i for i, operand in enumerate(operands) if isinstance(operand, Jet)]
    if not arrow or "." in equation or len(terms) != len(operands) or len(jets) > 2:
        raise UnsupportedOperationError(f"torch.einsum({equation!r})")
    x, point = operands[jets[0]], terms[jets[0]][0]
    if point not in output or any(terms[i][:1] != point for i in jets):
        raise DependentPointsError(f"torch.einsum({equation!r}) sums over the points, or mixes those of two operands")
    if output[0] != point:
        raise UnsupportedOperationError(f"torch.einsum({equation!r})", "moves the points away from dimension 0")
    if x.tape is not None and any(isinstance(t, Tensor) and t.requires_grad for t in operands):
        return _trained_einsum(equation, operands, terms, output, jets)
    if len(jets) == 2:
        if len(operands) > 2:
            raise UnsupportedOperationError(f"torch.einsum({equation!r}) of more than two operands")
        component = _unused(equation)
        left, right = terms
        times = f"{component}{left},{component}{right}->{component}{output}" if x.basis.size == 1 else equation
        return convolve(operands[0], operands[1], lambda a, b: torch.einsum(times, a, b))
    component = _unused(equation)
    terms[jets[0]] = component + terms[jets[0]]
    tensors = [operand.components if isinstance(operand, Jet) else operand for operand in operands]
    return x.like(torch.einsum(f"{','.join(terms)}->{component}{output}", *tensors))


def _unused(equation: str) -> str:
    return next(letter for letter in "STUVWXYZ" if letter not in equation)


def _trained_einsum(equation: str, operands: Any, terms: list[str], output: str, jets: list[int]) -> Any:
    """x @ matrix, or its transpose, of a trained matrix."""
    if len(operands) == 2 and len(jets) == 1:
        kept, summed = terms[jets[0]][:-1], terms[jets[0]][-1]
        x, weight, letters = operands[jets[0]], operands[1 - jets[0]], terms[1 - jets[0]]
        distinct = len(set(kept)) == len(kept) and summed not in kept
        if distinct and len(letters) == 2 and output[:-1] == kept and output[-1] not in kept + summed:
            if letters == summed + output[-1]:
                return matmul(x, weight)
            if letters == output[-1] + summed:
                return F.linear(x, weight)
    raise UnsupportedOperationError(f"torch.einsum({equation!r}) with a trained operand")
