"""Rules about the network and its training: inputs, step, layers, precision, size, and whether it went on."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk.diagnostics import RULES, THRESHOLDS, natural_step
from pinntk.diagnostics._prescriptions import last_resorts, slower
from pinntk.diagnostics._rules_sizes import _scaled_coefficients
from pinntk.diagnostics._rules_training import _by_gauss_newton, _too_large_by_the_end
from pinntk.training import apply_changes
from tests.support.diagnosed import codes, healthy, healthy_run, poisson, trained

pytestmark = pytest.mark.xdist_group("diagnose")  # one worker, for what they share


def far_away() -> tuple[Problem, dict[str, int]]:
    domain = Box(x=(2000, 2010))

    @residual(domain)
    def decay(u, u_x):
        return u_x + u / 10

    @boundary(domain.at(x=2000))
    def start(u):
        return u - 1

    return Problem(domain, [decay, start]), {"decay": 40, "start": 1}


def test_unnormalized_inputs():
    problem, points = far_away()
    first = pinntk.diagnose(trained(problem, {"normalize": False}, points=points))[0]
    assert first.code == "unnormalized-inputs"
    assert first.evidence["input_mean_max"] == pytest.approx(2005, rel=1e-3)
    assert first.prescriptions[0].changes == {"network.arguments.normalize": True}


@pytest.mark.slow
def test_normalized_inputs_may_lie_far_away():
    problem, points = far_away()
    assert RULES["unnormalized-inputs"](pinntk.examine(trained(problem, points=points))) is None


def test_step_too_large_and_the_step_that_is_prescribed():
    run = trained(poisson(), {"depth": 3}, lr=0.3, schedule="constant")
    first = pinntk.diagnose(run)[0]
    assert first.code == "step-too-large"
    natural = pinntk.examine(run).natural_step
    assert first.evidence["step_ratio"] == pytest.approx(0.3 / natural)
    assert first.prescriptions[0].changes["training.lr"] == pytest.approx(min(natural / 2, 1e-2), rel=0.05)


def test_step_too_small_for_adam_and_for_gradient_descent():
    for options in ({"lr": 1e-6}, {"lr": 1e-9, "optimizer": "gradient-descent"}):
        run = trained(poisson(), steps=100, **options)
        first = pinntk.diagnose(run)[0]
        assert first.code == "step-too-small"
        assert first.evidence["parameter_drift"] < 1e-3
    stable = pinntk.examine(run).spectrum.stable_step
    assert first.evidence["step_ratio"] == pytest.approx(1e-9 / (stable / 2))
    assert first.evidence["unlearned_share"] > 0.9


def test_the_first_trial_of_a_line_search_is_no_learning_rate():
    run = trained(poisson(), optimizer="lbfgs", lr=1.0, steps=30, weighting=None)
    assert pinntk.examine(run).progress.solving
    assert not {"step-too-large", "step-too-small"} & set(codes(run))


def test_saturation():
    run = trained(poisson(), {"gain": 30.0}, steps=100)
    first = pinntk.diagnose(run)[0]
    assert first.code == "saturation"
    assert first.evidence["saturated_share"] > THRESHOLDS["saturated"].value
    assert first.prescriptions[0].changes["network.arguments.gain"] == 1.0


def test_network_too_small():
    run = trained(poisson(k=4), {"width": 3, "depth": 1}, lr=1e-2, sampling="uniform")
    first = pinntk.diagnose(run)[0]
    assert first.code == "network-too-small"
    assert first.evidence["kernel_rank"] == first.evidence["parameters"] == 10
    assert first.prescriptions[0].changes["network.arguments.width"] == 32


def solved(dtype, steps):
    problem = poisson()
    network = pinntk.nn.MLP(problem, width=16, depth=2, dtype=dtype)
    settings = {"optimizer": "gauss-newton", "points": {"residual": 50}, "snapshot_every": 0, "progress": False}
    return pinntk.train(problem, network, steps=steps, **settings)


def test_float32_floor():
    run = solved(torch.float32, steps=60)
    first = pinntk.diagnose(run)[0]
    assert first.code == "float32-floor"
    assert codes(run.network, run.problem, run.points, run.weights) == codes(run)  # which needs no run
    assert first.prescriptions[0].changes == {"network.dtype": "float64"}


@pytest.mark.slow
def test_double_precision_has_no_floor():
    assert codes(solved(torch.float64, steps=60)) == []


@pytest.mark.slow
def test_a_loss_that_jumps_where_the_few_points_are_is_no_matter_of_the_step():
    """With two points the loss falls to rounding and jumps there; the error is between them."""
    run = trained(poisson(), points={"residual": 2, "boundary": 2}, steps=600, lr=5e-3, schedule="constant")
    x = pinntk.examine(run)
    for row in run.history[len(run.history) // 2 :: 2]:
        row |= {f"loss/{name}": 100 * row[f"loss/{name}"] for name in run.weights}
    run.history[-1] |= {f"loss/{name}": 1e3 * run.history[-1][f"loss/{name}"] for name in run.weights}
    assert x.progress.rise > THRESHOLDS["rise"].value
    first = pinntk.diagnose(x)[0]
    assert first.code == "too-few-points" and "step-too-large" not in codes(run)


def test_a_training_of_three_steps_was_over_before_it_had_begun():
    run = trained(poisson(), steps=3, lr=1e-3)
    first = pinntk.diagnose(run)[0]
    assert (first.code, first.severity, first.evidence["steps"]) == ("too-few-steps", "critical", 3)
    solver, more = first.prescriptions[:2]
    assert (solver.changes["training.steps"], more.changes) == (100, {"training.steps": 5000})
    assert "too-few-steps" not in codes(trained(poisson(), steps=3, optimizer="gauss-newton", lr=None))


def test_a_run_that_was_still_going_is_unfinished():
    run = trained(poisson(), steps=100, lr=1e-3)
    assert pinntk.examine(run).relative_error > 0.05
    first = pinntk.diagnose(run)[0]
    assert first.code == "unfinished"
    assert [prescription.changes["training.steps"] for prescription in first.prescriptions] == [100, 400]


def test_what_time_has_ended_is_given_as_many_times_the_time():
    run = trained(poisson(), steps=100, lr=1e-3)
    run.config["training"] |= {"steps": 10**6, "seconds": 0.9 * run.seconds}
    _, longer = pinntk.diagnose(run)[0].prescriptions
    assert longer.changes == {"training.steps": 400, "training.seconds": math.ceil(3.6 * run.seconds)}
    run.config["training"]["seconds"] = 100 * run.seconds  # time for 10,000 steps
    assert pinntk.diagnose(run)[0].prescriptions[1].changes == {"training.steps": 400}


def test_a_loss_that_is_flat_over_the_second_half_of_a_cosine_schedule_is_not_falling():
    """Measured against the learning rates alone it falls: half of their sum is spent in a quarter of the steps."""
    run = trained(poisson(), steps=100, lr=1e-3, schedule="cosine")
    time = np.array([0, *np.cumsum([row["learning_rate"] for row in run.history[:-1]])]) / run.history[0]["learning_rate"]
    flat = 0.1 + 0.6 * np.exp(-8 * np.linspace(0, 1, len(time)))  # of the steps; like burgers with 800 steps of Adam
    falling = 1 / (1 + time) ** 1.5
    for loss, code in ((flat, "unexplained"), (falling, "unfinished")):
        for row, value in zip(run.history, loss, strict=True):
            row |= {f"loss/{name}": value / weight / 2 for name, weight in run.weights.items()}
        assert pinntk.examine(run).progress.slope < THRESHOLDS["falling"].value
        assert codes(run) == [code]


def test_the_natural_step_of_a_network_whose_start_is_not_known_is_taken_with_fresh_parameters():
    run, known = healthy_run(), healthy()
    wrapped = torch.nn.Sequential(run.network)
    unknown = pinntk.examine(wrapped, run.problem, run.points, run.weights)
    assert 0.2 < unknown.natural_step / known.natural_step < 5
    assert natural_step(run.network, run.problem, known.few, run.weights) < 0.02 * known.natural_step  # hardly a gradient


def test_what_was_trained_by_gauss_newton_needs_more_steps_of_it():
    for before, after in ((10, 100), (300, 600)):
        run = SimpleNamespace(config={"training": {"optimizer": "Gauss-Newton", "steps": before}})
        more = _by_gauss_newton(run)
        assert more.changes["training.steps"] == after and more.changes["training.optimizer"] == "gauss-newton"
        assert more.sentence == f"take {after} steps of Gauss-Newton in place of {before}"
    other = _by_gauss_newton(SimpleNamespace(config={"training": {"optimizer": "adam", "steps": 10}}))
    assert other.changes["training.steps"] == 100 and other.sentence.startswith("try Gauss-Newton")


def by(optimizer):
    config = {"training": {"optimizer": optimizer, "steps": 2060}, "weighting": {"name": "fixed"}}
    run = SimpleNamespace(config=config, history=[{"learning_rate": 1e3}], step=1)
    return SimpleNamespace(run=run, diverged=True, problem=poisson(), natural_step=1e-3)


def test_a_chain_is_judged_by_its_parts():
    solver, first_order = by("adam:2000, gauss-newton:60"), by("adam:2000, adamw:60")
    more = _by_gauss_newton(solver.run)
    assert more.sentence == "take 120 steps of Gauss-Newton in place of 60" and more.changes["training.steps"] == 120
    assert _by_gauss_newton(first_order.run).sentence.startswith("try Gauss-Newton")
    for x, offered in ((solver, 0), (first_order, 1)):
        resorts = [*last_resorts(x), *_scaled_coefficients(x, {"k": 3e9})[1:]]
        assert [p.changes["training.optimizer"] for p in resorts] == 2 * offered * ["gauss-newton"]
    ended = {text: _too_large_by_the_end(by(text)) for text in ("adam", "gauss-newton", "adam:9, lbfgs:9", "adam:9, adamw:9")}
    assert [text for text, found in ended.items() if found is not None] == ["adam"]  # by whose learning rate is not known


def test_a_learning_rate_in_place_of_a_chain_can_be_applied():
    for optimizer, expected in (("adam:150, adamw:150", "adam"), ("adamw", "adamw")):
        config = {"training": {"optimizer": optimizer, "steps": 300}, "weighting": {"name": "fixed"}}
        now = apply_changes(config, slower(SimpleNamespace(config=config), 1e-3).changes)["training"]
        assert (now["optimizer"], now["lr"], now["schedule"], now["steps"]) == (expected, 1e-3, "cosine", 300)
