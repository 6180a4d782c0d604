"""Solvers on the kernel, from 1e-3 to rounding, and the strongest quasi-Newton method to compare them with."""

from pinntk.solvers.broyden import SelfScaledBroyden
from pinntk.solvers.damped import DampedLeastSquares
from pinntk.solvers.gauss_newton import GaussNewton
from pinntk.solvers.jacobian import ScaledJacobian, scaled_errors
from pinntk.solvers.natural_gradient import NaturalGradient
from pinntk.solvers.report import StepReport

SOLVERS = {"gauss-newton": GaussNewton, "natural-gradient": NaturalGradient}  # train(optimizer=...) beside torch's

__all__ = [
    "SOLVERS",
    "DampedLeastSquares",
    "GaussNewton",
    "NaturalGradient",
    "ScaledJacobian",
    "SelfScaledBroyden",
    "StepReport",
    "scaled_errors",
]
