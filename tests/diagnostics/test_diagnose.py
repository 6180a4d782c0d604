"""`pinntk.diagnose`: every rule on a failing network and a healthy one, the order of findings, and no false alarm."""

import json
from dataclasses import replace

import pytest
import torch
from torch import cos, pi, sin

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk.diagnostics import RULES, THRESHOLDS, Finding
from pinntk.diagnostics._findings import by_cause
from pinntk.diagnostics._judgment import error_of_zero
from pinntk.diagnostics._prescriptions import gauss_newton
from pinntk.diagnostics._rules_conditions import causality
from pinntk.diagnostics._thresholds import above, below, clearly
from pinntk.training import apply_changes
from tests.support.diagnosed import Causal, codes, healthy, lost_front, poisson, trained

pytestmark = pytest.mark.xdist_group("diagnose")  # one worker, for what they share


def test_nothing_is_found_in_a_healthy_run():
    assert codes(healthy()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poisson1d", "reaction", "helmholtz2d"])
def test_nothing_is_found_where_gauss_newton_solved_a_problem_of_the_registry(name):
    problem = pinntk.load(name, **{"helmholtz2d": {"a1": 1, "a2": 1}, "poisson1d": {"k": 1}}.get(name, {}))
    network = pinntk.nn.MLP(problem, width=20, depth=2, dtype=torch.float64)
    points = {"residual": 60 if problem.domain.dimension == 1 else 200, "boundary": 40, "initial": 40, "periodic": 40}
    run = pinntk.train(problem, network, optimizer="gauss-newton", steps=30, points=points, progress=False, snapshot_every=0)
    assert run.relative_error < 5e-3
    assert codes(run) == []


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


@pytest.mark.slow
def test_conditions_at_one_rate_are_not_imbalanced():
    balanced = trained(poisson(k=2), {"width": 100, "depth": 1, "initialization": "normal"}, lr=1e-3)
    assert RULES["imbalance"](pinntk.examine(balanced)) is None


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


@pytest.mark.slow
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


def test_too_few_points_and_enough_of_them():
    run = trained(poisson(), points={"residual": 3, "boundary": 2}, steps=400)
    first = pinntk.diagnose(run)[0]
    assert first.code == "too-few-points"
    assert first.prescriptions[0].changes["training.points"]["equation"] >= 100
    assert healthy().missing["equation"].ratio < THRESHOLDS["missing"].value


def test_clustered_points():
    problem = poisson()
    rows = problem.sample(residual=40, boundary=2, dtype=torch.float64)
    run = trained(problem, points={"equation": rows["equation"] / 4, "walls": rows["walls"]})
    first = pinntk.diagnose(run)[0]
    assert first.code == "clustered-points"
    assert first.prescriptions[0].changes["training.points"] == {"equation": 40, "walls": 2}
    assert first.arrays["x"].shape == (40, 1)


def test_conflict():
    points = {"equation": 40, "walls": 2, "readings": 9}
    run = trained(poisson(shift=0.5, exact=False), points=points)
    first = pinntk.diagnose(run)[0]
    assert first.code == "conflict"
    assert first.evidence["alignment"] == pinntk.examine(run).balance.alignment
    weights = first.prescriptions[0].changes["weighting"]
    assert weights["readings"] == 0 and weights["walls"] > 0


@pytest.mark.slow
def test_data_that_are_right_are_in_no_conflict():
    run = trained(poisson(shift=0.0), points={"equation": 40, "walls": 2, "readings": 9})
    assert RULES["conflict"](pinntk.examine(run)) is None


@pytest.mark.slow
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


def test_causality():
    found = pinntk.diagnose(lost_front())
    assert found[0].code == "causality"
    assert found[0].prescriptions[0].changes["training.optimizer"] == "gauss-newton"
    assert len(found[0].arrays["time"]) == len(found[0].arrays["error"]) == len(found[0].arrays["residual"])


def test_causality_is_judged_where_the_true_error_is_large_and_the_estimate_is_not():
    x = pinntk.examine(lost_front())
    assert causality(x).code == "causality" and x.relative_error > 0.3
    x.__dict__["estimate"] = replace(x.estimate, relative=1e-3)
    assert causality(x).code == "causality"
    x.__dict__["relative_error"] = 1e-3
    assert causality(x) is None


def test_trivial_solution():
    """Zero everywhere satisfies a homogeneous equation; only the start is violated."""
    problem = pinntk.load("convection", beta=1.0)
    run = trained(problem, points={"residual": 60, "initial": 20, "periodic": 20}, steps=100)
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.mul_(1e-3)
    assert "trivial-solution" in codes(run)


@pytest.mark.parametrize(
    ("options", "also"),
    [
        ({"schedule": "constant", "optimizer_options": {"amsgrad": True}}, set()),
        pytest.param({"optimizer": "lbfgs", "lr": 1.0}, set(), marks=pytest.mark.slow),
        ({"causal": Causal(1.0, slices=2), "resample": 5, "adaptive": True}, {"training.causal", "training.adaptive"}),
        pytest.param(
            {"optimizer": "gauss-newton", "lr": None, "sampling": "uniform"}, {"training.sampling"}, marks=pytest.mark.slow
        ),
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


def test_an_examination_is_taken_as_it_is():
    x = healthy()
    assert pinntk.diagnose(x) == []
    assert "estimate" in vars(x)  # measured once, and kept
    with pytest.raises(TypeError, match="give the examination alone"):
        pinntk.diagnose(x, x.problem)
    with pytest.raises(TypeError, match=r"got \(MLP\): give a run, as from pinntk\.Run\.load"):
        pinntk.diagnose(x.network)


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


def test_every_rule_is_in_the_order_of_causes_under_its_code():
    expected = "imbalance spectral-bias unnormalized-inputs step-too-large step-too-small causality too-few-points"
    expected += " clustered-points saturation float32-floor wrong-problem conflict network-too-small trivial-solution"
    expected += " independent-condition undetermined-coefficient unsuitable-activation gauge"
    expected += " unscaled-output unscaled-coefficient too-few-steps"
    assert sorted(RULES) == sorted(expected.split())
    assert all(rule(healthy()) is None for rule in RULES.values())


@pytest.mark.slow
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
    assert error_of_zero(healthy()) is None
