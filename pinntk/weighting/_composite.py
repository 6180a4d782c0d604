"""Schemes that act on different things, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting._fixed import Fixed
from pinntk.weighting._weighting import Weighting

ACTS_ON = ("conditions", "points", "gradients")


class Composite(Weighting):
    """At most one scheme for each of the loss weights lambda_i, the point weights g_ip and the combination of gradients:

        L_i = 1/n_i sum_p g_ip e_ip^2,    step by grad sum_i lambda_i L_i, or by what combines the gradients of lambda_i L_i

    What `train(weighting=["ntk", "rba"])` and `--weighting ntk+rba` make. Loss weights from traces or gradient norms are those
    of L_i with its g. Raises ValueError for two schemes that act on the same, and for points that begin with no weight beside
    loss weights that are measured.

    schemes: objects of `pinntk.weighting`, of which none is composite

    >>> from pinntk.weighting import NTK, RBA
    >>> Composite(RBA(), NTK(every=50)).every
    50
    """

    def __init__(self, *schemes: Weighting):
        found: dict[str, Weighting] = {}
        for scheme in schemes:
            if scheme.acts_on in found:
                raise ValueError(
                    f"weighting={[named(one) for one in schemes]}: {named(found[scheme.acts_on])!r} and {named(scheme)!r} "
                    f"both act on {scheme.acts_on}; give one of them"
                )
            found[scheme.acts_on] = scheme
        self.conditions = found.get("conditions") or Fixed()
        self.beside = tuple(found[what] for what in ACTS_ON[1:] if what in found)
        points = found.get("points")
        if self.conditions.every and self.conditions.measures != "losses" and getattr(points, "from_nothing", False):
            raise ValueError(
                f"{named(self.beside[0])} weights that begin with 0 leave {named(self.conditions)!r} nothing to measure; begin "
                "with more, as in initial=1.0"
            )
        self.every, self.measures, self.points = self.conditions.every, self.conditions.measures, self.conditions.points

    def start(self, problem: Problem) -> dict[str, float]:
        """Those of the scheme of loss weights."""
        for scheme in self.beside:
            scheme.start(problem)
        return self.conditions.start(problem)

    def update(
        self, weights: Mapping[str, float] | None, measured: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """Those of the scheme of loss weights."""
        return self.conditions.update(weights, measured, counts)

    def describe(self) -> dict[str, Any]:
        """Of the scheme of loss weights, with the others in "beside"."""
        return {**self.conditions.describe(), "beside": [scheme.describe() for scheme in self.beside]}

    def state_dict(self) -> dict[str, Any]:
        """Of the scheme of loss weights; what others remember is kept beside the points."""
        return self.conditions.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.conditions.load_state_dict(state)

    def __repr__(self) -> str:
        return f"Composite({', '.join(map(repr, (self.conditions, *self.beside)))})"


def part(weighting: Weighting, what: str) -> Weighting | None:
    """The scheme in a weighting that acts on "conditions", "points" or "gradients"; None if there is none."""
    parts = (weighting.conditions, *weighting.beside) if isinstance(weighting, Composite) else (weighting,)
    return next((scheme for scheme in parts if scheme.acts_on == what), None)


def named(scheme: Weighting) -> str:
    return str(scheme.describe().get("name", type(scheme).__name__))
