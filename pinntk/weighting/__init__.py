"""Schemes that set the loss weights lambda_i, one a file."""

from pinntk.weighting.fixed import Fixed
from pinntk.weighting.ntk import NTK

__all__ = ["NTK", "Fixed"]
