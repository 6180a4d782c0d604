"""Factored Jacobians from the autograd graph of any error vector, and the error vectors inside losses."""

from pinntk.ntk.graph._joint import Errors, joint_factors
from pinntk.ntk.graph._losses import LossError, LossTerm, errors_of_loss, is_square, shaped_terms
from pinntk.ntk.graph._read import FEW, OWNERS, certified_rows, graph_factors, read_by
from pinntk.ntk.graph._reverse import pull_back, size_of
from pinntk.ntk.graph._walk import UnstructuredError

__all__ = [
    "FEW",
    "OWNERS",
    "Errors",
    "LossError",
    "LossTerm",
    "UnstructuredError",
    "certified_rows",
    "errors_of_loss",
    "graph_factors",
    "is_square",
    "joint_factors",
    "pull_back",
    "read_by",
    "shaped_terms",
    "size_of",
]
