"""`Diagnose` in DeepXDE: a run, its diagnosis and its report, of a training that it has not changed."""

import json

import deepxde as dde
import numpy as np
import pytest
import torch

import pinntk
from pinntk.diagnostics._prescriptions import by_ntk
from pinntk.integrations import _verdict
from pinntk.integrations.deepxde import Diagnose, NTKWeighting, from_model
from pinntk.reporting._calls import call_of
from tests.integrations.deepxde import models
from tests.support.sweeps import sweep

QUIET = {"verbose": 0}


def silent(folder, **settings):
    return Diagnose(folder, tell=None, **settings)


def trained(made, callbacks, iterations=6):
    """A training with everything that DeepXDE draws in it, and what it leaves."""
    np.random.seed(5)
    torch.manual_seed(5)
    model = models.MODELS[made]()
    resampler = dde.callbacks.PDEPointResampler(period=2)
    model.train(iterations=iterations, display_every=2, callbacks=[*callbacks, resampler], **QUIET)
    parameters = [p.detach().clone() for p in model.net.parameters()]
    parameters += [v.detach().clone() for v in model.external_trainable_variables]
    return parameters, np.random.random(), torch.rand(()), model.losshistory.loss_train


@pytest.mark.parametrize("made", sweep(("heat", "holed_system", "auxiliary", "drawing", "inverse"), "heat", "inverse"))
def test_the_training_is_the_same_to_the_last_bit(made, tmp_path):
    plain = trained(made, [])
    watched = trained(made, [silent(tmp_path / "run", every=1)])
    for ours, theirs in zip(watched[0], plain[0], strict=True):
        assert torch.equal(ours, theirs)
    assert watched[1] == plain[1] and torch.equal(watched[2], plain[2])
    assert np.array_equal(watched[3], plain[3])


class Reused(dde.callbacks.Callback):
    """The new points have the id of an array of before, for which DeepXDE kept other values."""

    def on_epoch_end(self):
        for bc in self.model.data.bcs:
            cache = bc.func.__closure__[bc.func.__code__.co_freevars.index("cache")].cell_contents
            for _, start, stop in list(cache):
                cache[id(self.model.data.train_x), start, stop] = torch.full((stop - start, 1), 7.0)


@pytest.mark.parametrize(
    "make",
    [pytest.param(lambda folder: silent(folder, every=10), marks=pytest.mark.slow), lambda folder: NTKWeighting()],
    ids=["report", "weights"],
)
def test_boundary_values_are_those_of_the_points_that_were_drawn(make, tmp_path):
    def train(*callbacks):
        np.random.seed(5)
        model = models.heat()
        model.train(iterations=4, callbacks=[dde.callbacks.PDEPointResampler(1, bc_points=True), *callbacks], **QUIET)
        return [p.detach().clone() for p in model.net.parameters()]

    kept, right = train(make(tmp_path / "kept"), Reused()), train(make(tmp_path / "right"))
    assert all(map(torch.equal, kept, right))
    assert not any(map(torch.equal, train(Reused()), train()))


def test_the_history_is_of_the_losses_without_weights(tmp_path):
    model = models.dirichlet(metrics=["l2 relative error"], loss_weights=[2, 10])
    diagnose = silent(tmp_path / "run", every=2)
    model.train(iterations=5, display_every=1, callbacks=[diagnose], **QUIET)
    run = diagnose.run
    assert run.column("loss")[0].tolist() == [0, 2, 4, 5]
    for step, row in zip(run.column("loss")[0], run.history, strict=True):
        losses = model.losshistory.loss_train[step]
        assert row["loss/pde"] == pytest.approx(losses[0] / 2) and row["loss/DirichletBC"] == pytest.approx(losses[1] / 10)
        assert row["weight/DirichletBC"] == 10 and row["learning_rate"] == 1e-3
    x = np.unique(model.data.test_x, axis=0)
    u = model.predict(x)
    assert run.relative_error == pytest.approx(np.linalg.norm(u - models.sine(x)) / np.linalg.norm(models.sine(x)))


def test_a_folder_with_a_diagnosis_and_a_report(tmp_path):
    said = []
    model = models.dirichlet()
    callbacks = [NTKWeighting(every=2), Diagnose(tmp_path / "run", every=2, tell=said.append)]
    model.train(iterations=4, callbacks=callbacks, **QUIET)
    found = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
    assert found["steps"] == 4 and [f["code"] for f in found["findings"]] == [f.code for f in callbacks[1].findings]
    assert "<html" in (tmp_path / "run" / "report.html").read_text()
    assert len(said) == 1 and "report in" in said[0]
    assert callbacks[1].run.weights == callbacks[0].weights
    loaded = pinntk.Run.load(tmp_path / "run", model.net, problem=callbacks[1].run.problem)
    assert loaded.history == callbacks[1].run.history
    with pytest.raises(FileExistsError, match="give overwrite=True, which removes it, or another folder"):
        models.dirichlet().train(iterations=1, callbacks=[silent(tmp_path / "run")], **QUIET)
    models.dirichlet().train(iterations=1, callbacks=[silent(tmp_path / "run", overwrite=True)], **QUIET)


def test_prescribed_weights_are_named_as_deepxde_has_them():
    call = call_of(pinntk.examine(*from_model(models.dirichlet())), by_ntk(None), 1)
    assert call.startswith("network, problem, points = from_model(model)\npinntk.train(\n    problem, network, points=points,")
    assert "callbacks=[NTKWeighting(every=100)]" in call


def test_a_solution_on_a_plane_is_drawn_at_deepxdes_test_points(tmp_path):
    square = dde.geometry.Rectangle([0, 0], [1, 1])
    bc = dde.icbc.DirichletBC(square, lambda x: x[:, 0:1], lambda x, on: on)

    def pde(x, y):
        return dde.grad.hessian(y, x, i=0, j=0) + dde.grad.hessian(y, x, i=1, j=1)

    settings = {"num_domain": 20, "num_boundary": 12, "num_test": 30, "solution": lambda x: x[:, 0:1]}
    model = models.compiled(dde.data.PDE(square, pde, bc, **settings), models.net(2))
    model.train(iterations=1, callbacks=[silent(tmp_path / "run")], **QUIET)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "not drawn" not in report and "|network - reference|, u" in report


def test_a_second_training_goes_on_in_the_run(tmp_path, monkeypatch):
    for name, value in {"maxiter": 6, "iter_per_step": 3, "fun_per_step": 6}.items():
        monkeypatch.setitem(dde.optimizers.LBFGS_options, name, value)
    model = models.dirichlet()
    diagnose = silent(tmp_path / "run", every=2)
    model.train(iterations=4, callbacks=[diagnose], **QUIET)
    model.compile("L-BFGS", verbose=0)
    model.train(callbacks=[diagnose], **QUIET)
    steps = diagnose.run.column("loss")[0].tolist()
    assert steps[:3] == [0, 2, 4] and steps[-1] == model.train_state.step > 4 and steps == sorted(set(steps))
    assert diagnose.run.config["training"]["optimizer"] == "lbfgs"


def test_resampled_points_are_those_of_the_run(tmp_path):
    model = models.heat()
    diagnose = silent(tmp_path / "run", every=1)
    before = model.data.train_x.copy()
    model.train(iterations=3, callbacks=[diagnose, dde.callbacks.PDEPointResampler(period=1)], **QUIET)
    start = sum(model.data.num_bcs)
    kept = diagnose.run.points["pde"].numpy()
    assert not np.allclose(kept, before[start:]) and len(kept) == len(before) - start


def test_a_function_may_end_the_training(tmp_path):
    model = models.dirichlet()
    model.train(iterations=9, callbacks=[silent(tmp_path / "run", every=2, on_log=lambda run: run.step >= 4)], **QUIET)
    assert model.train_state.step == 4


def test_a_network_of_nan_is_a_warning_and_the_run_stays(tmp_path):
    model = models.dirichlet()
    diagnose = silent(tmp_path / "run", every=1)

    class Breaks(dde.callbacks.Callback):
        def on_epoch_end(self):
            with torch.no_grad():
                self.model.net.linears[0].weight.fill_(float("nan"))

    with pytest.warns(UserWarning, match="was recorded in .*; it could not be diagnosed: "):
        model.train(iterations=2, callbacks=[diagnose, Breaks()], **QUIET)
    assert (tmp_path / "run" / "metrics.csv").exists()


def test_what_fails_never_ends_the_training(tmp_path, monkeypatch):
    def broken(*given):
        raise KeyError("page")

    monkeypatch.setattr(_verdict, "write_report", broken)
    said = []
    model = models.dirichlet()
    diagnose = Diagnose(tmp_path / "run", every=1, tell=said.append)
    with pytest.warns(UserWarning, match=r"report.html could not be written: KeyError: 'page'"):
        history, _ = model.train(iterations=2, callbacks=[diagnose], **QUIET)
    assert history.steps[-1] == 2 and diagnose.findings and "report in" not in said[0]
    model = models.dirichlet()
    diagnose = silent(tmp_path / "other", every=1)
    monkeypatch.setattr("pinntk.integrations.deepxde._diagnose.evaluate", broken)
    with pytest.warns(UserWarning, match="step 0 could not be recorded in .*: KeyError: 'page'"):
        model.train(iterations=3, callbacks=[diagnose], **QUIET)
    assert model.train_state.step == 3 and diagnose.run.history == []


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="every=0: a whole number of steps"):
        Diagnose(tmp_path, every=0)
    model, other = models.dirichlet(), models.dirichlet()
    diagnose = silent(tmp_path / "run")
    with pytest.raises(ValueError, match="callbacks has Diagnose twice"):
        model.train(iterations=1, callbacks=[diagnose, silent(tmp_path / "other")], **QUIET)
    with pytest.raises(ValueError, match="this Diagnose is of another model"):
        other.train(iterations=1, callbacks=[diagnose], **QUIET)
    with pytest.raises(ValueError, match="a IDE has errors that use more points"):
        models.integral().train(iterations=1, callbacks=[silent(tmp_path / "ide")], **QUIET)
