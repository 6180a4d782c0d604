"""config.json says enough to train the same again, and takes changes in places that it has."""

import json

import pytest
import torch

import pinntk
from pinntk.run._network import describe_network
from pinntk.training import apply_changes
from pinntk.weighting import NTK, Causal, Fixed, GradientNorm

pytestmark = pytest.mark.xdist_group("configuration")  # one worker, for what they share

SMALL = {"points": {"boundary": 5, "residual": 12}, "steps": 3, "snapshot_every": 0, "progress": False}
NETWORK = {"width": 6, "depth": 2}
DOUBLE = {**NETWORK, "dtype": torch.float64}


def train(name="poisson1d", network=NETWORK, **settings):
    problem = pinntk.load(name)
    return pinntk.train(problem, pinntk.nn.MLP(problem, **network), **{**SMALL, **settings})


def same(a, b):
    pairs = zip(a.network.parameters(), b.network.parameters(), strict=True)
    return all(p.dtype == q.dtype and torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param(
            {"weighting": NTK(every=2, momentum=0.5, groups=[("poisson", "ends")]), "lr": 1e-2, "seed": 4},
            marks=pytest.mark.slow,
        ),
        {"weighting": Fixed(ends=7), "schedule": "exponential", "decay": 0.5, "decay_every": 2, "network": DOUBLE},
        pytest.param(
            {"optimizer": "sgd", "lr": 1e-5, "optimizer_options": {"momentum": 0.9}, "sampling": "uniform"},
            marks=pytest.mark.slow,
        ),
        {"resample": 2, "adaptive": pinntk.RAD(power=2), "weighting": GradientNorm(every=1)},
        {"optimizer": "gauss-newton", "optimizer_options": {"target": 0.2}, "grow": 2.0, "network": DOUBLE},
        pytest.param(
            {"optimizer": "lbfgs", "monitor": pinntk.Monitor(every=2), "log_every": 2, "seconds": 60.0}, marks=pytest.mark.slow
        ),
        {
            "name": "convection",
            "points": {"residual": 32, "initial": 4, "periodic": 4},
            "causal": Causal((0.1, 1.0), slices=4),
            "network": {**NETWORK, "periodic": {"x": 2}, "fourier": (4, 0.5), "activation": "sin", "seed": 3},
        },
    ],
)
def test_a_configuration_trains_the_same_again(settings):
    run = train(**settings)
    config = json.loads(json.dumps(run.config))
    again = pinntk.train_as(config, progress=False)
    assert same(run, again)
    assert json.loads(json.dumps(again.config)) == config
    other = pinntk.train_as(config, progress=False, seed=config["training"]["seed"] + 1)
    assert not same(run, other)


def test_what_a_text_cannot_hold_is_named_and_can_be_given():
    problem = pinntk.load("poisson1d")
    points = problem.sample(boundary=2, residual=8)
    torch.manual_seed(0)
    own = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def adam(parameters):
        return torch.optim.Adam(parameters)

    run = pinntk.train(problem, own, steps=2, points=points, optimizer=adam, progress=False)
    config = json.loads(json.dumps(run.config, default=str))
    given = {}
    for name, value, message in (
        ("network", own, "network is torch.nn.modules.container.Sequential, which pinntk cannot build"),
        ("points", points, "points given as tensors; give them"),
        ("optimizer", "adam", "optimizer was a function, tests.training.test_configuration"),
    ):
        with pytest.raises(ValueError, match=message):
            pinntk.train_as(config, **given)
        given[name] = value
    assert pinntk.train_as(config, progress=False, **given).step == 2

    class Subclass(pinntk.nn.MLP):
        pass

    config["network"] = describe_network(Subclass(problem))
    assert config["network"]["arguments"] is None
    with pytest.raises(ValueError, match="Subclass, which pinntk cannot build"):
        pinntk.train_as(config)


def test_a_problem_without_a_file_is_given():
    loaded = pinntk.load("poisson1d")
    problem = pinntk.Problem(loaded.domain, loaded.conditions, name="mine")
    run = pinntk.train(problem, pinntk.nn.MLP(problem, **NETWORK), **SMALL)
    with pytest.raises(
        ValueError, match=r"problem 'mine' was built in Python, in no file; give it: train_as\(config, problem=...\)"
    ):
        pinntk.train_as(run.config)
    assert same(run, pinntk.train_as(run.config, problem=problem, progress=False))


@pytest.fixture(scope="module")
def config():
    return json.loads(json.dumps(train(weighting=Fixed(ends=2)).config))


def test_changes_reach_the_training_and_leave_the_original_alone(config):
    before = json.dumps(config)
    new = apply_changes(
        config,
        {
            "weighting.every": 2,  # named before the section that it is in
            "weighting": {"name": "ntk", "every": 100},
            "training.lr": 0.01,
            "training.points.poisson": 20,
            "training.optimizer_options.amsgrad": True,
            "training.adaptive": True,
            "training.resample": 1,
            "network.arguments.fourier": [4, 2.0],
            "network.dtype": "float64",
        },
    )
    assert json.dumps(config) == before
    run = pinntk.train_as(new, progress=False)
    assert run.config["weighting"]["every"] == 2
    assert run.network.config["fourier"] == [4, 2.0]
    assert next(run.network.parameters()).dtype == torch.float64
    assert len(run.points["poisson"]) == 20 and len(run.points["ends"]) == 5
    assert run.history[0]["learning_rate"] == 0.01
    assert apply_changes(config, {"weighting": "ntk"})["weighting"] == {"name": "ntk"}
    assert apply_changes(config, {"weighting.poisson": 3.0})["weighting"] == {"name": "fixed", "ends": 2.0, "poisson": 3.0}


def test_another_optimizer_has_its_own_defaults(config):
    config = apply_changes(config, {"training.lr": 1e-3, "training.optimizer_options": {"amsgrad": True}})
    solver = apply_changes(config, {"training.optimizer": "gauss-newton", "network.dtype": "float64"})
    run = pinntk.train_as(solver, progress=False)
    assert (run.config["training"]["lr"], run.config["training"]["resample"]) == (None, 1)
    back = pinntk.train_as(apply_changes(run.config, {"training.optimizer": "adam", "training.lr": 0.5}), progress=False)
    assert (back.history[0]["learning_rate"], back.config["training"]["resample"]) == (0.5, 0)
    assert apply_changes(config, {"training.optimizer": "adam"})["training"] == config["training"]
    assert apply_changes(config, {"training.optimizer": "lbfgs"})["training"]["schedule"] is None


@pytest.mark.parametrize(
    ("place", "nearest"),
    [
        ("training.learning_rate", "training"),
        ("training.lrr", "training.lr"),
        ("network.arguments.widht", "network.arguments.width"),
        ("network.width", "network.arguments.width"),
        ("training.points.poison", "training.points.poisson"),
        ("training.points.residual", "training.points"),
        ("weighing", "weighting"),
        ("problem.parameters.k", "n"),
    ],
)
def test_a_place_that_is_none_is_refused_with_the_nearest(config, place, nearest):
    with pytest.raises(ValueError, match=rf"change '{place}': a configuration has no such key; the nearest is '.*{nearest}"):
        apply_changes(config, {place: 1})


def test_places_that_depend_on_the_run(config):
    given = apply_changes(config, {"training.points": "given"})
    with pytest.raises(ValueError, match=r"points were given as tensors; change 'training\.points' as a whole"):
        apply_changes(given, {"training.points.poisson": 30})
    assert apply_changes(given, {"training.points": {"poisson": 30}})["training"]["points"] == {"poisson": 30}
    own = {**config, "network": {**config["network"], "class": "mine.Net", "arguments": None}}
    with pytest.raises(ValueError, match=r"network is mine\.Net, whose arguments pinntk does not know"):
        apply_changes(own, {"network.arguments.width": 30})
    with pytest.raises(ValueError, match=r"weighting 'ntk' with \{'evry': 3\}"):
        pinntk.train_as(apply_changes(config, {"weighting": {"name": "ntk", "evry": 3}}))
