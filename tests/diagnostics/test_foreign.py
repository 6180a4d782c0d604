"""What is measured and found on foreign conditions: what it is on the same ones in pinntk's operators, or left out."""

from __future__ import annotations

from math import isnan

import pytest
import torch

import pinntk
from pinntk.diagnostics._healthy import healthy_gains
from pinntk.diagnostics._unjudged import OPERATORS
from pinntk.reporting import write_report
from tests.support import reference
from tests.support.foreign import TWINS


@pytest.fixture(params=["heat", "system"])
def twins(request):
    return TWINS[request.param](0)


def test_measurements_are_those_of_the_same_problem_in_pinntk(twins):
    found, expected = (pinntk.examine(twins.network, p, twins.points) for p in (twins.foreign, twins.own))
    assert found.balance.rate == pytest.approx(expected.balance.rate, rel=1e-10)
    assert reference.relative(found.spectrum.values, expected.spectrum.values) < 1e-10
    assert found.natural_step == pytest.approx(expected.natural_step, rel=1e-6)
    for name, part in expected.precision.items():
        assert found.precision[name].noise == pytest.approx(part.noise, rel=5)
    assert {name: part.value for name, part in found.coefficients.items()} == {
        name: part.value for name, part in expected.coefficients.items()
    }
    for field, part in expected.undetermined.items():
        assert found.undetermined[field].share == pytest.approx(part.share, rel=1e-6)
    assert found.estimate.relative > 0 and found.output_scale.network == expected.output_scale.network


def test_what_only_operators_tell_is_left_out(twins):
    x = pinntk.examine(twins.network, twins.foreign, twins.points)
    assert all(isnan(size) for size in x.output_scale.data.values())
    assert x.scales.far == {} and x.statement.names == () and not x.statement.homogeneous
    assert all(part.ratio is None for part in x.trivial.values())
    assert set(x.coverage) == {name for name in x.points if x.problem[name].region.given is None}
    assert set(x.missing) == set(x.coverage)
    assert pinntk.check(twins.foreign) == [] and pinntk.check(twins.foreign, twins.network) == []


def test_what_is_not_judged_is_said(twins):
    x = pinntk.examine(twins.network, twins.foreign, twins.points, trained=True)
    said = {rule.code: rule for rule in pinntk.diagnose(x).unjudged}
    assert {"wrong-problem", "conflict", "unscaled-output"} <= set(said)
    assert ("undetermined-coefficient" in said) is bool(len(x.problem.coefficients))
    assert said["conflict"].reason == OPERATORS.reason
    own = pinntk.diagnose(pinntk.examine(twins.network, twins.own, twins.points, trained=True))
    assert not any(rule.reason == OPERATORS.reason for rule in own.unjudged)
    checked = pinntk.check(twins.foreign, twins.network)
    assert {"wrong-problem", "unsuitable-activation"} <= {rule.code for rule in checked.unjudged}
    assert pinntk.check(twins.own).unjudged == ()


def test_a_run_is_diagnosed_and_reported(twins, tmp_path):
    run = pinntk.train(twins.foreign, twins.network, steps=4, points=twins.points, log_every=1, progress=False)
    x = pinntk.examine(run)
    findings = pinntk.diagnose(x)
    codes = {finding.code for finding in findings}
    assert not codes & {"wrong-problem", "trivial-solution", "unscaled-output", "gauge"}
    text = write_report(tmp_path / "report.html", x, findings).read_text()
    assert all(name in text for name in twins.foreign.names) and OPERATORS.reason in text


def test_a_dead_network_has_the_gains_of_a_fresh_copy_of_itself():
    twins = TWINS["mixed"](0)
    with torch.no_grad():
        for p in twins.network.parameters():
            p.zero_()
    where = torch.rand(20, 1, dtype=torch.float64)
    gains = healthy_gains(twins.network, twins.foreign, twins.points, twins.foreign.names, where)
    assert all(gain > 0 for gain in gains.values())
