"""Solvers on the kernel, from 1e-3 to rounding, and the strongest quasi-Newton method to compare them with."""

from pinntk.solvers._broyden import SelfScaledBroyden
from pinntk.solvers._damped import DampedLeastSquares
from pinntk.solvers._gauss_newton import GaussNewton
from pinntk.solvers._jacobian import ScaledJacobian, scaled_errors
from pinntk.solvers._natural_gradient import NaturalGradient
from pinntk.solvers._report import StepReport

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
