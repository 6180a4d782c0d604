"""Networks, one idea a file."""

from pinntk.nn.constraint import HardConstraint
from pinntk.nn.mlp import MLP

__all__ = ["MLP", "HardConstraint"]
