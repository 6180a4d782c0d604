"""What networks share: coordinates come in by their scale, fields go out in theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pinntk.nn._dense import NetworkOptions
from pinntk.nn._layers import scale
from pinntk.nn._output import OutputScales, output_scales, rescale
from pinntk.problem import Problem


class ScaledNetwork(nn.Module):
    """A network of x~ = (x - mean) / deviation, whose outputs become shift + scale N.

    config: the arguments, for config.json
    mean, deviation: buffers, (inputs,)
    output_scales: {field: [shift, scale]} of the fields that are not N as it is
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = NetworkOptions.__annotations__  # what **options may have

    config: dict[str, Any]
    mean: Tensor
    deviation: Tensor

    def _set_scales(
        self,
        mean: Tensor,
        deviation: Tensor,
        output_scales: dict[str, list[float]],
        problem: Problem | None,
        *,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> None:
        self.register_buffer("mean", mean.to(device, dtype))
        self.register_buffer("deviation", deviation.to(device, dtype))
        self.output_scales = output_scales
        self.rescale = rescale(output_scales, problem, dtype=dtype, device=device)

    def _take_scales(
        self,
        problem: Problem | None,
        inputs: int,
        normalize: bool | None,
        asked: OutputScales,
        *,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> dict[str, Any]:
        """Those of the problem, as far as they are asked for. Returns what config.json says of them."""
        normalize, mean, deviation = scale(problem, inputs, normalize)
        sizes_of_fields = output_scales(asked, problem, normalize, device=device)
        self._set_scales(mean, deviation, sizes_of_fields, problem, dtype=dtype, device=device)
        return {"normalize": normalize, "output_scales": self.output_scales}

    def _normalized(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation

    def _rescaled(self, values: Tensor) -> Tensor:
        return values if self.rescale is None else self.rescale(values)
