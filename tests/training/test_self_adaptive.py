"""Self-adaptive weights: against a loop written by hand, through a stop and back, and their kernel K Gamma."""

import json

import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.diagnostics import spectrum
from pinntk.diagnostics._rules_points import too_few_points
from pinntk.reporting import plot
from pinntk.training import _losses as losses_module
from pinntk.training import apply_changes
from pinntk.weighting import Causal, SelfAdaptive
from tests.support.sweeps import sweep

pytestmark = pytest.mark.xdist_group("self_adaptive")  # one worker, for what they share

POINTS = {"residual": 20, "initial": 6, "boundary": 6}
NAMES = ("burgers", "start", "walls")
RANGES = {"residual": (0, 1), "start": (2, 50.0)}


def small():
    problem = pinntk.load("burgers")
    return problem, pinntk.nn.MLP(problem, width=6, depth=1, dtype=torch.float64)


def train(out=None, *, weighting, steps=6, **settings):
    problem, network = small()
    settings = {"points": POINTS, "lr": 1e-2, "schedule": "constant", "checkpoint_every": 3, **settings}
    settings = {"progress": False, "snapshot_every": 0, **settings}
    return pinntk.train(problem, network, weighting=weighting, steps=steps, out=out, **settings)


def same(a, b):
    parameters = zip(a.network.parameters(), b.network.parameters(), strict=True)
    weights = all(torch.equal(g, b.point_weights[name]) for name, g in a.point_weights.items())
    rows = [[{**row, "seconds": 0} for row in run.history if row["step"] >= 5] for run in (a, b)]
    return all(torch.equal(p, q) for p, q in parameters) and weights and rows[0] == rows[1]


def by_hand(scheme, mask, ascent, steps, kind):
    """Descent in theta and ascent in lambda, at once, on a copy of what `train` starts from."""
    problem, network = small()
    points = problem.sample(seed=0, method="sobol", dtype=torch.float64, **POINTS)
    lam = {name: values.requires_grad_() for name, values in scheme.first(problem, points, 0).items()}
    down = kind(list(network.parameters()), lr=1e-2)
    up = ascent(list(lam.values()), lr=scheme.lr)
    losses = []
    for _ in range(steps):
        e = pinntk.errors(network, problem, points, "autograd")
        loss = sum(((mask(lam[name]) if name in lam else 1) * e[name].square()).mean() for name in NAMES)
        down.zero_grad()
        up.zero_grad()
        loss.backward()
        for values in lam.values():
            values.grad.neg_()
        down.step()
        up.step()
        losses.append(loss.item())
    return network, {name: mask(values).detach() for name, values in lam.items()}, losses


@pytest.mark.parametrize("passes", sweep((False, True), False))
@pytest.mark.parametrize(
    ("settings", "mask", "ascent", "optimizer"),
    [
        ({"lr": 0.3, "initial": 2.0, "optimizer": "gradient-ascent"}, torch.square, torch.optim.SGD, "gradient-descent"),
        ({"lr": 0.1, "initial": RANGES}, torch.square, torch.optim.Adam, "adam"),
        ({"lr": 0.1, "initial": {"walls": -1.0}, "mask": "sigmoid"}, torch.sigmoid, torch.optim.Adam, "adam"),
        ({"lr": 0.1, "initial": (0, 1), "mask": 3}, lambda x: x**3, torch.optim.Adam, "adam"),
    ],
)
def test_training_is_the_loop_written_by_hand(monkeypatch, settings, mask, ascent, optimizer, passes):
    if passes:
        monkeypatch.setattr(losses_module, "_PASS_BYTES", 400)
    scheme = SelfAdaptive(**settings)
    kind = {"gradient-descent": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    network, weights, losses = by_hand(scheme, mask, ascent, 4, kind)
    run = train(weighting=scheme, steps=4, optimizer=optimizer, log_every=1)
    for p, q in zip(run.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-9, atol=1e-11)
    assert set(run.point_weights) == set(weights)
    for name, g in weights.items():
        assert torch.allclose(run.point_weights[name], g, rtol=1e-9)
        assert run.history[-1][f"mean_point_weight/{name}"] == pytest.approx(float(g.mean()))
        assert run.history[-1][f"max_point_weight/{name}"] == pytest.approx(float(g.max()))
    assert run.column("loss")[1][:4] == pytest.approx(losses)
    assert run.weights == dict.fromkeys(NAMES, 1.0)


def test_the_log_has_the_plain_losses():
    problem, network = small()
    e = pinntk.errors(network, problem, problem.sample(seed=0, method="sobol", dtype=torch.float64, **POINTS))
    row = train(weighting=SelfAdaptive(initial=3.0), steps=1).history[0]
    for name in NAMES:
        assert row[f"loss/{name}"] == pytest.approx(e[name].square().mean().item(), rel=1e-12)
    assert row["loss"] == pytest.approx(9 * sum(row[f"loss/{name}"] for name in NAMES), rel=1e-12)


def test_weights_grow_where_the_errors_are_large():
    run = train(weighting=SelfAdaptive(lr=0.5, initial=1.0, optimizer="gradient-ascent"), steps=8, lr=1e-6)
    e = pinntk.errors(run.network, run.problem, run.points)["burgers"].detach().square()
    order = run.point_weights["burgers"].argsort()
    assert torch.equal(order, e.argsort())
    assert run.point_weights["burgers"].min() >= 1


def test_draws_come_from_the_seed_and_lie_in_their_ranges():
    problem, _ = small()
    points = problem.sample(**POINTS)
    scheme = SelfAdaptive(initial=RANGES)
    first, again, other = (scheme.first(problem, points, seed) for seed in (0, 0, 1))
    assert list(first) == ["burgers", "start"] == scheme.names(problem)
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)
    assert first["burgers"].max() < 1
    assert first["start"].min() > 2
    both = SelfAdaptive(initial={"boundary": 5.0, "walls": 7.0}).first(problem, points, 0)
    assert both["walls"].tolist() == [7.0] * 6  # the name goes before the kind


@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": SelfAdaptive(lr=0.1, initial=RANGES)},
        pytest.param(
            {
                "weighting": SelfAdaptive(lr=0.1, optimizer="gradient-ascent", mask="sigmoid"),
                "optimizer": "lbfgs",
                "lr": 0.5,
                "optimizer_options": {"max_iter": 4},
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path, settings):
    whole = train(tmp_path / "whole", steps=12, **settings)
    train(tmp_path / "parts", steps=5, **settings)
    resumed = train(tmp_path / "parts", steps=12, resume=True, **settings)
    assert same(whole, resumed)
    loaded = pinntk.Run.load(tmp_path / "parts")
    assert same(loaded, resumed)
    assert loaded.point_weights["burgers"].std() > 0
    with pytest.raises(ValueError, match=r"cannot resume.*trained with lr=0\.1, now lr=0\.2"):
        scheme = SelfAdaptive(lr=0.2, initial=RANGES)
        train(tmp_path / "parts", steps=12, resume=True, **{**settings, "weighting": scheme})


def test_a_second_training_goes_on_with_the_weights_of_the_first():
    first = train(weighting=SelfAdaptive(lr=0.1, initial=RANGES))
    frozen = SelfAdaptive(lr=0, initial={name: g.sqrt() for name, g in first.point_weights.items()})
    settings = {"points": first.points, "steps": 3, "optimizer": "lbfgs", "progress": False, "weighting": frozen}
    second = pinntk.train(first.problem, first.network, **settings)
    for name, g in first.point_weights.items():
        assert torch.allclose(second.point_weights[name], g, rtol=1e-12)
    assert second.history[0]["loss"] == pytest.approx(first.history[-1]["loss"])
    assert second.history[-1]["loss"] < second.history[0]["loss"]
    assert second.config["weighting"]["initial"] == {"burgers": "given", "start": "given"}
    with pytest.raises(ValueError, match="'given' was a tensor: give it"):
        pinntk.train_as(second.config, points=first.points)


@pytest.mark.parametrize("settings", [{"lr": 0.1, "initial": RANGES}, {"mask": "sigmoid"}, {"initial": (0.5, 2), "mask": 1.5}])
def test_a_configuration_trains_the_same_again(settings):
    run = train(weighting=SelfAdaptive(**settings))
    config = json.loads(json.dumps(run.config))
    again = pinntk.train_as(config, progress=False)
    assert same(run, again)
    assert json.loads(json.dumps(again.config)) == config
    steeper = pinntk.train_as(apply_changes(config, {"weighting.lr": 1.0}), progress=False)
    assert steeper.history[-1]["max_point_weight/burgers"] > run.history[-1]["max_point_weight/burgers"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resample": 2}, "belong to points, which resample=2 would replace; leave resample out"),
        ({"causal": Causal(slices=4)}, "and causal ones both weigh points"),
        ({"optimizer": "gauss-newton", "lr": None, "schedule": None}, "use a gradient optimizer"),
        ({"weighting": SelfAdaptive(initial={"wals": 1.0})}, "initial of 'wals': burgers has conditions"),
        (
            {"weighting": SelfAdaptive(initial={"walls": torch.ones(5)})},
            r"initial of 'walls' has shape \(5,\); expected \(6,\)",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**{"weighting": "self-adaptive", **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": -1.0},
        {"mask": 0},
        {"mask": "square"},
        {"optimizer": "lbfgs"},
        {"initial": 0.0},
        {"initial": -1.0},
        {"initial": (1, 1)},
        {"initial": (-1, 1)},
        {"initial": (1, 2, 3)},
        {"initial": "given"},
        {"initial": {"walls": float("nan")}},
        {"initial": torch.tensor([-1.0])},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        SelfAdaptive(**settings)


def test_the_monitor_predicts_nothing(monkeypatch):
    monkeypatch.setattr("pinntk.training._monitor.diagnose", lambda run: [])
    for weighting, predicted in (("self-adaptive", False), ("fixed", True)):
        run = train(weighting=weighting, monitor=pinntk.Monitor(every=2, budget=None))
        assert run.monitor.measurements == 4
        assert any("monitor/predicted/walls" in row for row in run.history) == predicted


@pytest.mark.slow
def test_a_run_is_drawn_and_every_cure_can_be_followed():
    run = train(weighting=SelfAdaptive(lr=0.1), steps=20)
    assert "self-adaptive point weight m(λ)" in [panel.title for panel in plot.loss_panels(run)]
    assert all(figure.axes for figure in plot.figures(run).values())
    prescribed = [entry.changes for finding in pinntk.diagnose(run) for entry in finding.prescriptions if entry.changes]
    assert prescribed
    for changes in prescribed:
        config = apply_changes(run.config, changes)
        if config.get("slabs"):
            given = pinntk.TrainConfig.from_json(config, steps=1, snapshot_every=0)
            network = pinntk.nn.MLP(run.problem, **run.config["network"]["arguments"])
            pinntk.train_slabs(run.problem, network, given, slabs=2, progress=False)
        else:
            pinntk.train_as(config, steps=1, progress=False, snapshot_every=0)


def test_fresh_points_are_prescribed_without_weights_that_belong_to_points(monkeypatch):
    """A narrow case of too few points: the rule that prescribes fresh ones."""
    settings = {"points": {"residual": 6, "initial": 4, "boundary": 4}, "optimizer": "lbfgs", "lr": 1.0, "steps": 40}
    run = train(weighting=SelfAdaptive(lr=1e-3), **settings)
    x = pinntk.examine(run)
    monkeypatch.setattr("pinntk.diagnostics._rules_points.failing", lambda x: True)
    monkeypatch.setattr("pinntk.diagnostics._rules_points._clustering", lambda x, name: 0.0)
    fresh = too_few_points(x).prescriptions[1].changes
    assert fresh["training.resample"] == 1
    assert pinntk.train_as(apply_changes(run.config, fresh), **{**settings, "steps": 2}, progress=False).step == 2


def test_the_command_line(tmp_path, capsys):
    options = [
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
    folder = str(tmp_path / "run")
    arguments = ["train", "burgers", *options, "--weighting", "self-adaptive"]
    assert main([*arguments, "--ascent-lr", "0.1", "--steps", "6", "-o", folder]) == 0
    expected = {"name": "self-adaptive", "lr": 0.1, "initial": 1.0, "mask": 2.0, "optimizer": "adam"}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["weighting"] == expected
    assert main(["train", "--resume", folder, "--steps", "8", "--quiet"]) == 0
    assert pinntk.Run.load(folder).step == 8
    assert main([*arguments, "--every", "5"]) == 2
    assert "--every does not apply to --weighting self-adaptive; leave it out" in capsys.readouterr().err
    assert main(["train", "burgers", "--weighting", "ntk", "--ascent-lr", "1"]) == 2
    assert "--ascent-lr does not apply to --weighting ntk; leave it out" in capsys.readouterr().err


# The kernel K Gamma.


@pytest.fixture(scope="module")
def weighted():
    problem, network = small()
    points = problem.sample(seed=0, dtype=torch.float64, **POINTS)
    generator = torch.Generator().manual_seed(0)
    g = {name: 0.2 + 3 * torch.rand(len(rows), generator=generator).double() for name, rows in points.items()}
    return pinntk.kernel(network, problem, points), pinntk.errors(network, problem, points), g


def test_the_spectrum_with_point_weights_is_that_of_the_kernel_that_drives_the_errors(weighted):
    K, errors, g = weighted
    D = torch.cat([2 * g[name] / n for name, n in zip(K.names, K.sizes, strict=True)])
    expected = torch.linalg.eigvals(K.matrix() * D).real.sort().values
    assert torch.allclose(K.eigvalsh(g), expected, rtol=1e-9, atol=1e-10 * float(expected[-1]))
    found = spectrum(K, g)
    assert torch.allclose(found.values.flip(0), K.eigvalsh(g))
    loss = sum((g[name] * e.square()).mean().item() for name, e in errors.items())
    assert float(found.project(errors).square().sum()) / 2 == pytest.approx(loss)
    numbers = {"burgers": 2.0, "start": 1.0, "walls": 0.5}
    spread = {name: torch.full((n,), numbers[name]) for name, n in zip(K.names, K.sizes, strict=True)}
    assert torch.equal(K.eigvalsh(spread), K.eigvalsh(numbers))


def test_eigenvalues_lie_between_the_least_and_the_largest_weight_times_those_without(weighted):
    K, _, g = weighted
    plain, with_weights = K.eigvalsh(dict.fromkeys(K.names, 1.0)), K.eigvalsh(g)
    every = torch.cat(list(g.values()))
    rounding = K.floor()
    assert (with_weights >= every.min() * plain - rounding).all()
    assert (with_weights <= every.max() * plain + rounding).all()
    assert not torch.allclose(with_weights, plain, rtol=0.1)


def test_point_weights_that_do_not_fit(weighted):
    K, _, g = weighted
    for walls in (torch.ones(5), -torch.ones(6), torch.full((6,), float("inf"))):
        with pytest.raises(ValueError, match=r"point weights of 'walls' have shape .*; expected \(6,\), finite and at least 0"):
            K.eigvalsh({**g, "walls": walls})
    with pytest.raises(ValueError, match=r"weights for \['walls'\] are missing"):
        K.eigvalsh({name: g[name] for name in ("burgers", "start")})
