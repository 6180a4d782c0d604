"""The programs of docs/CUSTOM_SOLVERS.md, each in a namespace of its own, and those of the README and the guides."""

import re
from math import exp, pi, sin
from pathlib import Path
from textwrap import indent

import pytest
import torch

import pinntk

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^##+ (?P<title>.+?)$|^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str, int]]:
    """(the heading above, code, its line) of every python block."""
    text, title, found = path.read_text(), "", []
    for match in BLOCK.finditer(text):
        title = match["title"] or title
        if match["code"]:
            found.append((title, match["code"], text[: match.start("code")].count("\n")))
    return found


PROGRAMS = {title: (code, line) for title, code, line in blocks(ROOT / "docs" / "CUSTOM_SOLVERS.md")}


def run(code: str, line: int, name: str, **given):
    """The names that the code leaves behind. Blank lines before it make a traceback show the file's own line."""
    namespace = {"__name__": name, **given}
    exec(compile("\n" * line + code, name, "exec"), namespace)
    return namespace


def program(start: str) -> dict:
    (title,) = [title for title in PROGRAMS if title.startswith(start)]
    return run(*PROGRAMS[title], "CUSTOM_SOLVERS.md")


def test_every_program_is_tested():
    assert len(PROGRAMS) == len(blocks(ROOT / "docs" / "CUSTOM_SOLVERS.md")) == 7


@pytest.mark.slow
def test_levenberg_marquardt_reaches_1e_4():
    assert program("A Levenberg-Marquardt")["relative_error"] < 1e-4


@pytest.mark.slow
def test_the_preconditioner_saves_nearly_all_iterations():
    left = program("A Nyström")
    assert 10 * left["preconditioned"] < left["plain"]
    direct = torch.linalg.solve(
        pinntk.kernel(left["network"], left["problem"], left["points"]).matrix() + left["mu"] * torch.eye(left["K"].n).double(),
        left["b"],
    )
    assert (left["x"] - direct).norm() < 1e-5 * direct.norm()


def test_the_gaussian_process_solves_a_linear_equation_and_knows_how_well():
    left = program("A Gaussian process")
    assert left["relative_error"] < 1e-5
    assert ((left["mean"] - left["exact"]).abs() < 3 * left["std"]).all()
    assert left["std"].max() < 1e-2 * left["prior"].sqrt().max()


def test_greedy_points_beat_random_ones():
    left = program("Active sampling")
    assert len(set(left["chosen"])) == 40
    assert left["greedy"] < 0.5 * left["uniform"][1]
    assert left["greedy"] < left["uniform"][0]


def test_scipy_least_squares_trains():
    left = program("SciPy: least squares")
    assert left["relative_error"] < 1e-3
    assert left["found"].cost < 1e-5


def test_scipy_takes_the_operator():
    left = program("SciPy: eigenpairs")
    exact = pinntk.kernel(left["network"], left["problem"], left["points"])
    expected = exact.eigvalsh()[-5:].numpy()
    assert left["values"] == pytest.approx(expected, rel=1e-10)
    assert left["info"] == left["info_minres"] == 0
    direct = torch.linalg.solve(exact.matrix() + left["mu"] * torch.eye(102).double(), torch.from_numpy(left["e"])).numpy()
    for solution in (left["x"], left["y"]):
        assert abs(solution - direct).max() < 1e-4 * abs(direct).max()


@pytest.mark.slow
def test_the_fitted_coefficient_lies_within_its_error_bars():
    left = program("An inverse problem")
    assert left["low"] < 0.2 < left["high"]
    t, x, _ = left["points"]["readings"].unbind(1)
    slopes = pi**2 * t * torch.exp(-0.2 * pi**2 * t) * torch.sin(pi * x)  # of the readings in kappa: the Cramer-Rao bound
    assert left["found"].coefficients["kappa"][1] == pytest.approx(0.01 / float(slopes.norm()), rel=0.05)
    truth = exp(-0.1 * pi**2) * sin(0.5 * pi)
    assert abs(left["mean"].item() - truth) < 4 * left["std"].item()


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_lines, own, drawn = blocks(ROOT / "README.md")
    the_same, with_exact, plate, in_time = blocks(ROOT / "docs/YOUR_PDE.md")
    assert (own[1], drawn[1]) == (the_same[1], plate[1])
    assert set(run_readme(two_lines)["ntk"].weights) == {"pde", "start"}
    body, _, _ = own[1].partition("    return Problem")
    (tmp_path / "my_pde.py").write_text(own[1])
    (tmp_path / "my_solution.py").write_text(body + indent(with_exact[1], "    "))
    assert pinntk.load("my_pde.py", speed=2).names == ("transport", "start", "walls")
    assert pinntk.load("my_solution.py").has_solution
    assert len(list(filter(str.strip, plate[1].splitlines()))) <= 20
    left = run_readme(plate)
    assert left["problem"](radius=0.3).domain.contains(torch.tensor([[0.5, 0.75], [0.5, 0.85]]).numpy()).tolist() == [
        False,
        True,
    ]
    assert run_readme(in_time, **left)["cooling"].names == ("heat", "cold", "insulated", "start")


@pytest.mark.slow
def test_the_guides_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guides = ("TUTORIAL", "KERNELS", "NETWORKS")
    diagnosed, *further = [block for guide in guides for block in blocks(ROOT / f"docs/{guide}.md")]
    left = run_readme(diagnosed)
    assert left["rescued"].before is left["run"] and left["x"].estimate.relative > 0
    left |= {"V": torch.zeros(200, 3), "rhs": torch.ones(200)}
    left["other"] = pinntk.load("poisson1d").sample(boundary=3, residual=3, seed=1)
    for block in further:
        left = run_readme(block, **left)
    assert left["trained"].column("relative_error")[0][-1] == 2
    assert left["std"].shape == (5, 1)
    assert (left["u"].shape, left["K"].shape) == ((2, 101, 1), (12, 12))


@pytest.mark.slow
def test_the_page_on_training_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left = {}
    for title, code, line in blocks(ROOT / "docs/TRAINING.md"):
        left = run_readme((title, re.sub(r'(adam|lbfgs|gauss-newton|"steps)(:|": |", )\d+', r"\1\g<2>2", code), line), **left)
    assert [run.step for run in left["found"].runs] == [2, 2, 2]


def run_readme(block: tuple[str, str, int], **given):
    """A block of the README or a guide, with few steps in place of its many, and a rescue of seconds."""
    _, code, line = block
    code = re.sub(r"\bsteps=[0-9_]+", "steps=2", code).replace("rescue(run)", "rescue(run, seconds=2)")
    return run(code, line, "a guide", **given)
