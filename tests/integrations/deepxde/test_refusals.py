"""What `NTKWeighting` refuses, in one line."""

import runpy

import deepxde as dde
import numpy as np
import pytest
import torch

from pinntk.integrations import deepxde
from pinntk.integrations.deepxde import NTKWeighting
from tests.integrations.deepxde import models

REFUSED = {
    "mean absolute error": (lambda: models.dirichlet(loss="mean absolute error"), r"the loss of pde is .* the mean square of"),
    "one of several": (
        lambda: models.dirichlet(loss=["MSE", "MAE"]),
        r"the loss of DirichletBC is .*model.compile\(loss=\"MSE\"\)",
    ),
    "not compiled": (lambda: dde.Model(models.interval([]), models.net()), "call model.compile first"),
    "no model": (lambda: object(), "works on a dde.Model, and this is a object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    made, message = REFUSED[case]
    model, weighting = made(), NTKWeighting()
    with pytest.raises(ValueError, match=message) as caught:
        weighting.set_model(model)
        model.train(iterations=1, verbose=0, callbacks=[weighting])
    assert "\n" not in str(caught.value)


def test_a_model_of_another_backend_is_refused():
    model, weighting = models.dirichlet(), NTKWeighting()
    model.net = object()  # as flax's are to torch
    with pytest.raises(ValueError, match=r"works on PyTorch networks, and model\.net is a object"):
        weighting.set_model(model)


def test_without_deepxde_there_is_one_line_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'not installed: pip install "pinntk\[deepxde\]"') as caught:
        runpy.run_path(deepxde.__file__)
    assert "\n" not in str(caught.value)


def test_operator_learning_is_refused():
    x = np.zeros((4, 2))
    data = dde.data.Triple((x, x), x[:, :1], (x, x), x[:, :1])
    net = dde.nn.DeepONet([2, 4, 4], [2, 4, 4], "relu", "Glorot normal")
    model = models.compiled(data, net)
    with pytest.raises(ValueError, match=r"dde.data.PDE and TimePDE, .* model.data is a Triple"):
        model.train(iterations=1, verbose=0, callbacks=[NTKWeighting()])


def test_another_backend_and_float16_are_refused(monkeypatch):
    monkeypatch.setattr(dde.backend, "backend_name", "jax")
    with pytest.raises(ValueError, match="PyTorch backend, and this is jax; start with DDE_BACKEND=pytorch"):
        NTKWeighting()
    monkeypatch.undo()
    monkeypatch.setattr(dde.config, "mixed", True)
    with pytest.raises(ValueError, match="DeepXDE is set to mixed"):
        NTKWeighting()
    monkeypatch.undo()
    dde.config.set_default_float("float16")
    with pytest.raises(ValueError, match="DeepXDE is set to float16"):
        NTKWeighting()


def test_used_twice_or_on_two_models():
    model, other = models.dirichlet(), models.dirichlet()
    weighting = NTKWeighting()
    with pytest.raises(ValueError, match="callbacks has NTKWeighting twice"):
        model.train(iterations=1, verbose=0, callbacks=[weighting, weighting])
    with pytest.raises(ValueError, match="this NTKWeighting is of another model"):
        other.train(iterations=1, verbose=0, callbacks=[weighting])


def test_random_networks_are_refused():
    model = models.dirichlet()
    model.net.linears.insert(1, torch.nn.Dropout(0.1))
    with pytest.raises(ValueError, match="the network has a Dropout"):
        model.train(iterations=1, verbose=0, callbacks=[NTKWeighting()])


def test_errors_that_cannot_be_are_refused():
    empty = dde.icbc.DirichletBC(models.LINE, models.sine, lambda x, on: False)
    with pytest.raises(ValueError, match="DirichletBC has no training points, so its loss is NaN"):
        models.compiled(models.interval(empty)).train(iterations=1, verbose=0, callbacks=[NTKWeighting()])

    def broadcast(x, y):
        return y - x[:, 0]

    with pytest.raises(ValueError, match=r"pde has errors of shape \(\d+, \d+\): an \(n, 1\) met an \(n,\)"):
        model = models.compiled(models.interval([], pde=broadcast))
        model.train(iterations=1, verbose=0, callbacks=[NTKWeighting()])

    def detached(x, y):
        return (y - x).detach()

    with pytest.raises(ValueError, match="no loss depends on the network's parameters"):
        model = models.compiled(models.interval([], pde=detached))
        weighting = NTKWeighting()
        weighting.set_model(model)
        model.callbacks = dde.callbacks.CallbackList([weighting])
        weighting.on_train_begin()
        weighting.on_epoch_begin()
