"""Which of PINA's solvers have residuals of one network, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pina.problem import InverseProblem
from pina.solver import (
    BaseSolver,
    CausalPhysicsInformedSingleModelSolver,
    CompetitivePhysicsInformedSolver,
    EnsembleSolver,
    GradientPhysicsInformedSingleModelSolver,
    PhysicsInformedSingleModelSolver,
    RBAPhysicsInformedSingleModelSolver,
    SelfAdaptivePhysicsInformedSolver,
)
from torch import nn

from pinntk.residuals._checks import random_in_training

_PHYSICS_INFORMED = (
    PhysicsInformedSingleModelSolver,
    GradientPhysicsInformedSingleModelSolver,
    CausalPhysicsInformedSingleModelSolver,
    RBAPhysicsInformedSingleModelSolver,
)
_REFUSED: Mapping[type, str] = {
    SelfAdaptivePhysicsInformedSolver: "it trains weights of points against the network, so its loss is no sum of mean squares",
    CompetitivePhysicsInformedSolver: "it trains a discriminator against the network, so its loss is no sum of mean squares",
    EnsembleSolver: "it trains several networks, each with a kernel of its own",
}
_PRECISIONS = ("32-true", "64-true")


def require_physics(solver: Any, what: str) -> None:
    """Raises ValueError unless this solver trains one network on residuals: PINN, GradientPINN, CausalPINN or RBAPINN.

    what: whose demand it is, in the message
    """
    if isinstance(solver, _PHYSICS_INFORMED):
        return
    if not isinstance(solver, BaseSolver):
        raise ValueError(f"solver is a {type(solver).__name__}; {what} needs a solver of PINA, such as pina.solver.PINN")
    reason = next(
        (said for kind, said in _REFUSED.items() if isinstance(solver, kind)),
        "it has no residuals of a PDE to make a kernel from",
    )
    raise ValueError(
        f"{what} does not work with {type(solver).__name__}: {reason}; use PINN, GradientPINN, CausalPINN or RBAPINN"
    )


def require_precision(trainer: Any, solver: Any, what: str) -> None:
    """Raises ValueError for half and mixed precision: what is read from a graph cannot be certified in them."""
    coarse = next((p for p in solver.parameters() if torch.finfo(p.dtype).bits < 32), None)
    if trainer.precision not in _PRECISIONS or coarse is not None:
        got = f"parameters in {coarse.dtype}" if coarse is not None else f"precision={trainer.precision!r}"
        raise ValueError(
            f"{what} needs errors in float32 or float64, and this training has {got}; use Trainer(precision='32-true')"
        )


def require_points_apart(solver: Any, what: str) -> None:
    """Raises ValueError for dropout and batch normalization: errors are then random, or no functions of one point each."""
    kind = random_in_training(solver.model)
    if kind:
        raise ValueError(f"the network has a {kind}, and {what} needs errors that are functions of one point each; remove it")


def require_mean(solver: Any, what: str) -> None:
    """Raises ValueError for a loss that PINA does not average over points."""
    reduction = solver._reduction
    if reduction != "mean":
        raise ValueError(
            f"the solver's loss has reduction={reduction!r}, and {what} is for mean squares; use loss=torch.nn.MSELoss()"
        )


def unknowns(solver: Any) -> dict[str, nn.Parameter]:
    """{name: parameter} that an inverse problem looks for; they are trained, and no part of the network."""
    return dict(solver.problem.unknown_parameters) if isinstance(solver.problem, InverseProblem) else {}


def trained_parameters(solver: Any) -> dict[str, nn.Parameter]:
    """{name: parameter} of all that the optimizer changes: the network's, and the unknown ones of an inverse problem."""
    own = {name: p for name, p in solver.model.named_parameters() if p.requires_grad}
    return own | {f"unknown {name}": p for name, p in unknowns(solver).items() if p.requires_grad}
