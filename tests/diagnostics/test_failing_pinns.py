"""The failing PINNs are well formed: they build, their prescriptions are settings of config.json, and they run small."""

import json
from dataclasses import replace

import failing_pinns
import pytest
import torch
from failing_cases import FAILING
from failing_pinns import CASES
from fresh_cases import FRESH
from healthy_cases import HEALTHY
from training_case import FOLDER

import pinntk
from tests.support.sweeps import sweep

CAUSES = {
    "imbalance",
    "spectral-bias",
    "unnormalized-inputs",
    "step-too-large",
    "step-too-small",
    "network-too-small",
    "causality",
    "too-few-points",
    "clustered-points",
    "saturation",
    "float32-floor",
    "wrong-problem",
    "conflict",
}
QUICK = {"training.steps": 1, "training.snapshot_every": 0}


def test_there_are_enough_cases_of_every_cause_and_in_both_sets():
    assert len(CASES) == len(FAILING) + len(HEALTHY) + len(FRESH)
    assert {case.set for case in FRESH} == {"fresh"}
    assert len(FAILING) >= 12
    assert len(HEALTHY) >= 6
    assert {case.cause for case in FAILING} == CAUSES
    assert all(case.source for case in CASES.values())
    for group in (FAILING, HEALTHY):
        sets = [case.set for case in group]
        assert set(sets) == {"tuning", "held-out"}
        assert abs(sets.count("tuning") - sets.count("held-out")) <= 2
    causes = [case.cause for case in FAILING]
    for cause in CAUSES:
        if causes.count(cause) > 1:
            assert {case.set for case in FAILING if case.cause == cause} == {"tuning", "held-out"}


def test_only_a_wrong_problem_has_no_prescription():
    assert {case.cause for case in FAILING if not case.prescription} == {"wrong-problem"}
    assert not any(case.prescription for case in HEALTHY)


def test_points_are_uniform_but_those_of_solvers():
    drawn = {name: failing_pinns.settings(case)["training"]["sampling"] for name, case in CASES.items()}
    solved = {name for name, case in CASES.items() if case.training.get("optimizer") == "gauss-newton"}
    assert {name for name, sampling in drawn.items() if sampling is None} == solved != set()
    changed = {"training.optimizer": "gauss-newton"}
    assert failing_pinns.settings(CASES["few-points"], changed)["training"]["sampling"] is None


@pytest.mark.parametrize(
    "name", sweep(CASES, *{case.cause: name for name, case in CASES.items() if case.set == "fresh"}.values())
)
def test_a_case_trains_and_its_prescription_changes_its_config(name):
    case = CASES[name]
    run = failing_pinns.train(case, 0, QUICK)
    assert run.problem.has_solution
    assert run.step == 1
    if case.crowded:
        assert run.config["training"]["points"] == "given"
    if not case.prescription:
        return
    assert case.prescription.get("training.steps", 1) <= case.training["steps"]
    rescued = failing_pinns.train(case, 0, {**case.prescription, **QUICK})
    for place, value in case.prescription.items():
        if place == "training.steps":
            continue
        assert at(run.config, place) != at(rescued.config, place)
        found, expected = at(rescued.config, place), value
        if isinstance(value, dict):
            found = {key: found[key] for key in value}
        assert found == expected
    assert rescued.config["problem"] == run.config["problem"]


def at(config, place):
    for level in place.split("."):
        config = config[level]
    return config


@pytest.mark.parametrize("place", ["trainig.lr", "network.argument.fourier", "problem.name"])
def test_a_change_of_an_unknown_place_is_refused(place):
    with pytest.raises(ValueError, match="change"):
        failing_pinns.settings(CASES["hasty"], {place: 1})


def test_changes_leave_the_case_as_it_is():
    before = repr(CASES["few-points"])
    changed = failing_pinns.settings(CASES["few-points"], {"training.points.poisson": 77, "network.arguments.width": 5})
    assert changed["training"]["points"] == {"poisson": 77, "ends": 2}
    assert changed["network"]["arguments"]["width"] == 5
    assert repr(CASES["few-points"]) == before


def test_crowded_points_lie_where_the_case_says():
    case = CASES["corner-points"]
    points = failing_pinns.crowded_points(case, case.load(), case.training["points"], 0)
    assert points["poisson"].shape == (300, 2)
    assert points["poisson"].min() >= 0
    assert points["poisson"].max() <= 0.3
    assert points["walls"].max() == 1


def test_what_the_wrong_problems_ask_for_is_not_what_was_meant():
    """The equation with the wrong sign has its own solution, and the missing wall lets a whole family through."""

    class Solution(torch.nn.Module):
        def __init__(self, factor, extra):
            super().__init__()
            self.factor, self.extra, self.unused = factor, extra, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            x, y = torch.pi * x[:, :1], torch.pi * x[:, 1:]
            return self.factor * torch.sin(x) * torch.sin(y) + self.extra * torch.sinh(x) * torch.sin(y) + 0 * self.unused

    k, lam = 2.5, 2 * torch.pi**2
    for name, factor, extra in (("wrong-sign", (lam - k**2) / (lam + k**2), 0.0), ("missing-wall", 1.0, 0.1)):
        problem = CASES[name].load()
        points = problem.sample(residual=50, boundary=20, dtype=torch.float64)
        for errors in pinntk.errors(Solution(factor, extra), problem, points).values():
            assert errors.abs().max() < 1e-12
        assert problem.relative_error(Solution(factor, extra)) > 0.1
        assert problem.relative_error(Solution(1.0, 0.0)) < 1e-12


@pytest.mark.parametrize("file", ["ripples", "rod", "calendar_years", "beam"])
def test_the_other_problems_have_the_solution_that_they_state(file):
    problem = pinntk.load(FOLDER / f"{file}.py")

    class Exact(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            return problem.exact(*(x[:, axis] for axis in range(problem.domain.dimension)))[:, None] + 0 * self.unused

    for errors in pinntk.errors(Exact(), problem, problem.sample(dtype=torch.float64), "autograd").values():
        assert errors.abs().max() < 1e-8


def test_the_table_is_printed_and_kept(tmp_path, monkeypatch, capsys):
    quick = {**CASES, "tiny": replace(CASES["tiny"], training={**CASES["tiny"].training, "steps": 20})}
    monkeypatch.setattr(failing_pinns, "CASES", quick)
    rows = failing_pinns.main(["tiny", "--seeds", "2", "-o", str(tmp_path)])
    assert json.loads((tmp_path / "result.json").read_text()) == rows
    assert len(rows[0]["before"]) == len(rows[0]["rescued"]) == 2
    assert "network-too-small" in capsys.readouterr().out
