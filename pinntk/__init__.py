"""pinntk: why a physics-informed neural network trains badly, and what to change, from its neural tangent kernel."""

from pinntk import nn, solvers, weighting
from pinntk.adaptive import RAD
from pinntk.conditions import Condition, boundary, data, initial, periodic, residual
from pinntk.diagnostics import Finding, Prescription, diagnose, examine
from pinntk.domain import Box
from pinntk.evaluate import errors
from pinntk.files import cached
from pinntk.monitor import Monitor, TrainingWarning
from pinntk.ntk import (
    Factors,
    InfiniteMLP,
    KernelBlocks,
    KernelOperator,
    LossError,
    LossTerm,
    MeanKernel,
    Origin,
    cross_kernel,
    errors_of_loss,
    factors,
    gram,
    graph_factors,
    infinite_cross_kernel,
    infinite_kernel,
    kernel,
    mean_kernel,
    sharded_kernel,
    traces,
    trained_parameters,
)
from pinntk.posterior import Posterior, Unidentified, posterior
from pinntk.problem import GridSolution, Points, Problem
from pinntk.registry import available, load
from pinntk.regression import Collocation, InfiniteEnsemble, collocate, infinite_ensemble
from pinntk.rescuing import Rescue, rescue
from pinntk.run import Run, Watched
from pinntk.taylor import DependentPoints, Jet, UnsupportedOperation
from pinntk.trainer import train, train_as
from pinntk.training import Interrupted, NonFiniteLoss
from pinntk.values import NonFiniteError

__all__ = [
    "RAD",
    "Box",
    "Collocation",
    "Condition",
    "DependentPoints",
    "Factors",
    "Finding",
    "GridSolution",
    "InfiniteEnsemble",
    "InfiniteMLP",
    "Interrupted",
    "Jet",
    "KernelBlocks",
    "KernelOperator",
    "LossError",
    "LossTerm",
    "MeanKernel",
    "Monitor",
    "NonFiniteError",
    "NonFiniteLoss",
    "Origin",
    "Points",
    "Posterior",
    "Prescription",
    "Problem",
    "Rescue",
    "Run",
    "TrainingWarning",
    "Unidentified",
    "UnsupportedOperation",
    "Watched",
    "available",
    "boundary",
    "cached",
    "collocate",
    "cross_kernel",
    "data",
    "diagnose",
    "errors",
    "errors_of_loss",
    "examine",
    "factors",
    "gram",
    "graph_factors",
    "infinite_cross_kernel",
    "infinite_ensemble",
    "infinite_kernel",
    "initial",
    "kernel",
    "load",
    "mean_kernel",
    "nn",
    "periodic",
    "posterior",
    "rescue",
    "residual",
    "sharded_kernel",
    "solvers",
    "traces",
    "train",
    "train_as",
    "trained_parameters",
    "weighting",
]
