"""`pinntk compare`, its cells run in this process."""

import json
from itertools import product
from pathlib import Path

import pytest

import pinntk
from pinntk.cli import _compare
from pinntk.comparison import Grid
from pinntk.comparison._workers import work
from tests.cli.commands import run

SMALL = ("--width", "5", "--depth", "1", "--points", "boundary=2,residual=6", "--steps", "4")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    def run_here(grid, *, jobs, threads, devices, trust, cells, wait, on_row):
        monkeypatch.setattr("pinntk.run._trust.executed_source", lambda path: None)  # as in a process that has run no file yet
        before = {cell.name for cell in grid.missing()}
        work(grid, [cell.name for cell in cells], devices[0], trust)
        for cell in grid.cells:
            if cell.name in before and (row := grid.row(cell)) is not None:
                on_row(row)

    monkeypatch.setattr(_compare, "run_grid", run_here)


@pytest.mark.pixels
def test_it_trains_compares_and_goes_on(capsys, tmp_path):
    command = ("compare", "poisson1d", "helmholtz2d", "--weighting", "fixed,ntk", "--seeds", "2", "-o", tmp_path / "it", *SMALL)
    status, out, err = run(capsys, *command)
    assert status == 0
    assert out.startswith("poisson1d, helmholtz2d: 4 steps, 2 seeds\nall with network mlp, optimizer adam\n")
    assert "poisson1d fixed seed 0: error " in err
    assert max(map(len, out.splitlines()[:-3])) <= 80  # the last name files
    lines = [line.split() for line in out.splitlines()]
    assert sum(line[:1] in (["ntk"], ["fixed"]) for line in lines) == 6  # two problems, and the medians
    found = json.loads((tmp_path / "it" / "comparison.json").read_text())
    assert [len(found["problems"][name]) for name in ("poisson1d", "helmholtz2d")] == [2, 2]
    cells = Grid.load(tmp_path / "it").cells  # a problem, in it a seed, in it the combinations
    assert [(cell.labels["problem"], cell.seed, cell.labels["weighting"]) for cell in cells] == [
        *product(("poisson1d", "helmholtz2d"), (0, 1), ("fixed", "ntk"))
    ]
    page = (tmp_path / "it" / "comparison.html").read_text()
    assert page.count("<img") == 4
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (tmp_path / "it" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    again, told, err = run(capsys, *command, "--json")
    assert (again, json.loads(told), err) == (0, found, "")
    status, told, _ = run(capsys, "compare", "--resume", tmp_path / "it", "--json")
    assert (status, json.loads(told)) == (0, found)


def test_a_file_of_ones_own_and_an_average(capsys, tmp_path):
    path = tmp_path / "my_pde.py"
    path.write_text((Path(pinntk.__file__).parents[1] / "problems" / "poisson1d.py").read_text())
    options = ("--variant", "plain", "--variant", "average=--average 0.5", "--seeds", "1", "-o", tmp_path / "it", *SMALL)
    status, out, _ = run(capsys, "compare", path, *options, "--json")
    assert status == 0
    plain, average = sorted(json.loads(out)["problems"][str(path)], key=lambda line: line["labels"]["variant"], reverse=True)
    assert not plain["failed"] and not average["failed"]
    (folder,) = (tmp_path / "it" / "cells").glob("*average*")
    trained = pinntk.Run.load(folder / "run")
    assert average["scores"] == [trained.column("averaged/relative_error")[1][-1]] != plain["scores"]
    assert plain["scores"] == [trained.relative_error]  # of the network that was trained


def test_a_mistake_beside_overwrite_removes_nothing(capsys, tmp_path):
    command = ("compare", "poisson1d", "--seed", "4", "-o", tmp_path / "it", *SMALL)
    assert run(capsys, *command, "--quiet")[0] == 0
    (row,) = (tmp_path / "it" / "cells").glob("*/row.json")
    for mistake in (("--optimizer", "adamm"), ("--set", "kk=3"), ("--points", "walls=3")):
        assert run(capsys, *command, "--overwrite", *mistake)[0] == 2
        assert row.exists() and (tmp_path / "it" / "comparison.html").exists()
    status, _, err = run(capsys, *command, "--weighting", "ntk")
    assert status == 2 and "holds another comparison, with poisson1d-fixed-mlp-adam-seed4" in err
    before = row.stat().st_mtime_ns
    assert run(capsys, *command, "--overwrite", "--quiet")[0] == 0
    assert row.stat().st_mtime_ns > before


def test_points_of_a_condition_are_of_the_problems_that_have_it(capsys, tmp_path):
    words = ("--width", "4", "--depth", "1", "--steps", "2", "--weights", "start_velocity=3", "-o", tmp_path / "it", "--points")
    assert run(capsys, "compare", "poisson1d", "wave1d", *words, "boundary=2,residual=6,initial=5")[0] == 0
    found = {cell.labels["problem"]: cell.config for cell in Grid.load(tmp_path / "it").cells}
    assert found["poisson1d"]["training"]["points"] == {"ends": 2, "poisson": 6}
    assert found["wave1d"]["training"]["points"] == {"start": 5, "start_velocity": 5, "walls": 2, "wave": 6}
    assert ["start_velocity" in str(found[name]["weighting"]) for name in ("poisson1d", "wave1d")] == [False, True]
    status, _, err = run(capsys, "compare", "poisson1d", "poisson2d", *SMALL, "--points", "initial=5", "-o", tmp_path / "no")
    assert status == 2 and "poisson1d has no initial condition" in err


def test_variants_are_options_with_a_name(capsys, tmp_path):
    variants = ("--variant", "plain", "--variant", "slow=--lr 1e-6", "--variant", "lbfgs=--optimizer lbfgs --weighting ntk")
    status, out, _ = run(capsys, "compare", "poisson1d", *variants, "--seed", "4,7", "--json", "-o", tmp_path / "it", *SMALL)
    assert status == 0
    lines = json.loads(out)["problems"]["poisson1d"]
    assert {line["labels"]["variant"]: line["labels"]["optimizer"] for line in lines} == {
        "plain": "adam",
        "slow": "adam",
        "lbfgs": "lbfgs",
    }
    assert all(line["seeds"] == [4, 7] for line in lines)
    config = json.loads((tmp_path / "it" / "cells" / "poisson1d-fixed-mlp-adam-slow-seed7" / "run" / "config.json").read_text())
    assert (config["training"]["lr"], config["training"]["seed"], config["network"]["arguments"]["seed"]) == (1e-6, 7, 7)


def test_a_variant_has_its_own_numbers_of_points_and_the_rest_of_all(capsys, tmp_path):
    variants = ("--variant", "few=--points residual=3", "--variant", "all=--weights ends=7", "--weights", "poisson=2")
    assert run(capsys, "compare", "poisson1d", *variants, "--seeds", "1", "--quiet", "-o", tmp_path / "it", *SMALL)[0] == 0
    found = {}
    for name in ("few", "all"):
        config = json.loads((tmp_path / "it" / "cells" / f"poisson1d-fixed-mlp-adam-{name}-seed0/run/config.json").read_text())
        found[name] = (config["training"]["points"], config["weighting"])
    assert found == {
        "few": ({"poisson": 3, "ends": 2}, {"name": "fixed", "poisson": 2.0}),
        "all": ({"poisson": 6, "ends": 2}, {"name": "fixed", "poisson": 2.0, "ends": 7.0}),
    }


def test_what_cannot_be_combined_is_left_out_and_said(capsys, tmp_path):
    chain = ("--optimizer", "adam:3,gauss-newton:1")
    options = (
        "--optimizer",
        "adam,gauss-newton",
        *chain,
        "--weighting",
        "fixed,self-adaptive",
        "--seeds",
        "1",
        "-o",
        tmp_path / "it",
    )
    status, out, _ = run(capsys, "compare", "poisson1d", *options, *SMALL)
    assert status == 0
    assert "not run: poisson1d, self-adaptive, mlp, gauss-newton: self-adaptive weights" in " ".join(out.split())
    assert {path.name for path in (tmp_path / "it" / "cells").iterdir()} == {
        "poisson1d-fixed-mlp-adam-seed0",
        "poisson1d-fixed-mlp-gauss-newton-seed0",
        "poisson1d-fixed-mlp-adam_3_gauss-newton_1-seed0",
        "poisson1d-self-adaptive-mlp-adam-seed0",
    }
    status, _, err = run(capsys, "compare", "poisson1d", *options[:-1], tmp_path / "other", "--points", "walls=3")
    assert status == 2  # nothing is left
    assert "walls" in err


def test_what_trainings_warn_of_is_said_once(capsys, tmp_path):
    points = ("--width", "5", "--depth", "1", "--points", "convection=6,start=4,wrap=3", "--steps", "4", "--seeds", "2")
    options = ("--weighting", "fixed,gradient-norm", "--periodic", "x", "-o", tmp_path / "it")
    status, out, err = run(capsys, "compare", "convection", *points, *options)
    assert status == 0
    warning = "condition wrap has no gradient (its error is zero, as under a hard constraint); its weight stays 1"
    assert err.count("warning") == 1
    assert f"pinntk: warning: {warning}\n" in err
    assert f"warning: convection gradient-norm seed 0 and 1 more: {warning}" in " ".join(out.split())
    assert warning in (tmp_path / "it" / "comparison.html").read_text()
    told = json.loads((tmp_path / "it" / "comparison.json").read_text())["problems"]["convection"]
    found = {line["labels"]["weighting"]: line["warnings"] for line in told}
    assert found == {"fixed": {}, "gradient-norm": {"0": [warning], "1": [warning]}}


def test_an_array_job_is_written_and_its_shares_are_all(capsys, tmp_path):
    options = ("--weighting", "fixed,ntk", "--seeds", "2", "-o", tmp_path / "it", *SMALL)
    status, out, _ = run(capsys, "compare", "poisson1d", *options, "--slurm", tmp_path / "job.sh")
    assert status == 0
    assert out.startswith("4 trainings in ")
    assert not (tmp_path / "it" / "cells").exists()
    for share, ended in (("0/3", 2), ("1/3", 3), ("2/3", 4)):
        assert run(capsys, "compare", "--resume", tmp_path / "it", "--share", share, "--quiet")[:2] == (0, "")
        assert len([*(tmp_path / "it" / "cells").glob("*/row.json")]) == ended


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "name a problem"),
        (("poisson1d", "--weighting", "fixed,nkt"), "'nkt' is unknown; did you mean ntk?"),
        (("poisson1d", "--network", "mlp,mlp"), "'mlp' is given twice"),
        (("poisson1d", "--optimizer", "adam,sopa-x"), "optimizer 'sopa-x' is unknown"),
        (("poisson1d", "--optimizer-options", "epz=1"), "optimizer 'adam' with {'epz': 1}"),
        (("poisson1d", "--seeds", "0"), "how many, at least 1"),
        (("poisson1d", "--seeds", "two"), "'two': a whole number of at least 0"),
        (("poisson1d", "--seeds", "1,1"), "each seed once"),
        (("poisson1d", "--seed", "seven"), "'seven': a whole number of at least 0"),
        (("poisson1d", "--seeds", "5", "--seed", "7"), "not allowed with"),
        (("poisson1d", "--budget", "soon"), "'soon' is not a time"),
        (("poisson1d", "--share", "3/3"), "K/N with K from 0 to N - 1"),
        (("poisson1d", "--variant", "a=--lrr 3"), "--variant a: there is no option --lrr"),
        (("poisson1d", "--variant", "a=--steps 3"), "--steps is the same for all"),
        (("poisson1d", "--variant", "a=--device cuda"), "--device is the same for all"),
        (("poisson1d", "--jobs", "0"), "--jobs 0: at least 1"),
        (("poisson1d", "--slurm", "job.sh", "--json"), "--slurm trains nothing; leave --json out"),
        (("poisson1d", "--log-every", "3"), "there is no option --log-every"),
        (("poisson1d", "wvae1d"), "did you mean 'wave1d'?"),
        (("poisson1d", "--variant", "a=--network mlp", "--network", "mlp,separable"), "of which 2 are compared already"),
        (("poisson1d", "--variant", "=--lr 3"), "a name first"),
        (("poisson2", "--steps", "3"), "poisson2d"),
        (("--resume", "nowhere"), "holds no comparison"),
        (("poisson1d", "--resume", "nowhere"), "leave the problems out"),
        (("--resume", "nowhere", "--lr", "3"), "leave --lr out"),
    ],
)
def test_mistakes_are_said_in_a_line(capsys, tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    try:
        status, _, err = run(capsys, "compare", *words)
    except SystemExit as stopped:  # what argparse finds
        status, err = stopped.code, capsys.readouterr().err
    assert status == 2
    assert expected in err
    assert len(err.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_something_else_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    status, _, err = run(capsys, "compare", "poisson1d", "--overwrite", "-o", tmp_path, *SMALL)
    assert status == 2
    assert "holds something else than a comparison" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
