"""Chains of optimizers, one after the other on the same network."""

from itertools import pairwise

import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.solvers._chain import Chain, Part, names_of, read_chain
from pinntk.training import TrainConfig
from pinntk.training._solver_update import SolverUpdate
from pinntk.weighting import NTK, Fixed
from tests.support.sweeps import sweep

F64 = {"dtype": torch.float64}
POINTS = {"boundary": 5, "residual": 12}
CHAIN = "adam:6:lr=0.01, lbfgs:3:max_iter=4, gauss-newton:4"


def start(**settings):
    problem = pinntk.load("poisson1d")
    return problem, pinntk.nn.MLP(problem, width=6, depth=1, **F64)


def train(optimizer=CHAIN, **settings):
    few = {"points": POINTS, "progress": False, "snapshot_every": 0, "log_every": 1, "eval_every": 0}
    return pinntk.train(*start(), optimizer=optimizer, **{**few, **settings})


def vector(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def rows(run):
    return [repr({key: value for key, value in row.items() if key != "seconds"}) for row in run.history]  # with NaN


# What may be written.


@pytest.mark.parametrize(
    "given",
    [
        "adam:2000:lr=0.01:betas=(0.9, 0.99), lbfgs:500:line_search_fn=strong_wolfe",
        [
            {"optimizer": "Adam", "steps": 2000, "lr": 0.01, "optimizer_options": {"betas": (0.9, 0.99)}},
            "lbfgs:500:line_search_fn='strong_wolfe'",
        ],
        [Part("adam", 2000, {"lr": 0.01, "betas": (0.9, 0.99)}), "LBFGS : 5e2 : line_search_fn = strong_wolfe"],
    ],
)
def test_texts_and_lists_say_the_same(given):
    chain = read_chain(given)
    assert str(chain) == "adam:2000:lr=0.01:betas=(0.9, 0.99), lbfgs:500:line_search_fn=strong_wolfe"
    assert chain.steps == 2500 and read_chain(str(chain)) == chain
    assert names_of(str(chain)) == ("adam", "lbfgs")
    first, second = TrainConfig(optimizer=given).parts
    assert (first.lr, first.optimizer_options, first.steps) == (0.01, {"betas": (0.9, 0.99)}, 2000)
    assert (second.lr, second.schedule, second.optimizer_options) == (None, "constant", {"line_search_fn": "strong_wolfe"})


@pytest.mark.parametrize("value", [1e-3, 7, True, None, "uniform", "a,b", (1, 2), {"a": 1}, "5"])
def test_every_value_is_written_as_it_is_read(value):
    chain = Chain((Part("adam", 5, {"key": value}), Part("lbfgs", 2)))
    assert read_chain(str(chain)) == chain


def test_another_number_of_steps_is_that_of_the_last_part():
    config = TrainConfig(optimizer="adam:20, lbfgs:5")
    assert config.steps == 25 and config.replace(steps=32).optimizer == read_chain("adam:20, lbfgs:12")
    described = config.describe(start()[0])
    assert described["training"]["optimizer"] == "adam:20, lbfgs:5"
    assert TrainConfig.from_json(described) == config
    assert TrainConfig.from_json(described, steps=30).optimizer.parts[-1].steps == 10
    changed = pinntk.training.apply_changes(described, {"training.steps": 26})["training"]
    assert (changed["optimizer"], changed["steps"]) == ("adam:20, lbfgs:6", 26)
    with pytest.raises(ValueError, match=r"each part of 'adam:20, lbfgs:5' has its own; change 'training\.optimizer'"):
        pinntk.training.apply_changes(described, {"training.lr": 0.1})
    single = pinntk.training.apply_changes(described, {"training.optimizer": "adam"})
    assert TrainConfig.from_json(single).steps == 25
    assert config.replace(optimizer="adam").steps == 10_000


@pytest.mark.parametrize(
    ("optimizer", "settings", "message"),
    [
        ("adam, lbfgs:5", {}, "part 'adam' has no steps; write NAME:STEPS"),
        ("adam:x", {}, "has 'x' for its steps"),
        ("adam:5:0.1", {}, "'0.1' is no NAME=VALUE"),
        ("adam:5::lr=0.1", {}, "'' is no NAME=VALUE"),
        ("adam:0, lbfgs:5", {}, "has 0 steps; give it a whole number"),
        ("adam:2.5", {}, r"has 2\.5 steps; give it a whole number"),
        ([], {}, "no part"),
        ([3], {}, "part 3; give a text, a pair"),
        ("adam:5, lbgfs:5", {}, r"part lbgfs:5: optimizer 'lbgfs' is unknown; did you mean 'lbfgs'\?"),
        ("adam:5, lbfgs:5:histroy_size=3", {}, "unexpected keyword argument 'histroy_size'"),
        ("adam:5, gauss-newton:5:traget=3", {}, "traget"),
        ("adam:5, gauss-newton:5:lr=0.1", {}, "part gauss-newton:5:lr=0.1: lr=0.1 does not apply"),
        ("adam:5, gauss-newton:5", {"causal": 1.0}, "part gauss-newton:5: causal weights change with every step"),
        (CHAIN, {"lr": 0.1}, "lr=0.1 beside a chain of optimizers: give it to a part, as in 'adam:2000:lr=0.1'"),
        (CHAIN, {"optimizer_options": {"eps": 1e-3}}, r"give it to a part, as in 'adam:2000:eps=0\.001'"),
        (CHAIN, {"decay": 0.5}, "as in 'adam:2000:decay=0.5'"),
        (CHAIN, {"steps": 50}, "steps=50: the parts of optimizer=.* take 13; leave steps out"),
        ("adam:5, lbfgs:5:sampling=uniform", {"weighting": "self-adaptive"}, "a part with another sampling would replace"),
    ],
)
def test_what_cannot_be_is_named_before_anything_is_trained(optimizer, settings, message):
    steps = []
    with pytest.raises(ValueError, match=message):
        train(optimizer, on_step=lambda run: steps.append(1), **settings)
    assert not steps


# What it does.


def test_a_chain_is_its_trainings_one_after_the_other():
    """With fixed weights and the same points, of optimizers that begin anew."""
    problem, network = start()
    common = {"points": problem.sample(**POINTS, **F64), "progress": False, "snapshot_every": 0, "weighting": Fixed(ends=3)}
    pinntk.train(problem, network, optimizer="adam", lr=0.01, steps=6, **common)
    pinntk.train(problem, network, optimizer="lbfgs", optimizer_options={"max_iter": 4}, steps=3, **common)
    expected = torch.cat([p.detach().flatten() for p in network.parameters()])
    problem, network = start()
    run = pinntk.train(problem, network, optimizer="adam:6:lr=0.01, lbfgs:3:max_iter=4", log_every=1, **common)
    assert torch.equal(vector(run), expected) and run.step == 9
    assert run.column("part")[1].tolist() == [1] * 6 + [2] * 4
    assert run.history[0]["learning_rate"] == 0.01 > run.history[5]["learning_rate"] and run.history[6]["learning_rate"] == 1.0


def test_each_part_has_its_own_points_and_all_the_same_weighting():
    run = train()
    assert (
        TrainConfig(optimizer=CHAIN).weighting == NTK(every=25, momentum=0.0)
        and TrainConfig(optimizer="adam:5").weighting == Fixed()
    )
    first, _, last = TrainConfig(optimizer=CHAIN, points=POINTS).parts
    assert TrainConfig(optimizer=CHAIN).sampling == "sobol"  # of kernel points, which all parts share
    assert (first.sampling, first.resample, last.sampling, last.resample, last.grow) == ("sobol", 0, "sobol", 1, 8.0)
    assert run.step == 13 and "damping" in run.history[9] and "learning_rate" in run.history[8]
    assert run.history[9]["loss"] > run.history[-1]["loss"]


@pytest.mark.parametrize("first", [True, False])
def test_points_stay_while_their_errors_are_large_in_the_part_that_says_so(first):
    parts = ["adam:3:adaptive=r3", "adamw:3"]
    seen = []
    train(", ".join(parts if first else parts[::-1]), resample=1, on_step=lambda run: seen.append(run.points["poisson"]))
    kept = [bool(set(a.flatten().tolist()) & set(b.flatten().tolist())) for a, b in pairwise(seen)]
    within = [True] * 2, [False] * 2
    assert kept[:2] == within[not first] and kept[3:] == within[first]


def test_a_solver_takes_for_fresh_what_is_fresh(tmp_path, monkeypatch):
    """Its points are drawn by the steps of its part, whatever the parts before took, also where it stays with theirs."""
    seen, own = [], SolverUpdate.step
    monkeypatch.setattr(
        SolverUpdate, "step", lambda self, *given: seen.append((self._points.fresh, self._points.all)) or own(self, *given)
    )
    chain = "adam:3, gauss-newton:5, gauss-newton:4:radii=3"
    train(chain, resample=2)
    fresh = [True, *(a is not b for (_, a), (_, b) in pairwise(seen))]
    assert [of_points for of_points, _ in seen] == fresh == [True, False] * 4 + [True]
    seen.clear()
    train(chain, resample=2, out=tmp_path, on_step=lambda run: run.step == 6)
    train(chain, resample=2, out=tmp_path, resume=True)
    assert [of_points for of_points, _ in seen] == fresh


@pytest.mark.parametrize("at", sweep((3, 6, 11), 3, 11))  # in a part, at its end, in a solver's
def test_it_goes_on_in_any_part(tmp_path, at, whole):
    run = train(out=tmp_path, on_step=lambda run: run.step == at)
    assert run.step == at
    again = train(out=tmp_path, resume=True)
    assert torch.equal(vector(again), vector(whole))
    assert rows(again)[at + 1 :] == rows(whole)[at + 1 :]


@pytest.fixture(scope="module")
def whole():
    return train()


def test_a_finished_chain_goes_on_with_more_parts_or_steps(tmp_path, whole, capsys):
    train("adam:6:lr=0.01, lbfgs:2:max_iter=4", weighting=NTK(every=25), out=tmp_path)
    with pytest.raises(ValueError, match="it was trained with optimizer="):
        train("adam:7:lr=0.01, lbfgs:3:max_iter=4", weighting=NTK(every=25), out=tmp_path, resume=True)
    assert main(["train", "--resume", str(tmp_path), "--optimizer", CHAIN, "--quiet"]) == 0
    assert torch.equal(vector(pinntk.Run.load(tmp_path)), vector(whole))
    assert main(["train", "--resume", str(tmp_path), "--steps", "14", "--quiet"]) == 0
    assert pinntk.Run.load(tmp_path).config["training"]["optimizer"].endswith("gauss-newton:5")


def test_a_part_that_cannot_go_on_leaves_its_steps_to_nobody(monkeypatch):
    monkeypatch.setattr(
        "pinntk.training._solver_update.SolverUpdate.stop_reason", lambda self: "enough" if self._steps == 2 else ""
    )
    run = train("gauss-newton:50, adam:3")
    assert run.step == 5 and run.stop_reason == "gauss-newton ended after 2 of 50 steps: enough"


def test_the_command_line_trains_chains(tmp_path):
    options = ["--optimizer", "adam:2, lbfgs:1", "--width", "4", "--depth", "1", "--quiet", "-o", str(tmp_path / "run")]
    assert main(["train", "poisson1d", *options]) == 0
    run = pinntk.Run.load(tmp_path / "run")
    assert (run.step, run.config["training"]["optimizer"]) == (3, "adam:2, lbfgs:1")
    again = pinntk.train_as(run.config, progress=False)
    assert torch.equal(vector(again), vector(run))


def test_causal_weights_climb_on_from_part_to_part():
    problem = pinntk.load("convection", beta=1.0)
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    settings = {"points": {"residual": 20}, "progress": False, "snapshot_every": 0, "log_every": 1}
    causal = pinntk.weighting.Causal((1e-9, 1e-8), slices=3)
    run = pinntk.train(problem, network, optimizer="adam:2, adamw:2:sampling=uniform", causal=causal, **settings)
    assert run.column("epsilon")[1].tolist() == [1e-9, *[1e-8] * 4]
