"""pinntk: why a physics-informed neural network trains badly, and what to change, from its neural tangent kernel."""

from pinntk import nn, solvers, weighting
from pinntk.adaptive import RAD
from pinntk.diagnostics import Finding, Prescription, diagnose, examine
from pinntk.domain import Box
from pinntk.evaluate import errors
from pinntk.files import cached
from pinntk.ntk import (
    Factors,
    KernelBlocks,
    KernelOperator,
    cross_kernel,
    factors,
    kernel,
    sharded_kernel,
    traces,
    trained_parameters,
)
from pinntk.posterior import Posterior, Unidentified, posterior
from pinntk.problem import Condition, GridSolution, Points, Problem, boundary, data, initial, periodic, residual
from pinntk.registry import available, load
from pinntk.run import Run
from pinntk.taylor import DependentPoints, Jet, UnsupportedOperation
from pinntk.trainer import train
from pinntk.training import Interrupted, NonFiniteLoss

__all__ = [
    "RAD",
    "Box",
    "Condition",
    "DependentPoints",
    "Factors",
    "Finding",
    "GridSolution",
    "Interrupted",
    "Jet",
    "KernelBlocks",
    "KernelOperator",
    "NonFiniteLoss",
    "Points",
    "Posterior",
    "Prescription",
    "Problem",
    "Run",
    "Unidentified",
    "UnsupportedOperation",
    "available",
    "boundary",
    "cached",
    "cross_kernel",
    "data",
    "diagnose",
    "errors",
    "examine",
    "factors",
    "initial",
    "kernel",
    "load",
    "nn",
    "periodic",
    "posterior",
    "residual",
    "sharded_kernel",
    "solvers",
    "traces",
    "train",
    "trained_parameters",
    "weighting",
]
