"""Residual-based attention: against a loop written by hand, through a stop and back, and beside loss weights."""

import json

import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.reporting import plot
from pinntk.weighting import NTK, RBA, VRBA, Composite, Fixed

POINTS = {"residual": 20, "initial": 6, "boundary": 6}
FAST = {"eta": 0.1, "gamma": 0.5}


def small():
    problem = pinntk.load("burgers")
    return problem, pinntk.nn.MLP(problem, width=6, depth=1, dtype=torch.float64)


def train(out=None, *, weighting, steps=6, **settings):
    settings = {"points": POINTS, "lr": 1e-2, "progress": False, "snapshot_every": 0, "schedule": "constant", **settings}
    return pinntk.train(*small(), weighting=weighting, steps=steps, out=out, **settings)


def by_hand(newest, conditions, steps, fixed):
    """As in the authors' code: l is moved by the errors of the step, and is a constant to its gradient."""
    problem, network = small()
    points = problem.sample(seed=0, method="sobol", dtype=torch.float64, **POINTS)
    attention = {name: torch.ones(len(points[name]), dtype=torch.float64) for name in conditions}
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for k in range(1, steps + 1):
        e = pinntk.errors(network, problem, points, "autograd")
        for name in conditions:
            attention[name] = 0.5 * attention[name] + 0.1 * newest(e[name].detach().abs(), k)
        loss = sum(fixed.get(name, 1) * (attention.get(name, 1) * e[name]).square().mean() for name in points)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network, losses


@pytest.mark.parametrize(
    ("scheme", "newest"),
    [
        (RBA(**FAST, conditions=("residual", "start")), lambda size, k: size / size.max()),
        (VRBA("square", **FAST, conditions="residual"), lambda size, k: size / size.max()),
        (VRBA(c=0.5, phi=0.75, **FAST), lambda size, k: 0.25 + 0.75 * (k + 2) ** ((size / size.max() - 1) / 0.5)),
    ],
    ids=("rba", "vrba-square", "vrba-exp"),
)
def test_training_is_the_loop_written_by_hand(scheme, newest):
    problem, _ = small()
    expected, losses = by_hand(newest, scheme.names(problem), 4, {"walls": 3.0})
    run = train(weighting=[Fixed(walls=3), scheme], steps=4, log_every=1)
    assert run.column("loss")[1][:4] == pytest.approx(losses, rel=1e-9)
    for p, q in zip(run.network.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-8, atol=1e-10)
    e = pinntk.errors(run.network, run.problem, run.points)["burgers"].detach().square().mean()
    assert run.history[-1]["loss/burgers"] == pytest.approx(float(e), rel=1e-10)  # without any weight


def test_attention_is_bounded_and_reaches_its_bound():
    """l <= eta / (1 - gamma), with equality where the error is always the largest (the paper's section 2.2)."""
    errors, generator = torch.tensor([4.0, -2.0, 0.0], dtype=torch.float64), torch.Generator().manual_seed(0)
    for scheme in (RBA(eta=0.01, gamma=0.99, initial=0.0), VRBA(eta=0.01, gamma=0.99, initial=0.0)):
        assert scheme.bound == pytest.approx(1.0)
        weights = torch.zeros(3, dtype=torch.float64)
        for k in range(1, 2500):
            weights = scheme.rule(weights, errors * torch.rand(1, generator=generator, dtype=torch.float64), k)
            assert float(weights.max()) <= scheme.bound
        assert float(weights[0]) == pytest.approx(scheme.bound, rel=1e-9)
    assert RBA(eta=0.01, gamma=0.99).rule(torch.ones(1), torch.zeros(1)).tolist() == pytest.approx([0.99])  # no errors at all


def test_a_training_goes_on_with_the_same_attention_only(tmp_path):
    run = train(tmp_path, weighting=[NTK(every=4, momentum=0.5), VRBA(**FAST)])
    assert run.point_weights["burgers"].std() > 0
    with pytest.raises(ValueError, match="cannot resume"):
        train(tmp_path, weighting=RBA(eta=0.2, gamma=0.5), resume=True)


def test_loss_weights_beside_attention_are_those_of_the_weighted_kernel():
    run = train(weighting=["ntk", RBA(**FAST)], steps=1)
    g, (problem, network) = run.history[0], small()
    e = pinntk.errors(network, problem, run.points)["burgers"].detach().abs()
    weights = (0.5 + 0.1 * e / e.max()) ** 2
    K = pinntk.kernel(network, problem, run.points)
    traces = {name: float(K.diagonal(name).sum()) for name in K.names} | {"burgers": float(weights @ K.diagonal("burgers"))}
    counts = {name: len(rows) for name, rows in run.points.items()}
    for name, expected in NTK().rule(traces, counts).items():
        assert g[f"weight/{name}"] == pytest.approx(expected, rel=1e-9)
    assert "residual-based attention l²" in [panel.title for panel in plot.loss_panels(run)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resample": 2}, "rba weights belong to points, which resample=2 would replace"),
        ({"causal": 1.0}, "rba weights and causal ones both weigh points"),
        ({"optimizer": "gauss-newton", "lr": None, "schedule": None}, "use a gradient optimizer"),
        ({"weighting": [NTK(points={"residual": 9}), "rba"]}, "leave points out of the scheme beside them"),
        ({"weighting": ["ntk", RBA(initial=0)]}, "begin with 0 leave 'ntk' nothing to measure"),
        ({"weighting": ["rba", "vrba"]}, "'rba' and 'vrba' both act on points"),
        ({"weighting": "ntk+gradient-norm"}, "'ntk' and 'gradient-norm' both act on conditions"),
        ({"weighting": []}, r"weighting=\[\]: give a scheme"),
        ({"weighting": RBA(conditions="wals")}, "conditions 'wals'.*did you mean 'walls'"),
        ({"weighting": RBA(conditions="data")}, "has none of them"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**{"weighting": "rba", **settings})


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RBA, {"eta": 0}),
        (RBA, {"gamma": 1.0}),
        (RBA, {"initial": -1}),
        (VRBA, {"potential": "cosh"}),
        (VRBA, {"c": 0.0}),
        (VRBA, {"phi": 1.5}),
    ],
)
def test_bad_settings(kind, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        kind(**settings)


def test_the_command_line(tmp_path, capsys):
    small_run = [
        "--width",
        "4",
        "--depth",
        "1",
        "--points",
        "residual=20,initial=4,boundary=4",
        "--snapshot-every",
        "0",
        "--quiet",
    ]
    command = ["train", "burgers", *small_run, "--steps", "2", "-o", str(tmp_path / "run")]
    options = ["--weighting", "ntk+vrba", "--every", "5", "--weighting-options", "potential=square,eta=0.5"]
    assert main([*command, *options]) == 0
    weighting = json.loads((tmp_path / "run" / "config.json").read_text())["weighting"]
    assert weighting["name"] == "ntk" and weighting["every"] == 5
    assert weighting["beside"] == [VRBA("square", eta=0.5).describe()]
    again = ["train", "--config", str(tmp_path / "run"), "--every", "7", "--quiet", "-o", str(tmp_path / "again")]
    assert main(again) == 0  # what was beside it stays
    assert pinntk.TrainConfig.from_json(pinntk.Run.load(tmp_path / "again").config).weighting == Composite(
        NTK(every=7), VRBA("square", eta=0.5)
    )
    for wrong, said in (
        (["--weighting", "rba", "--every", "5"], "--every does not apply to --weighting rba"),
        (["--weighting", "rba", "--weighting-options", "eat=5"], "eat does not apply to --weighting rba; did you mean 'eta'?"),
        (["--weighting", "ntk+rba", "--weights", "walls=3"], "--weights gives fixed weights, --weighting ntk computes them"),
    ):
        assert main([*command, *wrong]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--weighting", "ntk+rab"])
    assert "'ntk+rab' is unknown; did you mean" in capsys.readouterr().err
