"""Networks with hard constraints in trainings, on the command line and under diagnosis."""

import json
import warnings

import pytest
import torch

import pinntk
from pinntk import training
from pinntk.cli import main
from pinntk.nn import MLP
from pinntk.nn._constraint import met_by
from pinntk.run._network import build_network, describe_network
from pinntk.training._loss_weights import LossWeights
from tests.support.sweeps import sweep

SMALL = {"width": 8, "depth": 2, "dtype": torch.float64}


@pytest.fixture
def strict():
    """Warnings are errors: nothing is said of conditions that were asked to be met."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("hard", ["auto", "walls", ("walls", "start"), ()])
def test_config_json_has_the_conditions_that_are_met(hard):
    problem = pinntk.load("burgers")
    network = MLP(problem, hard=hard, **SMALL)
    described = json.loads(json.dumps({"network": describe_network(network)}))
    assert described["network"]["arguments"]["hard"] == list(network.hard)
    again = build_network(described, problem)
    assert again.config == network.config
    points = torch.rand(4, 2, dtype=torch.float64)
    assert torch.equal(again(points), network(points))
    described["network"]["arguments"]["hard"] = "auto"  # as one would write it
    assert build_network(described, problem).hard == ("start", "walls")
    described["network"]["arguments"]["hard"] = ["walls", "begin"]
    with pytest.raises(ValueError, match=r"hard=\['walls', 'begin'\]: burgers has no condition 'begin'"):
        build_network(described, problem)


@pytest.mark.parametrize("name", sweep(("reaction", "kovasznay"), "kovasznay"))
def test_a_run_comes_back_and_goes_on(name, tmp_path, strict):
    problem = pinntk.load(name)
    settings = {"points": {"residual": 30}, "weighting": "ntk", "progress": False, "out": tmp_path}
    run = pinntk.train(problem, MLP(problem, hard="auto", **SMALL), steps=3, **settings)
    again = pinntk.Run.load(tmp_path)
    points = torch.rand(5, 2, dtype=torch.float64)
    assert torch.equal(again.network(points), run.network(points))
    assert again.network.hard == run.network.hard
    more = pinntk.train(problem, again.network, steps=5, resume=True, **settings)
    assert more.step == 5
    assert max(row[f"loss/{condition}"] for row in more.history for condition in run.network.hard) < 1e-28


def test_ntk_weights_know_what_is_met(strict, tmp_path):
    problem = pinntk.load("kovasznay")
    network = MLP(problem, hard=("walls_u", "outflow"), **SMALL)
    points = problem.sample(residual=20, boundary=10, seed=0, dtype=torch.float64)
    traces = pinntk.traces(network, problem, points)
    assert traces["walls_u"] == traces["outflow"] == 0
    run = pinntk.train(problem, network, steps=2, weighting="ntk", points=points, progress=False)
    row = run.history[-1]
    assert row["weight/walls_u"] == row["weight/outflow"] == 1
    trained = {condition: trace for condition, trace in traces.items() if condition not in network.hard}
    expected = pinntk.weighting.NTK().rule(trained, {condition: len(points[condition]) for condition in trained})
    first = pinntk.train(
        problem, MLP(problem, hard=network.hard, **SMALL), steps=1, weighting="ntk", points=points, progress=False
    )
    for condition, weight in expected.items():
        assert first.history[-1][f"weight/{condition}"] == pytest.approx(weight, rel=1e-12)


def test_groups_of_ntk_weights_without_what_is_met():
    problem = pinntk.load("wave1d")
    weighting = pinntk.weighting.NTK(groups=[("start", "walls")])
    weights = LossWeights(weighting, problem, met=("start",))
    counts = dict.fromkeys(problem.names, 10)
    traces = {"wave": 60.0, "start": 0.0, "start_velocity": 20.0, "walls": 40.0}
    weights.update(0, lambda measures: traces, counts)
    assert weights.values == {"wave": 2.0, "start": 1.0, "start_velocity": 6.0, "walls": 3.0}


@pytest.mark.parametrize("name", sweep(("poisson1d", "wave1d", "convection"), "poisson1d"))
def test_gauss_newton_and_gradient_norms_run_in_silence(name, strict):
    problem = pinntk.load(name, **({"k": 1} if name == "poisson1d" else {}))
    for settings in ({"optimizer": "gauss-newton"}, {"weighting": "gradient-norm"}):
        network = MLP(problem, hard="auto", **SMALL)
        before = problem.relative_error(network)
        run = pinntk.train(problem, network, steps=4, points={"residual": 40}, progress=False, **settings)
        weights = [value for row in run.history for key, value in row.items() if key.startswith("weight/")]
        assert weights
        assert all(0 < weight < 1e6 for weight in weights)
        assert name != "poisson1d" or "optimizer" not in settings or problem.relative_error(network) < 0.1 * before


@pytest.mark.parametrize("settings", [pytest.param({"hard": "auto"}, marks=pytest.mark.slow), {"periodic": "x"}], ids=str)
@pytest.mark.parametrize("name", sweep(("allen_cahn", "convection"), "convection"))
def test_a_diagnosis_says_nothing_of_what_is_met(name, settings):
    """Kernels of periodic conditions are rounding, which a diagnosis must not divide by."""
    problem = pinntk.load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = MLP(problem, **settings, **SMALL)
        run = pinntk.train(problem, network, steps=20, points={"residual": 40}, weighting="ntk", progress=False)
        x = pinntk.examine(run)
        found = pinntk.diagnose(x)
    assert {finding.code for finding in found}.isdisjoint({"wrong-problem", "conflict", "imbalance"})
    for finding in found:
        assert "wrap" not in finding.sentence
    for wrap in (found for found in problem.names if found.startswith("wrap")):
        assert x.estimate.gain[wrap] == x.estimate.parts[wrap] == 0
    assert all(value == value for value in x.estimate.parts.values())
    assert all(undetermined.share <= 1 for undetermined in x.undetermined.values())


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"lr": 1e-2, "weighting": "ntk"}, marks=pytest.mark.slow),
        pytest.param({"lr": 1e-2, "causal": pinntk.weighting.Causal(1.0, slices=3)}, marks=pytest.mark.slow),
        pytest.param({"lr": 1e-2, "weighting": pinntk.weighting.SelfAdaptive()}, marks=pytest.mark.slow),
        {"optimizer": "gauss-newton"},
    ],
    ids=str,
)
def test_what_is_met_is_reported_and_not_trained(monkeypatch, settings):
    """The same training, but for rounding, as one whose steps know the conditions that are met: not under natural-gradient,
    whose damping is a share of the mean diagonal of K, and that is without zeros now.
    """
    problem = pinntk.load("wave1d", beta=2.0)
    seen = []
    plain = training._updates.SOLVERS["gauss-newton"].step

    def watched(self, points, point_weights=None):
        seen.append(tuple(points))
        return plain(self, points, point_weights)

    def trained():
        counts = {"residual": 30, "initial": 6, "boundary": 6}
        return pinntk.train(problem, MLP(problem, hard="auto", **SMALL), steps=6, points=counts, progress=False, **settings)

    monkeypatch.setattr(training._updates.SOLVERS["gauss-newton"], "step", watched)
    run = trained()
    assert set(seen) <= {("wave",)}
    assert list(run.points) == list(problem.names)
    row = run.history[-1]
    assert all(row[f"loss/{name}"] < 1e-24 < row["loss/wave"] for name in run.network.hard)
    assert [key for key in row if key.startswith("loss/")] == [f"loss/{name}" for name in problem.names]
    monkeypatch.setattr(training._loop, "met_by", lambda network: ())
    monkeypatch.setattr(training._loop, "LossWeights", lambda *given: LossWeights(*given[:2], run.network.hard))
    other = trained()
    assert "optimizer" not in settings or settings["optimizer"] != "gauss-newton" or problem.names in seen
    for p, q in zip(run.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-6, atol=1e-9)


def test_a_problem_of_which_all_is_met_trains_in_peace():
    domain = pinntk.Box(x=(0, 1))

    @pinntk.boundary(domain.ends("x"))
    def ends(u, x):
        return u - x

    problem = pinntk.Problem(domain, [ends])
    run = pinntk.train(problem, MLP(problem, hard="auto", **SMALL), steps=2, progress=False)
    assert run.history[-1]["loss/ends"] < 1e-28


def test_a_network_that_goes_forward_in_its_own_way_claims_nothing():
    class Shifted(MLP):
        def forward(self, x):
            return super().forward(x) + self.dense.weights[0].sum()

    class Named(MLP):
        """Nothing else."""

    problem = pinntk.load("poisson1d", k=1)
    assert met_by(Shifted(problem, hard="auto", **SMALL)) == ()
    assert met_by(Named(problem, hard="auto", **SMALL)) == ("ends",)
    network = Shifted(problem, hard="auto", **SMALL)
    run = pinntk.train(problem, network, steps=30, lr=1e-2, weighting=pinntk.weighting.Fixed(ends=1e4), progress=False)
    _, losses = run.column("loss/ends")
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.slow
def test_the_command_line(capsys, tmp_path):
    common = ["--width", "6", "--depth", "1", "--quiet", "--points", "residual=8,boundary=4,initial=4"]
    folder = tmp_path / "run"
    assert main(["train", "burgers", "--hard", "auto", "--steps", "3", "-o", str(folder), *common]) == 0
    assert json.loads((folder / "config.json").read_text())["network"]["arguments"]["hard"] == ["start", "walls"]
    assert pinntk.Run.load(folder).network.hard == ("start", "walls")
    assert main(["train", "--resume", str(folder), "--steps", "4"]) == 0
    solved = tmp_path / "solved"
    assert main(["solve", "wave1d", "--hard", "walls, start", "--steps", "2", "-o", str(solved), *common]) == 0
    assert pinntk.Run.load(solved).network.hard == ("start", "walls")
    assert main(["train", "burgers", "--hard", "walls,", "--steps", "1", "-o", str(tmp_path / "comma"), *common]) == 0
    assert pinntk.Run.load(tmp_path / "comma").network.hard == ("walls",)
    capsys.readouterr()
    assert main(["train", "burgers", "--hard", ",", "-o", str(tmp_path / "no"), *common]) == 2
    assert "--hard ',': names of conditions, as in --hard start,walls, or auto" in capsys.readouterr().err
    assert main(["train", "burgers", "--hard", "wals", "-o", str(tmp_path / "no"), *common]) == 2
    assert "burgers has no condition 'wals'" in capsys.readouterr().err
    assert main(["train", "burgers", "--hard", "auto", "--network", "mscale-dnn", "-o", str(tmp_path / "no"), *common]) == 2
    assert "--hard does not apply to --network mscale-dnn" in capsys.readouterr().err
