"""The Taylor engine: one forward pass of any nn.Module gives every derivative that a PDE needs."""

from pinntk.taylor import (  # noqa: F401  (they register their rules)
    _choices,
    _contractions,
    _layers,
    _reductions,
    _rules,
    _shapes,
)
from pinntk.taylor._basis import Basis
from pinntk.taylor._jet import DependentPointsError, Jet, UnsupportedOperationError, through

__all__ = ["Basis", "DependentPointsError", "Jet", "UnsupportedOperationError", "through"]


def __dir__() -> list[str]:
    return __all__
