"""What changes a training: gradient-norm weights, causal weights and adaptive points, each against its formula."""

import json
import math

import numpy as np
import pytest
import torch

import pinntk
from pinntk import RAD, Box, Problem, residual
from pinntk.cli import main
from pinntk.training import Batch, Step
from pinntk.training import _losses as losses_module
from pinntk.training import _resampling as adaptive
from pinntk.training import _step as step_module
from pinntk.training._optimizers import default_schedule
from pinntk.weighting import NTK, Causal, Fixed, GradientNorm

POINTS = {"residual": 40, "initial": 6, "boundary": 6}
NAMES = ("burgers", "start", "walls")


def small(name="burgers"):
    problem = pinntk.load(name)
    return problem, pinntk.nn.MLP(problem, width=6, depth=1, dtype=torch.float64)


def train(out=None, *, name="burgers", steps=12, **settings):
    problem, network = small(name)
    settings = {"points": POINTS, "lr": 1e-3, "schedule": "exponential", **settings}
    settings = {"progress": False, "snapshot_every": 0, "checkpoint_every": 6, **settings}
    return pinntk.train(problem, network, steps=steps, out=out, **settings)


def same(a, b):
    parameters = zip(a.network.parameters(), b.network.parameters(), strict=True)
    rows = [[{**row, "seconds": 0} for row in run.history if row["step"] >= 5] for run in (a, b)]
    return all(torch.equal(p, q) for p, q in parameters) and a.weights == b.weights and rows[0] == rows[1]


def start_of(settings=POINTS):
    """The network and the points of `train` before its first step."""
    problem, network = small()
    return problem, network, problem.sample(seed=0, method="sobol", dtype=torch.float64, **settings)


def by_slices(problem, e, rows, causal, rung=0):
    """w (M,) and L (M,) by loops."""
    k = [min(int(t * causal.slices), causal.slices - 1) for t in rows[:, 0].tolist()]
    L = [np.mean([e[p].item() ** 2 for p in range(len(e)) if k[p] == i] or [0]) for i in range(causal.slices)]
    w = [math.exp(-causal.ladder[rung] * sum(L[:i])) for i in range(causal.slices)]
    g = torch.tensor([w[i] * len(e) / (causal.slices * k.count(i)) for i in k], dtype=torch.float64)
    return np.array(w), np.array(L), g


# Gradient norms.


def test_gradient_norm_weights_are_those_of_the_losses(monkeypatch):
    problem, network, points = start_of()
    norms = {}
    for name, e in pinntk.errors(network, problem, points).items():
        gradients = torch.autograd.grad(e.square().mean(), list(network.parameters()), retain_graph=True, allow_unused=True)
        norms[name] = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    expected = {name: sum(norms.values()) / norms[name] for name in NAMES}
    run = train(steps=1, weighting=GradientNorm())
    assert {name: run.history[0][f"weight/{name}"] for name in NAMES} == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(losses_module, "_PASS_BYTES", 400)  # in many passes
    assert train(steps=1, weighting="gradient-norm").weights == pytest.approx(expected, rel=1e-10)


def test_the_gradient_is_that_of_the_kernel():
    """norm(grad L_i)^2 = 4 e^T K_ii e / n_i^2, as the docstring says."""
    problem, network, points = start_of()
    K = pinntk.kernel(network, problem, points)
    counts = {name: len(rows) for name, rows in points.items()}
    norms = losses_module.gradient_norms(network, problem, list(network.parameters()), Batch(points, counts, {}))
    for name, e in pinntk.errors(network, problem, points).items():
        expected = math.sqrt(float(4 * e.detach() @ K[name, name] @ e.detach())) / len(e)
        assert norms[name] == pytest.approx(expected, rel=1e-10)


# Causal weights.


@pytest.mark.parametrize("passes", [False, True])
def test_the_causal_step_is_that_of_the_formula(monkeypatch, passes):
    if passes:
        monkeypatch.setattr(losses_module, "_PASS_BYTES", 400)
    problem, network, points = start_of()
    causal = Causal(epsilon=0.5, slices=4)
    start = [p.detach().clone() for p in network.parameters()]
    errors = pinntk.errors(network, problem, points)
    w, _, _ = by_slices(problem, errors["burgers"], points["burgers"], causal)
    k = (points["burgers"][:, 0] * 4).long()
    slice_losses = [errors["burgers"][k == i].square().mean() for i in range(4)]
    loss = 3 * errors["start"].square().mean() + errors["walls"].square().mean()
    loss = loss + sum(float(w[i]) * slice_losses[i] for i in range(4)) / 4
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    settings = {"optimizer": "gradient-descent", "lr": 1e-3, "schedule": "constant", "weighting": Fixed(start=3)}
    run = train(steps=1, causal=causal, **settings)
    for p, p0, g in zip(run.network.parameters(), start, gradients, strict=True):
        assert torch.allclose(p, p0 - 1e-3 * g, rtol=1e-12, atol=1e-14)
    row = run.history[0]
    assert row["causal"] == pytest.approx(w.min(), rel=1e-12)
    assert 0 < row["causal"] < 1
    assert row["epsilon"] == 0.5
    assert row["loss/burgers"] == pytest.approx(float(errors["burgers"].square().mean()), rel=1e-12)
    assert row["loss"] == pytest.approx(float(loss), rel=1e-12)
    assert row["loss"] < sum(row[f"weight/{name}"] * row[f"loss/{name}"] for name in NAMES)


def test_without_epsilon_the_causal_loss_weighs_slices_alike():
    """w -> 1 as epsilon -> 0; the loss is then the mean over slices of their means."""
    run = train(steps=1, causal=Causal(epsilon=1e-12, slices=2), points={**POINTS, "residual": 41})
    problem, network, points = start_of({**POINTS, "residual": 41})
    e, late = pinntk.errors(network, problem, points)["burgers"], points["burgers"][:, 0] >= 0.5
    others = sum(run.history[0][f"loss/{name}"] for name in ("start", "walls"))
    expected = float(e[late].square().mean() + e[~late].square().mean()) / 2
    assert run.history[0]["loss"] - others == pytest.approx(expected, rel=1e-9)


def test_ntk_weights_trace_the_kernel_of_the_causal_loss():
    problem, network, points = start_of()
    causal = Causal(epsilon=0.5, slices=4)
    errors, K = pinntk.errors(network, problem, points), pinntk.kernel(network, problem, points)
    _, _, g = by_slices(problem, errors["burgers"], points["burgers"], causal)
    traces = {name: K.trace(name) for name in NAMES}
    shut = {**traces, "burgers": float(g @ K["burgers", "burgers"].diagonal())}
    expected = NTK().rule(shut, {name: len(rows) for name, rows in points.items()})
    run = train(steps=1, causal=causal, weighting=NTK(every=1))
    row = run.history[0]
    assert {name: row[f"weight/{name}"] for name in NAMES} == pytest.approx(expected, rel=1e-10)
    assert row["trace/burgers"] == pytest.approx(traces["burgers"], rel=1e-10)  # the log has the plain one
    own = train(steps=1, causal=causal, weighting=NTK(every=1, points={"residual": 30})).weights
    assert own["burgers"] > NTK().rule(traces, dict.fromkeys(NAMES, 1))["burgers"]


def test_gradient_norms_are_those_of_the_causal_loss():
    plain, causal = (train(steps=1, weighting=GradientNorm(), causal=causal).weights for causal in (None, Causal(2.0, 4)))
    assert causal["burgers"] > 1.01 * plain["burgers"]


def test_the_ladder_climbs_when_all_slices_are_open():
    run = train(steps=6, causal=Causal(epsilon=(1e-9, 1e-8, 5.0), slices=4), log_every=1)
    assert run.column("epsilon")[1].tolist() == [1e-9, 1e-8, 5, 5, 5, 5, 5]


@pytest.mark.parametrize(
    "settings",
    [
        {"resample": 4, "adaptive": True, "causal": Causal(0.1, slices=5), "weighting": GradientNorm(every=2)},
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                {"weighting": GradientNorm(every=3)},
                {"causal": Causal(epsilon=(1e-9, 0.1, 1.0), slices=4), "weighting": NTK(every=3, momentum=0.5)},
                {"causal": 1.0, "optimizer": "lbfgs", "lr": 0.5, "optimizer_options": {"max_iter": 4}},
                {"resample": 5, "adaptive": RAD(power=2.0), "sampling": "uniform"},
            )
        ),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path, settings):
    whole = train(tmp_path / "whole", **settings)
    for steps in (1, 5):
        train(tmp_path / "parts", steps=steps, resume=steps > 1, **settings)
    assert same(whole, train(tmp_path / "parts", resume=True, **settings))


def test_the_traced_step_takes_point_weights(monkeypatch):
    monkeypatch.setattr(step_module.torch, "compile", lambda graph, **_: graph)
    problem, network, points = start_of()
    counts, weights = {name: len(rows) for name, rows in points.items()}, dict.fromkeys(points, 2.0)
    compiled, eager = Step(network, problem, compiled=True), Step(network, problem)
    for factor in (1.0, 3.0):
        g = {"burgers": factor * torch.linspace(0, 1, 40, dtype=torch.float64)}
        expected = eager(Batch(points, counts, weights, g))
        gradient = torch.cat([p.grad.flatten().clone() for p in network.parameters()])
        found = compiled(Batch(points, counts, weights, g))
        assert compiled.compiled
        assert found["burgers"].item() == pytest.approx(expected["burgers"].item(), rel=1e-12)
        assert torch.allclose(torch.cat([p.grad.flatten() for p in network.parameters()]), gradient, rtol=1e-10)


def test_equations_of_a_system_share_the_smallest_weights():
    domain = Box(t=(0, 1), x=(0, 1))

    @residual(domain)
    def right(u_t):
        return 0 * u_t

    @residual(domain)
    def wrong(u_t, t):
        return u_t + 3

    problem = Problem(domain, [right, wrong])
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    settings = {"points": {"residual": 40}, "snapshot_every": 0, "progress": False, "causal": Causal(slices=2)}
    run = pinntk.train(problem, network, steps=1, **settings)
    assert run.history[0]["causal"] < 0.1
    assert run.history[0]["loss/right"] == 0


# Adaptive points.


def test_the_density_is_that_of_the_formula():
    e = np.array([1.0, -2.0, 5.0])
    expected = np.abs(e) ** 2 / np.mean(e**2) + 0.5
    assert np.allclose(RAD(power=2, floor=0.5).density([e]), expected / expected.sum(), rtol=1e-14)
    both = np.abs(e) / np.mean(np.abs(e)) + np.array([3, 0, 0]) + 2
    assert np.allclose(RAD().density([e, np.array([7.0, 0, 0])]), both / both.sum(), rtol=1e-14)
    for useless in (np.zeros(3), np.array([1, np.nan, 1]), np.array([1, np.inf, 1])):
        assert np.allclose(RAD().density([useless]), 1 / 3)


def test_adaptive_points_crowd_where_the_residual_is_large():
    domain = Box(t=(0, 1), x=(0, 1))

    @residual(domain)
    def early(u, t):
        return 0 * u + (t < 0.1)

    problem = Problem(domain, [early])
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)

    def drawn(seed, **settings):
        points, g = adaptive.adapted_points(RAD(**settings), network, problem, {"early": 2000}, seed=seed, dtype=torch.float64)
        return points["early"], g["early"]

    points, g = drawn(3)
    # The density is 1/0.1 + 1 to 1; about 2,000 of the 20,000 candidates are early.
    assert abs(float((points[:, 0] < 0.1).double().mean()) - 11 / 20) < 0.02  # the candidates are random
    assert 0.08 < float((drawn(3, floor=1e6)[0][:, 0] < 0.1).double().mean()) < 0.12
    assert len(torch.unique(points, dim=0)) == 2000
    assert torch.equal(points, drawn(3)[0])
    assert not torch.equal(points, drawn(4)[0])
    assert np.allclose(g, np.where(points[:, 0] < 0.1, 2 / 11, 2), rtol=0.05)  # one over the density, of mean 1
    assert abs(float(g.mean()) - 1) < 0.05


def test_importance_weights_estimate_the_mean_over_all_candidates():
    density, e = np.array([100.0, 60, 3, 2, 2, 1, 1, 1]), np.array([9.0, 5, 4, 1, 0, 2, 1, 1])
    estimates = []
    for seed in range(4000):
        places, shares = adaptive._systematic(density, 4, np.random.default_rng(seed))
        estimates.append(np.mean(4 / 8 / shares[places] * e[places] ** 2))
    assert abs(np.mean(estimates) / np.mean(e**2) - 1) < 0.01


def test_a_systematic_draw_takes_each_with_its_share_and_none_twice():
    density = np.array([100.0, 60, 3, 2, 2, 1, 1, 1])
    taken = np.zeros(8)
    for seed in range(4000):
        places, shares = adaptive._systematic(density, 4, np.random.default_rng(seed))
        assert len(set(places)) == 4
        taken[places] += 1
    assert np.allclose(shares, [1, 1, 0.6, 0.4, 0.4, 0.2, 0.2, 0.2])
    assert np.allclose(taken / 4000, shares, atol=0.03)
    assert sorted(adaptive._systematic(np.ones(5), 5, np.random.default_rng(0))[0]) == [0, 1, 2, 3, 4]


def test_training_draws_its_residual_points_by_the_errors(tmp_path):
    train(tmp_path, steps=5, resample=4, adaptive=True)
    points = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["points"]
    twin = train(steps=4, resample=4, adaptive=True, log_every=1)  # its network is the one that chose the points
    draw = {"seed": 1_000_003, "method": "sobol", "dtype": torch.float64}
    plain = twin.problem.sample(**draw, **POINTS)
    assert torch.equal(points["start"], plain["start"])
    counts = {"burgers": 40, "start": 6, "walls": 6}
    chosen, _ = adaptive.adapted_points(RAD(), twin.network, twin.problem, counts, **draw)
    assert torch.equal(points["burgers"], chosen["burgers"])
    assert not torch.equal(points["burgers"], plain["burgers"])


def test_conditions_on_the_same_points_stay_on_the_same_points():
    problem = pinntk.load("kovasznay")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    counts = dict.fromkeys(problem.names, 20)
    points, g = adaptive.adapted_points(RAD(), network, problem, counts, seed=0)
    residuals = [c.name for c in problem.conditions if c.kind == "residual"]
    assert len(residuals) > 1
    assert len({id(points[name]) for name in residuals}) == 1
    assert all(len(rows) == 20 for rows in points.values())
    assert set(g) == set(residuals)


# L-BFGS, errors, and the command line.


def test_lbfgs_keeps_its_learning_rate_unless_told():
    assert [default_schedule(name) for name in ("adam", "LBFGS", torch.optim.LBFGS)] == ["cosine", "constant", "cosine"]
    for schedule, last in ((None, 0.5), ("cosine", 0.0)):
        run = train(steps=4, optimizer="lbfgs", lr=0.5, schedule=schedule)
        assert run.history[-1]["learning_rate"] == pytest.approx(last, abs=1e-12)
    assert train(steps=2, schedule=None).config["training"]["schedule"] == "cosine"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"causal": True}, TypeError, "causal=True: give epsilon"),
        ({"causal": -1.0}, ValueError, "epsilon=-1.0: a number above 0"),
        ({"causal": 1.0, "optimizer": "gauss-newton", "lr": None, "schedule": None}, ValueError, "leave causal out, or use"),
        ({"causal": 1.0, "name": "poisson1d"}, ValueError, "need a coordinate 't'"),
        ({"causal": Causal(slices=50)}, ValueError, r"40 points for 50 causal time slices; give more.*Causal\(slices=4\)"),
        ({"weighting": Causal()}, TypeError, "causal weights go beside a weighting"),
        ({"weighting": "gradient_norm"}, ValueError, "use 'fixed', 'ntk', 'gradient-norm'"),
        ({"adaptive": True}, ValueError, "adaptive points need resample"),
        ({"adaptive": 2.0, "resample": 3}, TypeError, "adaptive=2.0: give True"),
        ({"adaptive": True, "resample": 0}, ValueError, "adaptive points need resample"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        train(**settings)


@pytest.mark.parametrize("settings", [{"power": 0}, {"floor": -1.0}, {"candidates": 1}, {"floor": float("inf")}])
def test_bad_settings_of_rad(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        RAD(**settings)


def test_the_command_line_has_it_all_and_resumes_it(tmp_path, capsys):
    small = ["--width", "4", "--depth", "1", "--points", "residual=30,initial=4,boundary=4", "--snapshot-every", "0", "--quiet"]
    prescriptions = ["--weighting", "gradient-norm", "--every", "2", "--causal", "0.1,1", "--slices", "3", "--resample", "3"]
    arguments = ["train", "burgers", *small, *prescriptions, "--adaptive"]
    assert main([*arguments, "--steps", "6", "-o", str(tmp_path / "parts")]) == 0
    config = json.loads((tmp_path / "parts" / "config.json").read_text())
    assert config["weighting"] == {"name": "gradient-norm", "every": 2, "momentum": 0.9}
    assert config["training"]["causal"] == {"epsilon": [0.1, 1.0], "slices": 3, "threshold": 0.99}
    assert config["training"]["adaptive"] == {"power": 1.0, "floor": 1.0, "candidates": 10}
    assert main(["train", "--resume", str(tmp_path / "parts"), "--steps", "8", "--quiet"]) == 0
    assert pinntk.Run.load(tmp_path / "parts").step == 8
    assert main([*arguments[:2], "--slices", "4"]) == 2
    assert "--slices 4 are those of --causal" in capsys.readouterr().err
    assert main([*arguments[:2], "--normalization", "sum", "--weighting", "gradient-norm"]) == 2
    assert "--normalization does not apply to --weighting gradient-norm; leave it out" in capsys.readouterr().err
