"""Solvers through the trainer: resuming, points that grow, and why a training ends."""

import pytest
import torch

import pinntk
from pinntk.solvers import StepReport
from pinntk.training import Batch
from pinntk.training._updates import SolverUpdate


def trained(out=None, steps=12, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    settings = {"optimizer": "gauss-newton", "points": {"residual": 40}, "progress": False, **settings}
    return pinntk.train(problem, network, steps=steps, out=out, **settings)


def test_training_with_a_solver_resumes_to_the_last_bit(tmp_path):
    whole = trained(tmp_path / "whole", steps=12, weighting=pinntk.weighting.NTK(every=5))
    trained(tmp_path / "cut", steps=7, weighting=pinntk.weighting.NTK(every=5))
    resumed = trained(tmp_path / "cut", steps=12, resume=True, weighting=pinntk.weighting.NTK(every=5))
    for p, q in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(p, q)
    assert "damping" in whole.history[0] and "learning_rate" not in whole.history[0]


def test_points_grow_when_a_step_fits_them_and_not_the_equation():
    run = trained(steps=60, points={"residual": 5}, grow=8)
    assert run.step == 60 or run.stop_reason
    few = run.config["training"]["points"]["poisson"]
    assert few == 5
    assert run.history[-1]["growth"] > 1


def test_points_fall_where_errors_are_large_once_they_prove_too_few(tmp_path):
    few = {"points": {"residual": 5}, "log_every": 1}
    run = trained(steps=24, **few)
    steps, adapting = run.column("adapting")
    first = int(steps[adapting > 0][0])
    assert first >= 5
    assert run.column("growth")[1][: first + 1].max() == 1  # before their number grows
    never, always = (trained(steps=24, adaptive=choice, **few) for choice in (False, True))
    assert not never.column("adapting")[1].any() and always.column("adapting")[1].all()
    assert set(never.point_weights) == set() and set(always.point_weights) == {"poisson"}
    g = always.point_weights["poisson"]
    e = pinntk.errors(always.network, always.problem, always.points)["poisson"].detach()
    assert len(g.unique()) > 1  # the last row's loss is of the weighted points, after the last step
    assert always.history[-1]["loss/poisson"] == pytest.approx(float((g * e**2).mean()), rel=1e-12)
    for steps in (first - 2, first + 2):
        trained(tmp_path / str(steps), steps=steps, **few)
        resumed = trained(tmp_path / str(steps), steps=24, resume=True, **few)
        for p, q in zip(run.network.parameters(), resumed.network.parameters(), strict=True):
            assert torch.equal(p, q)


def test_a_solver_stops_when_it_cannot_improve_and_says_why():
    points = pinntk.load("poisson1d").sample(residual=3, boundary=2, dtype=torch.float64)
    run = trained(steps=400, points=points)
    assert run.step < 400
    assert "no damping" in run.stop_reason or "not fallen" in run.stop_reason


class Scripted:
    """A solver whose loss before the k-th step is losses(k), and a hundredth of it after."""

    def __init__(self, losses):
        self.losses, self.steps, self.weights = losses, 0, None

    def step(self, points, point_weights):
        loss = self.losses(self.steps)
        self.steps += 1
        return StepReport(loss, 0.99 * loss, {"poisson": loss / self.weights["poisson"]}, 1.0, 1e-3, True)


@pytest.mark.parametrize(
    ("losses", "stop"),
    [
        (lambda k: 1e-9, 200),
        (lambda k: 1e-9 * (k % 10 + 1) * 0.997**k, None),  # scatters tenfold and falls by a quarter in 100 steps
        (lambda k: 1e-9 * (k % 10 + 1) * 0.9997**k, 200),
        (lambda k: 1e-12 if k == 50 else 1e-9 * 0.997**k, None),  # one lucky draw does not set the mark
        (lambda k: 1e-9 * 0.99 ** min(k, 300), 441),  # 150 steps after the last tenth
    ],
)
def test_a_solver_stops_where_the_loss_stands_and_not_where_it_scatters(losses, stop):
    update = SolverUpdate(Scripted(losses))
    points = {"poisson": torch.zeros(3, 1, dtype=torch.float64)}
    for k in range(1, 1001):
        weight = 1.0 + (k > 150)  # what is remembered follows the weights
        update.step(Batch(points, {"poisson": 3}, {"poisson": weight}), lambda losses: None)
        if update.stop_reason():
            break
    assert (k if update.stop_reason() else None) == stop


def test_time_ends_a_training():
    run = trained(steps=10_000, seconds=1.0)
    assert run.step < 10_000
    assert "time is up" in run.stop_reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 1e-3}, "lr=0.001 does not apply"),
        ({"schedule": "cosine"}, "schedule='cosine' does not apply"),
        ({"compile": True}, "compile=True does not apply"),
        ({"grow": 0.5}, "grow=0.5"),
        ({"seconds": 0}, "seconds=0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        trained(**settings)
