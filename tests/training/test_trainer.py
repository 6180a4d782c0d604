import os
import signal

import pytest
import torch

import pinntk
from pinntk.run import Run
from pinntk.weighting import NTK, Fixed

POINTS = {"boundary": 5, "residual": 12}


def small(name="poisson1d", **settings):
    problem = pinntk.load(name, **settings)
    return problem, pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)


def train(out=None, *, steps=20, **settings):
    problem, network = small()
    settings = {
        "weighting": NTK(every=7),
        "points": POINTS,
        "lr": 1e-3,
        "schedule": "exponential",
        "checkpoint_every": 10,
        "progress": False,
        **settings,
    }
    return pinntk.train(problem, network, steps=steps, out=out, **settings)


def same_parameters(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.network.parameters(), b.network.parameters(), strict=True))


def test_loss_falls_and_everything_is_logged():
    run = train(steps=60, lr=1e-2)
    first, last = run.history[0], run.history[-1]
    assert last["loss/poisson"] < 0.5 * first["loss/poisson"]
    expected = {"step", "seconds", "learning_rate", "loss", "relative_error", "drift"}
    expected |= {f"{kind}/{name}" for kind in ("loss", "weight", "trace") for name in ("poisson", "ends")}
    assert expected == set(last)
    assert (first["step"], last["step"], run.step) == (0, 60, 60)
    assert run.relative_error == last["relative_error"] == run.problem.relative_error(run.network)
    assert first["drift"] == 0 < last["drift"]
    total = sum(last[f"weight/{name}"] * last[f"loss/{name}"] for name in POINTS_NAMES)
    assert last["loss"] == pytest.approx(total)


POINTS_NAMES = ("poisson", "ends")


def test_weights_are_defined_before_the_first_step():
    run = train(steps=1)
    traces = {name: run.history[0][f"trace/{name}"] for name in POINTS_NAMES}
    expected = NTK().rule(traces, {"poisson": 12, "ends": 5})
    assert {name: run.history[0][f"weight/{name}"] for name in POINTS_NAMES} == pytest.approx(expected)


def test_gradient_descent_takes_the_step_of_its_formula():
    problem, network = small()
    points = problem.sample(**POINTS, dtype=torch.float64)
    start = [p.detach().clone() for p in network.parameters()]
    errors = pinntk.errors(network, problem, points)
    loss = 3 * errors["ends"].square().mean() + errors["poisson"].square().mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    settings = {"optimizer": "gradient-descent", "lr": 1e-4, "schedule": "constant", "progress": False}
    pinntk.train(problem, network, steps=1, weighting=Fixed(ends=3), points=points, **settings)
    for p, p0, g in zip(network.parameters(), start, gradients, strict=True):
        assert torch.allclose(p, p0 - 1e-4 * g, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param(
            {"optimizer": "lbfgs", "lr": 0.5, "weighting": Fixed(ends=10), "optimizer_options": {"max_iter": 4}},
            marks=pytest.mark.slow,
        ),
        pytest.param({"optimizer": "gradient-descent", "lr": 1e-6, "schedule": "constant"}, marks=pytest.mark.slow),
        {"resample": 3, "weighting": NTK(every=4, momentum=0.5), "schedule": "exponential", "decay_every": 5},
        {"sampling": "uniform", "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3), "lr": None},
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path, settings):
    whole = train(tmp_path / "whole", **settings)
    train(tmp_path / "parts", steps=8, **settings)
    resumed = train(tmp_path / "parts", resume=True, **settings)
    assert same_parameters(whole, resumed)
    assert whole.weights == resumed.weights
    a, b = ([{**r, "seconds": 0} for r in run.history if "relative_error" in r and r["step"] >= 8] for run in (whole, resumed))
    assert a == b


def test_resume_from_the_middle_after_a_kill(tmp_path):
    """A checkpoint that is older than the end: what came after it is trained again."""
    whole = train(tmp_path / "whole", checkpoint_every=6)

    class Killed(Exception):
        pass

    class Dying(NTK):
        def update(self, weights, traces, counts):
            if self.calls == 2:
                raise Killed
            self.calls += 1
            return super().update(weights, traces, counts)

    dying = Dying(every=7)
    dying.calls = 0
    with pytest.raises(Killed):
        train(tmp_path / "cut", checkpoint_every=6, weighting=dying)
    assert Run.load(tmp_path / "cut").step == 12
    resumed = train(tmp_path / "cut", checkpoint_every=6, resume=True)
    assert same_parameters(whole, resumed)
    assert [row["step"] for row in resumed.history] == [row["step"] for row in whole.history]


def test_ctrl_c_finishes_the_step_and_leaves_a_checkpoint(tmp_path):
    class Interrupting(NTK):
        def update(self, weights, traces, counts):
            if weights is not None:
                os.kill(os.getpid(), signal.SIGINT)
            return super().update(weights, traces, counts)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(pinntk.Interrupted, match="stopped after step 8 of 20; continue with: pinntk train --resume"):
        train(tmp_path / "run", weighting=Interrupting(every=7))
    assert signal.getsignal(signal.SIGINT) is before
    assert Run.load(tmp_path / "run").step == 8
    assert same_parameters(train(tmp_path / "run", resume=True), train(tmp_path / "whole"))


def test_a_non_finite_loss_names_step_condition_and_checkpoint(tmp_path):
    settings = {"optimizer": "gradient-descent", "lr": 1e6, "schedule": "constant", "checkpoint_every": 1}
    with pytest.raises(
        pinntk.NonFiniteLossError, match=r"step \d+: the loss of '(poisson|ends)'.*last good checkpoint is .*checkpoint.pt"
    ):
        train(tmp_path, steps=200, weighting=Fixed(), **settings)
    good = Run.load(tmp_path)
    assert all(torch.isfinite(p).all() for p in good.network.parameters())
    with pytest.raises(pinntk.NonFiniteLossError, match="no checkpoint was written"):
        train(steps=200, weighting=Fixed(), **settings)


@pytest.mark.parametrize("lr", [1e6, 1e30])  # whose steps end in NaN after some, and at once
def test_after_nan_the_last_good_checkpoint_is_examined(tmp_path, lr):
    settings = {"optimizer": "gradient-descent", "schedule": "constant", "weighting": Fixed(), "checkpoint_every": 999}
    with pytest.raises(pinntk.NonFiniteLossError, match=rf"which `pinntk diagnose {tmp_path}` examines") as ended:
        train(tmp_path, steps=200, lr=lr, **settings)
    good = Run.load(tmp_path)
    assert good.step == 0 and good.diverged and ended.match(good.stop_reason)
    assert all(torch.equal(p, q) for p, q in zip(good.network.parameters(), small()[1].parameters(), strict=True))
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + len(good.history) >= 2
    found = pinntk.diagnose(good)
    assert found[0].code == "step-too-large" and not {"too-few-steps", "unexplained"} & {finding.code for finding in found}
    assert found[0].evidence["step_ratio"] > 1e3 and found[0].prescriptions[0].changes["training.lr"] < 1
    assert "step-too-large" not in [rule.code for rule in found.unjudged]
    again = train(tmp_path, steps=1, resume=True, lr=lr, **settings)
    assert again.history[0]["step"] == 0 and not again.diverged and not Run.load(tmp_path).diverged


def test_the_run_folder_reads_back(tmp_path):
    run = train(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "kernel",
        "metrics.csv",
    ]
    again = Run.load(tmp_path / "run")
    assert same_parameters(run, again)
    assert again.history == run.history
    assert again.weights == run.weights
    assert sorted(again.snapshots) == sorted(run.snapshots) == list(range(0, 21, 2))
    assert again.kernel_drift()[1].tolist() == run.kernel_drift()[1].tolist()
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == len(run.history) + 1


def test_a_network_of_ones_own_reads_back_when_passed(tmp_path):
    problem = pinntk.load("poisson1d")

    def own():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))

    run = pinntk.train(problem, own(), steps=3, points=POINTS, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"pinntk cannot build; give it to Run.load\(folder, network\)"):
        Run.load(tmp_path)
    assert same_parameters(run, Run.load(tmp_path, own()))


def test_coefficients_train_and_are_kept(tmp_path):
    problem, network = small("heat_inverse")
    run = pinntk.train(problem, network, steps=30, lr=1e-2, out=tmp_path, progress=False)
    value = problem.coefficients["kappa"].item()
    assert value != 1.0
    assert run.history[-1]["coefficient/kappa"] == value
    assert Run.load(tmp_path).problem.coefficients["kappa"].item() == value


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train(steps=2)
    assert torch.equal(torch.rand(1), expected)


def test_only_the_conditions_with_points_are_trained():
    problem, network = small()
    points = {"ends": problem.sample(**POINTS)["ends"]}
    run = pinntk.train(problem, network, steps=2, points=points, weighting=NTK(), progress=False, snapshot_every=0)
    assert "loss/poisson" not in run.history[0]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps=0"),
        ({"log_every": -1}, ValueError, "log_every=-1"),
        ({"optimizer": "adamm"}, ValueError, "optimizer 'adamm' is unknown; did you mean 'adam'"),
        ({"lr": -1.0}, ValueError, "Invalid learning rate"),
        ({"schedule": "linear"}, ValueError, "schedule 'linear' is unknown"),
        ({"sampling": "halton"}, ValueError, "sampling='halton': one of uniform, grid"),
        ({"points": {"boundary": 0}}, ValueError, "boundary=0: the number of points"),
        ({"points": {"bondary": 5}}, ValueError, "no condition 'bondary'"),
        ({"weighting": Fixed(wall=2)}, ValueError, "weight for 'wall'"),
        ({"resume": True}, ValueError, "resume=True needs out="),
    ],
)
def test_bad_arguments(settings, error, message):
    with pytest.raises(error, match=message):
        train(**settings)


def test_resume_refuses_what_does_not_fit(tmp_path):
    folder = tmp_path / "run"
    train(folder, steps=4)
    with pytest.raises(FileExistsError, match="already holds a run; resume it, overwrite it, or name another folder"):
        train(folder)
    with pytest.raises(ValueError, match=r"trained with lr=0.001, now lr=0.5"):
        train(folder, resume=True, lr=0.5)
    weighed = tmp_path / "weighed"
    train(weighed, steps=4, weighting=Fixed(boundary=100))
    with pytest.raises(ValueError, match=r"trained with boundary=100\.0, now boundary=None"):
        train(weighed, resume=True, weighting=Fixed())
    problem, network = small(k=1)
    with pytest.raises(ValueError, match=r"is of another problem \(parameters: \{'k': 4\} there, \{'k': 1\} here\)"):
        pinntk.train(problem, network, steps=4, out=folder, resume=True, progress=False)
    checkpoint = folder / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint.pt cannot be read as a checkpoint"):
            train(folder, resume=True)
    checkpoint.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint \(checkpoint.pt is missing\); restore it"):
        train(folder, resume=True)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run.load(tmp_path / "elsewhere")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_training_on_cuda_equals_cpu():
    runs = [train(device=device) for device in ("cpu", "cuda")]
    assert runs[0].relative_error == pytest.approx(runs[1].relative_error, rel=1e-6)


def test_parameters_from_numpy_are_kept_as_numbers(tmp_path):
    import numpy as np

    problem, network = small(k=np.float64(2.0))
    pinntk.train(problem, network, steps=2, points=POINTS, out=tmp_path, progress=False)
    assert Run.load(tmp_path).problem.parameters == {"k": 2.0}


def test_lbfgs_resumes_with_a_coefficient_of_another_dtype(tmp_path):
    def go(folder, steps, resume=False):
        problem = pinntk.load("heat_inverse")
        network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float32)
        settings = {"optimizer": "lbfgs", "lr": 0.1, "schedule": "constant", "points": {"residual": 20}, "progress": False}
        settings |= {"optimizer_options": {"max_iter": 5}, "snapshot_every": 0}
        return pinntk.train(problem, network, steps=steps, out=folder, resume=resume, **settings)

    whole = go(tmp_path / "whole", 6)
    go(tmp_path / "parts", 3)
    assert same_parameters(go(tmp_path / "parts", 6, resume=True), whole)


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    train(tmp_path, steps=4)
    (tmp_path / "notes.txt").write_text("mine")
    run = train(tmp_path, steps=2, overwrite=True)
    assert sorted(run.snapshots) == sorted(Run.load(tmp_path).snapshots) == [0, 1, 2]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_that_left_no_checkpoint_does_not_block_its_folder(tmp_path):
    with pytest.raises(pinntk.NonFiniteLossError):
        train(tmp_path, steps=200, optimizer="gradient-descent", lr=1e9, schedule="constant", checkpoint_every=0)
    assert train(tmp_path, steps=2).step == 2


def test_resume_refuses_other_points_and_fewer_steps(tmp_path):
    problem, network = small()
    points = problem.sample(**POINTS, dtype=torch.float64)
    settings = {"out": tmp_path, "progress": False, "steps": 4}
    pinntk.train(problem, network, points=points, **settings)
    other = problem.sample(**POINTS, seed=1, dtype=torch.float64)
    with pytest.raises(ValueError, match="it was trained on other points"):
        pinntk.train(problem, network, points=other, resume=True, **settings)
    with pytest.raises(ValueError, match="it is at step 4 already"):
        pinntk.train(problem, network, points=points, resume=True, **{**settings, "steps": 3})
