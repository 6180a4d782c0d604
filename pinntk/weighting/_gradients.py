"""Errors, and gradients of numbers made of them, condition by condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pinntk.ntk import trained_parameters
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.residuals._values import check_finite, check_real_parameters


def errors_and_gradients(
    network: nn.Module, problem: Problem, points: Points, *of: Callable[[Tensor], Tensor]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """e of every condition, and for each function of e, such as its mean square, the gradients (m, p) in all trained
    parameters: one forward pass, a backward pass for each condition and function. In float64 on the CPU.

    Raises NonFiniteError for errors that are NaN or infinite, ValueError for complex parameters.
    """
    trained = trained_parameters(network, problem)
    check_real_parameters(trained, "the balance of gradients")
    parameters = list(trained.values())
    found: dict[str, Tensor] = {}
    gradients: list[list[Tensor]] = [[] for _ in of]
    with torch.enable_grad():
        for name, error in errors(network, problem, points).items():
            check_finite(network, problem, points, {name: error})
            found[name] = error.detach().double().cpu()
            for function, rows in zip(of, gradients, strict=True):
                parts: Sequence[Tensor] = [torch.zeros_like(p) for p in parameters]
                if error.requires_grad:
                    value = function(error.double())
                    parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
                rows.append(torch.cat([part.detach().flatten().double().cpu() for part in parts]))
    return found, [torch.stack(rows) for rows in gradients]
