"""Solvers on the kernel, from 1e-3 to rounding, and the strongest quasi-Newton method to compare them with."""

from collections.abc import Callable

from pinntk.solvers._broyden import SelfScaledBroyden
from pinntk.solvers._damped import DampedLeastSquares
from pinntk.solvers._gauss_newton import GaussNewton
from pinntk.solvers._jacobian import ScaledJacobian, scaled_errors
from pinntk.solvers._last_layer import fit_last_layer
from pinntk.solvers._muon import Muon
from pinntk.solvers._natural_gradient import NaturalGradient
from pinntk.solvers._solver import Solver, StepReport

SOLVERS: dict[str, Callable[..., Solver]] = {  # train(optimizer=...) beside torch's
    "gauss-newton": GaussNewton,
    "natural-gradient": NaturalGradient,
}


def is_solver(optimizer: object) -> bool:
    """Whether what `train(optimizer=...)` was given names a solver on the kernel; else it is torch's kind."""
    return isinstance(optimizer, str) and optimizer.lower() in SOLVERS


__all__ = [
    "SOLVERS",
    "DampedLeastSquares",
    "GaussNewton",
    "Muon",
    "NaturalGradient",
    "ScaledJacobian",
    "SelfScaledBroyden",
    "Solver",
    "StepReport",
    "fit_last_layer",
    "is_solver",
    "scaled_errors",
]


def __dir__() -> list[str]:
    return __all__
