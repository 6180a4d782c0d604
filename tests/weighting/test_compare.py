"""What every rule would give now, against kernels and gradients of the oracle; and the program of docs/WEIGHTING.md."""

import json
import re
from pathlib import Path

import pytest
import torch

import pinntk
from pinntk.diagnostics import weights_by_name
from pinntk.weighting import NTK, RBA, ConFIG, PCGrad, UPGrad, compare
from tests.support import reference

ROOT = Path(__file__).parents[2]
BEFORE = {"burgers": 2.0, "start": 0.5, "walls": 0.1}


@pytest.fixture(scope="module")
def case():
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64)
    return network, problem, problem.sample(residual=9, initial=4, boundary=3, seed=0, dtype=torch.float64)


@pytest.fixture(scope="module")
def found(case):
    return compare(*case, before=BEFORE)


def scaled(weights):
    return {name: len(weights) * w / sum(map(abs, weights.values())) for name, w in weights.items()}


def test_measured_weights_are_those_of_the_kernel(case, found):
    K, counts = pinntk.kernel(*case), {name: len(rows) for name, rows in case[2].items()}
    for rule, scheme in (("ntk", NTK()), ("ntk, as printed", NTK(normalization="sum"))):
        assert found.weights[rule] == pytest.approx(scaled(scheme.rule(K.traces(), counts)), rel=1e-9)
    named = weights_by_name(K, pinntk.errors(*case))
    for rule, quantity in {
        "gradient-norm": "gradient-norm",
        "PINNacle's NTK": "kernel-sum",
        "PhysicsNeMo's NTK": "root-loss-gradient",
        "PhysicsNeMo's, sums": "root-sum-gradient",
        "PINA's NTK": "inverted-gradient",
    }.items():
        assert found.weights[rule] == pytest.approx(scaled(named[quantity]), rel=1e-7), rule


def test_what_follows_from_errors_and_losses(case, found):
    e = {name: one.detach() for name, one in reference.errors(*case).items()}
    losses = {name: float(one.square().mean()) for name, one in e.items()}
    assert found.losses == pytest.approx(losses, rel=1e-9)
    ratios = torch.tensor([losses[name] / BEFORE[name] for name in e], dtype=torch.float64)
    for rule, temperature in (("relobralo", 0.1), ("softadapt", 1.0)):
        expected = 3 * (ratios / temperature).softmax(0)
        assert found.weights[rule] == pytest.approx(dict(zip(e, expected.tolist(), strict=True)), rel=1e-7)
    g = (1.1 - case[2]["burgers"][:, 0]) ** 3  # of mean 0.366 over time
    later = float((g / 0.366 * e["burgers"].square()).mean()) / losses["burgers"]
    assert found.weights["remaining-time"] == pytest.approx(scaled({"burgers": later, "start": 1.0, "walls": 1.0}), rel=1e-9)
    own = e["burgers"].abs()
    attention = float(((own / own.max()) ** 2 * own**2).sum() / (own**2).sum())
    assert found.weights["rba"] == pytest.approx(scaled({"burgers": attention, "start": 1.0, "walls": 1.0}), rel=1e-9)
    assert RBA().bound == pytest.approx(1)


@pytest.mark.parametrize("rule", ["config", "pcgrad", "upgrad"])
def test_weights_of_combined_gradients_make_that_gradient(case, found, rule):
    network, problem, points = case
    e = reference.errors(network, problem, points)
    rows = torch.stack(
        [
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(one.square().mean(), [*network.parameters()], retain_graph=True)]
            )
            for one in e.values()
        ]
    )
    weights = torch.tensor(list(found.weights[rule].values()), dtype=torch.float64)
    made, expected = weights @ rows, {"config": ConFIG, "pcgrad": PCGrad, "upgrad": UPGrad}[rule]().combine(rows)
    assert torch.allclose(made / made.norm(), expected / expected.norm(), rtol=1e-6, atol=1e-9)


def test_vrba_is_its_attention_after_a_thousand_steps_at_the_errors_of_now(case, found):
    own = reference.errors(*case)["burgers"].detach().abs()
    attention = 1002 ** (own / own.max() - 1)  # exp(log(k + 2) / c (|e| / max |e| - 1)), c = 1
    times = float(((attention * own) ** 2).sum() / (own**2).sum())
    assert found.weights["vrba"] == pytest.approx(scaled({"burgers": times, "start": 1.0, "walls": 1.0}), rel=1e-9)


def test_it_is_read_at_a_terminal_in_a_notebook_and_as_json(found):
    lines = repr(found).splitlines()
    assert lines[0].split() == ["burgers", "start", "walls"]
    assert max(map(len, lines[: len(found.weights) + 1])) <= 80
    assert lines[1].split() == ["fixed", "1", "1", "1"]
    page = found._repr_html_()
    assert page.count("<tr>") == len(found.weights) + 1 and "PINNacle&#39;s NTK" in page
    kept = json.loads(json.dumps(found.as_dict()))
    assert kept["weights"]["ntk"] == found.weights["ntk"] and kept["left_out"] == []
    for weights in found.weights.values():
        assert sum(map(abs, weights.values())) == pytest.approx(3)


def test_a_condition_that_the_network_meets_is_left_out():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1, hard="auto", dtype=torch.float64)
    found = compare(network, problem, problem.sample(residual=6, boundary=2, seed=0, dtype=torch.float64))
    assert found.left_out == ("ends",) and set(found.weights["ntk"]) == {"poisson"}
    assert "relobralo" not in found.weights and "without ends" in repr(found)


def test_what_does_not_fit_is_named(case):
    network, problem, points = case
    with pytest.raises(ValueError, match="it has no 'start'; give mean"):
        compare(network, problem, points, before={"burgers": 1.0})
    with pytest.raises(TypeError, match="the order is"):
        compare(problem, network, points)


def test_the_program_of_the_guide_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "WEIGHTING.md").read_text(), re.DOTALL)
    left: dict = {}
    exec(program, left)
    assert left["run"].step == 20 and "PINA's NTK" in capsys.readouterr().out
