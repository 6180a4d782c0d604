"""All trained parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def flatten(tensors: Iterable[Tensor], device: torch.device) -> Tensor:
    """The entries of all tensors one after the other, (p,), in float64; a coefficient may live on another device."""
    return torch.cat([tensor.detach().to(device, torch.float64).flatten() for tensor in tensors])


@torch.no_grad()
def assign(parameters: Sequence[Tensor], vector: Tensor) -> None:
    """Gives the parameters the values of a vector (p,), in their own dtypes and on their own devices."""
    for parameter, part in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(part.view_as(parameter))
