"""What a scheme of weights is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pinntk._util.frozen import same_values
from pinntk.problem import Problem


class Weighting(Protocol):
    """A scheme of weights; subclass it, for its defaults, or have all of this.

    acts_on: "conditions", whose loss weights lambda_i it sets; "points", each of which it weighs; or "gradients" of conditions,
        which it combines into that of the step. Schemes that act on different things go together, `Composite`
    every: steps between updates of the loss weights, the first before step 1; 0 for weights that stay
    measures: "traces" of K_ii, "gradient norms", or "losses", mean(e_i^2) without any weight at the step before: what `update`
        is given by condition
    points: counts by kind or name for kernel points of the scheme's own; None for the training points
    """

    acts_on: str = "conditions"
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
        measured: {condition: trace, gradient norm or loss}; counts: {condition: points}
        """
        ...

    def describe(self) -> dict[str, Any]:
        """For config.json: "name", and the arguments that build it again."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: what `update` remembers, beside the weights. A training has a copy of the scheme to itself."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        return None
