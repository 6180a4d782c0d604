"""Solvers that reach beyond first-order training."""

from pinntk.solvers.broyden import SelfScaledBroyden

__all__ = ["SelfScaledBroyden"]
