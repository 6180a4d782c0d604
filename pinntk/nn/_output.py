"""Outputs in the sizes of the fields: u(x) = shift + scale N(x)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from pinntk.problem import Problem
from pinntk.residuals import scales

AUTO = "auto"
OutputScales = str | Mapping[str, Sequence[float]] | None


class Rescale(nn.Module):
    """shift + scale N, both (fields,) buffers."""

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, values: Tensor) -> Tensor:
        """(n, fields) -> (n, fields)."""
        return self.shift + self.scale * values


def output_scales(
    given: OutputScales,
    problem: Problem | None,
    normalize: bool,
    prescribed: Collection[str] = (),
    device: torch.device | str | None = None,
) -> dict[str, list[float]]:
    """{field: [shift, scale]} of the fields that are not N as it is.

    given: that, or "auto": of the fields whose sizes `pinntk.diagnostics.scales` finds far from 1; None is "auto" where inputs
        are normalized too, and nothing elsewhere: who asks for raw inputs asks for a raw network
    prescribed: fields whose values a hard constraint brings in, to which "auto" adds no shift

    Raises ValueError for anything else, an unknown field, a number that is not finite or a scale that is not above 0.
    """
    if given is None:
        given = AUTO if normalize and problem is not None else {}
    if given == AUTO:
        if problem is None:
            raise ValueError("output_scales='auto' needs a problem, whose conditions say what the sizes are")
        far = scales(problem, device=device).far
        return {name: [0.0 if name in prescribed else shift, scale] for name, (shift, scale) in far.items()}
    if not isinstance(given, Mapping):
        raise ValueError(f"output_scales={given!r}: 'auto', or a shift and a scale by field, as in {{'u': (300.0, 20.0)}}")
    if given and problem is None:
        raise ValueError(f"output_scales={given!r} needs a problem, which says what the fields are")
    fields = () if problem is None else problem.fields
    for name, pair in given.items():
        if name not in fields:
            raise ValueError(f"output_scales={given!r}: {name!r} is no field; the problem has {fields}")
        numbers = list(pair) if isinstance(pair, Sequence) and not isinstance(pair, str) else []
        if len(numbers) != 2 or not all(isinstance(a, (int, float)) and isfinite(a) for a in numbers) or not numbers[1] > 0:
            raise ValueError(f"output_scales={given!r}: {name!r} needs a finite shift and a scale above 0, as in (300.0, 20.0)")
    return {name: [float(a) for a in given[name]] for name in fields if name in given}


def rescale(
    found: Mapping[str, Sequence[float]],
    problem: Problem | None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Rescale | None:
    """What maps N to u; None where it is N as it is."""
    if problem is None or not found:
        return None
    pairs = torch.tensor([found.get(name, (0.0, 1.0)) for name in problem.fields], dtype=torch.float64)
    return Rescale(*pairs.T.contiguous().to(device, dtype or torch.get_default_dtype()))
