"""The kernel engine: factored Jacobians, kernel blocks and traces."""

from pinntk.ntk.assemble import cross_kernel, kernel, traces
from pinntk.ntk.blocks import KernelBlocks
from pinntk.ntk.factored import Factors, Origin, Outer
from pinntk.ntk.factors import factors, trained_parameters
from pinntk.ntk.function import function_kernel
from pinntk.ntk.gram import gram
from pinntk.ntk.graph import LossError, LossTerm, errors_of_loss, graph_factors
from pinntk.ntk.infinite import InfiniteMLP, infinite_cross_kernel, infinite_kernel
from pinntk.ntk.monte_carlo import MeanKernel, mean_kernel
from pinntk.ntk.operator import KernelOperator
from pinntk.ntk.sharded import RowBlock, sharded_kernel

__all__ = [
    "Factors",
    "InfiniteMLP",
    "KernelBlocks",
    "KernelOperator",
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
    "mean_kernel",
    "sharded_kernel",
    "traces",
    "trained_parameters",
]
