"""Solvers that reach beyond first-order training."""

from pinntk.solvers.broyden import SelfScaledBroyden
from pinntk.solvers.natural_gradient import NaturalGradient
from pinntk.solvers.report import StepReport

__all__ = ["NaturalGradient", "SelfScaledBroyden", "StepReport"]
