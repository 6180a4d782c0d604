"""The kernel engine: factored Jacobians, kernel blocks and traces."""

from pinntk.ntk._assemble import cross_kernel, kernel, traces
from pinntk.ntk._blocks import KernelBlocks
from pinntk.ntk._factored import Factors, Origin, Outer
from pinntk.ntk._factors import factors, trained_parameters
from pinntk.ntk._function import function_kernel
from pinntk.ntk._gram import gram
from pinntk.ntk._jacobian import JacobianOperator
from pinntk.ntk._leading import LeadingEigenvalues, leading_eigenvalues
from pinntk.ntk._monte_carlo import MeanKernel, mean_kernel
from pinntk.ntk._operator import KernelOperator
from pinntk.ntk._passes import Forecast
from pinntk.ntk._sharded import RowBlock, sharded_kernel
from pinntk.ntk.graph import LossError, LossTerm, errors_of_loss, graph_factors
from pinntk.ntk.infinite import InfiniteMLP, infinite_cross_kernel, infinite_kernel

__all__ = [
    "Factors",
    "Forecast",
    "InfiniteMLP",
    "JacobianOperator",
    "KernelBlocks",
    "KernelOperator",
    "LeadingEigenvalues",
    "LossError",
    "LossTerm",
    "MeanKernel",
    "Origin",
    "Outer",
    "RowBlock",
    "cross_kernel",
    "errors_of_loss",
    "factors",
    "function_kernel",
    "gram",
    "graph_factors",
    "infinite_cross_kernel",
    "infinite_kernel",
    "kernel",
    "leading_eigenvalues",
    "mean_kernel",
    "sharded_kernel",
    "traces",
    "trained_parameters",
]


def __dir__() -> list[str]:
    return __all__
