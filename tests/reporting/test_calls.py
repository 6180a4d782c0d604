"""What to type in Python where no command makes a prescribed change: it does make it."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import pinntk
from pinntk.cli import main
from pinntk.diagnostics import Finding, Prescription
from pinntk.diagnostics._prescriptions import by_ntk, gauss_newton
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_report
from pinntk.reporting._calls import call_of
from pinntk.training._changes import call_text

CAUSAL = {"training.causal": {"epsilon": 1.0, "slices": 16, "threshold": 0.99}, **by_ntk(None)}


def loop(folder=None, network=None, optimizer=None, lr=2e-3):
    """A recorded training of a network of one's own, with a problem in Python."""
    problem = pinntk.Problem(pinntk.Box(x=(0, 1)), pinntk.load("poisson1d").conditions, name="mine")
    torch.manual_seed(0)
    network = network or nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
    points = problem.sample(residual=8, boundary=2, seed=0)
    recorder = pinntk.Recorder(problem, network, points, folder, optimizer=optimizer or "adam")
    for step in range(0, 30, 10):
        recorder.log(step, lr=lr)
    recorder.close()
    return recorder.run


def typed(lines, problem, network):
    """The functions that lines call, and their settings; the network after them."""
    calls = []

    def called(name):
        return lambda *given, **settings: calls.append((name, given, settings))

    names = {"train": called("train"), "train_slabs": called("train_slabs"), "rescue": called("rescue")}
    names |= {"weighting": pinntk.weighting, "nn": pinntk.nn, "RAD": pinntk.RAD}
    space = {"pinntk": SimpleNamespace(**names), "torch": torch, "problem": problem, "network": network}
    exec(lines, space | {"points": "the points", "run": "the run"}, space)
    return calls, space["network"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (by_ntk(None), {"lr": 2e-3, "points": "the points", "steps": 20}),
        ({"training.lr": 1e-4}, {"lr": 1e-4, "points": "the points", "steps": 20}),
        ({"training.points": {"poisson": 70, "ends": 2}, "training.sampling": "sobol"}, {"sampling": "sobol", "steps": 20}),
        ({"training.optimizer": "gauss-newton", "training.steps": 100, "training.resample": 1}, {"steps": 100, "resample": 1}),
        ({"network.dtype": "float64"}, {"dtype": torch.float64, "points": "the points"}),
        ({"training.coefficient_scales": {"A": 1e8}}, {"coefficient_scales": {"A": 1e8}}),
        ({"training.schedule": "constant", "training.causal": None}, {"schedule": "constant"}),
    ],
)
def test_a_recorded_training_is_trained_as_it_was_but_for_the_change(changes, expected):
    run = loop()
    ((name, given, settings),), _ = typed(call_of(pinntk.examine(run), changes, 1), run.problem, run.network)
    assert name == "train" and given == (run.problem, run.network)
    assert {key: settings[key] for key in expected} == expected
    assert ("lr" in settings) is ("training.optimizer" not in changes)
    assert "optimizer" not in settings or settings["optimizer"] == "gauss-newton"
    pinntk.TrainConfig(**{key: value for key, value in settings.items() if key not in ("dtype", "points")})


@pytest.mark.parametrize("kind", [pinntk.nn.MLP, pinntk.nn.PirateNet, pinntk.nn.SeparableMLP])
def test_a_network_is_made_again_as_what_it_is(kind):
    problem = pinntk.load("poisson1d")
    network, points = kind(problem, width=4, depth=1), problem.sample(residual=4, boundary=2)
    x = pinntk.examine(network, problem, points)
    _, made = typed(call_of(x, {"network.arguments.width": 6}, 1), problem, network)
    assert type(made) is kind and made.config == {**network.config, "width": 6}


def test_objects_are_those_that_are_prescribed():
    run = loop()
    ((_, _, settings),), _ = typed(call_of(pinntk.examine(run), CAUSAL, 1), run.problem, run.network)
    assert settings["causal"].describe() == CAUSAL["training.causal"]
    assert settings["weighting"].describe() == pinntk.weighting.NTK(every=100).describe()
    slabs = {**gauss_newton(run), "slabs.edges": 8}
    ((name, _, settings),), _ = typed(call_of(pinntk.examine(run), slabs, 1), run.problem, run.network)
    assert name == "train_slabs" and settings["slabs"] == 8 and settings["points"] == "the points"


def test_a_rescue_that_cannot_train_again_says_the_same_or_the_bare_changes():
    ((name, _, settings),), _ = typed(call_text(CAUSAL), None, None)
    assert name == "train" and settings["points"] == "the points"
    assert settings["causal"].describe() == CAUSAL["training.causal"]
    assert call_text({"training.steps": 5, "slabs.edges": 8}) == "training.steps = 5, slabs.edges = 8"
    assert call_text({"weighting.every": 5}) == "weighting.every = 5"


def test_other_weights_and_optimizers_stay():
    run = loop(optimizer="lbfgs", lr=1.0)
    run.weights = {"poisson": 2.0, "ends": 1.0}
    x = pinntk.examine(run)
    ((_, _, settings),), _ = typed(call_of(x, {"training.lr": 0.5}, 1), run.problem, run.network)
    assert settings["optimizer"] == "lbfgs" and settings["lr"] == 0.5
    assert settings["weighting"].describe() == pinntk.weighting.Fixed(poisson=2.0, ends=1.0).describe()


def test_names_that_are_no_identifiers():
    text = call_of(pinntk.examine(loop()), {"weighting": {"name": "fixed", "pde[0]": 0.0}}, 1)
    assert 'pinntk.weighting.Fixed(**{"pde[0]": 0.0})' in text


def test_a_network_of_pinntk_in_a_loop_of_ones_own_is_built_again():
    problem = pinntk.load("poisson1d")
    run = loop(network=pinntk.nn.MLP(problem, width=7, depth=2, activation="relu"))
    changes = {"network.arguments.activation": "tanh", "training.lr": 0.01}
    calls, network = typed(call_of(pinntk.examine(run), changes, 1), run.problem, run.network)
    assert network.config == {**run.network.config, "activation": "tanh"} and calls[0][1][1] is network


def test_a_network_without_a_run_and_a_run_without_a_folder():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    points = problem.sample(residual=5, boundary=2)
    ((name, _, settings),), _ = typed(call_of(pinntk.examine(network, problem, points), by_ntk(None), 1), problem, network)
    assert name == "train" and set(settings) == {"points", "weighting"}
    run = pinntk.train(problem, network, steps=2, points=points, progress=False)
    ((name, given, settings),), _ = typed(call_of(pinntk.examine(run), by_ntk(None), 3), problem, network)
    assert (name, given, settings) == ("rescue", ("the run",), {"prescription": 3})


def test_weights_of_a_loop_name_the_two_lines():
    text = call_of(pinntk.examine(loop()), by_ntk(None), 1)
    assert "# or in a loop of your own: ntk = pinntk.NTKWeights(model, every=100)" in text
    assert "NTKWeights" not in call_of(pinntk.examine(loop()), CAUSAL, 1)


def test_text_json_and_html_have_the_call(tmp_path):
    x = pinntk.examine(loop())
    long = Prescription("train otherwise", gauss_newton(x.run))
    finding = Finding(code="any", severity="critical", sentence="Any.", prescriptions=(long, Prescription("see to it")))
    found = json.loads(json.dumps(verdict.diagnosis(x, [finding])))
    first, second = found["findings"][0]["prescriptions"]
    assert first["command"] is None and first["call"] == call_of(x, long.changes, 1) and "call" not in second
    text = verdict.text(found)
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"    {line}" in text for line in first["call"].splitlines())
    page = write_report(tmp_path / "report.html", x, [finding]).read_text()
    assert page.count("optimizer=&#34;gauss-newton&#34;") == 2 and "training.optimizer" not in page  # verdict and finding


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (["diagnose"], "write_report"),
        (["rescue"], "pinntk.rescue(run)"),
        (["plot"], "plot.save(run)"),
        (["kernel", "--run"], "pinntk.kernel(run.network"),
    ],
)
def test_commands_say_how_a_recorded_folder_is_loaded(command, after, tmp_path, capsys):
    loop(tmp_path / "run")
    assert main([*command, str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "unknown" not in said and "was built in Python" in said
    assert f"pinntk.Run.load({str(tmp_path / 'run')!r}, network, problem=problem), then" in said and after in said
    with pytest.raises(ValueError, match=r"give it: problem=problem, as in Run.load\(folder, network, problem=problem\)"):
        pinntk.Run.load(tmp_path / "run")


def test_a_problem_in_python_with_the_name_of_a_built_in_one_is_not_taken_for_it(tmp_path, capsys):
    problem = pinntk.Problem(pinntk.Box(x=(0, 1)), pinntk.load("poisson1d").conditions, name="poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    with pinntk.Recorder(problem, network, problem.sample(residual=5, boundary=2), tmp_path) as recorder:
        recorder.log(0)
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "was built in Python" in capsys.readouterr().err
