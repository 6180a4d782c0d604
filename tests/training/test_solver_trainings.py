"""Solvers through the trainer: resuming, points that grow, and why a training ends."""

from dataclasses import replace
from itertools import cycle

import pytest
import torch

import pinntk
from pinntk.solvers import StepReport
from pinntk.training import Batch, TrainConfig
from pinntk.training._points import TrainingPoints
from pinntk.training._solver_update import SolverUpdate


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


@pytest.mark.slow
def test_points_grow_when_a_step_fits_them_and_not_the_equation():
    run = trained(steps=80, points={"residual": 5}, grow=8)
    few = run.config["training"]["points"]["poisson"]
    assert few == 5
    assert run.history[-1]["growth"] > 1
    assert len(run.points["poisson"]) == int(run.history[-1]["growth"] * 5)


def test_points_stay_the_same_once_the_solver_converges():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    points = TrainingPoints(TrainConfig(optimizer="gauss-newton", points={"residual": 10}), network, problem)
    first = points.all["poisson"]
    assert points.redraw(3)
    second = points.all["poisson"]
    assert not torch.equal(first, second)
    assert not points.redraw(4, hold=True)
    assert points.all["poisson"] is second
    assert points.redraw(5, growth=1.5, hold=True)
    assert len(points.all["poisson"]) == 15
    state = points.state_dict()
    assert not points.redraw(6, growth=1.5, hold=True)
    again = TrainingPoints(points.config, network, problem)
    again.load_state_dict(state)
    assert not again.redraw(6, growth=1.5, hold=True)
    others = points.others(6)["poisson"]
    assert len(others) == 15
    assert not torch.equal(others, points.all["poisson"])
    e = pinntk.errors(network, problem, {"poisson": others})["poisson"].detach()
    assert points.losses({"poisson": others})["poisson"] == pytest.approx(float(e.square().mean()))


@pytest.mark.slow
def test_points_fall_where_errors_are_large_once_they_prove_too_few():
    few = {"points": {"residual": 5}, "log_every": 1}
    run = trained(steps=32, **few)
    steps, adapting = run.column("adapting")
    first = int(steps[adapting > 0][0])
    assert first >= 10
    assert run.column("growth")[1][: first + 1].max() == 1  # before their number grows
    never, always = (trained(steps=32, adaptive=choice, **few) for choice in (False, True))
    assert not never.column("adapting")[1].any() and always.column("adapting")[1].all()
    assert set(never.point_weights) == set() and set(always.point_weights) == {"poisson"}
    g = always.point_weights["poisson"]
    e = pinntk.errors(always.network, always.problem, always.points)["poisson"].detach()
    assert len(g.unique()) > 1  # the last row's loss is of the weighted points, after the last step
    assert always.history[-1]["loss/poisson"] == pytest.approx(float((g * e**2).mean()), rel=1e-12)


def test_a_solver_stops_when_it_cannot_improve_and_says_why():
    points = pinntk.load("poisson1d").sample(residual=3, boundary=2, dtype=torch.float64)
    run = trained(steps=400, points=points)
    assert run.step < 400
    assert "is rounding" in run.stop_reason  # three points are met


class Scripted:
    """A solver whose loss before the k-th step is losses(k), and of that `share` after it."""

    def __init__(self, losses, share=0.99, phase="explore", size=100):
        self.size = size
        self.losses, self.share, self.steps, self.weights, self.phase = losses, share, 0, None, phase

    def step(self, points, point_weights):
        loss = self.losses(self.steps)
        self.steps += 1
        return StepReport(loss, self.share * loss, {"poisson": loss / self.weights["poisson"]}, 1.0, 1e-3, True)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def explore(self):
        self.phase = "explore"

    def converge(self):
        self.phase = "converge"


class Elsewhere:
    """Other points, on which the loss is `unseen`. Those of the steps are fresh one after the other, or as `fresh` says."""

    all, all_weights = {"poisson": torch.zeros(300, 1, dtype=torch.float64)}, {}

    def __init__(self, unseen, fresh=(True,)):
        self.unseen, self._fresh = unseen, cycle(fresh)

    @property
    def fresh(self):
        return next(self._fresh)

    def others(self, step):
        return {}

    def losses(self, points):
        return {"poisson": self.unseen}


def stepped(update, steps, count=300):
    points = {"poisson": torch.zeros(count, 1, dtype=torch.float64)}
    for _ in range(steps):
        update.step(Batch(points, {"poisson": count}, {"poisson": 1.0}), lambda losses: None)
    return update


def test_what_steps_gain_and_fresh_points_take_back_asks_for_other_points():
    """First where errors are large; then they are held, and for a solver that never converges they become more."""
    update = SolverUpdate(Scripted(lambda k: 1e-3, share=0.5), Elsewhere(0.0), most=8)
    assert not stepped(update, 10).adapting  # ten losses, nine of them after a step
    assert stepped(update, 1).adapting
    assert update.growth == 1
    assert not update.hold
    assert not stepped(update, 10).hold  # what the last step left was left on points of another kind
    assert stepped(update, 1).hold
    restless = Scripted(lambda k: 1e-3, share=0.5)
    restless.converge = lambda: None
    update = stepped(SolverUpdate(restless, Elsewhere(0.0), most=8), 22)
    assert update.growth == 1.5
    assert not update.hold


@pytest.mark.parametrize(("most", "growth"), [(8, 4.0), (4, 4.0), (3, 1.0)])
def test_points_that_are_to_be_held_outnumber_the_parameters_twice(most, growth):
    update = SolverUpdate(Scripted(lambda k: 1e-3, size=600, phase="converge"), Elsewhere(0.0), most=most)
    assert stepped(update, 20).growth == growth
    own = SolverUpdate(Scripted(lambda k: 1e-3, size=600, phase="converge"), Elsewhere(0.0), every=0)
    assert stepped(own, 20).growth == 1


@pytest.mark.parametrize(
    "losses",
    [
        lambda k: 0.8**k,  # steps fit their own points better than others, and gain all the same
        lambda k: 1.0,  # steps gain nothing
        lambda k: float(k < 3),  # nothing is left to gain
    ],
)
def test_points_stay_few_where_they_are_not_to_blame(losses):
    falling = losses(1) < 1
    update = stepped(SolverUpdate(Scripted(losses, share=0.1 if falling else 0.9), Elsewhere(0.0), most=8), 60)
    assert not update.adapting
    assert update.growth == 1


def test_points_that_are_held_grow_where_others_show_more():
    update = SolverUpdate(Scripted(lambda k: 1e-3, phase="converge"), Elsewhere(2e-3), most=2, adapting=False)
    assert stepped(update, 20).growth == 1
    assert update.hold
    update = SolverUpdate(Scripted(lambda k: 1e-3, phase="converge"), Elsewhere(1.0), most=8, adapting=False)
    assert stepped(update, 9).growth == 2.25  # far too few
    update = SolverUpdate(Scripted(lambda k: 1e-3, phase="converge"), Elsewhere(1e-2), most=2, adapting=False)
    assert stepped(update, 9).growth == 1.5
    assert stepped(update, 5).growth == 2
    assert stepped(update, 20).growth == 2
    stands = "the loss has not fallen by a tenth in 100 steps; on other points it is "
    assert (
        stepped(update, 200).stop_reason() == f"points: {stands}10 times as large, and grow=2 allows no more of them: raise it"
    )
    enough = SolverUpdate(Scripted(lambda k: 1e-3, phase="converge"), Elsewhere(1e-3), most=2)
    reason = stepped(enough, 210).stop_reason()
    assert reason.startswith(f"capacity: {stands}1 times as large")
    assert "pinntk solve --resume RUN --grow-network WIDTH" in reason


def test_only_fresh_points_tell_whether_they_are_too_few():
    """Drawn every third step, from 90 % of the loss to the whole of it again; between, steps gain a tenth each."""
    third = True, False, False
    update = SolverUpdate(Scripted(lambda k: 0.9 ** (k % 3), share=0.9), Elsewhere(0.0, third), every=3)
    assert not stepped(update, 60).adapting
    update = SolverUpdate(Scripted(lambda k: 0.5 ** (k % 3), share=0.5), Elsewhere(0.0, third), every=3)
    assert not stepped(update, 30).adapting  # ten draws, nine of them after a step
    assert stepped(update, 1).adapting


def test_steps_refused_between_draws_do_not_end_a_training():
    class Refusing(Scripted):
        def step(self, points, point_weights):
            report = super().step(points, point_weights)
            return report if self.steps % 10 == 1 else replace(report, accepted=False, note="none")

    points = Elsewhere(0.0, fresh=[True, *[False] * 9])
    assert not stepped(SolverUpdate(Refusing(lambda k: 1.0), points, every=10), 50).stop_reason()
    reason = "5 steps in a row were refused: none"
    assert stepped(SolverUpdate(Refusing(lambda k: 1.0), Elsewhere(0.0), every=0), 6).stop_reason() == reason


def test_the_progress_bar_knows_the_damping_where_the_solver_does():
    update = SolverUpdate(Scripted(lambda k: 1.0), Elsewhere(0.0))
    assert update.status() == ""
    assert stepped(update, 1).status() == "exploring"
    update.load_state_dict({**update.state_dict(), "own": {**update.state_dict()["own"], "_relative": 1e-7, "hold": True}})
    assert update.status() == "converging, damping 1e-07"


def test_weights_of_zero_everywhere_are_refused():
    with pytest.raises(ValueError, match="all loss weights are 0, of poisson, ends: a solver needs one above 0"):
        trained(weighting=pinntk.weighting.Fixed(residual=0, boundary=0))


def test_an_error_that_is_not_finite_on_other_points_is_named():
    domain = pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def equation(u, x):
        return torch.where(x < 0.9, u - x, torch.nan)

    problem = pinntk.Problem(domain, [equation])
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    here = {"equation": torch.linspace(0, 0.8, 5, dtype=torch.float64)[:, None]}
    points = TrainingPoints(TrainConfig(points=here), network, problem)
    with pytest.raises(pinntk.NonFiniteError, match="'equation': the error is NaN at 1 of 5 points"):
        points.losses({"equation": here["equation"] + 0.15})


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
    update = SolverUpdate(Scripted(losses), Elsewhere(0.0), every=0)
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
