"""Trainings side by side: a grid of settings and seeds, in several processes, each at equal time or equal steps."""

from pinntk.comparison._cell import Cell
from pinntk.comparison._grid import Grid
from pinntk.comparison._slurm import write_array_job
from pinntk.comparison._summary import Combination, Row, Summary
from pinntk.comparison._workers import run_grid

__all__ = ["Cell", "Combination", "Grid", "Row", "Summary", "run_grid", "write_array_job"]


def __dir__() -> list[str]:
    return __all__
