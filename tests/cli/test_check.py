"""`pinntk check`, and the line that `pinntk train` prints of it."""

import json

import pinntk
from pinntk.cli import main
from pinntk.diagnostics import Diagnosis, Unjudged
from pinntk.reporting._terminal import checked, checked_text

ILL = '''"""Heat that is produced and cannot leave."""

from pinntk import Box, Problem, boundary, residual


def problem(source: float = 1.0):
    domain = Box(x=(0, 1))

    @residual(domain)
    def poisson(u_xx):
        return u_xx + source

    @boundary(domain.ends("x"))
    def insulation(u_n):
        return u_n

    return Problem(domain, [poisson, insulation])
'''


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_file_of_the_users_within_80_columns_and_as_json(capsys, tmp_path):
    path = tmp_path / "plate.py"
    path.write_text(ILL)
    status, out, err = run(capsys, "check", path)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "plate (source=1): this problem cannot be solved as it is stated"
    assert "CRITICAL: wrong problem" in out and "CRITICAL: conflict" in out and "To do: give u at one point" in out
    assert max(map(len, out.splitlines())) <= 80
    found = json.loads(run(capsys, "check", path, "--json")[1])
    assert [finding["code"] for finding in found["findings"]] == ["wrong-problem", "conflict"]
    assert found["problem"] == "plate" and found["format"] == 1
    found = json.loads(run(capsys, "check", path, "--set", "source=0", "--json")[1])
    assert [finding["code"] for finding in found["findings"]] == ["wrong-problem", "trivial-solution"]


def test_nothing_is_found_and_the_network_is_looked_at(capsys):
    assert run(capsys, "check", "poisson1d")[:2] == (0, "poisson1d (k=4): nothing found\n")
    assert "The activation relu has no u_xx" in run(capsys, "check", "poisson1d", "--activation", "relu")[1]
    status, _, err = run(capsys, "check", "poison1d")
    assert status == 2 and "poisson1d" in err


def test_a_training_says_beforehand_what_it_cannot_mend(capsys, tmp_path):
    small = ["--width", 6, "--depth", 1, "--steps", 1, "--points", "residual=6,boundary=2"]
    _, _, err = run(capsys, "train", "poisson1d", "--activation", "relu", "-o", tmp_path / "relu", *small)
    lines = [line for line in err.splitlines() if line.startswith("pinntk: before training:")]
    assert len(lines) == 1 and "The activation relu has no u_xx" in lines[0]
    _, _, err = run(capsys, "train", "poisson1d", "-o", tmp_path / "tanh", *small)
    assert "before training" not in err


def test_what_cannot_be_judged_is_not_said_to_be_well():
    problem, lacks = pinntk.load("poisson1d"), Unjudged("conflict", "the shape is bent", "train on it")
    found = checked(problem, Diagnosis([], [lacks]))
    assert found["unjudged"] == [{"code": "conflict", "reason": "the shape is bent", "remedy": "train on it"}]
    assert checked_text(found).splitlines()[1:] == ["", "Not judged, since the shape is bent: conflict. Remedy: train on it."]
    assert found["verdict"] != checked(problem, Diagnosis())["verdict"] == "Nothing found"
