"""A training of DeepXDE that `Diagnose` recorded is rescued on copies of the model's network."""

import re

import pytest
import torch

import pinntk
from pinntk.integrations.deepxde import Diagnose
from tests.integrations.deepxde import models
from tests.support.sweeps import sweep

SOLVE = pinntk.Prescription("train by Gauss-Newton", {"training.optimizer": "gauss-newton", "training.steps": 20})


def recorded(model, folder):
    diagnosis = Diagnose(folder, tell=None)
    model.train(iterations=3, callbacks=[diagnosis], verbose=0)
    return diagnosis.run


@pytest.mark.parametrize("loaded", sweep((False, True), False))
def test_a_recorded_training_is_rescued(loaded, tmp_path):
    model = models.dirichlet()
    run = recorded(model, tmp_path / "run")
    if loaded:
        run = pinntk.Run.load(tmp_path / "run", run.network, problem=run.problem)
    before = [p.detach().clone() for p in model.net.parameters()]
    found = pinntk.rescue(run, prescription=SOLVE, findings=[], progress=False)
    assert found.score_before > 0.5 > 1e-3 > found.score_after, str(found)
    assert all(torch.equal(p, q) for p, q in zip(model.net.parameters(), before, strict=True))
    model.net.load_state_dict(found.after.network.state_dict())
    assert run.problem.relative_error(model.net) == pytest.approx(found.score_after, rel=1e-6)


def test_one_with_unknown_coefficients_says_what_to_type(tmp_path):
    run = recorded(models.inverse(), tmp_path)
    with pytest.raises(
        ValueError, match="the coefficients variable_1, variable_2 are the parameters that the run has"
    ) as error:
        pinntk.rescue(run, prescription=SOLVE, findings=[], progress=False)
    call = re.search(r"By hand, from values of your choice: (.*)$", str(error.value))[1]
    assert call == 'pinntk.train(problem, network, points=points, optimizer="gauss-newton", steps=20)'
    names = {"pinntk": pinntk, "problem": run.problem, "network": run.network, "points": run.points}
    again = eval(call.replace("steps=20", "steps=20, progress=False"), names)
    assert again.history[-1]["loss/pde"] < 0.01 * run.history[-1]["loss/pde"]
