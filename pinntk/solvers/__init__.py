"""Solvers on the kernel: from 1e-3 to rounding."""

from pinntk.solvers.damped import DampedLeastSquares
from pinntk.solvers.gauss_newton import GaussNewton
from pinntk.solvers.jacobian import ScaledJacobian, scaled_errors
from pinntk.solvers.report import StepReport

SOLVERS = {"gauss-newton": GaussNewton}  # what train(optimizer=...) takes besides torch's

__all__ = ["SOLVERS", "DampedLeastSquares", "GaussNewton", "ScaledJacobian", "StepReport", "scaled_errors"]
