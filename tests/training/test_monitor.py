"""A training that is watched: nothing of it changes, what is logged is right, and findings are reported once."""

import json
import os
import signal
import warnings

import numpy as np
import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.diagnostics import Finding, Prescription, drift, dynamics, spectrum
from pinntk.training import Monitor, TrainingWarning
from pinntk.training._monitor import MonitorState, _fit_time
from pinntk.weighting import NTK, Fixed

NAMES = ("poisson", "ends")
ALWAYS = Monitor(every=5, budget=None)


def lazy(width, steps, monitor, fraction=0.08, **settings):
    """Gradient descent on poisson1d(k=0.5) at a fraction of the largest stable step, as in test_drift.py."""
    problem = pinntk.load("poisson1d", k=0.5)
    network = pinntk.nn.MLP(problem, width=width, depth=1, parametrization="ntk", dtype=torch.float64)
    points = problem.sample(boundary=2, residual=20, method="grid", dtype=torch.float64)
    K = pinntk.kernel(network, problem, points)
    weights = dict.fromkeys(problem.names, 1.0)
    lr = fraction * dynamics(K, pinntk.errors(network, problem, points), weights).largest_stable_step()
    settings = {"schedule": "constant", "optimizer": "gradient-descent", "eval_every": 0, "snapshot_every": 0, **settings}
    return pinntk.train(problem, network, steps=steps, lr=lr, points=points, progress=False, monitor=monitor, **settings)


def small(steps=20, out=None, monitor=ALWAYS, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    settings = {"weighting": NTK(every=7), "points": {"boundary": 5, "residual": 12}, "lr": 1e-3, "eval_every": 5, **settings}
    return pinntk.train(problem, network, steps=steps, out=out, progress=False, monitor=monitor, **settings)


def says(monkeypatch, *findings):
    """`diagnose` says this, one list a call; the last one again and again. Returns the runs that it was asked of."""
    asked = []

    def diagnose(run):
        asked.append(run.step)
        return list(findings[min(len(asked), len(findings)) - 1])

    monkeypatch.setattr("pinntk.training._monitor.diagnose", diagnose)
    return asked


IMBALANCE = Finding(
    code="imbalance",
    severity="critical",
    sentence="'ends' is hardly learned.",
    prescriptions=(Prescription("use NTK weights"),),
)
OTHER = Finding(code="saturation", severity="warning", sentence="Units are saturated.")
NOTE = Finding(code="float32-floor", severity="note", sentence="Rounding is near.")
LATE = Finding(code="unfinished", severity="warning", sentence="The loss was still falling.")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"resample": 3, "adaptive": True, "optimizer": "gradient-descent", "lr": 1e-6},
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                {"optimizer": "lbfgs", "lr": 0.5, "weighting": Fixed(), "optimizer_options": {"max_iter": 4}},
                {"optimizer": "gauss-newton", "lr": None},
            )
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::pinntk.TrainingWarning")
def test_the_monitor_changes_nothing_of_the_training(settings):
    plain, watched = small(monitor=None, **settings), small(monitor=Monitor(every=10, budget=None), **settings)
    assert watched.monitor.measurements == 3 and watched.monitor.diagnoses == 2
    for p, q in zip(plain.network.parameters(), watched.network.parameters(), strict=True):
        assert torch.equal(p, q)
    assert plain.weights == watched.weights
    assert all(torch.equal(plain.points[name], watched.points[name]) for name in NAMES)
    own = [{k: v for k, v in row.items() if k != "seconds" and not k.startswith("monitor")} for row in watched.history]
    expected = [{k: v for k, v in row.items() if k != "seconds"} for row in plain.history]
    assert repr(own) == repr(expected)  # NaN is not equal to itself


class Dropping(torch.nn.Module):
    """Draws random numbers whenever it is evaluated, as dropout does, without changing its output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))

    def forward(self, x):
        torch.rand(1)
        return self.layers(x)


@pytest.mark.filterwarnings("ignore::pinntk.TrainingWarning")
def test_random_numbers_are_left_alone():
    drawn = []

    class Drawing(NTK):  # of which a training has a copy
        def update(self, weights, traces, counts):
            drawn[-1].append(float(torch.rand(1)))
            return super().update(weights, traces, counts)

    for monitor in (None, Monitor(every=1, budget=None)):
        drawn.append([])
        settings = {"points": {"boundary": 2, "residual": 4}, "snapshot_every": 0, "progress": False}
        pinntk.train(pinntk.load("poisson1d"), Dropping(), steps=4, weighting=Drawing(every=1), monitor=monitor, **settings)
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 4


def test_what_is_logged(monkeypatch):
    says(monkeypatch, [])
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    points = problem.sample(boundary=2, residual=12, dtype=torch.float64)
    start = pinntk.kernel(network, problem, points)
    settings = {"points": points, "weighting": Fixed(ends=3), "lr": 1e-2, "progress": False}
    run = pinntk.train(problem, network, steps=10, monitor=Monitor(every=4, budget=None), **settings)
    steps, _ = run.column("monitor/lambda_max")
    assert steps.tolist() == [0, 4, 8, 10]
    now, last = pinntk.kernel(network, problem, points), run.history[-1]
    spectral = spectrum(now, run.weights)
    assert last["monitor/lambda_max"] == pytest.approx(float(spectral.values[0]), rel=1e-12)
    assert last["monitor/condition"] == pytest.approx(spectral.condition, rel=1e-6)
    assert last["monitor/rank"] == pytest.approx(spectral.effective_rank, rel=1e-9)
    assert last["monitor/drift"] == pytest.approx(drift(start, now).kernel, rel=1e-9)
    assert last["monitor/loss/ends"] == pytest.approx(last["loss/ends"], rel=1e-12)
    assert run.history[0]["monitor/drift"] == 0
    assert not any(key.startswith("monitor/frozen") for row in run.history for key in row)  # Adam
    assert (run.monitor.horizon, run.monitor.broken) == (None, None)
    weighted = 3 * last["monitor/predicted/ends"] + last["monitor/predicted/poisson"]
    assert weighted == pytest.approx(last["loss"], rel=1e-5)  # the fitted time


def test_at_most_so_many_points(monkeypatch):
    says(monkeypatch, [])
    run = small(points={"boundary": 5, "residual": 40}, monitor=Monitor(every=5, budget=None, points=7), weighting=Fixed())
    assert run.history[0]["monitor/loss/ends"] == pytest.approx(run.history[0]["loss/ends"])
    assert run.history[0]["monitor/loss/poisson"] != pytest.approx(run.history[0]["loss/poisson"])


def test_clipped_steps_are_not_those_that_the_first_kernel_predicts(monkeypatch):
    says(monkeypatch, [])
    run = lazy(50, 10, ALWAYS, clip=1e-3)
    assert not any(key.startswith("monitor/frozen") for row in run.history for key in row)
    assert (run.monitor.horizon, run.monitor.broken) == (None, None)


@pytest.mark.slow
def test_a_narrow_network_breaks_the_prediction_a_wide_one_does_not(monkeypatch):
    says(monkeypatch, [])
    narrow, wide = lazy(50, 100, ALWAYS), lazy(2000, 100, ALWAYS)
    assert (wide.monitor.horizon, wide.monitor.broken) == (100, None)
    assert 0 < narrow.monitor.horizon < narrow.monitor.broken == narrow.monitor.horizon + 5 < 100
    for run in (narrow, wide):
        assert run.column("monitor/horizon")[1][-1] == run.monitor.horizon
        _, observed = run.column("monitor/loss/poisson")
        frozen = run.column("monitor/frozen/poisson")[1]
        off = np.abs(frozen / observed[1:] - 1)
        assert (off.max() > 0.1) == (run is narrow)
        assert run.column("monitor/deviation")[1].max() < (0.1 if run is narrow else 0.01)  # from one measurement to the next
    at = next(row for row in narrow.history if row["step"] == narrow.monitor.broken)
    worst = max(abs(at[f"monitor/frozen/{name}"] / at[f"loss/{name}"] - 1) for name in NAMES)
    assert worst > 0.1


def test_predictions_pass_changing_weights_and_learning_rates(monkeypatch):
    """A network of width 2,000 under a cosine schedule, with weights that change between two measurements."""
    says(monkeypatch, [])

    class Alternating(Fixed):
        every = 3

        def update(self, weights, traces, counts):
            return {"poisson": 1.0, "ends": 25.0 if weights is not None and weights["ends"] == 1 else 1.0}

    run = lazy(2000, 60, Monitor(every=20, budget=None), fraction=0.02, schedule="cosine", weighting=Alternating())
    assert run.monitor.horizon == 60
    _, deviation = run.column("monitor/deviation")
    assert deviation.max() < 0.03
    steps, rates = run.column("learning_rate")
    times = run.column("monitor/time")[1]
    assert times.sum() == pytest.approx(rates[steps < 60].sum(), rel=1e-12)


def test_the_fitted_time_is_that_of_the_flow():
    K = pinntk.KernelBlocks(torch.diag(torch.tensor([4.0, 1.0, 0.0]).double()), ("a",), ("residual",), (3,))
    found = dynamics(K, {"a": torch.tensor([1.0, 2.0, 0.5]).double()}, {"a": 1.0})
    for time in (1e-6, 0.3, 7.0):
        assert _fit_time(found, float(found.losses(time).total)) == pytest.approx(time, rel=1e-4)
    assert _fit_time(found, 9.0) == 0  # it has risen
    assert found.losses(_fit_time(found, 1e-9)).total == pytest.approx(0.25 / 3)  # all that flow can do


def test_a_finding_is_reported_once_with_its_prescription(monkeypatch):
    asked = says(monkeypatch, [], [IMBALANCE, NOTE], [OTHER, LATE, IMBALANCE])
    with pytest.warns(TrainingWarning) as told:
        run = small()
    assert asked == [5, 10, 15, 20]
    assert [str(entry.message) for entry in told] == [
        "step 10, imbalance: 'ends' is hardly learned. Prescription: use NTK weights.",
        "step 15, saturation: Units are saturated.",
        "step 20, unfinished: The loss was still falling.",  # no news before the end
    ]
    assert told[0].filename == __file__
    assert run.monitor.warned == ("imbalance", "saturation", "unfinished")


def test_the_first_steps_are_not_diagnosed(monkeypatch):
    """Parameters that have hardly moved yet are no finding."""
    asked = says(monkeypatch, [])
    small(100, monitor=Monitor(every=2, budget=None), snapshot_every=0)
    assert asked[0] == 6


@pytest.mark.slow
def test_a_real_finding_of_a_training_that_goes_wrong():
    """The paper's poisson1d(k=4), unweighted."""
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=60, depth=1, initialization="normal")
    monitor = Monitor(every=200, budget=None)
    with pytest.warns(
        TrainingWarning, match="imbalance: .*poisson trains .* faster than .*ends.*Prescription: give every condition"
    ):
        run = pinntk.train(problem, network, steps=400, points={"boundary": 2}, monitor=monitor, progress=False)
    assert run.monitor.warned[0] == "imbalance"


def test_the_budget_bounds_the_cost(monkeypatch):
    """By a clock of its own: a step takes 0.01, a measurement 0.005, a diagnosis 0.05."""
    now = [0.0]

    def taking(seconds, function):
        def timed(*arguments, **options):
            now[0] += seconds
            return function(*arguments, **options)

        return timed

    says(monkeypatch, [])
    monkeypatch.setattr("pinntk.training._monitor.perf_counter", lambda: now[0])
    monkeypatch.setattr("pinntk.training._loop.own_stopwatch", lambda: lambda: now[0])
    monkeypatch.setattr("pinntk.training._monitor.kernel", taking(0.005, pinntk.training._monitor.kernel))
    monkeypatch.setattr("pinntk.training._monitor.diagnose", taking(0.05, pinntk.training._monitor.diagnose))
    monkeypatch.setattr(NTK, "update", taking(0.01, NTK.update))
    settings = {"steps": 80, "weighting": NTK(every=1), "snapshot_every": 0, "eval_every": 0}
    watched = small(monitor=Monitor(every=1, budget=0.3), **settings).monitor
    assert watched.measurements + watched.skipped == 81
    assert watched.measurements > 5 and watched.diagnoses > 3
    assert watched.seconds == pytest.approx(0.005 * watched.measurements + 0.05 * watched.diagnoses)
    assert watched.seconds - 0.005 <= 0.3 * now[0]  # the first measurement is made whatever it costs
    assert watched.share == pytest.approx(watched.seconds / now[0], rel=0.02)
    unbound = small(monitor=Monitor(every=1, budget=None), **{**settings, "steps": 20}).monitor
    assert unbound.skipped == 0 and unbound.share > 0.8


def test_a_resumed_run_remembers_what_it_warned_of(monkeypatch, tmp_path):
    says(monkeypatch, [IMBALANCE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        whole = small(20)

        class Interrupting(NTK):
            def update(self, weights, traces, counts):
                if weights is not None:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().update(weights, traces, counts)

        with pytest.raises(pinntk.Interrupted):
            small(20, tmp_path, weighting=Interrupting(every=7))
    assert pinntk.Run.load(tmp_path).monitor.warned == ("imbalance",)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        resumed = small(20, tmp_path, resume=True)
    loaded = pinntk.Run.load(tmp_path)
    for run in (resumed, loaded):
        assert run.monitor.warned == ("imbalance",) and run.monitor.measurements == whole.monitor.measurements == 5
        for name in ("drift", "deviation", "predicted/ends", "loss/ends"):
            assert run.column(f"monitor/{name}")[1].tolist() == whole.column(f"monitor/{name}")[1].tolist()
    assert torch.equal(resumed.network.dense.weights[0], whole.network.dense.weights[0])
    assert "monitor/drift" in (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert json.loads((tmp_path / "config.json").read_text())["training"]["monitor"] == ALWAYS.describe()


def test_a_monitor_can_come_later(monkeypatch, tmp_path):
    says(monkeypatch, [])
    small(8, tmp_path, monitor=None)
    run = small(20, tmp_path, resume=True)
    assert run.column("monitor/drift")[0].tolist() == [10, 15, 20] and run.column("monitor/drift")[1][0] == 0


def test_a_training_that_diverges_is_left_to_the_trainer(monkeypatch):
    says(monkeypatch, [])
    with pytest.raises(pinntk.NonFiniteLossError), warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = {"weighting": Fixed(), "optimizer": "gradient-descent", "lr": 1e6, "schedule": "constant"}
        small(200, monitor=Monitor(every=1, budget=None), **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Monitor(every=0), r"Monitor\(every=0\): a whole number of steps"),
        (lambda: Monitor(budget=0), r"Monitor\(budget=0\): a share of the time"),
        (lambda: Monitor(points=0), r"Monitor\(points=0\)"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_monitor_is_a_monitor():
    with pytest.raises(TypeError, match=r"monitor=5: give True, or pinntk\.Monitor"):
        small(monitor=5)
    assert small(monitor=True).config["training"]["monitor"] == Monitor().describe()
    assert small(monitor=False).monitor is None


def test_the_command_line_tells(capsys, tmp_path, monkeypatch):
    says(monkeypatch, [IMBALANCE])
    monkeypatch.setattr(MonitorState, "_fits_budget", lambda *_: True)
    options = [
        "--steps",
        "60",
        "--width",
        "30",
        "--depth",
        "1",
        "--points",
        "boundary=2,residual=20",
        "--parametrization",
        "ntk",
    ]
    options += ["--optimizer", "gradient-descent", "--lr", "1e-6", "--schedule", "constant", "-o", str(tmp_path / "run")]
    assert main(["train", "poisson1d", *options, "--monitor", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert "pinntk: warning: step 3, imbalance: 'ends' is hardly learned. Prescription: use NTK weights." in err
    assert "monitor: 61 measurements, 58 diagnoses" in out
    assert "first kernel: predicted all losses within 10 % until step" in out
    assert "found while training: imbalance; see pinntk diagnose" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    assert pinntk.Run.load(tmp_path / "run").config["training"]["monitor"]["budget"] == 0.2


def test_a_finished_training_that_goes_on_finds_what_it_would_have_found(tmp_path, monkeypatch):
    """Its look at the end was one more: the row of that step has its predictions again."""
    says(monkeypatch, [])
    monitor = Monitor(every=5, budget=None)
    settings = {"steps": 20, "schedule": "constant", "monitor": monitor}
    whole = small(**settings)
    small(**{**settings, "steps": 10}, out=tmp_path)
    resumed = small(**settings, out=tmp_path, resume=True)
    rows, expected = (
        [{k: v for k, v in row.items() if "/share" not in k and k != "seconds"} for row in run.history]
        for run in (resumed, whole)
    )
    assert [row for row in rows if "monitor/rank" in row] == [row for row in expected if "monitor/rank" in row]
    assert "monitor/predicted/ends" in next(row for row in rows if row["step"] == 10)
