"""Where a solution is known, findings have its true error as well, and say where the estimated one is far off."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import pinntk
from pinntk._util.numbers import number
from pinntk.diagnostics import RULES, THRESHOLDS
from pinntk.diagnostics._judgment import doubt, error_text, misled, off
from pinntk.diagnostics._rules_training import unexplained
from pinntk.problem._time import time_slices
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot
from tests.support.diagnosed import poisson, trained

pytestmark = pytest.mark.xdist_group("estimate and truth")  # one worker, for what they share
FLAT = np.full(8, 0.5)


@cache
def run():
    return trained(pinntk.load("convection", beta=1.0), points={"residual": 30, "initial": 8, "periodic": 8}, steps=3)


def pretended(estimated, true, residual=1.0):
    """An examination with these errors by time, and a mean squared residual that is so many times larger early."""
    x = pinntk.examine(run())
    found, order = x.estimate, x.causality
    slices = time_slices(found.where[:, x.problem.domain.axis("t")], 0.0, 1.0, 8)
    change = 3.0 * torch.as_tensor(estimated)[slices][:, None]
    vars(x)["estimate"] = replace(found, change=change, relative=float(change.square().mean().sqrt() / 3.0))
    vars(x)["causality"] = replace(order, error=true, early_late=dict.fromkeys(order.early_late, residual))
    return x


def causality(*given):
    return RULES["causality"](pretended(*given))


def begins(sentence, finding):
    """Whether the finding's does; 5.00 and 5 are the same, by rounding."""
    return finding.sentence.replace(" 5 times", " 5.00 times").startswith(sentence)


GROWING, FALLING = np.linspace(0.1, 0.8, 8), np.linspace(1.3, 0.3, 8)


def test_errors_by_time_are_measured_in_slices():
    found = causality(GROWING, 1.1 * GROWING)
    assert found.arrays["error"] == pytest.approx(GROWING, rel=1e-12)
    assert found.arrays["true_error"] == pytest.approx(1.1 * GROWING)
    assert found.evidence["late_over_early_error"] == pytest.approx((0.7 + 0.8) / (0.1 + 0.2))
    assert found.evidence["true_error_early"] == pytest.approx(1.1 * 0.15)
    assert found.evidence["estimated_error_late"] == pytest.approx(0.75)
    assert found.evidence["true_time_order"] == found.evidence["time_order"] == pytest.approx(1)
    said = "The error grows with time, 5.00 times from the first quarter to the last (estimated: 5.00 times):"
    assert begins(said, found)
    assert "trusted" not in found.sentence


def test_without_a_solution_the_estimate_is_all_there_is():
    found = causality(GROWING, None)
    assert begins("The estimated error grows with time, 5.00 times from", found)
    assert not [name for name in (*found.evidence, *found.arrays) if "true" in name]
    assert causality(FALLING, None) is None
    unknown = causality(GROWING, np.full(8, np.nan))  # a solution that is zero everywhere
    assert unknown.sentence == found.sentence and not [name for name in unknown.evidence if "true" in name]


def test_times_at_which_the_solution_is_not_known_are_left_out():
    some = np.where(np.arange(8) % 3, np.nan, GROWING)
    found = causality(GROWING, some)
    assert found.evidence["true_error_early"] == pytest.approx(0.1) and found.evidence["true_error_late"] == pytest.approx(0.7)
    assert found.evidence["true_time_order"] == pytest.approx(1) and "trusted" not in found.sentence


def test_no_finding_argues_from_an_estimate_that_the_known_solution_refutes():
    assert causality(GROWING, FALLING) is None
    assert causality(GROWING, FLAT) is None  # as large as is estimated, and no growth
    found = causality(FALLING, GROWING)  # the truth grows
    assert begins("The error grows with time, 5.00 times from", found)
    assert found.confidence == pytest.approx(causality(GROWING, GROWING).confidence)
    said = "The estimated relative error is not to be trusted here: it goes from 1.23 in the first quarter of time to 0.371 in "
    assert f"{said}the last, and the true one from 0.150 to 0.750." in found.sentence


def test_a_residual_is_told_as_the_mean_square_that_it_is():
    found = causality(FALLING, np.linspace(0.5, 0.7, 8), 24.9)
    assert found.sentence.startswith(
        "The mean squared residual of convection is 24.9 times as large in the first half of time as in the last (geometric"
    )
    assert "not to be trusted" in found.sentence
    assert found.evidence["early_over_late_residual"] == 24.9
    close = causality(FALLING, 1.2 * FALLING, 24.9)
    assert "trusted" not in close.sentence and close.evidence["late_over_early_true_error"] < 1


def test_without_a_solution_an_estimate_that_falls_is_said_to_be_blind():
    x = pretended(FALLING, None, 24.9)
    found = RULES["causality"](x)
    said = "does not see this and may be far too small: it goes from 1.23 in the first quarter of time to 0.371 in the last."
    assert said in found.sentence and "24.9 times as large" in found.sentence
    vars(x)["relative_error"] = None  # as without a known solution
    told = verdict.title(verdict.diagnosis(x, [found]))
    assert told.endswith(f"estimated relative L2 error {number(x.estimate.relative)} (blind to the causality found)")
    assert "blind" not in verdict.title(verdict.diagnosis(x, []))
    agreeing = pretended(GROWING, None, 24.9)
    vars(agreeing)["relative_error"] = None
    both = RULES["causality"](agreeing)
    assert "does not see" not in both.sentence and "blind" not in verdict.title(verdict.diagnosis(agreeing, [both]))


def test_of_two_signs_the_surer_one_counts():
    barely = np.linspace(0.4, 1.0, 8)
    alone, residual, both = causality(barely, barely), causality(FALLING, None, 24.9), causality(FALLING, barely, 24.9)
    assert 0.5 < alone.confidence < 0.6 < residual.confidence == both.confidence


def test_both_curves_are_drawn():
    first, second = plot.finding_panels(causality(GROWING, 1.1 * GROWING), run().problem)
    assert first.title == "relative error by time, estimated and true"
    assert first.text.endswith("estimated first 0.1, last 0.8; true first 0.11, last 0.88")
    assert second.title == "mean squared residual by time"
    (axes,) = plot.single_figure(first).axes
    assert [line.get_label() for line in axes.lines] == ["estimated", "true"]
    first, _ = plot.finding_panels(causality(GROWING, None), run().problem)
    assert first.title == "relative error by time, estimated by one linearized step"


def test_the_distance_of_an_estimate_is_relative_to_the_truth():
    assert off(np.array([1.0, np.nan, 3.0]), np.array([2.0, 5.0, 2.0])) == pytest.approx((2 / 8) ** 0.5)
    assert np.isnan(off(FLAT, np.full(8, np.nan))) and np.isnan(off(FLAT, 0 * FLAT))
    assert THRESHOLDS["estimate-off"].value == 0.5


def with_errors(estimated, true):
    x = pinntk.examine(run())
    vars(x)["estimate"] = replace(x.estimate, relative=estimated)
    vars(x)["relative_error"] = true
    return x


@pytest.mark.parametrize(
    ("estimated", "true", "text"),
    [
        (0.21, None, "the estimated relative L2 error of the solution is 0.210"),
        (float("inf"), None, "the estimated relative L2 error of the solution is unknown"),
        (0.43, 0.44, "the relative L2 error of the solution is 0.440 (estimated: 0.430)"),
        (0.21, 2.5, "the relative L2 error of the solution is 2.50 (estimated: 0.210, which is not to be trusted here)"),
        (1.1, 0.4, "the relative L2 error of the solution is 0.400 (estimated: 1.10, which is not to be trusted here)"),
    ],
)
def test_a_sentence_has_the_true_error_where_it_is_known(estimated, true, text):
    x = with_errors(estimated, true)
    assert error_text(x) == text
    found = unexplained(x)
    assert text[1:] in found.sentence
    assert found.evidence.get("estimated_error", float("inf")) == estimated and found.evidence.get("true_error") == true
    assert misled(x) == ("trusted" in text)
    assert doubt(x) == (
        f" The estimated error is not to be trusted here: it is {number(estimated)}, and the true relative L2 error "
        f"{number(true)}."
        if misled(x)
        else ""
    )


def test_imbalance_says_where_its_estimate_is_far_off():
    problem = poisson(k=4)
    network = pinntk.nn.MLP(problem, width=50, depth=1, initialization="normal", dtype=torch.float64)
    x = pinntk.examine(network, problem, problem.sample(residual=40, boundary=2, dtype=torch.float64))
    for true, said in ((x.estimate.relative, False), (10 * x.estimate.relative, True)):
        vars(x)["relative_error"] = true
        found = RULES["imbalance"](x)
        assert ("not to be trusted" in found.sentence) == said
        assert found.evidence["true_error"] == true
        for name, rate in x.balance.rate.items():  # of the figure: the condition's own modes make up its rate
            assert found.arrays[f"eigenvalues/{name}"].sum() == pytest.approx(rate)
