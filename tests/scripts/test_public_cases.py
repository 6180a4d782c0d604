"""The public cases load, train, and have known solutions that satisfy what they state, but for what is wrong on purpose."""

import ast
import json
import re
from math import pi

import numpy as np
import pytest
import torch
from public_cases import run as public
from scipy.fft import dstn, idstn
from scipy.interpolate import make_interp_spline

import pinntk
from tests.support.sweeps import sweep

ROWS = {row["name"]: row for row in public.rows()}
SOLUTIONS = {name: public.load(row) for name, row in ROWS.items()}
EXACT = [name for name, problem in SOLUTIONS.items() if problem.exact is not None]
TABLES = [name for name, problem in SOLUTIONS.items() if problem.reference is not None and name != "soliton_short"]
FALSE = {  # conditions that are the fault: what was meant does not satisfy them
    "burgers_scrambled": {"seen_u"},
    "closed_column": {"no_flow"},
    "slopes_at_both_ends": {"slope_u", "slope_v"},
    "source_of_itself": {"poisson"},
}
TRUNCATED = {"supported_plate": {"plate"}}  # its series converges slowly there: a test of its own


class Exact(torch.nn.Module):
    """The exact solution in place of a network."""

    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def forward(self, x):
        return self.problem.exact_values(x)


def with_true_coefficients(name):
    problem = public.load(ROWS[name])
    with torch.no_grad():
        for coefficient, true in ROWS[name].get("true", {}).items():
            problem.coefficients[coefficient].fill_(true)
    return problem


def test_every_file_has_a_row_and_a_report_of_its_own():
    assert sorted(ROWS) == sorted(path.stem for path in public.FOLDER.glob("*.py") if path.stem != "run")
    assert sorted(row["half"] for row in ROWS.values()) == ["sealed"] * 10 + ["working"] * 10
    reports = []
    for name in ROWS:
        text = ast.get_docstring(ast.parse((public.FOLDER / f"{name}.py").read_text()))
        assert all(f"\n{part}: " in text for part in ("Reported", "True cause", "Known by", "Public report")), name
        reports.append(re.search(r"Public report: (https://\S+)", text)[1])
    assert len(set(reports)) == 20
    assert [row["name"] for row in ROWS.values() if row["first"] == [""]] == ["zero_slope"]
    with pytest.raises(ValueError, match="no case 'plane'; they are burgers_scrambled, "):
        public.rows(["plane"])


@pytest.mark.filterwarnings("ignore")  # that networks and conditions are at fault is the point
@pytest.mark.parametrize("name", sweep(ROWS, "zero_slope", "diffusion_corner", "hot_top_relu"))
def test_it_trains(name):
    row = ROWS[name]
    run = public.train(row, steps=2)
    assert run.step == 2
    points = run.problem.sample(row["points"], method=row.get("sampling", "uniform"), seed=1)
    for condition, error in pinntk.errors(run.network, run.problem, points).items():
        assert torch.isfinite(error).all(), condition
    scores = public.scores(row, run)
    assert (scores["error"] is None) == (name == "zero_slope")
    assert scores["error"] is None or np.isfinite(scores["error"])
    assert {*row.get("true", {})} == {*run.problem.coefficients}


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_satisfy_what_is_stated(name):
    problem = with_true_coefficients(name)
    points = problem.sample(residual=40, boundary=20, initial=20, dtype=torch.float64)
    if name == "hot_top_relu":
        points["heat"][:, 0].clamp_(min=1e-3)  # before, waves of the series have not faded
    for condition, error in pinntk.errors(Exact(problem), problem, points, "autograd").items():
        if condition in FALSE.get(name, ()):
            assert error.abs().max() > 0.1, condition
        elif condition not in TRUNCATED.get(name, ()):
            assert error.abs().max() < 1e-8 * max(1, np.abs(problem.solution.values).max()), condition


def test_the_true_readings_of_burgers_are_in_order():
    problem = pinntk.load(public.FOLDER / "burgers_scrambled.py", scrambled=False)
    points = {"seen_u": problem.sample(dtype=torch.float64)["seen_u"]}
    assert pinntk.errors(Exact(problem), problem, points, "autograd")["seen_u"].abs().max() < 1e-14


@pytest.mark.parametrize("name", TABLES)
def test_tables_satisfy_what_is_stated(name):
    problem = with_true_coefficients(name)
    for condition in problem.conditions:
        error, size = error_of_table(problem, condition)
        if condition.name in FALSE.get(name, ()):
            assert np.abs(error).max() > 0.1 * size, condition.name
        else:
            assert np.abs(error).max() < (2e-4 if name == "diffusion_corner" else 1e-6) * size, condition.name


def error_of_table(problem, condition):
    """A condition's errors on the rows of `problem.solution` that it holds on, and the size of what it compares.

    Derivatives are those of splines of degree 5 through the table.
    """
    axes, values = problem.solution.axes, problem.solution.values
    splines = [make_interp_spline(axis, values, 5, axis=i) for i, axis in enumerate(axes)]
    columns = {}
    for spec in problem.arguments[condition.name]:
        if spec.kind == "coordinate":
            shape = [-1 if axis == spec.axis else 1 for axis in range(len(axes))]
            columns[spec.argument] = np.broadcast_to(axes[spec.axis].reshape(shape), values.shape[:-1])
        elif spec.kind == "coefficient":
            columns[spec.argument] = np.full(values.shape[:-1], problem.coefficients[spec.argument].item())
        elif spec.kind == "normal":
            slope = splines[0](axes[0], nu=1)[..., spec.field]
            columns[spec.argument] = np.where(axes[0] == axes[0][0], -slope, slope)
        elif spec.kind == "derivative":
            (axis, order) = max(enumerate(spec.index), key=lambda pair: pair[1])
            assert sum(spec.index) == order
            columns[spec.argument] = splines[axis](axes[axis], nu=order)[..., spec.field]
    if condition.kind == "data":
        at = np.searchsorted(axes[0], condition.region.points[:, 0] - 1e-9)
        columns = {key: column[at] for key, column in columns.items()} | dict(condition.region.columns)
    elif condition.kind == "residual":
        inner = tuple(slice(len(axis) // 5 if i == 0 and len(axes) == 2 else 5, -5) for i, axis in enumerate(axes))
        columns = {key: column[inner] for key, column in columns.items()}
    elif condition.kind == "periodic":
        columns = {key: column[:, 0] - column[:, -1] for key, column in columns.items()}
    else:
        axis = condition.region.pieces[0][0][0]
        places = [np.isclose(axes[axis], value) for ((_, value),) in condition.region.pieces]
        columns = {key: np.compress(np.any(places, 0), column, axis) for key, column in columns.items()}
        if len(axes) == 2:  # a corner may belong to another condition
            columns = {key: np.delete(column, 0, 1 - axis) for key, column in columns.items()}
    size = max(np.abs(column).max() for column in columns.values())
    error = condition.operator(**{key: torch.tensor(column) for key, column in columns.items()})
    return error.numpy(), max(size, np.abs(values).max())


def test_the_plate_agrees_with_finite_differences():
    """Two Poisson problems one after the other, each solved by its sines: second order, extrapolated to fourth."""

    def deflection(n):
        x = np.arange(1, n) / n
        k = np.arange(1, n)
        symbol = (2 - 2 * np.cos(pi * k / n)) * n**2
        u = idstn(dstn(np.outer(x, x), 1) / (symbol[:, None] + symbol) ** 2, 1)
        return u[n // 8 - 1 :: n // 8, n // 8 - 1 :: n // 8]

    expected = (4 * deflection(128) - deflection(64)) / 3
    x = torch.arange(1, 8, dtype=torch.float64) / 8
    found = SOLUTIONS["supported_plate"].exact(*(a.reshape(-1) for a in torch.meshgrid(x, x, indexing="ij"))).numpy()
    assert np.abs(found.reshape(7, 7) - expected).max() < 1e-5 * expected.max()
    assert 5e-4 < expected.max() < 2e-3


def test_the_breather_is_converged_and_close_to_that_of_the_infinite_line():
    """The periodic continuation of its start has a kink, which dispersion spreads: no table has its second derivatives."""

    def complex_table(solution):
        return solution.values[..., 0] + 1j * solution.values[..., 1]

    splitting = SOLUTIONS["soliton_short"].reference
    found = splitting()
    t, x = found.axes[0][:, None], found.axes[1]
    bounded = np.cosh(4 * x) + 4 * np.cosh(2 * x) + 3 * np.cos(4 * t)
    endless = 4 * np.exp(0.5j * t) * (np.cosh(3 * x) + 3 * np.exp(4j * t) * np.cosh(x)) / bounded
    h = complex_table(found)
    assert np.abs(h[0] - 2 / np.cosh(x)).max() < 1e-15
    assert np.array_equal(h[:, 0], h[:, -1])
    assert np.linalg.norm(h - endless) < 1e-2 * np.linalg.norm(endless)
    coarse = complex_table(splitting(256, between=60))
    assert np.linalg.norm(h[:, ::2] - coarse) < 1e-4 * np.linalg.norm(h[:, ::2])


def test_the_hot_plate_starts_cold():
    x, y = torch.rand(2, 50, dtype=torch.float64)
    assert SOLUTIONS["hot_top_relu"].exact(0 * x + 1e-4, x, 0.6 * y).abs().max() < 0.1


def test_what_transport_leaves_open_is_open():
    """The report's counterexample: a function of y - 6 x, in one corner, has no residual and is 0 at y = 0."""
    problem = public.load(ROWS["transport_corners"])

    class Other(Exact):
        def forward(self, points):
            corner = (points[:, 1] - 6 * points[:, 0]).clamp(min=0) ** 3
            return super().forward(points) + torch.stack([corner, 1.5 * corner], 1)

    points = problem.sample(residual=200, boundary=20, dtype=torch.float64)
    errors = pinntk.errors(Other(problem), problem, points, "autograd")
    assert max(error.abs().max() for error in errors.values()) < 1e-12
    assert problem.relative_error(Other(problem)) > 0.05


@pytest.mark.filterwarnings("ignore")
def test_the_table_reports_warnings_and_failures(tmp_path, monkeypatch, capsys):
    """Nothing is diagnosed here: the sealed half is opened elsewhere, once."""
    finding = pinntk.Finding(code="spectral-bias", severity="critical", sentence="short waves", confidence=0.9)
    rescued = []

    def diagnose(run):
        public.warnings.warn("of a diagnosis", RuntimeWarning, stacklevel=1)
        return [finding]

    def rescue(run, **options):
        rescued.append(options["findings"])
        raise ValueError("refused")

    train = public.train
    monkeypatch.setattr(public, "train", lambda row: train(row, steps=2))
    monkeypatch.setattr(public.pinntk, "diagnose", diagnose)
    monkeypatch.setattr(public.pinntk, "rescue", rescue)
    out = tmp_path / "found.json"
    results = public.main(["plane_wave", "zero_slope", "--half", "working", "-o", str(out)])
    assert json.loads(out.read_text()) == results
    wave, slope = results
    assert (wave["found"], wave["right"], wave["failure"]) == ("spectral-bias", True, "ValueError: refused")
    assert (slope["right"], slope["before"]["error"], slope["failure"]) == (False, None, None)
    assert wave["warnings"] == {"RuntimeWarning: of a diagnosis": 1}
    assert rescued == [[finding]]
    printed = capsys.readouterr().out
    assert "first finding right in 1 of 2; cured 0 of 1" in printed
    assert "ValueError: refused" in printed
    assert public.main(["plane_wave", "--half", "sealed"]) == []
