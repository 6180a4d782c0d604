"""The registered problems, each loaded once a process, for tests that ask the same of all of them and train none."""

from functools import cache

import pytest

import pinntk

# One in space, one with an unknown coefficient, in time, periodic, of second order in time, a system, a complex field, on a
# shape, in many dimensions: those that tests of every problem take by default.
KINDS = ("poisson1d", "heat_inverse", "burgers", "convection", "wave1d")
KINDS += ("kovasznay", "schrodinger", "poisson_lshape", "poisson_nd")
EACH = [pytest.param(name, marks=pytest.mark.xdist_group(f"problem {name}")) for name in pinntk.available()]
SOME = [pytest.param(*one.values, marks=[*one.marks, *([] if one.values[0] in KINDS else [pytest.mark.slow])]) for one in EACH]


@cache
def registered(name: str) -> pinntk.Problem:
    """What is remembered of a problem, such as its scales and its solution, all tests of it have."""
    return pinntk.load(name)
