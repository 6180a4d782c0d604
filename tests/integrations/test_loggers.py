"""Loggers: TensorBoard read back from its own files, Weights & Biases by a stand-in with the methods that are called."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import pinntk
from pinntk.integrations import loggers

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")


def trained(on_log):
    problem = pinntk.load("heat_inverse")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    counts = {"points": {"residual": 8, "boundary": 4, "initial": 4, "data": 5}}
    return pinntk.train(problem, network, steps=4, log_every=2, eval_every=4, **counts, on_log=on_log, progress=False)


def recorded(on_log):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    with pinntk.Recorder(problem, network, problem.sample(residual=8, boundary=2), on_log=on_log) as recorder:
        for step in (0, 10, 30):
            assert recorder.log(step, lr=1e-3) is False
    return recorder.run


class Weights:
    """Stands in for what `wandb.init` returns."""

    def __init__(self):
        self.rows, self.updates, self.config = [], [], SimpleNamespace(update=self._update)

    def _update(self, values, allow_val_change=False):
        self.updates.append((values, allow_val_change))

    def log(self, values, step):
        self.rows.append({"step": step, **values})


@pytest.mark.parametrize("make", [trained, recorded])
def test_tensorboard_has_every_number_of_the_history(tmp_path, make):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = tensorboard.SummaryWriter(tmp_path)
    run = make(loggers.tensorboard(writer))
    found = accumulator.EventAccumulator(str(tmp_path)).Reload()  # flushed already; the writer is still open
    names = {name for row in run.history for name in row} - {"step"}
    assert set(found.Tags()["scalars"]) == names
    for name in names:
        steps, values = run.column(name)
        events = found.Scalars(name)
        assert [event.step for event in events] == steps.tolist()
        assert np.allclose([event.value for event in events], values, rtol=1e-6)
    text = found.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    config = json.loads(text)
    assert config["network"] == json.loads(json.dumps(run.config["network"])) and "text" not in config["problem"]
    writer.close()


@pytest.mark.parametrize("make", [trained, recorded])
def test_weights_and_biases_has_every_number_of_the_history(make):
    stand = Weights()
    run = make(loggers.wandb(stand))
    assert stand.rows == run.history
    ((config, allowed),) = stand.updates
    assert allowed and config["network"]["class"] == "pinntk.nn.MLP" and json.dumps(config)


def test_several_functions_and_the_end_of_a_training():
    stand = Weights()
    run = trained([loggers.wandb(stand), lambda run: run.step == 1])
    assert run.step == 1 and [row["step"] for row in stand.rows] == [0, 1]


def test_what_is_no_logger_is_refused():
    with pytest.raises(TypeError, match=r"writer is a str without add_scalar, add_text, flush; give a torch\.utils"):
        loggers.tensorboard("runs/mine")
    with pytest.raises(TypeError, match=r"run is a str without log; give what wandb\.init"):
        loggers.wandb("mine")
    with pytest.raises(TypeError, match=r"run\.config is a NoneType without update"):
        loggers.wandb(SimpleNamespace(log=print))
