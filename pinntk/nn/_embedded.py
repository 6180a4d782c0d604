"""Networks that know a problem's domain and conditions: embedded inputs, and values that are met by construction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.nn._embeddings import embedded_size, embeddings, parse_fourier, parse_harmonics
from pinntk.nn._hard import HardConditions, hard_conditions, parse_hard
from pinntk.nn._layers import scale
from pinntk.nn._output import OutputScales, output_scales
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem


class EmbeddedNetwork(ScaledNetwork):
    """u(x) = offset(x) + factor(x) (shift + scale N(features(x))), N what a subclass has for `core`.

    hard: names of the conditions that are met by construction
    soft: {name: why not} of the others
    constraint: what offset and factor are; None where no values are met
    """

    def _embed(
        self,
        problem: Problem | None,
        inputs: int,
        generator: torch.Generator,
        *,
        normalize: bool | None,
        periodic: Any,
        fourier: Any,
        hard: Any,
        asked: OutputScales,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        deviation_is: float = 1.0,
    ) -> tuple[int, dict[str, Any]]:
        """How many features the first layer receives, and what config.json says of all this. Random features are drawn.

        deviation_is: standard deviation of normalized coordinates
        """
        normalize, mean, deviation = scale(problem, inputs, normalize)
        deviation = deviation / deviation_is if normalize else deviation
        harmonics = parse_harmonics(periodic, problem)
        conditions = self._derive(problem, hard, harmonics, device)
        fourier = parse_fourier(fourier)
        dtype = dtype or torch.get_default_dtype()
        intervals = ((0.0, 1.0),) * inputs if problem is None else problem.domain.bounds  # not needed without a problem
        bounds = torch.tensor(intervals, dtype=torch.float64)
        by_axis, levels = _by_axis(problem, harmonics, conditions)
        mean[list(by_axis)], deviation[list(by_axis)] = 0, 1  # `Periodic` takes these coordinates as they are
        amplitude = sqrt(2) * deviation_is if normalize else 1.0
        self.embeddings = embeddings(bounds, by_axis, amplitude, fourier, generator, levels).to(device, dtype)
        prescribed = () if conditions is None or problem is None else conditions.prescribed(problem)
        sizes_of_fields = output_scales(asked, problem, normalize, prescribed, device)
        self._set_scales(mean, deviation, sizes_of_fields, problem, dtype=dtype, device=device)
        return embedded_size(self.embeddings, inputs), {
            "normalize": normalize,
            "periodic": harmonics or None,
            "fourier": fourier,
            "hard": None if conditions is None else list(self.hard),
            "output_scales": self.output_scales,
        }

    def _derive(
        self, problem: Problem | None, hard: Any, harmonics: Collection[str], device: torch.device | str | None
    ) -> HardConditions | None:
        """What `hard` asks for; None for nothing. `hard`, `soft` and `constraint` say what came of it."""
        asked = parse_hard(hard, problem)
        found = None
        if asked is not None and problem is not None:
            found = hard_conditions(problem, asked, repeated=harmonics, device=device)
        self.hard: tuple[str, ...] = () if found is None else found.met
        self.soft: Mapping[str, str] = {} if found is None else found.left
        self.constraint = found if found is not None and found.has_values else None
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        values = self._rescaled(self.core(self.features(x)))
        return values if self.constraint is None else self.constraint(x, values)

    def features(self, x: Tensor) -> Tensor:
        """What the first layer receives: (n, d) -> (n, features)."""
        return self.embeddings(self._normalized(x))

    def core(self, features: Tensor) -> Tensor:
        """N: (n, features) -> (n, fields)."""
        raise NotImplementedError

    def last_layer(self) -> list[nn.Parameter]:
        """The weight and the bias that N is linear in."""
        raise NotImplementedError


def _by_axis(
    problem: Problem | None, harmonics: Mapping[str, int], conditions: HardConditions | None
) -> tuple[dict[int, int], dict[int, int]]:
    """{axis: harmonics} of what repeats by choice or by a condition, and {axis: continuous derivatives} where not all do."""
    if problem is None:
        return {}, {}
    repeated = {} if conditions is None else conditions.repeated
    levels = {problem.domain.axis(name): level for name, level in repeated.items() if level is not None}
    return {problem.domain.axis(name): count for name, count in {**dict.fromkeys(repeated, 1), **harmonics}.items()}, levels
