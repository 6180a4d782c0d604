"""Weights by the time that is left: what they stand for, and that every part of a training takes them."""

import json

import numpy as np
import pytest
import torch

import pinntk
from pinntk import RAD
from pinntk.cli import main
from pinntk.diagnostics._prescriptions import by_ntk, gauss_newton
from pinntk.diagnostics._progress import progress
from pinntk.solvers import GaussNewton
from pinntk.training._points import TrainingPoints
from pinntk.weighting import NTK, Causal, Fixed, ReLoBRaLo, RemainingTime

POINTS = {"residual": 20, "initial": 6, "boundary": 6}
LENGTH = 2.0  # of time, in `backward`


def small():
    problem = pinntk.load("burgers")
    return problem, pinntk.nn.MLP(problem, width=6, depth=1, dtype=torch.float64)


def train(out=None, *, weighting="remaining-time", steps=4, **settings):
    settings = {"points": POINTS, "lr": 1e-2, "progress": False, "snapshot_every": 0, "log_every": 1, **settings}
    return pinntk.train(*small(), weighting=weighting, steps=steps, out=out, **settings)


def squares(run):
    return {name: e.detach().square() for name, e in pinntk.errors(run.network, run.problem, run.points).items()}


def at_times(scheme, problem, times):
    rows = torch.zeros(len(times), problem.domain.dimension, dtype=torch.float64)
    rows[:, problem.domain.axis("t")] = torch.as_tensor(times)
    name = scheme.names(problem)[0]
    return scheme.at(problem, {name: rows, "start": rows})[name].numpy()


@pytest.mark.parametrize(("power", "stays"), [(1.0, lambda t, s: np.ones_like(t - s)), (3.0, lambda t, s: t - s)])
def test_the_weight_is_what_a_residual_adds_to_the_squared_error_of_all_times(power, stays):
    """Of residuals that have nothing to do with each other: E |e|^2 = sum_s (integral S(t, s)^2 dt) r_s^2."""
    n = 1000
    times = (np.arange(n) + 0.5) / n
    solution = np.tril(stays(times[:, None], times[None])) / n  # e = S r
    squared_error = (solution**2).sum(0)
    weights = at_times(RemainingTime(power, beyond=0.0), pinntk.load("kdv"), times)
    assert weights == pytest.approx(squared_error / squared_error.mean(), abs=5 / n)


@pytest.mark.parametrize(("power", "beyond"), [(0.5, 0.0), (1.0, 0.1), (3.0, 1.0)])
def test_its_mean_over_time_is_one_in_either_direction(power, beyond):
    places, shares = np.polynomial.legendre.leggauss(60)
    scheme, forward = RemainingTime(power, beyond), pinntk.load("wave1d")
    assert shares / 2 @ at_times(scheme, forward, (places + 1) / 2) == pytest.approx(1, rel=1e-4)
    domain = pinntk.Box(t=(1, 1 + LENGTH), x=(0, 1))

    @pinntk.residual(domain)
    def value(u, u_t, u_xx):
        return u_t + u_xx

    @pinntk.initial(domain.at(t=1 + LENGTH))
    def payoff(u, x):
        return u - x

    backward = pinntk.Problem(domain, [value, payoff])
    found = at_times(scheme, backward, 1 + LENGTH * (places + 1) / 2)
    assert shares / 2 @ found == pytest.approx(1, rel=1e-4)
    assert (np.diff(found) > 0).all() and (np.diff(at_times(scheme, forward, places / 2 + 0.5)) < 0).all()


@pytest.mark.parametrize(
    "settings", [{}, {"resample": 2}, {"resample": 2, "adaptive": "rad"}, {"optimizer": "lbfgs", "lr": 1.0}]
)
def test_what_is_minimized_is_weighed_and_the_log_has_it_plain(settings):
    run = train(weighting=[Fixed(walls=3), RemainingTime(power=2.0)], **settings)
    found, g = squares(run), RemainingTime(power=2.0).at(run.problem, run.points)
    assert set(g) == {"burgers"} == set(run.point_weights)
    assert torch.equal(g["burgers"], run.point_weights["burgers"])
    last = run.history[-1]
    assert last["loss/burgers"] == pytest.approx(float(found["burgers"].mean()), rel=1e-10)
    weighed = sum({"walls": 3.0}.get(name, 1.0) * (g.get(name, 1.0) * square).mean() for name, square in found.items())
    assert last["loss"] == pytest.approx(float(weighed), rel=1e-10)


def test_a_solver_minimizes_the_weighed_loss():
    settings = {"optimizer": "gauss-newton", "lr": None, "weighting": [Fixed(), RemainingTime()], "resample": 0}
    run = train(steps=1, **settings)
    problem, network = small()
    points = problem.sample(seed=0, dtype=torch.float64, method="sobol", **POINTS)
    assert all(torch.equal(points[name], rows) for name, rows in run.points.items())
    solver = GaussNewton(network, problem)
    solver.weights = dict.fromkeys(points, 1 / len(points))
    report = solver.step(points, RemainingTime().at(problem, points))
    for p, q in zip(run.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-7, atol=1e-9)
    assert run.history[0]["loss"] == pytest.approx(sum(report.losses.values()), rel=1e-10)
    assert run.history[0]["loss/burgers"] != pytest.approx(report.losses["burgers"], rel=1e-3)


def test_a_solver_weighs_points_that_fall_by_the_errors_by_both():
    """Importance weights times those of places; the log has the first alone, which estimate the plain mean."""
    settings = {"optimizer": "gauss-newton", "lr": None, "weighting": [Fixed(), RemainingTime()], "adaptive": RAD(candidates=3)}
    run = train(steps=2, resample=1, **settings)
    found, g = squares(run)["burgers"], RemainingTime().at(run.problem, run.points)["burgers"]
    importance = run.point_weights["burgers"] / g
    assert importance.std() > 0.01 and float(importance.mean()) == pytest.approx(1, abs=0.5)
    last = run.history[-1]
    assert last["loss/burgers"] == pytest.approx(float((importance * found).mean()), rel=1e-10)
    assert last["weighed_loss/burgers"] == pytest.approx(float((importance * g * found).mean()), rel=1e-10)


def test_what_a_solver_compares_with_losses_elsewhere_is_weighed_too():
    problem, network = small()
    config = pinntk.TrainConfig(points=POINTS, optimizer="gauss-newton", weighting=[Fixed(), RemainingTime(power=3)])
    points = TrainingPoints(config, network, problem)
    elsewhere = points.others(5)
    e = pinntk.errors(network, problem, elsewhere)["burgers"].detach()
    g = RemainingTime(power=3).at(problem, elsewhere)["burgers"]
    assert points.losses(elsewhere)["burgers"] == pytest.approx(float((g * e.square()).mean()), rel=1e-10)


def test_a_training_goes_on_with_a_solver_and_the_same_weights(tmp_path):
    run = train(tmp_path, optimizer="adam:3", steps=None, lr=None)
    longer = pinntk.TrainConfig.from_json(run.config, optimizer="adam:3, gauss-newton:2", steps=None)
    assert longer.weighting == RemainingTime()
    assert main(["train", "--resume", str(tmp_path), "--optimizer", "adam:3, gauss-newton:2", "--quiet"]) == 0
    assert pinntk.Run.load(tmp_path).step == 5


def test_what_is_met_by_construction_is_in_no_row_as_weighed():
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64, hard="auto")
    settings = {"points": POINTS, "steps": 2, "log_every": 1, "snapshot_every": 0, "progress": False}
    run = pinntk.train(problem, network, weighting=RemainingTime(conditions=["residual", "boundary"]), **settings)
    assert [[name for name in row if name.startswith("weighed")] for row in run.history] == [["weighed_loss/burgers"]] * 3


@pytest.mark.parametrize(
    "settings",
    [
        {"resample": 3, "adaptive": "r3"},
        {"optimizer": "ssbroyden", "lr": None},
        {"optimizer": "adam:2, gauss-newton:2:sampling=sobol", "lr": None},
        {"weighting": [RemainingTime(), "upgrad"]},
    ],
    ids=str,
)
def test_it_goes_with(settings):
    run = train(**{"weighting": [Fixed(), RemainingTime()], **settings})
    g, found = RemainingTime().at(run.problem, run.points)["burgers"], squares(run)["burgers"]
    importance = run.point_weights["burgers"] / g
    assert run.history[-1]["weighed_loss/burgers"] == pytest.approx(float((importance * g * found).mean()), rel=1e-9)
    assert "gauss" in str(settings) or torch.allclose(importance, torch.ones_like(g), rtol=1e-14)


@pytest.mark.filterwarnings("error::UserWarning")  # which says that a step runs eagerly
def test_compiled_steps_are_those_of_eager_ones(interpreted):
    for weighting in ("remaining-time", "softadapt+remaining-time"):  # the second needs plain losses in every step
        eager, compiled = (train(weighting=weighting, resample=2, steps=5, compile=compile) for compile in (False, True))
        assert compiled.column("loss")[1] == pytest.approx(eager.column("loss")[1], rel=1e-9)
        assert compiled.column("loss/burgers")[1] == pytest.approx(eager.column("loss/burgers")[1], rel=1e-9)


def test_an_ensemble_trains_as_its_members_alone():
    problem = pinntk.load("burgers")
    settings = {"points": POINTS, "steps": 3, "weighting": "remaining-time", "resample": 2, "progress": False, "log_every": 1}

    def network(seed):
        return pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64, seed=seed)

    together = pinntk.train_ensemble(problem, network, seeds=2, **settings)
    for seed, run in enumerate(together.runs):
        alone = pinntk.train(problem, network(seed), seed=seed, **settings)
        assert run.column("loss")[1] == pytest.approx(alone.column("loss")[1], rel=1e-10)
        assert run.column("loss/burgers")[1] == pytest.approx(alone.column("loss/burgers")[1], rel=1e-10)


def test_a_slab_counts_the_time_in_the_slabs_after_it():
    whole, edges = pinntk.load("burgers"), (0.0, 0.25, 1.0)
    scheme, times = RemainingTime(power=2.0, beyond=0.5), np.linspace(0, 1, 21)
    expected = at_times(scheme, whole, times)
    before = pinntk.nn.MLP(pinntk.slab(whole, 0, edges), width=4, depth=1)
    for number, inside in ((0, times <= 0.25), (1, times >= 0.25)):
        part = pinntk.slab(whole, number, edges, before if number else None)
        found = at_times(scheme, part, times[inside])
        assert found / found[0] == pytest.approx(expected[inside] / expected[inside][0], rel=1e-12)
        places, shares = np.polynomial.legendre.leggauss(20)
        low, high = edges[number : number + 2]
        assert shares / 2 @ at_times(scheme, part, low + (high - low) * (places + 1) / 2) == pytest.approx(1, rel=1e-12)


def test_conditions_at_single_times_or_over_all_of_time_are_left_out():
    domain = pinntk.Box(t=(0, 1), x=(0, 1))

    @pinntk.residual(domain)
    def heat(u_t, u_xx):
        return u_t - u_xx

    @pinntk.residual(domain.at(t=1))
    def steady(u_t):
        return u_t

    @pinntk.periodic(domain.ends("t"))
    def cycle(u):
        return u

    @pinntk.integral(domain, equals=1.0)
    def mass(u):
        return u

    @pinntk.boundary(domain.ends("x"))
    def ends(u):
        return u

    problem = pinntk.Problem(domain, [heat, steady, cycle, mass, ends])
    assert RemainingTime().names(problem) == ["heat"]
    assert RemainingTime(conditions=["residual", "boundary", "periodic"]).names(problem) == ["heat", "ends"]
    for name in ("steady", "cycle", "mass"):
        with pytest.raises(ValueError, match=f"'{name}' holds at single times, or over all of time at once"):
            RemainingTime(conditions=name).names(problem)


def test_prescriptions_keep_it():
    run = train(weighting=[Fixed(), RemainingTime(power=2.0)], steps=2)
    beside = [RemainingTime(power=2.0).describe()]
    for changes in (by_ntk(run), gauss_newton(run)):
        assert changes["weighting"]["name"] == "ntk" and changes["weighting"]["beside"] == beside
        after = pinntk.TrainConfig.from_json(pinntk.training.apply_changes(run.config, changes))
        assert after.weighting.describe()["beside"] == beside
    assert by_ntk(train(weighting="rba", steps=1)) == by_ntk(None) == {"weighting": {"name": "ntk", "every": 100}}


def test_a_training_is_judged_by_what_it_minimizes():
    run = train(weighting=[Fixed(walls=2), RemainingTime(power=3.0)], steps=5, lr=0.1)
    assert progress(run).loss == pytest.approx(run.column("loss")[1], rel=1e-12)
    plain = sum(run.weights[name] * run.column(f"loss/{name}")[1] for name in run.weights)
    assert progress(run).loss != pytest.approx(plain, rel=1e-3)


def test_an_average_of_parameters_is_measured_by_the_same_loss():
    run = train(average=0.5, eval_every=4)
    e = pinntk.errors(run.averaged, run.problem, run.points)
    g = RemainingTime().at(run.problem, run.points)
    expected = sum(float((g.get(name, 1.0) * error.detach().square()).mean()) for name, error in e.items())
    assert run.history[-1]["averaged/loss"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("own", [None, {"residual": 9, "initial": 4, "boundary": 4}])
def test_loss_weights_beside_it_are_those_of_the_weighed_kernel(own):
    run = train(weighting=[NTK(points=own), "remaining-time"], steps=1)
    problem, network = small()
    points = run.points if own is None else problem.sample(own, seed=0, method="sobol", dtype=torch.float64)
    K, g = pinntk.kernel(network, problem, points), RemainingTime().at(problem, points)["burgers"]
    traces = {name: float(K.diagonal(name).sum()) for name in K.names} | {"burgers": float(g @ K.diagonal("burgers"))}
    for name, expected in NTK().rule(traces, {name: len(rows) for name, rows in points.items()}).items():
        assert run.history[0][f"weight/{name}"] == pytest.approx(expected, rel=1e-9)


def test_causal_weights_multiply_it():
    run = train(causal=Causal(epsilon=10.0, slices=3))
    alone = train(weighting=None, causal=Causal(epsilon=10.0, slices=3), steps=1)
    assert run.history[0]["causal"] == pytest.approx(alone.history[0]["causal"], rel=1e-12)
    g = RemainingTime().at(run.problem, run.points)["burgers"]
    slices = Causal(slices=3).slice_of(run.problem, run.points["burgers"])
    causal = run.point_weights["burgers"] / g
    for k in range(3):
        assert causal[slices == k] == pytest.approx(float(causal[slices == k][0]), rel=1e-12)
    assert causal.std() > 0.01
    assert run.history[-1]["loss/burgers"] == pytest.approx(float(squares(run)["burgers"].mean()), rel=1e-10)


def test_what_compares_losses_beside_it_sees_them_plain():
    scheme = ReLoBRaLo(alpha=0.0, rho=1.0)  # of the last step alone
    run = train(weighting=[scheme, "remaining-time"], steps=3, log_every=1)
    first, second = ({name: row[f"loss/{name}"] for name in run.problem.names} for row in run.history[:2])
    for name, expected in scheme.balance(second, first).items():
        assert run.history[2][f"weight/{name}"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"power": 0}, "power=0: a number above 0"),
        ({"power": 1e4}, "power=10000.0: a number above 0, at most 100"),
        ({"power": "1"}, "power='1'"),
        ({"beyond": -0.1}, "beyond=-0.1"),
        ({"conditions": "start"}, "'start' holds at single times"),
        ({"conditions": "initial"}, "has none of them that holds throughout time"),
        ({"conditions": "wals"}, "did you mean 'walls'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        train(weighting=RemainingTime(**settings))


def test_a_problem_without_time_and_two_weights_of_points_are_refused():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    with pytest.raises(ValueError, match=r"remaining-time weights need a coordinate 't'.*poisson1d has coordinates"):
        pinntk.train(problem, network, steps=1, weighting="remaining-time", progress=False)
    with pytest.raises(ValueError, match="'rba' and 'remaining-time' both act on points"):
        train(weighting="rba+remaining-time")


def test_the_command_line(tmp_path):
    few = ["--width", "4", "--depth", "1", "--points", "residual=20,initial=4,boundary=4", "--quiet", "--steps", "2"]
    options = ["--weighting", "ntk+remaining-time", "--weighting-options", "power=3,beyond=0.2", "--resample", "1"]
    assert main(["train", "burgers", *few, *options, "-o", str(tmp_path / "run")]) == 0
    beside = json.loads((tmp_path / "run" / "config.json").read_text())["weighting"]["beside"]
    assert beside == [{"name": "remaining-time", "power": 3.0, "beyond": 0.2, "conditions": ["residual"]}]
