"""DeepXDE's demos load, are well-posed as they are stated, have solutions that solve them, and train."""

import json
import warnings

import benchmark_demos as demos
import numpy as np
import pytest
import torch

import pinntk
from tests.support.sweeps import sweep

ROWS = {row["name"]: row for row in demos.rows()}
KNOWN = {name: demos.load(row, **({"known": True} if row.get("known") else {})) for name, row in ROWS.items()}
EXACT = [name for name, problem in KNOWN.items() if problem.exact is not None]
HARD = ["diffusion_hard", "poisson_hard", "diffusion_reaction", "helmholtz", "elasticity_plate", "allen_cahn", "lotka_volterra"]
CHECKED = ["poisson_dirichlet", "poisson_periodic", "poisson_neumann", "poisson_robin", "euler_beam", "ode_second_order"]
ALARMS = {"lotka_volterra": ["wrong-problem"]}  # growth by exp(40 t), which a few points take for an open field


class Exact(torch.nn.Module):
    """The exact solution in place of a network."""

    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        return self.problem.exact_values(x)


def small(name, **changes):
    row = {**ROWS[name], "width": 8, "points": {key: min(n, 12) for key, n in ROWS[name]["points"].items()}, **changes}
    return {**row, "stages": [{**stage, "eval_every": 0, "snapshot_every": 0} for stage in row["stages"]]}


def found_in(name):
    problem = demos.load(ROWS[name])
    findings = pinntk.check(problem, demos.build(ROWS[name], problem))
    return [finding.code for finding in findings if finding.severity != "note"]


def test_every_file_is_used_and_every_demo_is_another():
    files = {demos.file_of(row).stem for row in ROWS.values() if demos.file_of(row).exists()}
    assert files == {path.stem for path in demos.FOLDER.glob("*.py")}
    assert len({row["demo"] for row in ROWS.values()}) == len(ROWS) >= 12
    for row in ROWS.values():
        if demos.file_of(row).exists():
            assert row["demo"] in demos.file_of(row).read_text()
    with pytest.raises(ValueError, match="no demo 'poisson'; they are poisson_dirichlet, "):
        demos.rows(["poisson"])


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_satisfy_what_is_stated(name):
    problem = KNOWN[name]
    points = problem.sample(residual=40, boundary=20, initial=20, dtype=torch.float64)
    if name == "black_scholes":
        points["black_scholes"].clamp_(min=1.0 / 16)  # where t or S is 0 its formula is a limit
    for condition, error in pinntk.errors(Exact(problem), problem, points, "autograd").items():
        size = 50 if name == "black_scholes" else 1
        assert error.abs().max() < 1e-8 * size, condition


def test_known_solutions_of_files_are_right():
    differences = KNOWN["allen_cahn"].reference
    fine, coarse = differences(), differences(400)
    assert np.linalg.norm(fine.values[::4] - coarse.values) < 3e-4 * np.linalg.norm(coarse.values)
    assert np.allclose(fine.values[:, 0], fine.axes[0] ** 2 * np.cos(np.pi * fine.axes[0]))
    rabbits, foxes = KNOWN["lotka_volterra"].solution.values.T
    kept = 80 * rabbits - 21.2 * np.log(rabbits) + 160 * foxes - 40 * np.log(foxes)
    assert np.ptp(kept) < 1e-7 * np.abs(kept).max()


@pytest.mark.parametrize("name", sweep(HARD, "poisson_hard", "elasticity_plate", "lotka_volterra"))
def test_walls_are_met_by_construction(name):
    """The raw network is not: it differs from the known solution inside."""
    problem = KNOWN[name]
    network = demos.build(ROWS[name], problem).double()
    grid = torch.as_tensor(problem.solution_points)
    known = torch.as_tensor(problem.solution.values).reshape(len(grid), -1)
    difference = (network(grid) - known).detach().abs()
    low, high = (torch.as_tensor(bound) for bound in (problem.domain.low, problem.domain.high))
    if "t" in problem.coordinates:
        on = (grid == low)[:, problem.domain.axis("t")]
        for axis in problem.domain.space:
            on |= (grid[:, axis] == low[axis]) | (grid[:, axis] == high[axis])
        assert difference[on].max() < 1e-12
    elif name == "elasticity_plate":
        x, y = (grid == low).T
        right, top = (grid == high).T
        for field, on in enumerate((y | top, x | right | y, x | right, top)):
            assert difference[on, field].max() < 1e-12
    else:
        assert difference[((grid == low) | (grid == high)).any(1)].max() < 1e-12
    assert difference.max() > 0.01


@pytest.mark.parametrize("name", CHECKED)
def test_nothing_is_found_in_a_demo_as_it_is_stated(name):
    assert found_in(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if name not in CHECKED])
def test_nothing_is_found_in_the_larger_demos(name):
    assert found_in(name) == ALARMS.get(name, [])


@pytest.mark.parametrize("name", sweep(ROWS, "poisson_hard", "diffusion_reaction", "elasticity_plate", "lotka_volterra"))
def test_points_and_settings_train(name):
    """With fewer points and units, two steps of each stage."""
    row = small(name)
    problem = demos.load(row)
    if not row.get("resample"):
        drawn, asked = demos.points(ROWS[name], problem), ROWS[name]["points"]
        (inner, *_) = (condition.name for condition in problem.conditions if condition.kind == "residual")
        seen = sum(len(drawn[other]) for other in row.get("seen", ()))
        assert len(drawn[inner]) == asked["residual"] + seen + sum(n for _, n in row.get("edges", ()))
    run = demos.train(row, longest=2)
    assert run.step == 2
    assert all(torch.isfinite(p).all() for p in run.network.parameters())


def test_residuals_have_the_points_of_deepxde():
    line, plane = (pinntk.Box(x=(-1, 1)), pinntk.Box(x=(0, 1), t=(0, 8)))
    assert demos.hammersley(line, 5).tolist() == [[0.0], [-0.5], [0.5], [-0.75], [0.25]]
    assert demos.hammersley(plane, 3).tolist() == [[0.5, 2.0], [0.25, 4.0], [0.75, 6.0]]
    assert demos.hammersley(pinntk.Box.cube(3), 2)[:, 1].tolist() == pytest.approx([1 / 3, 2 / 3])
    drawn = demos.points(ROWS["ode_system"], KNOWN["ode_system"])
    assert drawn["first"] is drawn["second"]
    assert drawn["first"][:2, 0].tolist() == [5.0, 2.5]
    assert len(drawn["first"].unique()) == 37


def test_the_table_has_errors_findings_warnings_and_failures(tmp_path, monkeypatch, capsys):
    train = demos.train
    finding = pinntk.Finding(code="spectral-bias", severity="warning", sentence="short waves", confidence=0.9)

    def diagnose(run):
        if run.problem.name != "poisson_sine":
            raise ValueError("refused")
        warnings.warn("of a diagnosis", RuntimeWarning, stacklevel=1)
        return [finding]

    monkeypatch.setattr(demos.pinntk, "diagnose", diagnose)
    monkeypatch.setattr(demos, "BELOW", 100.0)
    monkeypatch.setattr(demos, "train", lambda row, longest, compiled: train(small(row["name"]), longest))
    out = tmp_path / "found.json"
    results = demos.main(["poisson_dirichlet", "ode_second_order", "--longest", "2", "-o", str(out)])
    assert json.loads(out.read_text()) == results
    sine, ode = results
    assert sine["converged"] and sine["shortened"] and sine["steps"] == [2]
    assert [found["code"] for found in sine["findings"]] == ["spectral-bias"]
    assert sine["warnings"] == {"RuntimeWarning: of a diagnosis": 1}
    assert ode["failure"] == "ValueError: refused"
    printed = capsys.readouterr().out
    assert "spectral-bias (warning, 0.90)" in printed
    assert "2 of 2 converged; nothing found in 1 of these" in printed


def test_stages_go_on_with_the_same_network():
    adam = demos.train(small("heat", stages=ROWS["heat"]["stages"][:1]), longest=3)
    both = demos.train(small("heat"), longest=3)
    assert both.config["training"]["optimizer"] == "lbfgs"
    assert both.history[0]["loss/heat"] == pytest.approx(adam.history[-1]["loss/heat"], rel=1e-5)
    assert sum(both.history[-1][f"loss/{name}"] for name in both.problem.names) < 0.5 * sum(
        adam.history[-1][f"loss/{name}"] for name in both.problem.names
    )
