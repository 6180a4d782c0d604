"""`pinntk new`, and what shells complete."""

import os
import subprocess
import sys

import pytest
import torch

import pinntk
from pinntk.cli import parser
from pinntk.cli._completion import of_problems
from tests.cli.commands import run
from tests.problem.test_problems import Exact


def test_the_template_is_a_problem_with_nothing_wrong(capsys, tmp_path):
    path = tmp_path / "my_pde.py"
    status, out, _ = run(capsys, "new", path)
    assert status == 0 and f"next: pinntk check {path}, pinntk train {path}" in out
    problem = pinntk.load(path, alpha=0.2)
    assert pinntk.check(problem) == []
    points = problem.sample(residual=20, initial=20, boundary=10, seed=1, dtype=torch.float64)
    errors = pinntk.errors(Exact(problem), problem, points)
    assert max(float(error.detach().abs().max()) for error in errors.values()) < 1e-12
    assert run(capsys, "new", path)[0] == 2  # what is there already is kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["my-pde.py"], "my-pde.py: a name of letters, digits and _ that ends in .py"),
        (["my_pde"], "my_pde: a name of letters, digits and _ that ends in .py"),
    ],
)
def test_names_that_no_problem_has(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "new", *words)
    assert status == 2 and said in err and not out and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_script_for_deepxde_runs_as_it_is(capsys, tmp_path):
    pytest.importorskip("deepxde")
    assert run(capsys, "new", tmp_path / "mine.py", "--from", "deepxde")[0] == 0
    settings = {**os.environ, "STEPS": "200"}
    command = [sys.executable, "mine.py"]
    ended = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "relative L2 error" in ended.stdout and (tmp_path / "runs" / "deepxde" / "report.html").is_file()


def test_the_source_of_a_problem_begins_ones_own(capsys, tmp_path):
    status, out, _ = run(capsys, "problems", "poisson1d", "--source")
    (tmp_path / "mine.py").write_text(out)
    assert status == 0 and pinntk.load(tmp_path / "mine.py").names == pinntk.load("poisson1d").names
    status, _, err = run(capsys, "problems", "poison1d", "--source")
    assert status == 2 and "did you mean 'poisson1d'?" in err


def test_a_shell_completes_commands_options_and_problems(tmp_path):
    shtab = pytest.importorskip("shtab")
    script = shtab.complete(parser(), shell="bash", root_prefix="pinntk")
    (tmp_path / "complete.sh").write_text(script)
    (tmp_path / "my_pde.py").write_text("")

    def completed(*words):
        line = f"source complete.sh; COMP_WORDS=(pinntk {' '.join(words)}); COMP_CWORD={len(words)}; _shtab_pinntk"
        ended = subprocess.run(
            ["bash", "-c", f"{line}; echo ${{COMPREPLY[@]}}"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ended.stdout.split()

    assert completed("tr") == ["train"]
    assert completed("train", "--weighti") == ["--weighting", "--weighting-options"]
    assert completed("train", "--activation", "ta") == ["tanh"]
    assert completed("train", "poisson1") == ["poisson1d"]
    assert completed("check", "my_") == ["my_pde.py"]
    assert all(name in of_problems()["bash"] or name in str(of_problems()) for name in pinntk.available())
    for shell in ("zsh", "tcsh", "fish"):
        assert "poisson1d" in shtab.complete(parser(), shell=shell, root_prefix="pinntk") or shell == "tcsh"
