"""Kernels of infinitely wide networks."""

from pinntk.ntk.infinite._dual import dual_table
from pinntk.ntk.infinite._limit import InfiniteMLP, infinite_cross_kernel, infinite_kernel

__all__ = ["InfiniteMLP", "dual_table", "infinite_cross_kernel", "infinite_kernel"]


def __dir__() -> list[str]:
    return __all__
