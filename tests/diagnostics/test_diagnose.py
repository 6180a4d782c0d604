"""`pinntk.diagnose`: every rule on a failing network and a healthy one, the order of findings, and no false alarm."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import cos, pi, sin

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk.diagnostics import RULES, THRESHOLDS, Finding, natural_step
from pinntk.diagnostics._findings import by_cause
from pinntk.diagnostics._judgment import error_of_zero
from pinntk.diagnostics._prescriptions import gauss_newton
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.training import apply_changes
from tests.support.diagnosed import Causal, codes, healthy_run, poisson, trained

pytestmark = pytest.mark.xdist_group("diagnose")  # one worker, for what they share


@pytest.fixture
def healthy():
    return healthy_run()


# Healthy runs.


def test_nothing_is_found_in_a_healthy_run(healthy):
    assert codes(healthy) == []


@pytest.mark.parametrize("name", ["poisson1d", "reaction", "helmholtz2d"])
def test_nothing_is_found_where_gauss_newton_solved_a_problem_of_the_registry(name):
    problem = pinntk.load(name, **{"helmholtz2d": {"a1": 1, "a2": 1}, "poisson1d": {"k": 1}}.get(name, {}))
    network = pinntk.nn.MLP(problem, width=20, depth=2, dtype=torch.float64)
    points = {"residual": 60 if problem.domain.dimension == 1 else 200, "boundary": 40, "initial": 40, "periodic": 40}
    run = pinntk.train(problem, network, optimizer="gauss-newton", steps=30, points=points, progress=False, snapshot_every=0)
    assert run.relative_error < 5e-3
    assert codes(run) == []


# One rule at a time.


def test_imbalance():
    run = trained(poisson(k=2), {"width": 100, "depth": 1, "initialization": "normal"}, lr=1e-3, weighting=None)
    first = pinntk.diagnose(run)[0]
    assert first.code == "imbalance"
    assert first.severity == "critical"
    assert first.sentence.startswith("The residual of equation trains ")
    found = pinntk.examine(run).balance
    assert first.evidence["imbalance"] == pytest.approx(found.imbalance)
    assert first.evidence["cosine"] == found.cosines["equation"]["walls"]
    assert first.evidence["alignment"] == pytest.approx(first.evidence["cosine"])  # of two, their cosine
    assert first.prescriptions[0].changes == {"weighting": {"name": "ntk", "every": 100}}
    assert "imbalance" not in codes(trained(poisson(k=2), {"width": 100, "depth": 1, "initialization": "normal"}, lr=1e-3))


class Pinned(torch.nn.Module):
    """sin(pi x) N(x): zero at both ends, to rounding at x = 1."""

    def __init__(self, problem):
        super().__init__()
        self.network = pinntk.nn.MLP(problem, width=100, depth=1, initialization="normal", dtype=torch.float64)

    def forward(self, x):
        return torch.sin(pi * x) * self.network(x)


def test_a_condition_that_is_met_by_construction_is_not_the_slow_one():
    problem = poisson(k=4, shift=0.0)
    x = pinntk.examine(Pinned(problem), problem, problem.sample(equation=60, walls=2, readings=9, dtype=torch.float64))
    assert 0 < x.balance.rate["walls"] < 1e-20 * x.balance.rate["readings"]  # rounding
    found = pinntk.diagnose(x)[0]
    assert found.code == "imbalance"
    assert found.sentence.partition(" times faster than ")[2].startswith("the condition readings")
    assert found.evidence["cosine"] == x.balance.cosines["equation"]["readings"] != 0


def test_spectral_bias_and_sigma_from_its_frequency():
    domain = Box(x=(0, 1))

    @residual(domain)
    def slope(u_x, x):
        return u_x - 2 * pi * cos(2 * pi * x) - 10 * pi * cos(20 * pi * x)

    @boundary(domain.at(x=0))
    def end(u):
        return u

    run = trained(Problem(domain, [slope, end]), points={"slope": 200, "end": 1}, steps=200)
    first = pinntk.diagnose(run)[0]
    assert first.code == "spectral-bias"
    assert first.evidence["dominant_waves"] == 10
    features, sigma = first.prescriptions[0].changes["network.arguments.fourier"]
    # Ten waves a domain length are 10 / sqrt(12) a standard deviation of x; sigma is half of that.
    assert (features, sigma) == (64, pytest.approx(5 / 12**0.5, rel=0.05))


def test_spectral_bias_of_data_on_a_wall():
    """A wall that is shaken fast is learned as slowly as a source with short waves, and its residual has none."""
    domain = Box(x=(0, 1), t=(0, 1))

    @residual(domain)
    def transport(u_t, u_x):
        return u_t + u_x

    @boundary(domain.at(x=0))
    def shaken(u, t):
        return u - sin(12 * pi * t)

    @initial(domain.at(t=0))
    def start(u):
        return u

    problem = Problem(domain, [transport, shaken, start])
    first = pinntk.diagnose(trained(problem, points={"transport": 200, "shaken": 60, "start": 30}, steps=200))[0]
    assert first.code == "spectral-bias" and first.evidence["dominant_waves"] == 6
    assert "of the squared error of the condition shaken" in first.sentence


def test_unnormalized_inputs():
    domain = Box(x=(2000, 2010))

    @residual(domain)
    def decay(u, u_x):
        return u_x + u / 10

    @boundary(domain.at(x=2000))
    def start(u):
        return u - 1

    problem = Problem(domain, [decay, start])
    points = {"decay": 40, "start": 1}
    first = pinntk.diagnose(trained(problem, {"normalize": False}, points=points))[0]
    assert first.code == "unnormalized-inputs"
    assert first.evidence["input_mean_max"] == pytest.approx(2005, rel=1e-3)
    assert first.prescriptions[0].changes == {"network.arguments.normalize": True}
    assert "unnormalized-inputs" not in codes(trained(problem, points=points))


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


def test_too_few_points_and_enough_of_them(healthy):
    run = trained(poisson(), points={"residual": 3, "boundary": 2}, steps=400)
    first = pinntk.diagnose(run)[0]
    assert first.code == "too-few-points"
    assert first.prescriptions[0].changes["training.points"]["equation"] >= 100
    assert pinntk.examine(healthy).missing["equation"].ratio < THRESHOLDS["missing"].value


def test_clustered_points():
    problem = poisson()
    rows = problem.sample(residual=40, boundary=2, dtype=torch.float64)
    run = trained(problem, points={"equation": rows["equation"] / 4, "walls": rows["walls"]})
    first = pinntk.diagnose(run)[0]
    assert first.code == "clustered-points"
    assert first.prescriptions[0].changes["training.points"] == {"equation": 40, "walls": 2}
    assert first.arrays["x"].shape == (40, 1)


def test_network_too_small():
    run = trained(poisson(k=4), {"width": 3, "depth": 1}, lr=1e-2)
    first = pinntk.diagnose(run)[0]
    assert first.code == "network-too-small"
    assert first.evidence["kernel_rank"] == first.evidence["parameters"] == 10
    assert first.prescriptions[0].changes["network.arguments.width"] == 32


def test_conflict_and_the_data_that_are_right():
    points = {"equation": 40, "walls": 2, "readings": 9}
    run = trained(poisson(shift=0.5, exact=False), points=points)
    first = pinntk.diagnose(run)[0]
    assert first.code == "conflict"
    assert first.evidence["alignment"] == pinntk.examine(run).balance.alignment
    weights = first.prescriptions[0].changes["weighting"]
    assert weights["readings"] == 0 and weights["walls"] > 0
    assert "conflict" not in codes(trained(poisson(shift=0.0), points=points))


def test_wrong_sign_is_seen_by_the_known_solution():
    run = trained(poisson(sign=-1.0), {"width": 32})
    first = pinntk.diagnose(run)[0]
    assert first.code == "wrong-problem"
    assert "does not satisfy the condition equation:" in first.sentence
    assert first.prescriptions[0].changes == {}


def test_missing_condition_is_seen_without_a_solution():
    problem = poisson(ends=False, exact=False)
    run = trained(problem, points={"residual": 40})
    first = pinntk.diagnose(run)[0]
    assert first.code == "wrong-problem"
    assert "undetermined" in first.sentence


def test_float32_floor_and_double_precision():
    def solved(dtype):
        problem = poisson()
        network = pinntk.nn.MLP(problem, width=16, depth=2, dtype=dtype)
        points = {"residual": 50}
        return pinntk.train(problem, network, optimizer="gauss-newton", steps=40, points=points, progress=False)

    first = pinntk.diagnose(solved(torch.float32))[0]
    assert first.code == "float32-floor"
    assert first.prescriptions[0].changes == {"network.dtype": "float64"}
    assert codes(solved(torch.float64)) == []


def test_causality():
    problem = pinntk.load("reaction")
    run = trained(problem, points={"residual": 150, "initial": 40, "periodic": 40}, weighting=None, steps=250)
    found = pinntk.diagnose(run)
    assert found[0].code == "causality"
    assert found[0].prescriptions[0].changes["training.optimizer"] == "gauss-newton"
    assert len(found[0].arrays["time"]) == len(found[0].arrays["error"]) == len(found[0].arrays["residual"])


def test_trivial_solution():
    """Zero everywhere satisfies a homogeneous equation; only the start is violated."""
    problem = pinntk.load("convection", beta=1.0)
    run = trained(problem, points={"residual": 60, "initial": 20, "periodic": 20}, steps=100)
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.mul_(1e-3)
    assert "trivial-solution" in codes(run)


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


@pytest.mark.parametrize(
    ("options", "also"),
    [
        ({"schedule": "constant", "optimizer_options": {"amsgrad": True}}, set()),
        ({"optimizer": "lbfgs", "lr": 1.0}, set()),
        ({"causal": Causal(1.0, slices=2), "resample": 5, "adaptive": True}, {"training.causal", "training.adaptive"}),
        ({"optimizer": "gauss-newton", "lr": None, "sampling": "uniform"}, {"training.sampling"}),
    ],
)
def test_gauss_newton_is_prescribed_in_few_words_and_builds_the_same_as_in_many(options, also):
    run = trained(pinntk.load("convection", beta=1.0), points={"residual": 8, "initial": 4, "periodic": 4}, steps=3, **options)
    changes = gauss_newton(run)
    assert set(changes) == {"training.optimizer", "training.steps", "training.resample", "weighting"} | also
    many = {"optimizer_options": {}, "lr": None, "schedule": None, "causal": None, "adaptive": None, "compile": False}
    many = {f"training.{name}": value for name, value in {**many, "sampling": "sobol"}.items()}
    changes |= {"training.steps": 2}  # the settings are compared, not what they reach
    few, all_named = (
        pinntk.train_as(apply_changes(run.config, entries), progress=False).config for entries in (changes, changes | many)
    )
    assert few == all_named
    assert (few["training"]["optimizer"], few["training"]["sampling"], few["training"]["resample"]) == (
        "gauss-newton",
        "sobol",
        1,
    )


# Order, arguments, data.


def test_causes_come_before_what_they_bring_about():
    def found(code, severity="critical", confidence=0.9):
        return Finding(code=code, severity=severity, sentence="", confidence=confidence)

    mixed = [
        found("float32-floor", "warning", 0.99),
        found("too-few-points", confidence=0.99),
        found("wrong-problem", confidence=0.5),
        found("saturation", confidence=0.7),
        found("step-too-large"),
        found("imbalance", "warning"),
    ]
    expected = ["step-too-large", "saturation", "too-few-points", "wrong-problem", "imbalance", "float32-floor"]
    assert [part.code for part in by_cause(mixed)] == expected


def test_a_fresh_network_gets_forecasts_only():
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=100, depth=1, initialization="normal")
    found = pinntk.diagnose(network, problem, problem.sample(residual=100, boundary=2))
    assert [part.code for part in found] == ["imbalance"]
    assert {part.severity for part in found} == {"warning"}


def test_a_network_is_diagnosed_under_its_weights():
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=100, depth=1, initialization="normal")
    points = problem.sample(residual=100, boundary=2)
    K = pinntk.kernel(network, problem, points)
    weights = {name: 1 / (K.trace(name) / n) for name, n in zip(K.names, K.sizes, strict=True)}
    assert codes(network, problem, points, weights) == []


def test_an_examination_is_taken_as_it_is(healthy):
    x = pinntk.examine(healthy)
    assert pinntk.diagnose(x) == []
    assert "estimate" in vars(x)  # measured once, and kept
    with pytest.raises(TypeError, match="give the examination alone"):
        pinntk.diagnose(x, healthy.problem)
    with pytest.raises(TypeError, match="a run alone"):
        pinntk.diagnose(healthy.network)


def test_findings_are_ready_for_json_and_their_changes_name_places_of_the_config():
    run = trained(poisson(), {"gain": 30.0}, lr=0.5, schedule="constant", steps=60, weighting=None)
    found = pinntk.diagnose(run)
    assert found
    for part in found:
        json.dumps(part.as_json())
        assert part.sentence.endswith(".")
        for prescription in part.prescriptions:
            for place in prescription.changes:
                at = run.config
                for level in place.split(".")[:-1]:
                    at = at[level]
                assert place.split(".")[-1] in at


def test_the_table_of_thresholds():
    assert all(entry.name == name and len(entry.reason) > 10 for name, entry in THRESHOLDS.items())
    value = THRESHOLDS["missing"].value
    assert above("missing", 1.01 * value) and not above("missing", value) and not above("missing", float("nan"))
    assert below("missing", 0.99 * value) and not below("missing", value)
    assert clearly("missing", value) == 0.5
    assert clearly("missing", 2 * value) == clearly("missing", value / 2) == 0.75
    assert clearly("missing", float("inf")) <= 0.99


def test_every_rule_is_in_the_order_of_causes_under_its_code(healthy):
    expected = "imbalance spectral-bias unnormalized-inputs step-too-large step-too-small causality too-few-points"
    expected += " clustered-points saturation float32-floor wrong-problem conflict network-too-small trivial-solution"
    expected += " independent-condition undetermined-coefficient unsuitable-activation gauge"
    expected += " unscaled-output unscaled-coefficient too-few-steps"
    assert sorted(RULES) == sorted(expected.split())
    x = replace(pinntk.examine(healthy))
    assert all(rule(x) is None for rule in RULES.values())


def test_where_zero_is_the_solution_errors_are_measured_by_where_the_training_began():
    domain = Box(x=(0, 1))

    @residual(domain)
    def level(u_x):
        return u_x

    @boundary(domain.at(x=0))
    def start(u):
        return u

    problem = Problem(domain, [level, start])
    points = {"level": 20, "start": 1}
    good = trained(problem, points=points, steps=500, schedule="cosine")
    x = pinntk.examine(good)
    where = x.estimate.where
    with torch.no_grad():
        began = float(x.initial(where).square().mean().sqrt())
    of_zero = error_of_zero(x)
    assert of_zero == pytest.approx(float(x.estimate.change.square().mean().sqrt()) / began, rel=1e-12)
    assert of_zero < 0.01 < x.estimate.relative and codes(x) == []
    poor = pinntk.examine(trained(problem, points=points, steps=100, lr=1e-6))
    assert error_of_zero(poor) > 0.2 and pinntk.diagnose(poor)[0].severity == "critical"
    assert error_of_zero(pinntk.examine(good.network, problem, good.points)) is None
    assert error_of_zero(pinntk.examine(healthy_run())) is None


def test_the_natural_step_of_a_network_whose_start_is_not_known_is_taken_with_fresh_parameters():
    run = healthy_run()
    known = pinntk.examine(run)
    wrapped = torch.nn.Sequential(run.network)
    unknown = pinntk.examine(wrapped, run.problem, run.points, run.weights)
    assert 0.2 < unknown.natural_step / known.natural_step < 5
    assert natural_step(run.network, run.problem, known.few, run.weights) < 0.02 * known.natural_step  # hardly a gradient
