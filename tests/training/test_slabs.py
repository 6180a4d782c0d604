"""Trainings in time slabs: each from the end of the one before, resumed to the bit, loaded whole and by the slab."""

import json
import os
import shutil
import signal
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk import Run, load_slabs
from pinntk.weighting import NTK, Causal, Fixed
from tests.support.small_problems import F64

COUNTS = {"residual": 12, "initial": 4, "periodic": 4}
CAUSAL = Causal(1.0, slices=3)
SOLVING: dict = {"optimizer": "gauss-newton", "lr": None, "weighting": None}
SOLVING |= {"points": {"residual": 250, "initial": 40, "periodic": 40, "boundary": 40}}


def convection(beta=1.0):
    return pinntk.load("convection", beta=beta)


def mlp(problem, **choices):
    return pinntk.nn.MLP(problem, **{"width": 6, "depth": 1, **F64, **choices})


def train(out=None, *, problem=None, network=None, **settings):
    problem = problem or convection()
    given = {
        "steps": 20,
        "points": COUNTS,
        "weighting": NTK(every=7),
        "lr": 1e-3,
        "slabs": 3,
        "snapshot_every": 0,
        "progress": False,
    }
    return pinntk.train_slabs(problem, network or mlp(problem), out=out, **{**given, **settings})


def parameters(found):
    return [p for run in found.runs for p in run.network.parameters()]


def same(a, b):
    equal = all(torch.equal(p, q) for p, q in zip(parameters(a), parameters(b), strict=True))
    return equal and a.relative_error == b.relative_error


class Interrupting(NTK):
    """Ctrl-C at the n-th update of all slabs together."""

    def __init__(self, at):
        super().__init__(every=7)
        self._at, self._seen = at, 0

    def update(self, weights, traces, counts):
        self._seen += 1
        if self._seen == self._at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().update(weights, traces, counts)


# What is trained.


def test_two_slabs_solve_and_their_values_meet():
    problem = convection(beta=6.0)
    found = train(
        problem=problem,
        network=mlp(problem, width=14, depth=2),
        slabs=2,
        steps=40,
        **SOLVING,
    )
    assert found.relative_error < 1e-4 > found.runs[1].relative_error
    assert found.relative_error == problem.relative_error(found.network)
    x = torch.linspace(0, 6.28, 50, **F64)
    edge = torch.stack([torch.full_like(x, 0.5), x], 1)
    first, second = (run.network(edge) for run in found.runs)
    assert (first - second).detach().abs().max() < 1e-3
    assert torch.equal(found.network(edge), first)


def test_a_wave_keeps_its_velocity_over_slabs():
    problem = pinntk.load("wave1d", beta=2.0)
    found = train(
        problem=problem,
        network=mlp(problem, width=14, depth=2),
        slabs=3,
        steps=60,
        **SOLVING,
    )
    assert [run.problem.domain.bounds[0] for run in found.runs] == [(0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)]
    assert found.relative_error < 1e-2


def test_time_may_run_backward():
    domain = pinntk.Box(t=(0, 2), x=(0, 1))

    @pinntk.residual(domain)
    def growth(u, u_t):
        return u_t - 3 * u

    @pinntk.initial(domain.at(t=2))
    def last(u, x):
        return u - 1 - x

    problem = pinntk.Problem(domain, [growth, last], exact=lambda t, x: (1 + x) * torch.exp(3 * (t - 2)))
    settings = {**SOLVING, "points": {"residual": 100, "initial": 20}}
    found = train(problem=problem, network=mlp(problem, width=8), slabs=(2.0, 1.5, 0.0), steps=30, **settings)
    assert [run.problem.domain.bounds[0] for run in found.runs] == [(1.5, 2.0), (0.0, 1.5)]
    assert found.relative_error < 1e-3


def test_the_start_of_a_slab_is_the_end_of_the_one_before():
    found = train()
    for before, run in zip(found.runs, found.runs[1:], strict=False):
        rows = run.points["start"]
        assert set(rows[:, 0].tolist()) == {run.problem.domain.bounds[0][0]}
        gap = run.network(rows) - before.network(rows)
        assert torch.allclose(pinntk.errors(run.network, run.problem, run.points)["start"], gap[:, 0], atol=1e-14)


def test_each_network_scales_its_own_time_and_begins_with_the_last_parameters(monkeypatch):
    begun, trained = [], pinntk.train

    def watched(problem, network, config, **options):
        begun.append([p.detach().clone() for p in network.parameters()])
        return trained(problem, network, config, **options)

    monkeypatch.setattr("pinntk.training._slabs.train", watched)
    network = mlp(convection(), width=5)
    given = [p.detach().clone() for p in network.parameters()]
    found = train(network=network, steps=3)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), given, strict=True))
    assert [round(float(run.network.mean[0]), 6) for run in found.runs] == [0.166667, 0.5, 0.833333]
    assert {round(float(run.network.deviation[0]), 6) for run in found.runs} == {round(1 / 3 / 12**0.5, 6)}
    assert same_tensors(begun[0], given)
    assert same_tensors(begun[1], found.runs[0].network.parameters())
    assert same_tensors(begun[2], found.runs[1].network.parameters())
    begun.clear()
    train(network=network, steps=3, fresh=True)
    assert len(begun) == 3 and all(same_tensors(start, given) for start in begun)


def same_tensors(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_a_frozen_part_stays_frozen():
    network = mlp(convection())
    network.dense.weights[0].requires_grad_(False)
    found = train(network=network, steps=3)
    assert all(torch.equal(run.network.dense.weights[0], network.dense.weights[0]) for run in found.runs)


def test_networks_of_ones_own():
    problem = convection()

    def factory(part):
        low, high = part.domain.bounds[0]
        seen.append((low, high))
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()

    seen = []
    made = train(network=factory, steps=3)
    assert seen == [(0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)]
    copied = train(network=factory(problem), steps=3)
    assert same(made, copied) and len({id(run.network) for run in copied.runs}) == 3
    with pytest.raises(TypeError, match=r"network\(problem\) returned int; it must return a torch.nn.Module"):
        train(network=lambda part: 3)
    widths = iter((4, 4, 5))
    with pytest.raises(ValueError, match="slab_02: its network has other parameters than that of the slab before"):
        train(network=lambda part: mlp(part, width=next(widths)), steps=1)
    widths = iter((4, 5, 6))
    assert len(train(network=lambda part: mlp(part, width=next(widths)), steps=1, fresh=True).runs) == 3


@pytest.mark.parametrize("name", ["reaction", "wave1d"])
def test_what_is_met_by_construction_stays_so_but_for_later_starts(name, tmp_path):
    problem = pinntk.load(name)
    network = mlp(problem, hard="auto")
    settings = {"problem": problem, "network": network, "steps": 4, "points": {"residual": 12, "initial": 6}}
    found = train(tmp_path / "whole", **settings)
    later = tuple(condition for condition in network.hard if problem[condition].kind != "initial")
    assert len(later) < len(network.hard)
    assert [run.network.hard for run in found.runs] == [network.hard, later, later]
    for run in found.runs:
        size = {name: float(e.detach().abs().max()) for name, e in pinntk.errors(run.network, run.problem, run.points).items()}
        assert all((size[name] < 1e-12) == (name in run.network.hard) for name in problem.names)
    assert {len(run.network.dense.weights[0].T) for run in found.runs} == {
        len(network.dense.weights[0].T)
    }  # as smooth as the start
    assert "begins a time slab with what the network before leaves" in found.runs[1].network.soft["start"]
    assert same(load_slabs(tmp_path / "whole"), found)
    x = problem.sample(residual=9, **F64)[problem.names[0]]
    for number, run in enumerate(found.runs):
        loaded = Run.load(tmp_path / "whole" / f"slab_{number:02d}")
        assert torch.equal(loaded.network(x), run.network(x))
        pair = (pinntk.errors(r.network, r.problem, run.points)["start"] for r in (loaded, run))
        assert torch.equal(*pair)
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path / "cut", **{**settings, "steps": 20, "weighting": Interrupting(5)})
    resumed = train(tmp_path / "cut", **{**settings, "steps": 20, "resume": True})
    assert same(resumed, train(**{**settings, "steps": 20}))


def test_a_line_in_time_is_not_met_by_construction_later(tmp_path):
    """Where no coordinate is left, a start is one number, and could be built in: but not built again from a folder."""
    domain = pinntk.Box(t=(0, 1))

    @pinntk.residual(domain)
    def decay(u, u_t):
        return u_t + u

    @pinntk.initial(domain.at(t=0))
    def begin(u):
        return u - 1

    problem = pinntk.Problem(domain, [decay, begin])
    found = train(problem=problem, network=mlp(problem, hard="auto"), points={"residual": 5}, steps=3)
    assert [run.network.hard for run in found.runs] == [("begin",), (), ()]
    with pytest.raises(ValueError, match="'begin' cannot be met by construction: it begins a time slab with what the network"):
        train(problem=problem, network=lambda part: mlp(part, hard="begin"), points={"residual": 5}, steps=3)


def test_a_copy_that_meets_the_first_start_is_refused():
    problem = pinntk.load("burgers")

    def constrained(part):
        return pinntk.nn.hard_constraint(part, mlp(part))

    settings = {"problem": problem, "points": {"residual": 8, "initial": 4, "boundary": 4}, "steps": 2}
    with pytest.raises(ValueError, match="a copy of it would meet 'start' where the whole time starts, not where a slab does"):
        train(network=constrained(problem), **settings)
    found = train(network=constrained, **settings)
    assert [run.network.hard for run in found.runs] == [("start", "walls"), ("walls",), ("walls",)]


def test_settings_fit_each_slab():
    domain = pinntk.Box(t=(0, 1), x=(0, 1))

    @pinntk.residual(domain)
    def decay(u, u_t):
        return u_t + u

    @pinntk.initial(domain.at(t=0))
    def begin(u):
        return u - 1

    @pinntk.data(domain, [[0.1, 0.5], [0.2, 0.5], [0.9, 0.5]], seen=[0.9, 0.8, 0.4])
    def readings(u, seen):
        return u - seen

    problem = pinntk.Problem(domain, [decay, begin, readings])
    counts = {"residual": 30, "initial": 4, "data": 2}
    found = train(problem=problem, points=counts, weighting=Fixed(readings=3, begin=2), steps=2, eval_every=1)
    assert [len(run.points.get("readings", ())) for run in found.runs] == [2, 0, 1]
    assert [run.weights for run in found.runs] == [
        {"decay": 1, "begin": 2, "readings": 3},
        {"decay": 1, "begin": 2},
        {"decay": 1, "begin": 2, "readings": 3},
    ]
    assert found.relative_error is None
    points = problem.sample(residual=60, initial=4, **F64)
    found = train(problem=problem, points=points, weighting=None, steps=2)
    assert sum(len(run.points["decay"]) for run in found.runs) == 60
    assert [run.points["begin"][:, 0].unique().tolist() for run in found.runs] == [[0.0], [1 / 3], [2 / 3]]
    with pytest.raises(ValueError, match="groups: 'readings' must be one of"):  # before the first slab is trained
        train(problem=problem, points=counts, weighting=NTK(groups=[("begin", "readings")]))
    with pytest.raises(ValueError, match="slab_01 has no condition 'readings'"):
        train(problem=problem, points=counts, weighting=NTK(points={"readings": 1}))


def test_a_traced_slab_takes_the_steps_of_an_eager_one(monkeypatch):
    traced = []
    monkeypatch.setattr(torch, "compile", lambda graph, **settings: traced.append(graph) or graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a step that cannot be compiled
        eager, compiled = (train(steps=3, slabs=2, weighting=None, compile=on) for on in (False, True))
    assert len(traced) == 2
    for p, q in zip(parameters(eager), parameters(compiled), strict=True):
        assert torch.allclose(p, q, rtol=1e-9, atol=1e-12)


# Folders.


def test_folders_read_back(tmp_path):
    found = train(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["slab_00", "slab_01", "slab_02", "slabs.json"]
    again = load_slabs(tmp_path / "out")
    assert same(found, again) and again.edges == found.edges and again.folder == tmp_path / "out"
    assert [run.history for run in again.runs] == [run.history for run in found.runs]
    assert repr(again).startswith("Slabs(convection, 3 of 3 slabs, relative error ")
    for number, run in enumerate(found.runs):
        alone = Run.load(tmp_path / "out" / f"slab_{number:02d}")
        assert same_tensors(alone.network.parameters(), run.network.parameters())
        assert alone.problem.name == f"convection slab_{number:02d}"
        error, expected = (pinntk.errors(r.network, r.problem, r.points)["start"] for r in (alone, run))
        assert torch.equal(error, expected)
    with pytest.raises(FileNotFoundError, match=r"holds time slabs, each a run: give one, such as .*slab_00, or load all"):
        Run.load(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_slabs(tmp_path)


def test_folders_may_be_moved_and_must_stay_together(tmp_path):
    found = train(tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert same(load_slabs(tmp_path / "moved"), found)
    assert same_tensors(Run.load(tmp_path / "moved" / "slab_02").network.parameters(), found.runs[2].network.parameters())
    shutil.move(tmp_path / "moved" / "slab_02", tmp_path / "alone")
    with pytest.raises(FileNotFoundError, match=r"alone begins as the run in .*slab_01 ended, and that is gone; put it back"):
        Run.load(tmp_path / "alone")


def test_a_slab_whose_start_has_changed_is_refused(tmp_path):
    train(tmp_path)
    config = json.loads((tmp_path / "slab_00" / "config.json").read_text())
    pinntk.train_as(config, out=tmp_path / "slab_00", resume=True, progress=False, steps=25)
    with pytest.raises(ValueError, match=r"slab_01 begins as the network in .*slab_00 ended, and that one has changed since"):
        Run.load(tmp_path / "slab_01")
    with pytest.raises(ValueError, match="is of another problem"):
        load_slabs(tmp_path)


def test_a_slab_is_resumed_and_rescued_as_any_run(tmp_path):
    found = train(tmp_path / "out", steps=5)
    last = tmp_path / "out" / "slab_02"
    config = json.loads((last / "config.json").read_text())
    problem = pinntk.training._train.problem_of(config, str(last))
    resumed = pinntk.train_as(config, problem=problem, out=last, resume=True, progress=False, steps=8)
    assert resumed.step == 8 and resumed.problem.slab["sha256"] == found.runs[2].problem.slab["sha256"]
    faster = pinntk.Prescription("faster", {"training.lr": 1e-2})
    for run in (found.runs[1], Run.load(tmp_path / "out" / "slab_01")):
        rescued = pinntk.rescue(run, prescription=faster, findings=[], progress=False, out=tmp_path / f"rescued-{id(run)}")
        assert Run.load(rescued.attempts[0].run.folder).problem.slab["number"] == 1


def test_a_slab_made_in_python_says_so(tmp_path):
    problem = convection()
    part = pinntk.slab(problem, 1, 2, mlp(problem))
    pinntk.train(part, mlp(part), steps=2, points=COUNTS, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="begins with a network that was given in Python, and no folder; load it with"):
        Run.load(tmp_path)
    assert Run.load(tmp_path, problem=part).problem is part
    with pytest.raises(ValueError, match="is of another problem"):
        Run.load(tmp_path, problem=pinntk.slab(problem, 1, 2, mlp(problem, seed=1)))


def test_own_networks_are_loaded_together(tmp_path):
    def own(part):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))

    found = train(tmp_path, network=own, steps=3, dtype=torch.float64)
    assert same(load_slabs(tmp_path, own), found)
    assert same(load_slabs(tmp_path, own(None)), found)
    assert Run.load(tmp_path / "slab_00", own(None).double()).step == 3
    with pytest.raises(ValueError, match=r"Sequential, which pinntk cannot build; load all slabs with pinntk.load_slabs\("):
        Run.load(tmp_path / "slab_01", own(None).double())


def test_a_problem_built_in_python_is_given_to_load(tmp_path):
    domain = pinntk.Box(t=(0, 1))

    @pinntk.residual(domain)
    def decay(u, u_t):
        return u_t + u

    @pinntk.initial(domain.at(t=0))
    def begin(u):
        return u - 1

    problem = pinntk.Problem(domain, [decay, begin], exact=lambda t: torch.exp(-t))
    found = train(tmp_path, problem=problem, points={"residual": 5}, steps=3)
    assert same(load_slabs(tmp_path, problem=problem), found)
    with pytest.raises(ValueError, match="problem 'problem' is unknown"):
        load_slabs(tmp_path)


# Stopped and resumed.


@pytest.mark.parametrize(
    ("at", "settings"),
    [(2, {}), (5, {}), (8, {"resample": 3}), (5, {"fresh": True}), (5, {"dtype": torch.float64}), (8, {"causal": CAUSAL})],
    ids=str,
)
def test_a_resumed_training_equals_one_never_stopped(tmp_path, at, settings):
    network = mlp(convection(), dtype=torch.float32 if "dtype" in settings else torch.float64)
    whole = train(tmp_path / "whole", network=network, **settings)
    stopped = rf"slab_0{(at - 1) // 3}: stopped after step \d+ of 20; continue with: pinntk train --resume .*cut, or "
    with pytest.raises(pinntk.Interrupted, match=stopped):
        train(tmp_path / "cut", network=network, **settings, weighting=Interrupting(at))
    assert len(json.loads((tmp_path / "cut" / "slabs.json").read_text())["slabs"]["stop_reasons"]) == (at - 1) // 3
    resumed = train(tmp_path / "cut", network=network, **settings, resume=True)
    assert same(resumed, whole)
    for a, b in zip(resumed.runs, whole.runs, strict=True):
        assert [row["step"] for row in a.history] == [row["step"] for row in b.history]
    assert same(train(tmp_path / "cut", network=network, **settings, resume=True), whole)  # nothing is left to do


def test_a_solvers_training_resumes_with_its_reasons(tmp_path):
    settings = {"slabs": 2, "steps": 6, "optimizer": "gauss-newton", "lr": None, "points": COUNTS}
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path / "cut", **settings, weighting=Interrupting(2))
    assert same(train(tmp_path / "cut", **settings, resume=True), whole)
    quick = {"slabs": 2, "steps": 50, "seconds": 1e-9}
    first = train(tmp_path / "quick", **quick)
    assert [run.stop_reason for run in first.runs] == ["the time is up (0 s)"] * 2
    assert [run.stop_reason for run in load_slabs(tmp_path / "quick").runs] == ["the time is up (0 s)"] * 2
    again = train(tmp_path / "quick", **quick, resume=True)
    assert [run.step for run in again.runs] == [1, 1] and again.runs[1].stop_reason == "the time is up (0 s)"


def test_what_is_done_can_be_loaded_before_the_rest_is(tmp_path):
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, weighting=Interrupting(5))
    with pytest.warns(UserWarning, match="the last 2 of 3 slabs are missing; resume the training"):
        found = load_slabs(tmp_path)
    assert len(found.runs) == 1 and found.relative_error is None and found.network.edges == (0.0, 1 / 3)
    assert "1 of 3 slabs" in repr(found)
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, overwrite=True, weighting=Interrupting(2))
    with pytest.raises(FileNotFoundError, match="no slab is done yet; resume the training"):
        load_slabs(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slabs": 2}, r"trained with slabs=\[0.0, 0.33"),
        ({"fresh": True}, "trained with fresh=False, now True"),
        ({"lr": 1e-2}, "trained with lr=0.001, now lr=0.01"),
        ({"seed": 1}, "trained with seed=0, now seed=1"),
        ({"network": "wider"}, "trained with arguments="),
        ({"problem": "faster"}, "its problem has parameters {'beta': 1.0}, now {'beta': 2.0}"),
    ],
)
def test_a_folder_with_other_settings_is_refused(tmp_path, change, message):
    train(tmp_path, steps=2)
    problem = convection(2.0 if "problem" in change else 1.0)
    network = mlp(problem, width=9 if "network" in change else 6)
    with pytest.raises(ValueError, match=f"cannot resume .*{message}"):
        train(tmp_path, **{"steps": 2, **change, "problem": problem, "network": network, "resume": True})


def test_more_steps_are_those_of_slabs_that_are_not_done(tmp_path):
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, steps=8, weighting=Interrupting(3))
    resumed = train(tmp_path, steps=12, resume=True)
    assert [run.step for run in resumed.runs] == [8, 12, 12]


def test_a_folder_is_not_written_over(tmp_path):
    train(tmp_path / "out", steps=2)
    with pytest.raises(FileExistsError, match="already holds a run or slabs; resume them, overwrite them, or name another"):
        train(tmp_path / "out", steps=2)
    (tmp_path / "out" / "slab_02" / "notes.txt").write_text("mine")
    found = train(tmp_path / "out", steps=3, slabs=2, overwrite=True)
    assert [run.step for run in found.runs] == [3, 3]
    assert [path.name for path in (tmp_path / "out" / "slab_02").iterdir()] == ["notes.txt"]
    problem = convection()
    with pytest.raises(FileExistsError, match="already holds a run"):
        pinntk.train(problem, mlp(problem), steps=2, points=COUNTS, out=tmp_path / "out", progress=False)
    pinntk.train(problem, mlp(problem), steps=2, points=COUNTS, out=tmp_path / "out", progress=False, overwrite=True)
    assert not (tmp_path / "out" / "slabs.json").exists() and not (tmp_path / "out" / "slab_00").exists()
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(tmp_path / "out", steps=2)
    train(tmp_path / "out", steps=2, overwrite=True)
    assert not (tmp_path / "out" / "config.json").exists()
    foreign = tmp_path / "foreign"
    (foreign / "slab_00").mkdir(parents=True)
    (foreign / "slab_00" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="slab_00 is not of a run of pinntk"):
        train(foreign, steps=2, overwrite=True)


def test_two_trainings_do_not_share_a_folder(tmp_path):
    from pinntk.run._folder import lock_folder

    with lock_folder(tmp_path), pytest.raises(pinntk.BusyFolderError):
        train(tmp_path, steps=2)


def test_a_slab_that_blows_up_is_named(tmp_path):
    settings = {"optimizer": "gradient-descent", "lr": 1e6, "schedule": "constant", "checkpoint_every": 1, "weighting": None}
    with pytest.raises(pinntk.NonFiniteLossError, match=r"slab_00: step \d+: the loss of"):
        train(tmp_path, steps=200, **settings)


# What is refused.


def test_bad_arguments_are_named():
    problem = convection()
    with pytest.raises(TypeError, match=r"train_slabs\(MLP, Problem\): the order is problem, network"):
        pinntk.train_slabs(mlp(problem), problem)
    with pytest.raises(TypeError, match=r"train_slabs\(Problem, int\)"):
        pinntk.train_slabs(problem, 3)
    with pytest.raises(TypeError, match="train has no setting 'lerning_rate'"):
        train(lerning_rate=1)
    with pytest.raises(TypeError, match="config=dict"):
        pinntk.train_slabs(problem, mlp(problem), {"steps": 1})
    with pytest.raises(ValueError, match="slabs=0: at least 1"):
        train(slabs=0)
    with pytest.raises(ValueError, match="resume=True needs out="):
        train(resume=True)
    with pytest.raises(ValueError, match="heat_inverse cannot be cut into time slabs: its coefficient 'kappa' is trained"):
        train(problem=pinntk.load("heat_inverse"))
    with pytest.raises(ValueError, match=r"periodic={'t': 1}: the network repeats in time with the length of a slab"):
        train(network=mlp(problem, periodic="t"))
    few = {"weighting": None, "points": {"residual": 4, "initial": 2}}
    assert len(train(network=mlp(problem, periodic="x"), steps=1, **few).runs) == 3


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr("pinntk._util.distributed.world", lambda: 2)
    with pytest.raises(ValueError, match="time slabs are trained in one process; start it without torchrun"):
        train()


def test_a_damaged_slabs_json_is_named(tmp_path):
    train(tmp_path, steps=1)
    path = tmp_path / "slabs.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "slabs": {"edges": [0, 1]}}))
    with pytest.raises(ValueError, match=r"slabs.json is damaged: slabs.fresh is missing"):
        load_slabs(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"slabs.json is damaged"):
        load_slabs(tmp_path)
    own = tmp_path / "slab_01" / "config.json"
    config = json.loads(own.read_text())
    config["problem"]["slab"].pop("edges")
    own.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"the configuration's problem.slab is damaged"):
        Run.load(tmp_path / "slab_01")


def test_errors_of_slabs_are_those_of_their_times():
    found = train()
    solution = found.problem.solution
    predicted = found.problem.predict(found.network, found.problem.solution_points).reshape(solution.values.shape)
    expected = np.sqrt(((predicted - solution.values) ** 2).sum() / (solution.values**2).sum())
    assert found.relative_error == pytest.approx(expected, rel=1e-12)
    assert found.runs[1].relative_error == found.runs[1].problem.relative_error(found.network.networks[1])
