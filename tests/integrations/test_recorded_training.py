"""What `Diagnose` of any package does: nothing that fails in it ends the training, and what failed is said once."""

import gc
import warnings

import pytest
import torch
from torch import nn

import pinntk
from pinntk.integrations import _verdict
from pinntk.integrations._recorded import RecordedTraining
from pinntk.run._recording import RecordedFolder

FAILURES = [KeyError("key"), AttributeError("no"), IndexError(3), TypeError("kind"), MemoryError(), OSError("disk is full")]


def raising(failure):
    def broken(*given, **more):
        raise failure

    return broken


def codes(findings):
    return [finding.code for finding in findings]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """An examination with findings."""
    training = Training(tmp_path_factory.mktemp("judged"))
    training.recorded.record(0, lambda: training.measure(0))
    training.recorded.record(1, lambda: training.measure(1))
    x = pinntk.examine(training.recorded.run)
    return x, pinntk.diagnose(x)


@pytest.fixture
def fast(judged, monkeypatch):
    """Every diagnosis is that one."""
    monkeypatch.setattr(_verdict, "examine", lambda run: judged[0])
    monkeypatch.setattr(_verdict, "diagnose", lambda x: judged[1])
    monkeypatch.setattr(_verdict, "write_report", lambda path, x, findings: path)
    return judged[1]


class Training:
    """A loop that has its rows recorded, as the callbacks do."""

    def __init__(self, folder, every=1, on_log=None):
        torch.manual_seed(0)
        self.problem = pinntk.load("poisson1d")
        self.network = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()
        self.points = self.problem.sample(residual=8, boundary=2, seed=0, dtype=torch.float64)
        self.recorded = RecordedTraining(folder, every, on_log, overwrite=False)
        self.told, self.fails = [], ()
        self.begin()

    def begin(self, resume=False):
        self.recorded.begin(self.problem, self.network, self.points, "adam", {"ends": 2.0}, resume)

    def measure(self, step):
        if step in self.fails:
            raise KeyError("measure")
        losses = {name: e.square().mean() for name, e in pinntk.errors(self.network, self.problem, self.points).items()}
        return {"losses": losses, "lr": 0.01, "points": self.points}

    def run(self, steps, tell=None):
        """The step at which it ended, and the warnings."""
        adam = torch.optim.Adam(self.network.parameters(), lr=0.01)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(steps + 1):
                if self.recorded.due(step) and self.recorded.record(step, lambda step=step: self.measure(step)):
                    break
                adam.zero_grad()
                sum(self.measure(-1)["losses"].values()).backward()
                adam.step()
            self.recorded.record(step, lambda: self.measure(step), last=True)
            self.recorded.finish(self.told.append if tell is None else tell)
        return step, [str(one.message) for one in caught if "kernel is zero" not in str(one.message)]


def test_rows_and_a_verdict(tmp_path):
    training = Training(tmp_path, every=3)
    assert training.run(7) == (7, [])
    run = training.recorded.run
    assert [row["step"] for row in run.history] == [0, 3, 6, 7]
    assert run.history[-1]["relative_error"] == pytest.approx(training.problem.relative_error(training.network), rel=1e-12)
    assert codes(training.recorded.findings) == codes(pinntk.diagnose(run)) != []
    assert training.told[0].splitlines()[-1] == f"report in {tmp_path / 'report.html'}"
    assert (tmp_path / "diagnosis.json").exists()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_findings_outlive_the_files_that_fail(tmp_path, monkeypatch, fast, failure):
    for writer in ("write_report", "write_diagnosis"):
        monkeypatch.setattr(_verdict, writer, raising(failure))
    training = Training(tmp_path)
    _, (warning,) = training.run(2)
    assert training.recorded.findings is fast and fast
    said = str(failure) if isinstance(failure, OSError) else type(failure).__name__
    assert f"diagnosis.json could not be written: {said}" in warning and f"report.html could not be written: {said}" in warning
    assert training.recorded.findings[0].sentence in training.told[0] and "report in" not in training.told[0]


@pytest.mark.parametrize("part", ["diagnosis", "title"])
def test_findings_outlive_words_that_fail(tmp_path, monkeypatch, fast, part):
    monkeypatch.setattr(_verdict.verdict, part, raising(KeyError("word")))
    training = Training(tmp_path)
    _, (warning,) = training.run(1)
    assert "its findings could not be" in warning and "KeyError: 'word'" in warning
    assert training.recorded.findings is fast
    assert training.told == ([f"report in {tmp_path / 'report.html'}"] if part == "title" else [])


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("part", ["examine", "diagnose"])
def test_a_diagnosis_that_fails_is_a_warning(tmp_path, monkeypatch, fast, failure, part):
    monkeypatch.setattr(_verdict, part, raising(failure))
    training = Training(tmp_path)
    _, (warning,) = training.run(1)
    assert f"the training was recorded in {tmp_path}; it could not be diagnosed: " in warning
    assert training.recorded.findings == [] and training.told == []
    assert [row["step"] for row in pinntk.Run.load(tmp_path, training.network).history] == [0, 1]


def test_the_findings_are_there_where_telling_them_or_writing_the_run_fails(tmp_path, monkeypatch, fast):
    training = Training(tmp_path)
    monkeypatch.setattr(RecordedFolder, "save", raising(OSError("disk is full")))
    monkeypatch.setattr(RecordedFolder, "save_if_due", lambda self: None)
    _, (warning,) = training.run(1, tell=raising(ValueError("closed file")))
    assert "its end could not be written: disk is full; the findings could not be told: closed file" in warning
    assert training.recorded.findings is fast


@pytest.mark.usefixtures("fast")
def test_a_row_that_fails_is_said_once_and_the_next_ones_are_recorded(tmp_path):
    training = Training(tmp_path)
    training.fails = (2, 3)
    step, (warning,) = training.run(5)
    assert step == 5 and [row["step"] for row in training.recorded.run.history] == [0, 1, 4, 5]
    assert f"step 2 could not be recorded in {tmp_path}, and the training goes on: KeyError: 'measure'" in warning


def test_points_are_those_of_the_last_row_also_after_one_that_failed(tmp_path):
    training = Training(tmp_path)
    first = training.recorded.run.points
    training.recorded.record(0, lambda: training.measure(0))
    assert training.recorded.run.points is first
    training.points = training.problem.sample(residual=8, boundary=2, seed=1, dtype=torch.float64)
    training.fails = (1,)
    with pytest.warns(UserWarning, match="step 1 could not be recorded"):
        training.recorded.record(1, lambda: training.measure(1))
    training.recorded.record(2, lambda: training.measure(2))
    assert all(torch.equal(rows, training.points[name]) for name, rows in training.recorded.run.points.items())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """But for the rows themselves: no tensor is kept."""
    training, alive = Training(tmp_path), []
    for step in range(60):
        training.points = training.problem.sample(residual=8, boundary=2, seed=step, dtype=torch.float64)
        training.recorded.record(step, lambda step=step: training.measure(step))
        if step in (9, 59):
            gc.collect()
            alive.append(sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()))
    assert alive[0] == alive[1]


@pytest.mark.usefixtures("fast")
def test_functions_of_the_user_are_the_users(tmp_path):
    training = Training(tmp_path / "ends", on_log=lambda run: run.step == 2)
    assert training.run(5)[0] == 2 and "asked for the end" in training.recorded.run.stop_reason
    with pytest.raises(KeyError, match="mine"):
        Training(tmp_path / "fails", on_log=raising(KeyError("mine"))).run(1)
    with pytest.raises(TypeError, match="on_log=3: a function of the run"):
        Training(tmp_path / "other", on_log=3)
    with pytest.raises(ValueError, match="every=0: a whole number of steps"):
        Training(tmp_path / "other", every=0)


def test_it_goes_on_after_a_training_that_an_error_ended(tmp_path):
    training = Training(tmp_path)
    training.recorded.record(0, lambda: training.measure(0))
    training.begin(resume=True)  # while the folder is still held
    training.recorded.record(4, lambda: training.measure(4))
    training.recorded.close()
    assert [row["step"] for row in pinntk.Run.load(tmp_path, training.network).history] == [0, 4]


def test_nothing_is_said_of_a_training_that_has_not_begun(tmp_path):
    recorded = RecordedTraining(tmp_path, 1, None, False)
    recorded.finish(raising(AssertionError()))
    recorded.close()
    assert recorded.run is None and not recorded.record(0, raising(AssertionError()))
