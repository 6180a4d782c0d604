"""R3: points with errors above their mean stay, the others are drawn anew, and their number stays."""

import numpy as np
import pytest
import torch

import pinntk
from pinntk.training import TrainConfig
from pinntk.training._points import TrainingPoints

F64 = {"dtype": torch.float64}
BOX = pinntk.Box(t=(0, 1), x=(0, 1))


@pinntk.residual(BOX)
def one(u_t, u_x):
    return u_t + u_x**2


@pinntk.residual(BOX)
def other(u_xx, u):
    return 100 * (u_xx + u)


@pinntk.initial(BOX.at(t=0))
def start(u, x):
    return u - x


def points_of(*conditions, sampling="uniform", n=40):
    problem = pinntk.Problem(BOX, conditions)
    network = pinntk.nn.MLP(problem, width=6, depth=1, **F64)
    config = TrainConfig(points={"residual": n, "initial": 7}, resample=1, adaptive="r3", sampling=sampling)
    return problem, network, TrainingPoints(config, network, problem)


def rows_of(tensor):
    return {tuple(row) for row in tensor.tolist()}


@pytest.mark.parametrize("sampling", ["uniform", "sobol", "latin-hypercube"])
def test_what_stays_is_what_lies_above_the_mean(sampling):
    problem, network, points = points_of(one, start, sampling=sampling)
    before, size = points.all, 40
    for step in (1, 2, 3):
        e = pinntk.errors(network, problem, before)["one"].detach().abs()
        expected = before["one"][e > e.mean()]
        assert points.redraw(step)
        after = points.all
        assert rows_of(after["one"]) & rows_of(before["one"]) == rows_of(expected)
        assert torch.equal(after["one"][: len(expected)], expected) and 0 < len(expected) < size
        assert len(after["one"]) == size and len(after["start"]) == 7
        assert not rows_of(after["start"]) & rows_of(before["start"])
        assert problem.domain.contains(after["one"].numpy()).all()
        before = after


def test_conditions_that_share_points_go_by_both():
    problem, network, points = points_of(one, other, start)
    before = points.all
    assert before["one"] is before["other"]
    e = pinntk.errors(network, problem, before)
    total = sum(e[name].detach().abs() / e[name].detach().abs().mean() for name in ("one", "other"))
    points.redraw(1)
    assert points.all["one"] is points.all["other"] and len(points.all["one"]) == 40
    assert rows_of(points.all["one"]) & rows_of(before["one"]) == rows_of(before["one"][total > 2])


def test_errors_of_zero_keep_nothing():
    assert pinntk.R3().retained([np.zeros(3)]).tolist() == [False] * 3
    assert pinntk.R3().retained([np.zeros(3), np.array([0.0, 1, 5])]).tolist() == [False, False, True]


def test_a_resumed_training_is_the_whole_one(tmp_path):
    def go(steps, **settings):
        problem = pinntk.Problem(BOX, [one, start])
        network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
        few = {"points": {"residual": 20, "initial": 5}, "progress": False, "snapshot_every": 0, "schedule": "constant"}
        return pinntk.train(problem, network, steps=steps, resample=2, adaptive=pinntk.R3(), **few, **settings)

    whole = go(9)
    assert whole.config["training"]["adaptive"] == "r3" and TrainConfig.from_json(whole.config).adaptive == pinntk.R3()
    go(5, out=tmp_path)
    resumed = go(9, out=tmp_path, resume=True)
    assert torch.equal(resumed.points["one"], whole.points["one"])
    assert all(torch.equal(p, q) for p, q in zip(resumed.network.parameters(), whole.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adaptive": "r3"}, "adaptive points need resample"),
        (
            {"adaptive": "r3", "resample": 5, "sampling": "grid"},
            "adaptive='r3' keeps the number of points, and sampling='grid'",
        ),
        ({"adaptive": "r4", "resample": 5}, "adaptive='r4': one of 'rad', 'r3'"),
        ({"adaptive": "r3", "resample": 5, "optimizer": "gauss-newton"}, "keeps points without a probability"),
    ],
)
def test_what_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)
