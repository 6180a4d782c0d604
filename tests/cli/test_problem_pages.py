"""`pinntk problems`: the list, and the page and picture of one."""

import re

import pytest

import pinntk
from tests.cli.commands import run


def test_problems_lists_one_line_each_within_80_columns(capsys):
    status, out, _ = run(capsys, "problems")
    assert status == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == pinntk.available()
    assert max(map(len, lines)) <= 80
    assert {"burgers": "1D+t", "kovasznay": "2D"}.items() <= {line.split()[0]: line.split()[1] for line in lines}.items()
    assert "u_t + u u_x = nu u_xx" in out


PLATE = '''"""Laplace's equation in a plate with a hole."""
from pinntk import Box, Problem, boundary, residual
from pinntk.geometry import Disk


def problem(radius: float = 0.2):
    domain = (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=radius, name="hole")) * Box(t=(0, 1))

    @residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @boundary(domain.boundary("hole"))
    def warm(u):
        return u - 1

    return Problem(domain, [heat, warm])
'''


def test_problems_describes_and_draws_one(capsys, tmp_path):
    (tmp_path / "plate.py").write_text(PLATE)
    status, out, _ = run(capsys, "problems", tmp_path / "plate.py", "--set", "radius=0.3", "--figure", tmp_path / "plate.png")
    assert status == 0 and (tmp_path / "plate.png").is_file()
    lines = dict(re.findall(r"^(\w+) {2,}(.*?)$", out, re.MULTILINE))
    assert lines["dimension"] == "2D+t" and lines["order"] == "2 in x, 2 in y, 1 in t"
    assert lines["boundary"] == "x=0, x=1, y=0, y=1, hole"
    assert lines["conditions"] == "heat, residual: u_t, lap_u; in the domain" and "warm, boundary: u; on hole" in out
    assert lines["parameters"] == "radius = 0.3" and lines["solution"] == "not known"
    assert out.startswith("plate\n\nLaplace's equation in a plate with a hole.\n") and "disk of radius 0.3" in out
    status, out, _ = run(capsys, "problems", "heat_inverse")
    assert status == 0 and max(map(len, out.splitlines())) <= 80
    assert "unknown       kappa, from 1 on" in out and "solution      exact\n" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--figure", "x.png"], "--figure is about one problem: pinntk problems poisson2d --figure"),
        (["--set", "k=1"], "--set is about one problem"),
        (["--source"], "--source is about one problem"),
        (["poisson2d", "--figure", "x.jpg"], "x.jpg: a figure's name ends in .png, .svg or .pdf"),
        (["poisson3d"], "did you mean"),
    ],
)
def test_problems_refuses(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "problems", *words)
    assert status == 2 and said in err and not out and len(err.splitlines()) == 1
