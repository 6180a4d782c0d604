"""The registered problems, each loaded once a process, for tests that ask the same of all of them and train none."""

from functools import cache

import pytest

import pinntk

EACH = [pytest.param(name, marks=pytest.mark.xdist_group(f"problem {name}")) for name in pinntk.available()]


@cache
def registered(name: str) -> pinntk.Problem:
    """What is remembered of a problem, such as its scales and its solution, all tests of it have."""
    return pinntk.load(name)
