"""`TrainConfig`: one place for every setting, read by `train`, the command line and config.json."""

import copy
import dataclasses
import inspect
import json
import pickle

import numpy as np
import pytest
import torch

import pinntk
from pinntk import RAD, Monitor, TrainConfig
from pinntk.cli import main
from pinntk.cli._meaning import NETWORK_OPTIONS
from pinntk.training._config import SETTINGS
from pinntk.training._given import Settings
from pinntk.weighting import NTK, Causal, Fixed, SelfAdaptive

SMALL = {"points": {"boundary": 5, "residual": 12}, "steps": 3, "snapshot_every": 0}


class Half:
    """Of a weighting no more than this."""

    def update(self, weights, measured, counts):
        return weights


def start(**network):
    problem = pinntk.load("poisson1d")
    return problem, pinntk.nn.MLP(problem, **{"width": 6, "depth": 1, **network})


def parameters(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def test_a_configuration_and_its_settings_train_the_same():
    by_settings = pinntk.train(*start(), **SMALL, weighting="ntk", progress=False)
    config = TrainConfig(**SMALL, weighting=NTK())
    by_config = pinntk.train(*start(), config, progress=False)
    assert torch.equal(parameters(by_settings), parameters(by_config))
    assert json.dumps(by_settings.config) == json.dumps(by_config.config)
    beside = pinntk.train(*start(), config, progress=False, steps=5)
    assert (beside.step, config.steps) == (5, 3)


def test_type_checkers_know_what_may_be_given():
    """And people: `TrainConfig?` in a notebook lists the settings by name."""
    assert list(Settings.__annotations__) == list(SETTINGS) == list(inspect.signature(TrainConfig).parameters)


def test_numbers_of_numpy_are_numbers():
    assert TrainConfig(points={"residual": np.int64(7)}, seed=np.int64(3)) == TrainConfig(points={"residual": 7}, seed=3)
    assert TrainConfig(causal=(0.1, 1.0)).causal == Causal((0.1, 1.0))


def test_defaults_follow_from_what_is_given():
    plain = TrainConfig(steps=2000)
    assert (plain.log_every, plain.eval_every, plain.checkpoint_every, plain.snapshot_every) == (5, 20, 100, 200)
    assert (plain.schedule, plain.sampling, plain.resample, plain.grow, plain.rad) == ("cosine", "sobol", 0, 1.0, None)
    assert isinstance(plain.weighting, Fixed) and not plain.solver
    solver = TrainConfig(optimizer="Gauss-Newton")
    assert (solver.schedule, solver.sampling, solver.resample, solver.grow) == (None, "sobol", 1, 8.0)
    assert solver.solver and solver.rad == RAD() and solver.weighting.every == 25
    fixed = TrainConfig(optimizer="gauss-newton", points={"poisson": torch.zeros(3, 1)})
    assert fixed.fixed_points and (fixed.resample, fixed.grow) == (0, 1.0)
    given = TrainConfig(causal=0.5, monitor=True, adaptive=True, resample=10, log_every=0)
    assert isinstance(given.causal, Causal) and given.monitor == Monitor() and given.adaptive == RAD() and given.log_every == 0


def test_it_is_frozen_and_replaced():
    config = TrainConfig(lr=0.1, optimizer_options={"amsgrad": True})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lr = 1.0
    assert config.replace(steps=5).lr == 0.1
    assert config.replace(steps=2000) == TrainConfig(steps=2000, lr=0.1, optimizer_options={"amsgrad": True})
    assert TrainConfig(log_every=7).replace(steps=20).log_every == 7
    assert TrainConfig(weighting="ntk") == TrainConfig(weighting=NTK()) != TrainConfig(weighting=NTK(every=50))
    other = config.replace(optimizer="lbfgs")
    assert (other.lr, other.optimizer_options, other.schedule) == (None, {}, "constant")
    assert config.replace(optimizer="lbfgs", lr=0.5).lr == 0.5
    solver = config.replace(optimizer="gauss-newton")
    assert (solver.resample, solver.sampling, solver.grow) == (1, "sobol", 8.0)
    assert solver.replace(optimizer="adam").resample == 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"stepz": 5}, TypeError, r"no setting 'stepz'; did you mean 'steps'\?"),
        ({"step": 5}, TypeError, r"train has no setting 'step'; did you mean 'steps'\?"),
        ({"learning_rate": 5}, TypeError, r"no setting 'learning_rate'; did you mean 'lr'\?"),
        ({"epochs": 5}, TypeError, r"did you mean 'steps'\?"),
        ({"optimizer": "gauss_newton"}, ValueError, r"did you mean 'gauss-newton'\?"),
        ({"optimizer": "natural-gradient", "optimizer_options": {"traget": 1}}, ValueError, "with {'traget': 1}"),
        ({"optimizer": "gauss-newton", "lr": 0.0}, ValueError, "lr=0.0 does not apply"),
        ({"points": {"residual": 100.0}}, TypeError, r"points\['residual'\]=100.0: a whole number, or a tensor"),
        ({"weighting": Half()}, TypeError, "has no 'every': subclass pinntk.weighting.Weighting"),
        ({"steps": 0}, ValueError, "steps=0: a whole number of at least 1"),
        ({"optimizer": "adamm"}, ValueError, r"optimizer 'adamm' is unknown; did you mean 'adam'\?"),
        ({"optimizer": torch.optim.Adam([torch.zeros(1, requires_grad=True)])}, TypeError, "is an optimizer already"),
        ({"schedule": "cosinus"}, ValueError, "schedule 'cosinus' is unknown"),
        ({"optimizer": "gauss-newton", "lr": 0.1}, ValueError, "lr=0.1 does not apply"),
        ({"adaptive": True}, ValueError, "adaptive points need resample"),
        ({"adaptive": 3, "resample": 1}, TypeError, "adaptive=3"),
        ({"weighting": object()}, TypeError, "weighting=<object"),
        ({"weighting": NTK}, TypeError, "give an object"),
        ({"weighting": Causal()}, TypeError, "causal weights go beside a weighting"),
        ({"weighting": SelfAdaptive(), "causal": 1.0}, ValueError, "self-adaptive weights and causal ones"),
        ({"points": 100}, TypeError, "points=int: give counts"),
        ({"optimizer": None}, TypeError, "optimizer=None: a name"),
        ({"decay": "a"}, TypeError, "decay='a': a number"),
        ({"lr": float("nan")}, ValueError, "lr=nan: a finite number"),
        ({"steps": True}, ValueError, "steps=True"),
        ({"decay_every": 0}, ValueError, "decay_every=0: a whole number"),
        ({"lr": "0.1"}, TypeError, "lr='0.1': a number"),
        ({"compile": "yes"}, TypeError, "compile='yes': True or False"),
        ({"seed": 0.5}, TypeError, "seed=0.5"),
        ({"seconds": -1}, ValueError, "seconds=-1"),
    ],
)
def test_what_cannot_be_is_named(settings, error, message):
    with pytest.raises(error, match=message):
        pinntk.train(*start(), **settings, progress=False)


def test_a_configuration_cannot_be_changed_and_can_be_copied():
    config = TrainConfig(points={"residual": 9}, optimizer_options={"amsgrad": True}, weighting="self-adaptive", lr=0.5)
    for mapping in (config.points, config.optimizer_options):
        for change in (lambda m: m.update(a=1), lambda m: m.__setitem__("a", 1), lambda m: m.pop("a", 0), lambda m: m.clear()):
            with pytest.raises(TypeError, match="does not change"):
                change(mapping)
    given = {"residual": 9}
    held = TrainConfig(points=given)
    given["residual"] = -5
    assert held.points == {"residual": 9}
    described = config.describe(start()[0])
    described["training"]["optimizer_options"]["eps"] = 7
    assert config.optimizer_options == {"amsgrad": True}
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.replace()):
        assert copied == config and copied.replace(lr=0.1) != config
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)
    points = {"poisson": torch.zeros(3, 1), "ends": torch.ones(2, 1)}
    assert TrainConfig(points=points) == TrainConfig(points={name: rows.clone() for name, rows in points.items()})
    assert TrainConfig(points=points) != TrainConfig(points={**points, "ends": torch.zeros(2, 1)})
    assert "NTK(every=100" in repr(TrainConfig(weighting="ntk")) and "Causal(epsilon=1.0" in repr(TrainConfig(causal=1))


def test_what_follows_from_other_settings_follows_again():
    assert TrainConfig().replace(optimizer="gauss-newton") == TrainConfig(optimizer="gauss-newton")
    assert TrainConfig(optimizer="gauss-newton").replace(optimizer="adam") == TrainConfig()
    points = {"poisson": torch.zeros(3, 1)}
    solver = TrainConfig(optimizer="gauss-newton")
    assert solver.replace(points=points) == TrainConfig(optimizer="gauss-newton", points=points)
    assert solver.replace(resample=0).grow == 1.0
    assert TrainConfig(log_every=25).replace(steps=100_000).log_every == 25


def test_none_leaves_what_a_configuration_says():
    problem, network = start()
    run = pinntk.train(problem, network, **SMALL, weighting="ntk", schedule="exponential", lr=0.1, progress=False)
    again = TrainConfig.from_json(run.config, points=None, weighting=None)
    assert again.points == {"poisson": 12, "ends": 5} and again.weighting == NTK()
    other = TrainConfig.from_json(run.config, optimizer="lbfgs")
    assert (other.lr, other.schedule, other.points) == (None, "constant", again.points)
    assert TrainConfig.from_json(run.config, optimizer="gauss-newton").resample == 1
    assert TrainConfig.from_json(run.config, optimizer="Adam").lr == 0.1
    assert next(pinntk.train_as(run.config, dtype=torch.float64, progress=False).network.parameters()).dtype == torch.float64


def test_classes_and_factories_of_optimizers(tmp_path):
    run = pinntk.train(*start(), **SMALL, optimizer=torch.optim.Adam, lr=0.3, schedule="constant", progress=False)
    assert (run.config["training"]["optimizer"], run.history[0]["learning_rate"]) == ("adam", 0.3)

    class Mine(torch.optim.SGD):
        pass

    own = pinntk.train(*start(), **SMALL, optimizer=Mine, lr=1e-6, schedule="constant", progress=False)
    assert own.history[0]["learning_rate"] == 1e-6

    def factory(parameters):
        return torch.optim.SGD(parameters, lr=1e-6)

    with pytest.raises(ValueError, match=r"lr=0\.3 does not apply to a factory: use it in there"):
        pinntk.train(*start(), **SMALL, optimizer=factory, lr=0.3, progress=False)
    pinntk.train(*start(), **SMALL, optimizer=factory, out=tmp_path, progress=False)

    def again():
        return lambda parameters: torch.optim.SGD(parameters, lr=1e-6)

    lambdas = {**SMALL, "out": tmp_path / "lambda", "progress": False}
    pinntk.train(*start(), **lambdas, optimizer=again())
    assert pinntk.train(*start(), **{**lambdas, "steps": 5}, optimizer=again(), resume=True).step == 5


def test_every_training_warns_of_a_kernel_that_is_zero():
    problem = pinntk.load("poisson1d")
    config = TrainConfig(steps=1, weighting="ntk", snapshot_every=0)
    for _ in range(2):
        network = pinntk.nn.HardConstraint(problem, pinntk.nn.MLP(problem, width=4, depth=1), factor=lambda x: x * (1 - x))
        with pytest.warns(UserWarning, match="its kernel is zero"):
            pinntk.train(problem, network, config, progress=False)


def test_something_else_in_its_place():
    run = pinntk.train(*start(), **SMALL, progress=False)
    with pytest.raises(TypeError, match=r"config=dict: a pinntk.TrainConfig; of a config.json, train_as"):
        pinntk.train(*start(), run.config)


def test_every_setting_is_in_config_json_and_comes_back():
    problem, _ = start()
    config = TrainConfig(**SMALL, weighting=NTK(every=7), causal=None, resample=2, adaptive=RAD(power=2.0), monitor=True)
    described = json.loads(json.dumps(config.describe(problem)))
    assert set(described["training"]) == set(SETTINGS) - {"weighting"}
    again = TrainConfig.from_json(described)
    assert json.loads(json.dumps(again.describe(problem))) == described
    assert (again.adaptive, again.monitor, again.weighting.every) == (RAD(power=2.0), Monitor(), 7)


def test_a_setting_with_a_help_text_is_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for name, setting in SETTINGS.items():
        assert f"--{name.replace('_', '-')}" in text or not setting.metadata["help"]


def test_the_class_explains_every_setting():
    for name in SETTINGS:
        assert name in TrainConfig.__doc__


def test_the_command_line_trains_by_a_file(tmp_path, capsys):
    few = ["--points", "boundary=5,residual=12", "--steps", "6", "--width", "6", "--depth", "1", "--seed", "3"]
    first = tmp_path / "first"
    assert main(["train", "poisson1d", *few, "--set", "k=2", "--weighting", "ntk", "--quiet", "-o", str(first)]) == 0
    file = str(first / "config.json")
    assert main(["train", "--config", str(first), "--quiet", "-o", str(tmp_path / "again")]) == 0
    before, again = (pinntk.Run.load(tmp_path / name) for name in ("first", "again"))
    assert torch.equal(parameters(before), parameters(again)) and before.config == again.config
    assert (
        main(["train", "--config", file, "--steps", "4", "--weighting", "fixed", "--quiet", "-o", str(tmp_path / "new")]) == 0
    )
    new = pinntk.Run.load(tmp_path / "new")
    assert (new.step, new.config["weighting"], new.problem.parameters["k"]) == (4, {"name": "fixed"}, 2)
    assert new.config["training"]["seed"] == 3
    assert main(["train", "--config", file, "--seed", "5", "--every", "2", "--quiet", "-o", str(tmp_path / "seed")]) == 0
    seeded = pinntk.Run.load(tmp_path / "seed")
    assert (seeded.config["training"]["seed"], seeded.network.config["seed"]) == (5, 5)
    assert seeded.config["weighting"] == {**before.config["weighting"], "every": 2}
    solver = ["--optimizer", "gauss-newton", "--steps", "2", "--quiet", "-o", str(tmp_path / "solver")]
    assert main(["train", "--config", file, *solver]) == 0
    assert main(["train", "--config", file, "--set", "k=9", "-o", str(tmp_path / "k")]) == 2
    assert "leave --set out" in capsys.readouterr().err


def test_parts_of_a_file(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"training": {"steps": 3, "points": {"residual": 9}, "lr": 0.01}, "weighting": "ntk"}))
    out = tmp_path / "run"
    assert main(["train", "poisson1d", "--config", str(file), "--width", "5", "--depth", "1", "--quiet", "-o", str(out)]) == 0
    run = pinntk.Run.load(out)
    assert (run.step, run.network.config["width"], run.config["training"]["lr"]) == (3, 5, 0.01)
    assert run.config["weighting"]["name"] == "ntk" and len(run.points["poisson"]) == 9


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, (), "no such file; give the config.json of a run"),
        ("{", (), "not JSON"),
        ("{}", (), "needs sections of a run's config.json"),
        ('{"training": {"stpes": 3}}', ("poisson1d",), "no setting 'stpes'; did you mean 'steps'?"),
        ('{"training": {"steps": 3}}', (), "name a problem"),
        ('{"problem": {"source": "poisson1d"}}', ("burgers",), "names the problem; leave 'burgers' out"),
        ('{"weighting": {"name": "ntk", "evry": 3}}', ("poisson1d",), "weighting 'ntk' with {'evry': 3}"),
        ('{"network": {"width": 3}}', ("poisson1d",), "section 'network' needs 'class'"),
        ('{"problem": {"name": "poisson1d"}}', (), "section 'problem' needs 'source'"),
        ('{"training": {"monitor": {"evry": 3}}}', ("poisson1d",), "monitor with {'evry': 3}"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, capsys, text, options, message):
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    assert main(["train", *options, "--config", str(file), "-o", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--width", "--depth"])
def test_options_of_the_network_beside_one_in_the_file(tmp_path, capsys, option):
    run = pinntk.train(*start(), **SMALL, progress=False, out=tmp_path / "run")
    assert option[2:] in NETWORK_OPTIONS
    file = str(run.folder / "config.json")
    assert main(["train", "--config", file, option, "7", "-o", str(tmp_path / "new")]) == 2
    assert f"leave {option} out" in capsys.readouterr().err
