"""docs/PROBLEMS.md: its table has every built-in problem, and says of each what is so."""

import re
from pathlib import Path

import problem_sheet
import pytest
from matplotlib.figure import Figure

import pinntk
from tests.support.registered import EACH, registered

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "PROBLEMS.md").read_text(encoding="utf-8").partition("| problem |")[2].partition("\n\n")[0]
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| \[(\w+)\]\(\.\./problems/\1\.py\) \|(.+)\|$", TABLE, re.MULTILINE)}


def test_the_table_has_every_problem_in_order():
    assert list(ROWS) == pinntk.available()
    assert TABLE.count("\n| ") == len(ROWS)


@pytest.mark.parametrize("name", EACH)
def test_dimension_order_and_floor_are_those_of_the_problem(name):
    *_, dimension, order, _, reference, floor = (cell.strip() for cell in ROWS[name][0].split("|"))
    problem = registered(name)
    assert int(dimension) == problem.domain.dimension
    highest = {"laplacian": 2, "gradient": 1, "normal": 1}
    specs = [spec for condition in problem.names for spec in problem.arguments[condition]]
    assert int(order) == max(highest.get(spec.kind, sum(spec.index)) for spec in specs)
    if not problem.has_solution:
        assert reference == "none"
    elif problem.solution_accuracy:
        assert floor == f"{problem.solution_accuracy:.0e}".replace("e-0", "e-")
    else:
        assert floor == "rounding" if problem.exact is not None else float(floor) < 1e-9


def test_the_picture_is_small():
    path = ROOT / "docs" / "problems.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 300_000


def test_a_sheet_has_a_panel_for_each(tmp_path):
    names = ["poisson1d", "burgers", "kovasznay", "burgers2d", "poisson_nd"]
    figure = problem_sheet.sheet(names)
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == names
    assert problem_sheet.main([*names[:1], "-o", str(tmp_path / "one.png")]).is_file()
