"""What a scheme of loss weights is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pinntk._util.frozen import same_values
from pinntk.problem import Problem


class Weighting(Protocol):
    """A scheme that sets the loss weights lambda_i; subclass it, for its defaults, or have all of this.

    every: steps between updates, the first before step 1; 0 for weights that stay
    measures: "traces" of K_ii or "gradient norms": what `update` is given by condition
    points: counts by kind or name for kernel points of the scheme's own; None for the training points
    """

    every: int = 0
    measures: str = "traces"
    points: Mapping[str, int] | None = None

    def __eq__(self, other: object) -> bool:
        """Schemes of the same settings are equal, whatever they have seen."""
        return type(self) is type(other) and same_values(self._settings(), other._settings())

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._settings().items())})"

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def start(self, problem: Problem) -> dict[str, float]:
        """Weights before the first update. Raises ValueError where the scheme does not fit the problem."""
        ...

    def update(
        self, weights: Mapping[str, float] | None, measured: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """The next weights.

        weights: the present ones, None before the first update
        measured: {condition: trace or gradient norm}; counts: {condition: points}
        """
        ...

    def describe(self) -> dict[str, Any]:
        """For config.json: "name", and the arguments that build it again."""
        ...
