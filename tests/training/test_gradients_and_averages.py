"""Clipped gradients, moving averages of the parameters, early stopping as a setting."""

import math

import numpy as np
import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.training import TrainConfig

F64 = {"dtype": torch.float64}
FEW = {"residual": 9, "boundary": 4}


def start(problem=None):
    problem = problem or pinntk.load("poisson1d")
    return problem, pinntk.nn.MLP(problem, width=5, depth=1, **F64)


def train(steps=6, problem=None, **settings):
    few = {"points": FEW, "progress": False, "snapshot_every": 0, "schedule": "constant", "lr": 0.01, **settings}
    return pinntk.train(*start(problem), steps=steps, **few)


def vector(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize(("clip", "acts"), [(1e-3, True), (1e9, False)])
def test_a_step_of_gradient_descent_is_as_long_as_the_clipped_gradient(clip, acts):
    settings = {"steps": 1, "optimizer": "gradient-descent", "lr": 0.1}
    before, plain = vector(start()[1]), vector(train(**settings).network)
    clipped = vector(train(**settings, clip=clip).network)
    gradient = (before - plain) / 0.1
    expected = before - 0.1 * gradient * min(1.0, clip / float(gradient.norm()))
    assert torch.allclose(clipped, expected, rtol=0, atol=1e-13 * float(gradient.norm()))
    assert acts == (not torch.equal(clipped, plain))


def test_averages_are_the_sum_of_their_formula():
    problem, seen, rates = pinntk.load("heat_inverse"), [], []

    def follow(run):
        seen.append(vector(run.network))
        rates.append(run.problem.coefficients["kappa"].item())

    run = train(6, problem, average=0.7, on_step=follow, eval_every=6, points={"residual": 9, "initial": 4, "boundary": 4})
    theta, kappa = seen[0], rates[0]
    for later, rate in zip(seen[1:], rates[1:], strict=True):
        theta, kappa = 0.7 * theta + 0.3 * later, 0.7 * kappa + 0.3 * rate
    assert torch.allclose(vector(run.averaged), theta, rtol=1e-14, atol=1e-14)
    assert torch.equal(vector(run.network), seen[-1])
    last = run.history[-1]
    assert last["averaged/coefficient/kappa"] == pytest.approx(kappa, rel=1e-6)
    assert problem.coefficients["kappa"].item() == rates[-1] != kappa
    assert last["averaged/relative_error"] == problem.relative_error(run.averaged) != last["relative_error"]
    with torch.no_grad():
        problem.coefficients["kappa"].fill_(kappa)
        errors = pinntk.errors(run.averaged, problem, run.points)
    assert last["averaged/loss"] == pytest.approx(sum(float(e.square().mean()) for e in errors.values()), rel=1e-5)


def test_averages_change_nothing_and_go_on_and_are_read_again(tmp_path):
    plain, whole = train(6), train(6, average=0.9)
    assert torch.equal(vector(plain.network), vector(whole.network)) and plain.averaged is None
    train(3, average=0.9, out=tmp_path)
    resumed = train(6, average=0.9, out=tmp_path, resume=True)
    assert torch.equal(vector(resumed.averaged), vector(whole.averaged))
    assert torch.equal(vector(pinntk.Run.load(tmp_path).averaged), vector(whole.averaged))


def test_the_averaged_network_predicts_when_asked(tmp_path, capsys):
    run = train(3, average=0.5, out=tmp_path / "run")
    for options, network in (((), run.network), (("--averaged",), run.averaged)):
        assert main(["predict", str(tmp_path / "run"), "--grid", "3", "-o", str(tmp_path / "p.csv"), *options]) == 0
        found = [float(line.split(",")[1]) for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
        assert found == pytest.approx(network(torch.tensor([[0.0], [0.5], [1.0]], **F64)).flatten().tolist(), rel=1e-6)
    train(1, out=tmp_path / "none")
    assert main(["predict", str(tmp_path / "none"), "--averaged"]) == 2
    assert "has no averages; train with --average DECAY" in capsys.readouterr().err


def test_early_stopping_by_a_setting(tmp_path):
    still = {"optimizer": "gradient-descent", "lr": 1e-12, "log_every": 1, "out": tmp_path}
    stopping = {"early_stopping": pinntk.EarlyStopping("loss", 3, least=0.1)}
    run = train(9, **still, **stopping)
    assert (run.step, run.stop_reason) == (4, "loss has not got better for 3 rows")
    again = train(9, **still, **stopping, resume=True)
    assert (again.step, again.stop_reason, len(again.history)) == (4, run.stop_reason, len(run.history))
    assert run.config["training"]["early_stopping"] == {"metric": "loss", "patience": 3, "least": 0.1, "largest": False}
    assert TrainConfig.from_json(run.config).early_stopping == pinntk.EarlyStopping("loss", 3, least=0.1)
    assert TrainConfig(early_stopping="loss/ends:3").early_stopping == pinntk.EarlyStopping("loss/ends", 3)
    assert TrainConfig(early_stopping=True).early_stopping == pinntk.EarlyStopping()
    assert train(9, **still, resume=True).step == 9


def test_the_command_line_has_them(tmp_path):
    options = ["--clip", "0.5", "--average", "0.99", "--early-stopping", "relative_error:7", "--steps", "1", "--quiet"]
    assert main(["train", "poisson1d", "--width", "4", "--depth", "1", *options, "-o", str(tmp_path / "run")]) == 0
    training = pinntk.Run.load(tmp_path / "run").config["training"]
    assert (training["clip"], training["average"], training["early_stopping"]["patience"]) == (0.5, 0.99, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0.0}, r"clip=0.0: a norm above 0"),
        ({"clip": 1.0, "optimizer": "lbfgs"}, "clip=1.0: 'lbfgs' searches the length of its steps"),
        ({"clip": 1.0, "optimizer": lambda p: torch.optim.LBFGS(p), "lr": None}, "clip=1.0: 'LBFGS' searches the length"),
        ({"clip": 1.0, "optimizer": "gauss-newton", "lr": None, "schedule": None}, "clip=1.0 does not apply"),
        ({"average": 1.0}, "average=1.0: a decay between 0 and 1"),
        ({"early_stopping": "loss"}, "write METRIC:PATIENCE, as in 'relative_error:20'"),
        ({"early_stopping": "loss:none"}, "write METRIC:PATIENCE"),
        ({"early_stopping": "lost:3"}, "no column 'lost'; did you mean 'loss'"),
    ],
)
def test_what_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**settings)


# What would change nothing.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 0.5}, "decay=0.5 acts with schedule='exponential' only"),
        ({"decay_every": 5, "schedule": "cosine"}, "decay_every=5 acts with"),
        ({"decay": 0.5, "optimizer": "gauss-newton", "lr": None}, "decay=0.5 acts with"),
        ({"optimizer": "ssbroyden", "schedule": "cosine"}, "schedule='cosine' changes nothing of optimizer='ssbroyden'"),
        ({"points": {"poisson": torch.zeros(3, 1)}, "sampling": "uniform"}, "sampling='uniform' changes nothing of points"),
        ({"optimizer": "gauss-newton", "resample": 0, "grow": 2.0}, "grow=2.0 acts where fresh points are drawn"),
    ],
)
def test_a_setting_without_effect_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_another_schedule_leaves_the_decay_behind():
    problem, _ = start()
    config = TrainConfig(schedule="exponential", decay=0.5)
    assert config.replace(schedule="cosine").decay == 0.9
    described = config.describe(problem)
    assert TrainConfig.from_json(described, schedule="constant").decay == 0.9
    changed = pinntk.training.apply_changes(described, {"training.schedule": "cosine"})
    assert TrainConfig.from_json(changed).decay == 0.9
    assert TrainConfig.from_json(described, lr=0.1).decay == 0.5


def test_given_points_leave_the_way_of_drawing_them_behind():
    problem, _ = start()
    described = TrainConfig(sampling="uniform").describe(problem)
    assert TrainConfig.from_json(described).sampling == "uniform"
    points = problem.sample(dtype=torch.float64)
    assert TrainConfig.from_json(described, points=points) == TrainConfig(points=points)
    assert TrainConfig.from_json(described, points={"residual": np.int64(9)}).sampling == "uniform"
    with pytest.raises(TypeError, match="points=list: give counts"):
        TrainConfig.from_json(described, points=[9])


def test_a_cosine_ends_with_the_steps_or_with_the_time():
    over = iter((0.0, 0.1, 0.75, 0.5, 0.9))  # at the start, and after steps 1 to 4
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = pinntk.training.make_schedule("cosine", optimizer, 4, 0.9, 1000, lambda: next(over))
    found = []
    for _ in range(4):
        optimizer.step()
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    assert found == pytest.approx([1 + math.cos(math.pi * x) for x in (0.25, 0.75, 0.75, 1.0)])


def test_a_training_that_time_ends_has_come_down():
    run = train(steps=10**6, seconds=0.2, schedule="cosine", log_every=1)
    assert run.step < 10**6
    taken = [0.0, 0.0, *(row["seconds"] for row in run.history[:-2])]  # after the step before the last: to a millisecond
    expected = [0.01 * (1 + math.cos(math.pi * min(seconds / 0.2, 1))) / 2 for seconds in taken]
    assert [row["learning_rate"] for row in run.history] == pytest.approx(expected, abs=0.01 * math.pi / 2 * 0.0006 / 0.2)
    assert run.seconds >= 0.2
