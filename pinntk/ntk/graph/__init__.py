"""Factored Jacobians from the autograd graph of any error vector, and the error vectors inside losses."""

from pinntk.ntk.graph._joint import ErrorVector, joint_factors
from pinntk.ntk.graph._losses import LossError, LossTerm, ends_in_squares, errors_of_loss, is_square, shaped_terms
from pinntk.ntk.graph._read import FEW, OWNERS, certified_rows, graph_factors, leaf_parameters, read_by
from pinntk.ntk.graph._reverse import pull_back, size_of
from pinntk.ntk.graph._walk import UnstructuredError, post_order

__all__ = [
    "FEW",
    "OWNERS",
    "ErrorVector",
    "LossError",
    "LossTerm",
    "UnstructuredError",
    "certified_rows",
    "ends_in_squares",
    "errors_of_loss",
    "graph_factors",
    "is_square",
    "joint_factors",
    "leaf_parameters",
    "post_order",
    "pull_back",
    "read_by",
    "shaped_terms",
    "size_of",
]


def __dir__() -> list[str]:
    return __all__
