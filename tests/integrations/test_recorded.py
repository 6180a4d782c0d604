"""A wrapped model and a recorder together, and the programs of the document that have them."""

from pathlib import Path

import pytest
import torch
from torch import nn

import pinntk
from pinntk.diagnostics._unjudged import OPERATORS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "INTEGRATIONS.md").read_text()


def programs(title):
    section = DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [part.partition("```")[0] for part in section.split("```python\n")[1:]]


def loop(record, folder=None):
    """A model in closures, as people write it; the states of five steps."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def pde(x):
        (du,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return du - torch.cos(x)

    x, zero = torch.rand(20, 1, dtype=torch.float64).requires_grad_(), torch.zeros(1, 1, dtype=torch.float64)
    conditions = {"pde": (pde, x, "residual"), "start": (model, zero, "initial")}
    adam, recorder = torch.optim.Adam(model.parameters(), lr=1e-2), None
    began = [p.detach().clone() for p in model.parameters()]
    if record:
        network, problem, points = pinntk.wrap(model, conditions, domain=pinntk.Box(x=(0, 1)), exact=lambda x: torch.sin(x))
        recorder = pinntk.Recorder(problem, network, points, folder, optimizer=adam, snapshot_every=2, budget=None)
    for step in range(5):
        losses = {name: function(where).square().mean() for name, (function, where, _) in conditions.items()}
        if recorder is not None:
            recorder.log(step, losses)
        adam.zero_grad()
        sum(losses.values()).backward()
        adam.step()
    return began, [p.detach().clone() for p in model.parameters()], torch.get_rng_state(), recorder


def test_a_recorded_loop_is_the_same_to_the_last_bit_and_its_start_is_known(tmp_path):
    began, end, state, recorder = loop(True, tmp_path)
    _, plain, expected, _ = loop(False)
    assert torch.equal(state, expected) and all(torch.equal(a, b) for a, b in zip(end, plain, strict=True))
    run = recorder.run
    assert sorted(run.snapshots) == [0, 2, 4] and [row["step"] for row in run.history] == list(range(5))
    assert run.history[0]["loss/pde"] == pytest.approx(float(run.history[0]["loss"]) - run.history[0]["loss/start"])
    x = pinntk.examine(run)
    assert all(torch.equal(a, b) for a, b in zip(x.initial.parameters(), began, strict=True))
    then = pinntk.errors(x.initial, run.problem, run.points)
    assert run.history[0]["loss/pde"] == pytest.approx(float(then["pde"].detach().square().mean()), rel=1e-12)
    assert {rule.reason for rule in pinntk.diagnose(x).unjudged} <= {OPERATORS.reason}
    recorder.close()
    _, _, _, twin = loop(True)
    loaded = pinntk.Run.load(tmp_path, twin.run.network, problem=twin.run.problem)
    assert loaded.history == run.history and loaded.config == run.config


def test_the_program_that_records_runs():
    (program,) = programs("A history for the diagnosis")
    names: dict = {}
    exec(program.replace("range(2001)", "range(101)"), names)
    run = names["recorder"].run
    assert [row["step"] for row in run.history] == [0, 50, 100] and run.config["training"]["optimizer"] == "adam"
    assert {rule.reason for rule in names["findings"].unjudged} <= {OPERATORS.reason}


def test_the_programs_of_loggers_and_figures_run(tmp_path, monkeypatch):
    pytest.importorskip("torch.utils.tensorboard")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict = {}
    for program in programs("Loggers, callbacks, kernels as files, figures in axes of yours"):
        exec(program.replace("steps=2000", "steps=20, progress=False"), names)
    assert list((tmp_path / "runs" / "board").iterdir()) and names["axes"][0].lines
    names["plt"].close("all")
    K = pinntk.kernel(names["network"], names["problem"], names["run"].points)
    K.save(tmp_path / "kernel.npz")
    again = pinntk.KernelBlocks.load(tmp_path / "kernel.npz")
    assert torch.equal(again.values, K.values) and again.names == K.names
    assert all(torch.equal(again.points[name], rows) for name, rows in K.points.items())
