"""The kernel engine: factored Jacobians, kernel blocks and traces."""

from pinntk.ntk.assemble import kernel, traces
from pinntk.ntk.blocks import KernelBlocks
from pinntk.ntk.factors import Factors, Outer, factors
from pinntk.ntk.gram import gram
from pinntk.ntk.operator import KernelOperator

__all__ = ["Factors", "KernelBlocks", "KernelOperator", "Outer", "factors", "gram", "kernel", "traces"]
