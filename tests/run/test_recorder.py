"""Recorder: the rows that `train` would have written, of a loop of one's own, which it leaves alone."""

import json
import warnings
from math import nan

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from tests.run.loops import RATE, STEPS, Own, losses_of, own_loop, setting, small
from tests.support.examples import inverse

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")


# What is recorded.


@pytest.mark.parametrize("make", [lambda: pinntk.load("poisson1d"), inverse], ids=["known solution", "coefficient"])
def test_rows_are_those_of_train(make):
    problem, network, points = setting(make(), residual=8, boundary=4, data=3)
    weights = {name: 2.0 + place for place, name in enumerate(points)}
    recorder = pinntk.Recorder(problem, network, points, weights=weights, optimizer="adam", budget=None)
    recorded = own_loop(problem, network, points, recorder, weights).run

    problem, network, points = setting(make(), residual=8, boundary=4, data=3)
    settings = {"lr": RATE, "schedule": "constant", "weighting": pinntk.weighting.Fixed(**weights), "coefficient_scales": {}}
    every = {"log_every": 1, "eval_every": 1}
    trained = pinntk.train(problem, network, steps=STEPS, points=points, **settings, **every, progress=False)

    assert [row["step"] for row in recorded.history] == [row["step"] for row in trained.history] == list(range(STEPS + 1))
    for here, there in zip(recorded.history, trained.history, strict=True):
        measured = {name for name in there if not name.startswith("trace/")}
        assert set(here) == measured and list(here) == [name for name in there if name in measured]
        for name in measured - {"seconds"}:
            assert here[name] == pytest.approx(there[name], rel=1e-12, abs=1e-300), name
    assert recorded.weights == trained.weights and recorded.step == trained.step
    for begun in (recorded.initial, trained.initial):
        assert all(torch.equal(a, b) for a, b in zip(begun, setting(make())[1].parameters(), strict=True))


def test_losses_are_measured_where_none_are_given():
    problem, network, points = setting()
    recorder = pinntk.Recorder(problem, network, points)
    recorder.log(0)
    expected = losses_of(problem, network, points)
    assert {name: recorder.run.history[0][f"loss/{name}"] for name in points} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-12
    )


def test_numbers_of_all_kinds():
    recorder, losses = small(weights={"ends": np.float32(2)}, budget=None)
    names = list(losses)
    for step, kind in enumerate((float, np.float64, torch.tensor, lambda v: np.array([v]), lambda v: torch.tensor([[v]]))):
        recorder.log(np.int64(step), {name: kind(0.5) for name in reversed(names)}, lr=torch.tensor(0.25), extra=kind(3.0))
    rows = recorder.run.history
    assert all(row == {**rows[0], "step": row["step"], "seconds": row["seconds"]} for row in rows)
    assert all(type(value) in (float, int) for row in rows for value in row.values())
    assert rows[0]["loss"] == 0.5 + 2 * 0.5 and rows[0]["extra"] == 3 and rows[0]["learning_rate"] == 0.25
    assert [name for name in rows[0] if name.startswith("loss/")] == [f"loss/{name}" for name in names]


def test_the_learning_rate_of_an_optimizer_is_read():
    problem, network, points = setting()
    sgd = torch.optim.SGD(network.parameters(), lr=0.5)
    recorder = pinntk.Recorder(problem, network, points, optimizer=sgd)
    recorder.log(0)
    sgd.param_groups[0]["lr"] = 0.25
    recorder.log(1)
    recorder.log(2, lr=0.125)
    assert recorder.run.column("learning_rate")[1].tolist() == [0.5, 0.25, 0.125]
    assert recorder.run.config["training"]["optimizer"] == "sgd" and recorder.run.config["training"]["lr"] == 0.5
    assert "learning_rate" not in small(optimizer="adam")[0].run.history


def test_weights_and_points_change():
    problem, network, points = setting()
    recorder = pinntk.Recorder(problem, network, points, weights={"ends": 3.0})
    assert recorder.run.config["weighting"] == {"name": "fixed", "poisson": 1.0, "ends": 3.0}
    recorder.log(0)
    fresh = problem.sample(residual=5, boundary=2, seed=7, dtype=torch.float64)
    recorder.log(10, weights={"poisson": torch.tensor(0.5)}, points=fresh)
    run = recorder.run
    assert run.weights == {"poisson": 0.5, "ends": 3.0} and run.config["weighting"] == {"name": "adaptive"}
    assert torch.equal(run.points["poisson"], fresh["poisson"])
    fresh["poisson"].zero_()  # the user's own tensor
    assert bool(run.points["poisson"].any())


def test_given_numbers_stand_in_place_of_measured_ones():
    recorder, losses = small()
    recorder.log(0, losses, relative_error=0.25, loss=7.0, seconds=12.5)
    row = recorder.run.history[0]
    assert (row["relative_error"], row["loss"], row["seconds"], recorder.run.seconds) == (0.25, 7.0, 12.5, 12.5)


def test_measuring_the_error_keeps_to_its_budget(monkeypatch):
    recorder, losses = small(budget=1e-9)
    for step in range(5):
        recorder.log(step, losses)
    assert [("relative_error" in row) for row in recorder.run.history] == [True, False, False, False, False]
    free, losses = small(budget=None)
    for step in range(5):
        free.log(step, losses)
    assert all("relative_error" in row for row in free.run.history)


def test_snapshots():
    recorder, losses = small(snapshot_every=10)
    for step in (0, 4, 10, 25, 34, 35):
        recorder.log(step, losses)
    assert list(recorder.run.snapshots) == [0, 10, 25, 35]
    problem, network, points = setting(residual=150, boundary=2)
    recorder = pinntk.Recorder(problem, network, points, snapshot_every=1)
    recorder.log(0)
    K = recorder.run.snapshots[0]
    assert dict(zip(K.names, K.sizes, strict=True)) == {"poisson": 100, "ends": 2}
    assert torch.allclose(K.values, pinntk.kernel(network, problem, K.points).values, rtol=1e-12)


@pytest.mark.parametrize("value", [nan, float("inf")])
def test_what_is_not_finite_is_recorded_and_named_once(value):
    recorder, losses = small(snapshot_every=1)
    recorder.log(0, losses)
    with pytest.warns(UserWarning, match=f"step 1: the loss of 'ends' \\({value}\\) is not finite"):
        recorder.log(1, {**losses, "ends": value})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder.log(2, {**losses, "ends": value})
    last = recorder.run.history[-1]
    assert not np.isfinite(last["loss/ends"]) and not np.isfinite(last["loss"]) and np.isfinite(last["loss/poisson"])


# What is left alone.


def test_nothing_of_the_training_changes():
    """Dropout draws random numbers, normalization keeps statistics, a buffer counts: all to the last bit."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.seen = 0, nn.Buffer(torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.calls, self.seen = self.calls + 1, self.seen + 1
            return x

    def trained(record):
        problem, network, points = setting(network=None)
        network = Own(between=(Counting(), nn.Dropout(0.2), nn.BatchNorm1d(6, dtype=torch.float64)))
        network.layers[1].eval()  # a mode of its own
        adam = torch.optim.Adam(network.parameters(), lr=RATE)
        recorder = pinntk.Recorder(problem, network, points, snapshot_every=1, budget=None) if record else None
        x, states = points["poisson"], []
        for step in range(4):
            adam.zero_grad()
            loss = (network(x) - torch.sin(x) + 0.01 * torch.rand(len(x), 1)).square().mean()
            loss.backward()
            grads = [p.grad.clone() for p in network.parameters()]
            if recorder is not None:
                with torch.no_grad() if step % 2 else torch.enable_grad():
                    recorder.log(step)
            assert all(torch.equal(a, p.grad) for a, p in zip(grads, network.parameters(), strict=True))
            adam.step()
            states.append(
                [*map(torch.clone, network.state_dict().values()), torch.get_rng_state(), torch.tensor(network.layers[2].calls)]
            )
        modes = [module.training for module in network.modules()]
        return states, modes, recorder

    with_it, modes, recorder = trained(True)
    without, expected, _ = trained(False)
    assert modes == expected and not all(modes) and any(modes)
    assert all(
        torch.equal(a, b) for here, there in zip(with_it, without, strict=True) for a, b in zip(here, there, strict=True)
    )
    assert len(recorder.run.snapshots) == 4 and all("relative_error" in row for row in recorder.run.history)


# What is refused.


def test_bad_input_of_a_recorder():
    problem, network, points = setting()
    for arguments, options, error, message in (
        ((network, problem, points), {}, TypeError, r"Recorder\(Own, Problem, \.\.\.\): the order is Recorder\(pro"),
        ((problem, network, {"pde": points["ends"]}), {}, ValueError, "has no condition 'pde'"),
        ((problem, Own(2), points), {}, ValueError, "does not accept 1 inputs"),
        ((problem, network, points), {"weights": {"end": 1.0}}, ValueError, "weights has 'end'.*did you mean 'ends'"),
        ((problem, network, points), {"weights": {"ends": -1.0}}, ValueError, "weight ends=-1.0"),
        ((problem, network, points), {"optimizer": 3}, TypeError, "optimizer=3: a torch.optim.Optimizer, or a name"),
        ((problem, network, points), {"budget": 2}, ValueError, "budget=2: a share"),
        ((problem, network, points), {"snapshot_every": -1}, ValueError, "snapshot_every=-1"),
        ((problem, network, points), {"on_log": 1}, TypeError, "on_log=1: a function of the run"),
        ((problem, network, points), {"resume": True}, ValueError, "resume=True needs folder="),
    ):
        with pytest.raises(error, match=message):
            pinntk.Recorder(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3,), {}, ValueError, "step=3 after step 3: steps increase"),
        ((2,), {}, ValueError, "step=2 after step 3"),
        ((4.5,), {}, TypeError, "step=4.5: a whole number"),
        ((4, {"poison": 1.0, "ends": 1.0}), {}, ValueError, "losses has 'poison'.*did you mean 'poisson'"),
        ((4, {"poisson": 1.0}), {}, ValueError, "the losses of 'ends' are missing; give all of"),
        ((4, [1.0, 2.0]), {}, TypeError, "losses is a list; a loss by condition"),
        ((4, {"poisson": torch.ones(3), "ends": 1.0}), {}, ValueError, r"losses\['poisson'\] has shape \(3,\); a single"),
        ((4, {"poisson": 1j, "ends": 1.0}), {}, TypeError, r"losses\['poisson'\] is complex; a real number"),
        ((4, {"poisson": torch.tensor(1j), "ends": 1.0}), {}, TypeError, r"losses\['poisson'\] is complex; a real number"),
        ((4, {"poisson": None, "ends": 1.0}), {}, TypeError, r"losses\['poisson'\] is a NoneType; a number"),
        ((4,), {"lr": nan}, ValueError, "lr=nan: a finite number"),
        ((4,), {"lr": -1e-3}, ValueError, "lr=-0.001"),
        ((4,), {"weights": {"ends": nan}}, ValueError, "weight ends=nan"),
        ((4,), {"weights": {"Ends": 1.0}}, ValueError, "did you mean 'ends'"),
        ((4,), {"points": {"ends": torch.zeros(1, 1)}}, ValueError, "give them for the same conditions"),
        ((4,), {"points": {"ends": torch.zeros(2, 2)}}, ValueError, r"points\['ends'\] has shape \(2, 2\)"),
        ((4,), {"learning_rate": 0.1}, ValueError, "'learning_rate' is a column that log writes itself; give it as lr"),
        ((4,), {"weighed_loss/ends": 0.1}, ValueError, "'weighed_loss/ends' is a column that log writes itself"),
        ((4,), {"loss/ends": 0.1}, ValueError, "'loss/ends' is a column"),
        ((4,), {"norm": "large"}, TypeError, "norm is a str; a number"),
    ],
)  # fmt: skip
def test_bad_input_of_a_row_records_nothing(arguments, options, error, message):
    recorder, losses = small(weights={"ends": 2.0})
    recorder.log(3, losses)
    before = json.dumps([recorder.run.history, recorder.run.weights, recorder.run.step])
    with pytest.raises(error, match=message):
        recorder.log(*arguments, **options)
    assert json.dumps([recorder.run.history, recorder.run.weights, recorder.run.step]) == before
    recorder.log(4, losses)


@pytest.mark.parametrize(
    ("factor", "said"),
    [(8.0, "number of points"), (5.0, "weight"), (40.0, "number of points and weight"), (1.0, None), (3.0, None)],
)
def test_sums_and_weighted_losses_are_told_from_means(factor, said):
    recorder, losses = small(weights={"poisson": 5.0})
    losses["poisson"] = factor * losses["poisson"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recorder.log(0, losses)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (said is not None)
    assert said is None or f"it seems to have its {said} in it, a factor of {factor:g}" in messages[0]


# Functions that are called.


def test_functions_follow_the_rows_and_may_ask_for_the_end():
    seen = []
    recorder, losses = small(
        on_log=[lambda run: seen.append(run.history[-1]["step"]), lambda run: run.step >= 2, lambda run: 5.0]
    )
    assert [recorder.log(step, losses) for step in range(3)] == [False, False, True]
    assert seen == [0, 1, 2] and "asked for the end" in recorder.run.stop_reason
    assert small(on_log=lambda run: np.bool_(True))[0].log(0)


# What rules have of it.


def test_rules_know_the_network_as_it_began(tmp_path):
    problem, network, points = setting()
    began = [p.detach().clone() for p in network.parameters()]
    with pinntk.Recorder(problem, network, points, tmp_path, optimizer="adam") as recorder:
        own_loop(problem, network, points, recorder)
    for run in (recorder.run, pinntk.Run.load(tmp_path, network)):
        initial = pinntk.examine(run).initial
        assert initial is not network and type(initial) is Own
        assert all(torch.equal(a, b) for a, b in zip(initial.parameters(), began, strict=True))
    own = pinntk.train(problem, Own(), steps=1, points=points, progress=False)
    assert pinntk.examine(own).initial is not None


def test_an_optimizer_that_is_not_known_is_asked_for():
    recorder, losses = small()
    recorder.log(1, losses)
    with pytest.raises(ValueError, match=r"the run's optimizer is not known; give it: train_as\(config, optimizer="):
        pinntk.TrainConfig.from_json(recorder.run.config, points=recorder.run.points)
    given = pinntk.TrainConfig.from_json(recorder.run.config, points=recorder.run.points, optimizer="adam")
    assert given.optimizer == "adam" and given.steps == 1


def test_a_recorded_network_of_pinntks_begins_as_it_was_given():
    """Not as its configuration would make it anew."""
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(3)
    points = problem.sample(residual=5, boundary=2, seed=0)
    recorder = pinntk.Recorder(problem, network, points)
    recorder.log(0)
    initial = pinntk.examine(recorder.run).initial
    assert all(torch.equal(a, b) for a, b in zip(initial.parameters(), network.parameters(), strict=True))
