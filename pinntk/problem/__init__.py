"""A PDE as people write it: its domain, its conditions, its points; and the registry that finds problems by name."""

from pinntk._util.stand_in import ForeignNetworkError, with_parameters_of
from pinntk.geometry import Box, Faces, PeriodicPair, Region
from pinntk.problem._complex import complex_parts
from pinntk.problem._conditions import KINDS, Condition, boundary, data, initial, integral, periodic, residual
from pinntk.problem._field_values import field_problem, with_field_values
from pinntk.problem._foreign import AnyCondition, ForeignCondition
from pinntk.problem._grid_solution import GridSolution
from pinntk.problem._integral import Integral
from pinntk.problem._measurements import Measurements
from pinntk.problem._periodic import periodic_fields
from pinntk.problem._point_set import PointSet
from pinntk.problem._problem import Points, Problem
from pinntk.problem._registry import available, load
from pinntk.problem._spectral import etdrk4
from pinntk.problem._steady_flow import SpectralElements, channel_conditions, rectangle, steady_flow

__all__ = [
    "KINDS",
    "AnyCondition",
    "Box",
    "Condition",
    "Faces",
    "ForeignCondition",
    "ForeignNetworkError",
    "GridSolution",
    "Integral",
    "Measurements",
    "PeriodicPair",
    "PointSet",
    "Points",
    "Problem",
    "Region",
    "SpectralElements",
    "available",
    "boundary",
    "channel_conditions",
    "complex_parts",
    "data",
    "etdrk4",
    "field_problem",
    "initial",
    "integral",
    "load",
    "periodic",
    "periodic_fields",
    "rectangle",
    "residual",
    "steady_flow",
    "with_field_values",
    "with_parameters_of",
]


def __dir__() -> list[str]:
    return __all__
