"""Trainings by a curriculum: one problem after the other, each from the network of the one before."""

import json

import numpy as np
import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.problem import Problem
from tests.support.slabs import COUNTS, convection, mlp
from tests.support.sweeps import sweep

SETTINGS = {"steps": 4, "points": COUNTS, "snapshot_every": 0, "progress": False, "schedule": "exponential"}
BETAS = {"beta": [1.0, 5.0, 30.0]}


def train(curriculum=BETAS, problem=None, network=None, **settings):
    problem = problem or convection()
    network = network or (mlp(problem) if isinstance(problem, Problem) else mlp)
    return pinntk.train_curriculum(problem, network, curriculum=curriculum, **{**SETTINGS, **settings})


def vector(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def test_a_stage_is_a_training_from_the_network_of_the_one_before():
    found = train()
    network = mlp(convection())
    for beta, run in zip(BETAS["beta"], found.runs, strict=True):
        plain = pinntk.train(convection(beta), network, **SETTINGS)
        assert torch.equal(vector(plain), vector(run)) and run.problem.parameters == {"beta": beta}
    assert found.network is found.runs[-1].network and found.relative_error == found.run.relative_error is not None
    assert "beta=[1.0, 5.0, 30.0], relative error" in repr(found)


def test_networks_are_those_of_each_problem():
    """A periodic network with hard conditions, and a function that makes networks."""
    problem = convection()
    network = mlp(problem, periodic=("x",), hard=("start",))
    before = [p.clone() for p in network.parameters()]
    found = train(network=network, steps=1)
    assert "start" in network.hard and all(run.network.hard == network.hard for run in found.runs)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))
    made = []
    train(network=lambda problem: made.append(problem) or mlp(problem), steps=1)
    assert [problem.parameters["beta"] for problem in made] == BETAS["beta"]


def test_a_network_that_meets_conditions_of_the_first_problem_is_not_copied_for_others():
    network = pinntk.nn.hard_constraint(convection(), torch.nn.Sequential(torch.nn.Linear(2, 1)))
    with pytest.raises(ValueError, match=r"'start' of the problem that it was made for, .* give a function"):
        train(network=network)
    found = train(network=lambda problem: pinntk.nn.hard_constraint(problem, mlp(problem)), steps=1)
    assert all(run.network.hard == ("start",) for run in found.runs)


def test_a_device_that_is_not_there_is_refused_by_every_series():
    problem = convection()
    for series in ({"curriculum": BETAS}, {"slabs": 2}, {"seeds": 2}):
        name = {"curriculum": "train_curriculum", "slabs": "train_slabs", "seeds": "train_ensemble"}[next(iter(series))]
        with pytest.raises(ValueError, match=r"device='nowhere': torch knows no such device"):
            getattr(pinntk, name)(problem, mlp(problem), device="nowhere", **series, **SETTINGS)


def test_values_that_json_writes_as_others_are_the_same(tmp_path):
    curriculum = {"pair": [(1.0, 2), (float("nan"), 2)]}
    settings = {"problem": lambda pair: convection(pair[1]), "steps": 1, "out": tmp_path}
    first = train(curriculum, **settings)
    again = train(curriculum, **settings, resume=True)
    assert torch.equal(vector(again), vector(first))
    with pytest.raises(ValueError, match=r"was trained with curriculum=.*, now .*give the same"):
        train({"pair": [(1.0, 2), (3.0, 2)]}, **settings, resume=True)


def test_problems_of_ones_own_are_built_by_a_function():
    found = train({"beta": [1, 2]}, problem=lambda beta: convection(float(beta)), steps=1)
    assert [run.problem.parameters["beta"] for run in found.runs] == [1.0, 2.0]
    with pytest.raises(TypeError, match=r"problem\(beta\) returned int"):
        train({"beta": [1, 2]}, problem=lambda beta: 3)


@pytest.mark.parametrize("cut", sweep((4, 5, 11), 5))
def test_it_goes_on_where_it_was_cut(tmp_path, cut, whole):
    """By Ctrl-C in any stage, and in the last step of one."""
    steps = []

    class Stopping(pinntk.weighting.NTK):
        def update(self, weights, measured, counts):
            steps.append(1)
            if len(steps) == cut:
                raise KeyboardInterrupt
            return super().update(weights, measured, counts)

    scheme = {"weighting": Stopping(every=1), "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        train(**scheme, out=tmp_path)
    again = train(weighting=pinntk.weighting.NTK(every=1), checkpoint_every=1, out=tmp_path, resume=True)
    assert all(torch.equal(vector(a), vector(b)) for a, b in zip(again.runs, whole.runs, strict=True))
    described = json.loads((tmp_path / "curriculum.json").read_text())
    assert described["curriculum"] == {"values": {"beta": [1.0, 5.0, 30.0]}, "stop_reasons": ["", "", ""]}


@pytest.fixture(scope="module")
def whole():
    return train(weighting=pinntk.weighting.NTK(every=1), checkpoint_every=1)


def test_coefficients_go_on():
    problem = pinntk.load("heat_inverse")
    names = set(problem.parameters)
    parameter = next(iter(names))
    found = pinntk.train_curriculum(
        problem, mlp(problem), curriculum={parameter: [problem.parameters[parameter]] * 2}, lr=0.01, **few()
    )
    first, second = (run.column("coefficient/kappa")[1] for run in found.runs)
    assert second[0] == first[-1] != first[0]


def few():
    return {"steps": 2, "points": {"residual": 9}, "snapshot_every": 0, "progress": False, "eval_every": 1}


@pytest.mark.parametrize(
    ("curriculum", "settings", "error", "message"),
    [
        ({}, {}, TypeError, "give the values of parameters, as in"),
        ({"beta": 3}, {}, TypeError, "'beta' has no list of values"),
        ({"beta": []}, {}, TypeError, "'beta' has no list of values"),
        ({"beta": [1, 2], "gamma": [1]}, {}, ValueError, "give every parameter as many"),
        ({"gamma": [1.0]}, {}, (TypeError, ValueError), "gamma"),
        (BETAS, {"points": {"wall": 3}}, ValueError, "no condition 'wall'"),
        (BETAS, {"resume": True}, ValueError, "the folder of the stages to continue"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path, curriculum, settings, error, message):
    out = {} if "resume" in settings else {"out": tmp_path / "run"}
    with pytest.raises(error, match=message):
        train(curriculum, **settings, **out)
    assert not (tmp_path / "run").exists()


def test_a_problem_without_a_file_is_asked_for_as_a_function():
    problem = pinntk.Problem(convection().domain, convection().conditions)
    with pytest.raises(ValueError, match=r"built in Python.*train_curriculum\(lambda beta: \.\.\."):
        train(problem=problem)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr("pinntk._util.distributed.world", lambda: 2)
    with pytest.raises(ValueError, match="a curriculum is trained in one process, since each stage begins"):
        train()


def test_its_folder_is_guarded(tmp_path):
    train({"beta": np.array([1.0, 2.0])}, out=tmp_path, steps=1)
    with pytest.raises(FileExistsError, match="already holds a run or a series of runs"):
        train(out=tmp_path)
    with pytest.raises(FileExistsError, match="already holds a run"):
        pinntk.train(convection(), mlp(convection()), **SETTINGS, out=tmp_path)
    with pytest.raises(ValueError, match=r"was trained with curriculum=.*, now .*give the same"):
        train({"beta": [0.5, 2.0]}, out=tmp_path, resume=True, steps=1)
    with pytest.raises(ValueError, match="stage_01 began as it ended"):
        pinntk.train(convection(1.0), mlp(convection()), **SETTINGS, out=tmp_path / "stage_00", resume=True)
    with pytest.raises(FileNotFoundError, match=r"stages of a curriculum, each a run: give one, such as .*stage_01, the last"):
        pinntk.Run.load(tmp_path)
    with pytest.warns(UserWarning, match="all its stages are done"):
        train({"beta": [1.0, 2.0]}, out=tmp_path, resume=True, steps=3)
    with pytest.raises(ValueError, match=r"is one of a curriculum; .*, curriculum=config\['curriculum'\]\['values'\]\)"):
        pinntk.train_as(json.loads((tmp_path / "curriculum.json").read_text()))
    (tmp_path / "mine.txt").write_text("mine")
    train({"beta": [1.0]}, out=tmp_path, overwrite=True, steps=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curriculum.json", "mine.txt", "stage_00"]


def test_the_command_line_trains_and_resumes_it(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--points", "residual=9,initial=4,periodic=4", "--width", "4", "--depth", "1", "--steps", "2"]
    assert main(["train", "convection", "--curriculum", "beta=1:3:2", *options, "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["stage", "beta", "steps"] and [line.split()[1] for line in lines[1:3]] == ["1", "3"]
    assert f"next: pinntk diagnose {out / 'stage_01'}" in lines
    before = vector(pinntk.Run.load(out / "stage_01"))
    (out / "stage_01" / "checkpoint.pt").unlink()
    described = json.loads((out / "curriculum.json").read_text())
    described["curriculum"]["stop_reasons"] = [""]
    (out / "curriculum.json").write_text(json.dumps(described))
    assert main(["train", "--resume", str(out), "--quiet"]) == 0
    assert torch.equal(vector(pinntk.Run.load(out / "stage_01")), before)
    described = json.loads((out / "curriculum.json").read_text())
    assert described["curriculum"]["values"] == {"beta": [1.0, 3.0]}
    for given, message in (("beta", "write NAME=VALUES"), ("beta=1:3", "write NAME=VALUES"), ("beta=a", "write NAME=VALUES")):
        with pytest.raises(SystemExit):
            main(["train", "convection", "--curriculum", given])
        assert message in capsys.readouterr().err
    assert main(["train", "convection", "--curriculum", "beta=1", "--slabs", "2", "-o", str(tmp_path / "no")]) == 2
    assert "--slabs and --curriculum do not go together" in capsys.readouterr().err
