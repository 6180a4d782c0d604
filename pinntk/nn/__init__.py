"""Networks, one idea a file."""

from pinntk.nn.mlp import MLP

__all__ = ["MLP"]
