"""A PDE as people write it: its domain, its conditions, its points; and the registry that finds problems by name."""

from pinntk.problem._conditions import KINDS, Condition, boundary, data, initial, periodic, residual
from pinntk.problem._domain import Box, Faces, Measurements, PeriodicPair, Region
from pinntk.problem._field_values import field_problem, with_field_values
from pinntk.problem._problem import GridSolution, Points, Problem
from pinntk.problem._registry import available, load

__all__ = [
    "KINDS",
    "Box",
    "Condition",
    "Faces",
    "GridSolution",
    "Measurements",
    "PeriodicPair",
    "Points",
    "Problem",
    "Region",
    "available",
    "boundary",
    "data",
    "field_problem",
    "initial",
    "load",
    "periodic",
    "residual",
    "with_field_values",
]
