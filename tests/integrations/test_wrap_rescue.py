"""Trainings of wrapped models that went wrong, rescued."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

import pinntk
from tests.integrations.wrapped import X, burgers, gradient, sequential


@pytest.mark.slow
def test_a_training_that_went_wrong_is_rescued_on_a_copy_of_the_model():
    torch.manual_seed(0)
    model = sequential(1)
    x, ends = torch.linspace(0, 1, 30).unsqueeze(1), torch.tensor([[0.0], [1.0]])
    conditions = {"pde": (lambda x: gradient(gradient(model(x), x), x) + torch.pi**2 * torch.sin(torch.pi * x), x, "residual")}
    conditions["ends"] = (model, ends, "boundary")
    network, problem, points = pinntk.wrap(model, conditions, exact=lambda x: torch.sin(torch.pi * x))
    run = pinntk.train(problem, network, points=points, steps=100, lr=1e-6, progress=False)
    before = deepcopy(model.state_dict())
    found = pinntk.rescue(run, rounds=2, progress=False)
    assert found.score_before > 0.1 > 0.01 > found.score_after, str(found)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.load_state_dict(found.after.network.model.float().state_dict())
    assert problem.relative_error(network) == pytest.approx(found.score_after, rel=0.1)


def test_a_loop_that_was_recorded_is_rescued_and_one_with_coefficients_says_what_to_type():
    torch.manual_seed(0)
    model = sequential(1)
    conditions = {"pde": (lambda x: gradient(model(x), x) + model(x), X, "residual")}
    conditions["start"] = (lambda x: model(x) - 1, X[:1], "initial")
    run = _recorded(model, *pinntk.wrap(model, conditions, exact=lambda x: torch.exp(-x)))
    solve = pinntk.Prescription("solve", {"training.optimizer": "gauss-newton", "training.steps": 10})
    found = pinntk.rescue(run, prescription=solve, findings=[], progress=False)
    assert found.score_before > 0.1 > 1e-2 > found.score_after, str(found)
    case = burgers()
    run = _recorded(case.model, *pinntk.wrap(case.model, case.conditions, **case.options))
    call = r'pinntk.train\(problem, network, points=points, optimizer="gauss-newton", steps=10\)$'
    with pytest.raises(ValueError, match=f"the coefficients nu are the parameters that the run has trained.*: {call}"):
        pinntk.rescue(run, prescription=solve, findings=[], progress=False)


def _recorded(model: nn.Module, network: nn.Module, problem: pinntk.Problem, points: dict[str, Tensor]) -> pinntk.Run:
    """Two steps in a loop of someone's own."""
    adam = torch.optim.Adam(model.parameters())
    with pinntk.Recorder(problem, network, points, optimizer=adam) as recorder:
        for step in range(2):
            adam.zero_grad()
            sum(e.square().mean() for e in pinntk.errors(network, problem, points).values()).backward()
            adam.step()
            recorder.log(step)
    return recorder.run
