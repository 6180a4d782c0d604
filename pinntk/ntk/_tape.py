"""The tape: what a jet's pass through a network must remember so that per-point parameter gradients come out factored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk.taylor import UnsupportedOperationError
from pinntk.taylor import _fused as fused


@dataclass(frozen=True)
class LinearUse:
    """output = input @ weight.T (weight.T absent if transposed) + bias on the value component.

    weight, bias: the trained tensors, or None where frozen or absent
    inputs: [S, n, ..., in], detached
    output: [S, n, ..., out]
    """

    weight: Tensor | None
    bias: Tensor | None
    inputs: Tensor
    output: Tensor
    transposed: bool


@dataclass(frozen=True)
class PointwiseUse:
    """A trained tensor used elementwise: `output` is its copy for each point, (n, *shape)."""

    tensor: Tensor
    output: Tensor


class Tape:
    """Records trained tensors as jets meet them and puts detached values in their place.

    Since every recorded use is detached, a gradient that still reaches a parameter comes from a use that the tape did
    not see: `sensitivities` then refuses, and no kernel is silently wrong.
    """

    def __init__(self) -> None:
        self.uses: list[LinearUse | PointwiseUse] = []

    def linear(self, data: Tensor, weight: Tensor, bias: Tensor | None = None, transposed: bool = False) -> Tensor:
        """[S, n, ..., in] -> [S, n, ..., out]."""
        output = data @ weight.detach() if transposed else fused.linear(data, weight.detach(), _detach(bias))
        trained_weight = weight if weight.requires_grad else None
        trained_bias = bias if bias is not None and bias.requires_grad else None
        if trained_weight is not None or trained_bias is not None:
            if not output.requires_grad:
                output.requires_grad_()
            self.uses.append(LinearUse(trained_weight, trained_bias, data.detach(), output, transposed))
        return output

    def per_point(self, tensor: Tensor, n: int, ndim: int, like: Tensor | None = None) -> Tensor:
        """A copy of `tensor` for each of n points, to meet values of `ndim` dimensions: (n, ...)."""
        shape = tensor.shape
        if len(shape) == ndim and shape[0] == 1:
            shape = shape[1:]
        if len(shape) >= ndim:
            raise UnsupportedOperationError("an elementwise use of a trained tensor with one entry per point")
        value = tensor.detach() if like is None else tensor.detach().to(like)
        copies = value.reshape((1,) * (ndim - len(shape)) + tuple(shape)).expand(n, *(1,) * (ndim - 1 - len(shape)), *shape)
        copies = copies.clone().requires_grad_()
        self.uses.append(PointwiseUse(tensor, copies))
        return copies

    def sensitivities(self, error: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """d e_i / d output at every point, one tensor a use, shaped like its output; None where e does not depend on it.

        error: (n,); points are independent, so the gradient of its sum holds every point's own gradient.
        Raises UnsupportedOperationError if a parameter reached e by a way that the tape did not see.
        """
        outputs = [use.output for use in self.uses]
        recorded = len(outputs)
        if not error.requires_grad:
            return [None] * len(outputs)
        ones = torch.ones_like(error)  # summed here, error would lose its graph under the caller's no_grad
        grads = torch.autograd.grad(error, [*outputs, *parameters], ones, retain_graph=True, allow_unused=True)
        del self.uses[recorded:]  # what a network under torch.utils.checkpoint records again in its backward pass
        if any(grad is not None for grad in grads[len(outputs) :]):
            raise UnsupportedOperationError("a parameter used neither linearly nor elementwise")
        return list(grads[: len(outputs)])


def _detach(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
