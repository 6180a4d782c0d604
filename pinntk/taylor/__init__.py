"""The Taylor engine: one forward pass of any nn.Module gives every derivative that a PDE needs."""

from pinntk.taylor import choices, contractions, layers, reductions, rules, shapes  # noqa: F401  (they register their rules)
from pinntk.taylor.basis import Basis
from pinntk.taylor.jet import DependentPoints, Jet, UnsupportedOperation, through

__all__ = ["Basis", "DependentPoints", "Jet", "UnsupportedOperation", "through"]
