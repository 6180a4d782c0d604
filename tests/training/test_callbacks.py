"""Functions of the user's that follow a training, and early stopping."""

import numpy as np
import pytest
import torch

import pinntk
from pinntk.run._history import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")


def train(steps=6, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    few = {"points": {"residual": 8, "boundary": 2}, "snapshot_every": 0, "progress": False, "schedule": "constant"}
    return pinntk.train(problem, network, steps=steps, **{**few, **settings})


def test_functions_are_called_after_each_step_and_after_each_row():
    seen = []
    run = train(
        log_every=4,
        eval_every=0,
        on_step=lambda run: seen.append(("step", run.step, bool(run.points), set(run.weights))),
        on_log=[lambda run: seen.append(("row", run.history[-1]["step"])), lambda run: seen.append(("also", run.step))],
    )
    state = True, {"poisson", "ends"}
    expected = [("row", 0), ("also", 1), ("step", 1, *state), ("step", 2, *state), ("step", 3, *state), ("step", 4, *state)]
    expected += [("row", 4), ("also", 5), ("step", 5, *state), ("step", 6, *state), ("row", 6), ("also", 6)]
    assert seen == expected
    assert [row["step"] for row in run.history] == [0, 4, 6] and run.stop_reason == ""


@pytest.mark.parametrize("answer", [True, np.bool_(True), "far enough"])
@pytest.mark.parametrize("optimizer", ["adam", "gauss-newton"])
def test_one_of_them_ends_the_training(tmp_path, answer, optimizer):
    schedule = {"schedule": None if optimizer == "gauss-newton" else "constant"}
    run = train(20, optimizer=optimizer, out=tmp_path, on_step=lambda run: run.step == 3 and answer, **schedule)
    assert run.step == 3 and run.history[-1]["step"] == 3 and "relative_error" in run.history[-1]
    assert run.stop_reason == (answer if isinstance(answer, str) else run.stop_reason) != ""
    loaded = pinntk.Run.load(tmp_path)
    assert (loaded.step, loaded.stop_reason) == (3, run.stop_reason)
    go_on = train(6, optimizer=optimizer, out=tmp_path, resume=True, **schedule) if optimizer == "adam" else None
    assert go_on is None or (go_on.step == 6 and go_on.stop_reason == "")


def test_what_functions_happen_to_return_ends_nothing():
    answers = iter([None, False, 0, 1, 5.0, torch.tensor(True), [True], ""])
    assert train(8, on_step=lambda run: next(answers)).step == 8


def test_random_numbers_of_a_function_change_nothing():
    def states(**functions):
        found = []
        last = {"on_step": [*functions.values(), lambda run: found.append(torch.get_rng_state())]}
        run = train(4, **last)
        return found, list(run.network.parameters())

    (plain, trained), (drawn, also) = states(), states(first=lambda run: torch.rand(3))
    assert all(torch.equal(a, b) for a, b in zip(trained, also, strict=True))
    assert all(torch.equal(a, drawn[0]) for a in drawn) and all(torch.equal(a, plain[0]) for a in plain)


def test_a_run_can_be_diagnosed_while_it_is_trained():
    found = []
    train(2, on_log=lambda run: found.append(pinntk.diagnose(run)), log_every=1)
    assert len(found) == 3 and all(findings.unjudged == () for findings in found[1:])


def test_train_as_passes_them_on():
    run, seen = train(2), []
    pinntk.train_as(
        run.config, on_step=lambda run: seen.append(run.step), on_log=lambda run: seen.append("row"), progress=False
    )
    assert seen == ["row", 1, "row", 2, "row"]


def test_what_cannot_be_called_is_refused_before_anything_is_written(tmp_path):
    for name, given in (("on_step", 3), ("on_log", [print, "text"])):
        with pytest.raises(TypeError, match=f"{name}=.*: a function of the run, or several"):
            train(out=tmp_path / "run", **{name: given})
    assert not (tmp_path / "run").exists()


def test_time_slabs_say_that_they_take_none():
    problem = pinntk.load("reaction")
    with pytest.raises(
        TypeError, match="on_log is no setting: give it to train or train_as; trainings in time slabs take none"
    ):
        pinntk.train_slabs(problem, pinntk.nn.MLP(problem, width=4, depth=1), steps=1, on_log=print)


def test_an_error_in_a_function_is_the_users_own():
    def broken(run):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        train(on_step=broken)


# Early stopping.


def history(values, name="loss"):
    return Run(
        pinntk.load("poisson1d"), torch.nn.Linear(1, 1), {}, history=[{"step": k, name: v} for k, v in enumerate(values)]
    )


@pytest.mark.parametrize(
    ("values", "options", "stops"),
    [
        ([3, 2, 1, 1.5, 1.2, 1.1], {}, 5),
        ([3, 2, 1, 1.5, 1.2, 0.9, 2, 2, 2], {}, 8),
        ([3, 2, 1, 1, 1], {"patience": 2}, 4),
        ([1, 0.99, 0.98, 0.97, 0.96], {"least": 0.1}, 3),
        ([1, 0.95, 0.9, 0.85, 0.8], {"least": 0.1}, None),
        ([1, 2, 3, 3, 2, 1], {"largest": True}, 5),
        ([float("nan")] * 4, {}, 3),
        ([2, float("nan"), 1, float("nan"), float("inf"), 5], {}, 5),
        ([float("inf"), 5, 4, 3], {"least": 1.0, "patience": 1}, 2),
        ([5, 4, 3, 2, 1, 0], {}, None),
    ],
)  # fmt: skip
def test_when_it_stops(values, options, stops):
    stopping = pinntk.EarlyStopping("loss", **{"patience": 3, **options})
    asked = [bool(stopping(history(values[: n + 1]))) for n in range(len(values))]
    assert (asked.index(True) if True in asked else None) == stops


def test_a_stop_does_not_depend_on_where_a_training_was_interrupted(tmp_path):
    settings = {"on_log": pinntk.EarlyStopping("loss", 3, least=0.5), "log_every": 1, "lr": 1e-6, "checkpoint_every": 1}
    whole = train(30, **settings)
    train(2, out=tmp_path, **settings)
    again = train(30, out=tmp_path, resume=True, **settings)
    assert again.step == whole.step < 30
    assert again.stop_reason == whole.stop_reason == "loss has not got better for 3 rows"
    assert train(30, out=tmp_path, resume=True, **settings).step == whole.step
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), whole.network.parameters(), strict=True))


def test_rows_without_the_metric_do_not_count():
    run = history([1.0, 1.0, 1.0], "relative_error")
    run.history += [{"step": k, "loss": 1.0} for k in range(3, 9)]
    assert not pinntk.EarlyStopping("relative_error", 3)(run)


def test_only_new_rows_are_read():
    read = []

    class Row(dict):
        def __getitem__(self, name):
            if name == "loss":
                read.append(self["step"])
            return super().__getitem__(name)

    stopping, run = pinntk.EarlyStopping("loss", 1000), history([])
    for step in range(300):
        run.history.append(Row(step=step, loss=1.0))
        stopping(run)
    assert read == list(range(300))


def test_another_history_is_read_anew():
    stopping = pinntk.EarlyStopping("loss", 3)
    run, other = history([2.0, 1.0, 5.0]), history([9.0, 8.0, 7.0, 6.0])
    assert not stopping(run) and not stopping(other)
    run.history = [*run.history[:1], *history([0.0, 3.0, 4.0, 5.0, 6.0]).history[1:]]  # as of a resumed recording
    shorter = Run(run.problem, run.network, {}, history=run.history[:3])
    assert not stopping(shorter) and stopping(run) and not stopping(shorter)
    assert not stopping(history([3.0, 2.0, 1.0, 1.0]))
    assert stopping == pinntk.EarlyStopping("loss", 3)


def test_bad_input_of_early_stopping():
    with pytest.raises(ValueError, match="no column 'los'; did you mean 'loss'"):
        pinntk.EarlyStopping("los")(history([1.0]))
    with pytest.raises(ValueError, match="no column 'error'; it has step, loss"):
        pinntk.EarlyStopping("error")(history([1.0]))
    for arguments, error in (({"metric": 3}, TypeError), ({"patience": 0}, ValueError), ({"least": -1}, ValueError)):
        with pytest.raises(error, match=f"EarlyStopping\\({next(iter(arguments))}="):
            pinntk.EarlyStopping(**arguments)
