"""All trained parameters as one vector; numbers of vectors on which all processes agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk.ntk._factors import coefficient_key


def flatten(tensors: Iterable[Tensor], device: torch.device, units: Sequence[float] | None = None) -> Tensor:
    """The entries of all tensors one after the other, (p,), in float64; a coefficient may live on another device.

    units: of each tensor, by which it is divided: powers of 2, so that no digit is lost
    """
    tensors = list(tensors)
    units = [1.0] * len(tensors) if units is None else units
    parts = [tensor.detach().to(device, torch.float64).flatten() / unit for tensor, unit in zip(tensors, units, strict=True)]
    return torch.cat(parts)


@torch.no_grad()
def assign(parameters: Sequence[Tensor], vector: Tensor, units: Sequence[float] | None = None) -> None:
    """Gives the parameters the values of a vector (p,) of these units, in their own dtypes and on their own devices."""
    units = [1.0] * len(parameters) if units is None else units
    for parameter, part, unit in zip(parameters, vector.split([p.numel() for p in parameters]), units, strict=True):
        parameter.copy_(unit * part.view_as(parameter))


def units_of(names: Iterable[str], scales: Mapping[str, float]) -> list[float]:
    """Of each trained parameter: a coefficient's scale, and 1 for the others."""
    by_key = {coefficient_key(name): size for name, size in scales.items()}
    return [by_key.get(name, 1.0) for name in names]


def dot(a: Tensor, b: Tensor) -> float:
    """a^T b. Of several processes all take the first one's: what follows from a number must be the same in each."""
    return distributed.agreed(float(a @ b), a.device)


def norm(v: Tensor) -> float:
    """The length of v, as `dot`."""
    return distributed.agreed(float(v.norm()), v.device)
