"""Trainings in time slabs: each from the end of the one before, and what is refused."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk import Run, load_slabs
from pinntk.weighting import NTK, Fixed
from tests.support.slabs import Interrupting, convection, decay, mlp, parameters, same, same_tensors, train
from tests.support.small_problems import F64
from tests.support.sweeps import sweep

SOLVING: dict = {"optimizer": "gauss-newton", "lr": None, "weighting": None}
SOLVING |= {"points": {"residual": 120, "initial": 20, "periodic": 20, "boundary": 20}}


# What is trained.


@pytest.mark.slow
def test_two_slabs_solve_and_their_values_meet():
    problem = convection(beta=6.0)
    found = train(
        problem=problem,
        network=mlp(problem, width=14, depth=2),
        slabs=2,
        steps=25,
        **SOLVING,
    )
    assert found.relative_error < 1e-4 > found.runs[1].relative_error
    assert found.relative_error == problem.relative_error(found.network)
    x = torch.linspace(0, 6.28, 50, **F64)
    edge = torch.stack([torch.full_like(x, 0.5), x], 1)
    first, second = (run.network(edge) for run in found.runs)
    assert (first - second).detach().abs().max() < 1e-3
    assert torch.equal(found.network(edge), first)


@pytest.mark.slow
def test_a_wave_keeps_its_velocity_over_slabs():
    problem = pinntk.load("wave1d", beta=2.0)
    found = train(
        problem=problem,
        network=mlp(problem, width=12, depth=2),
        slabs=3,
        steps=25,
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
    settings = {**SOLVING, "points": {"residual": 80, "initial": 15}}
    found = train(problem=problem, network=mlp(problem, width=8), slabs=(2.0, 1.5, 0.0), steps=22, **settings)
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

    monkeypatch.setattr("pinntk.training._series.train", watched)
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


@pytest.mark.parametrize("name", sweep(("reaction", "wave1d"), "reaction"))
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
        train(tmp_path / "cut", **{**settings, "steps": 8, "weighting": Interrupting(5)})
    resumed = train(tmp_path / "cut", **{**settings, "steps": 8, "resume": True})
    assert same(resumed, train(**{**settings, "steps": 8}))


def test_a_line_in_time_is_not_met_by_construction_later():
    """Where no coordinate is left, a start is one number, and could be built in: but not built again from a folder."""
    problem = decay()
    found = train(problem=problem, network=mlp(problem, hard="auto"), points={"residual": 5}, steps=3)
    assert [run.network.hard for run in found.runs] == [("begin",), (), ()]
    with pytest.raises(ValueError, match="'begin' cannot be met by construction: it begins a time slab with what the network"):
        train(problem=problem, network=lambda part: mlp(part, hard="begin"), points={"residual": 5}, steps=3)


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


@pytest.mark.slow
def test_a_traced_slab_takes_the_steps_of_an_eager_one(monkeypatch):
    traced = []
    monkeypatch.setattr(torch, "compile", lambda graph, **settings: traced.append(graph) or graph)
    monkeypatch.setattr("pinntk.training._compiled._SHARED", OrderedDict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a step that cannot be compiled
        eager, compiled = (train(steps=3, slabs=2, weighting=None, compile=on) for on in (False, True))
    assert len(traced) == 2
    for p, q in zip(parameters(eager), parameters(compiled), strict=True):
        assert torch.allclose(p, q, rtol=1e-9, atol=1e-12)


def test_errors_of_slabs_are_those_of_their_times():
    found = train()
    solution = found.problem.solution
    predicted = found.problem.predict(found.network, found.problem.solution_points).reshape(solution.values.shape)
    expected = np.sqrt(((predicted - solution.values) ** 2).sum() / (solution.values**2).sum())
    assert found.relative_error == pytest.approx(expected, rel=1e-12)
    assert found.runs[1].relative_error == found.runs[1].problem.relative_error(found.network.networks[1])


# What is refused.


def test_a_copy_that_meets_the_first_start_is_refused():
    problem = pinntk.load("burgers")

    def constrained(part):
        return pinntk.nn.hard_constraint(part, mlp(part))

    settings = {"problem": problem, "points": {"residual": 8, "initial": 4, "boundary": 4}, "steps": 2}
    with pytest.raises(ValueError, match="a copy of it would meet 'start' where the whole time starts, not where a slab does"):
        train(network=constrained(problem), **settings)
    found = train(network=constrained, **settings)
    assert [run.network.hard for run in found.runs] == [("start", "walls"), ("walls",), ("walls",)]


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
    with pytest.raises(ValueError, match="slabs=0: at least 1 and at most 10000"):
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
    with pytest.raises(ValueError, match="time slabs are trained in one process, since each begins"):
        train()


def test_a_slab_that_blows_up_is_named(tmp_path):
    settings = {"optimizer": "gradient-descent", "lr": 1e6, "schedule": "constant", "checkpoint_every": 1, "weighting": None}
    with pytest.raises(pinntk.NonFiniteLossError, match=r"slab_00: step \d+: the loss of"):
        train(tmp_path, steps=200, **settings)
