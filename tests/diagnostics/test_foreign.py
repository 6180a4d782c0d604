"""What is measured and found on foreign conditions: what it is on the same ones in pinntk's operators, or left out."""

from __future__ import annotations

from math import isnan

import pytest
import torch
from torch import nn

import pinntk
from pinntk.diagnostics._curvature import without_curvature
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


# Networks without second derivatives.


def straight(activation, equation, output=None):
    """A network of an activation, an equation on it and walls, as `pinntk.wrap` takes them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), activation, nn.Linear(16, 16), activation, nn.Linear(16, 1)).double()
    x, ends = torch.linspace(0, 1, 20).double().unsqueeze(1), torch.tensor([[0.0], [1.0]]).double()
    written = {"pde": (lambda x: equation(model, x), x, "residual"), "ends": (model, ends, "boundary")}
    return pinntk.wrap(model, written, output=None if output is None else lambda x: output(model, x))


def d(u, x):
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


EQUATIONS = {
    "of second order": lambda u, x: d(d(u(x), x), x) + 1,
    "with other terms": lambda u, x: d(d(u(x), x), x) - u(x) + 1,
    "in functional form": lambda u, x: torch.func.vmap(torch.func.hessian(lambda p: u(p)[0]))(x)[:, 0, 0] + 1,
    "of first order": lambda u, x: d(u(x), x) - 1,
    "with a kink of its own": lambda u, x: d(u(x), x) - d(d(torch.relu(x - 0.5) + x**2, x), x),
}


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.1), nn.Hardtanh()])
@pytest.mark.parametrize("name", list(EQUATIONS)[:2])
def test_second_derivatives_that_a_network_does_not_have_come_first(activation, name):
    network, problem, points = straight(activation, EQUATIONS[name])
    x = pinntk.examine(network, problem, points, trained=True)
    first, *others = pinntk.diagnose(x)
    assert first.code == "unsuitable-activation" and first.severity == "critical"
    assert "The condition pde asks for them" in first.sentence and "tanh" in first.prescriptions[0].sentence
    assert type(activation).__name__.lower().replace("leakyrelu", "leaky_relu") in first.sentence
    if name == "of second order":  # nothing of it is felt, and no unit's slope is to blame
        assert x.estimate.unmoved == ("pde",) and "saturation" not in {finding.code for finding in others}
    assert [finding.code for finding in pinntk.check(problem, network)] == ["unsuitable-activation"]


@pytest.mark.parametrize("name", EQUATIONS)
def test_only_what_asks_for_second_derivatives_is_found(name):
    asked = name not in ("of first order", "with a kink of its own")
    network, problem, _ = straight(nn.ReLU(), EQUATIONS[name])
    before = [p.detach().clone() for p in network.parameters()]
    assert without_curvature(network, problem) == ("relu", ("pde",) if asked else ())
    assert all(torch.equal(p, was) for p, was in zip(network.parameters(), before, strict=True))
    for smooth in (nn.Tanh(), nn.Sequential(nn.ReLU(), nn.Tanh())):
        network, problem, _ = straight(smooth, EQUATIONS[name])
        assert without_curvature(network, problem) == ("", ())


def test_a_solution_that_curves_by_its_output_is_not_judged():
    def hard(u, x):
        return x * (1 - x) * u(x)

    network, problem, _ = straight(nn.ReLU(), lambda u, x: d(d(hard(u, x), x), x) + 1, output=hard)
    assert without_curvature(network, problem) == ("", ()) and pinntk.check(problem, network) == []


def test_a_recorder_in_place_of_its_run_is_named():
    twins = TWINS["heat"](0)
    recorder = pinntk.Recorder(twins.foreign, twins.network, twins.points)
    for function in (pinntk.diagnose, pinntk.examine):
        with pytest.raises(TypeError, match=r"diagnose\(recorder.run\)"):
            function(recorder)
    with pytest.raises(TypeError, match=r"write_report\(path, Sequential, ...\): give an examination"):
        write_report("x.html", twins.network, [])
