"""Trainings on foreign conditions are those on the same conditions in pinntk's operators."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

import pinntk
from tests.support.foreign import TWINS, Twins
from tests.support.sweeps import pairs

SETTINGS = {"progress": False, "log_every": 4}


def trained(twins: Twins, which: str, **settings) -> pinntk.Run:
    """From the same parameters; what code closes over is trained itself."""
    start = deepcopy(twins.network.state_dict())
    values = deepcopy(twins.foreign.coefficients.state_dict())
    problem = getattr(twins, which)
    run = pinntk.train(problem, twins.network, points=twins.points, **{**SETTINGS, **settings})
    parameters = [p.detach().clone() for p in (*twins.network.parameters(), *problem.coefficients.values())]
    twins.network.load_state_dict(start)
    twins.foreign.coefficients.load_state_dict(values)
    object.__setattr__(run, "parameters", parameters)
    return run


WAYS = {
    "ntk": {"steps": 8, "weighting": "ntk"},
    "gauss-newton": {"steps": 3, "optimizer": "gauss-newton"},
    "fixed": {"steps": 8, "weighting": "fixed"},
    "self-adaptive": {"steps": 8, "weighting": "self-adaptive"},
    "gradient-norm": {"steps": 8, "weighting": "gradient-norm"},
    "lbfgs": {"steps": 3, "optimizer": "lbfgs"},
}


@pytest.mark.parametrize(("name", "way"), pairs(("heat", "system"), WAYS, each=1))
def test_a_training_is_that_of_the_same_problem_in_pinntk(name, way):
    twins = TWINS[name](0)
    found, expected = (trained(twins, which, **WAYS[way]) for which in ("foreign", "own"))
    for a, b in zip(found.parameters, expected.parameters, strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-9)
    assert found.history[-1]["loss"] == pytest.approx(expected.history[-1]["loss"], rel=1e-6)


def test_fresh_points_come_from_the_geometry_where_it_has_them():
    twins = TWINS["heat"](0)
    run = pinntk.train(twins.foreign, twins.network, steps=3, points={"equation": 12, "start": 4}, resample=1, **SETTINGS)
    first = twins.foreign.sample(equation=12, start=4, method="sobol")
    assert run.points["equation"].shape == (12, 2) and not torch.equal(run.points["equation"].float(), first["equation"])
    assert torch.equal(run.points["walls"].float(), first["walls"])


def test_adaptive_points_leave_given_ones_as_they_are():
    twins = TWINS["system"](0)
    run = pinntk.train(twins.foreign, twins.network, steps=4, resample=2, adaptive=True, **SETTINGS)
    assert torch.equal(run.points["mass"], twins.points["mass"])


def test_causal_weights_act_on_foreign_residuals():
    twins = TWINS["heat"](0)
    run = pinntk.train(twins.foreign, twins.network, steps=4, causal=1.0, points={"equation": 64}, **SETTINGS)
    assert 0 < run.history[-1]["causal"] < 1


def test_a_compiled_step_is_not_made_of_foreign_code():
    twins = TWINS["heat"](0)
    with pytest.warns(UserWarning, match="runs eagerly: condition 'equation' is foreign"):
        pinntk.train(twins.foreign, twins.network, steps=1, compile=True, **SETTINGS)


def test_a_run_goes_on_from_its_folder(tmp_path):
    found = []
    for which in ("foreign", "own"):
        for steps in (3, 6):
            twins = TWINS["heat"](0)
            settings = {"steps": steps, "points": twins.points, "resume": steps > 3, "weighting": "ntk", **SETTINGS}
            pinntk.train(getattr(twins, which), twins.network, out=tmp_path / which, **settings)
        found.append([*twins.network.parameters(), *twins.foreign.coefficients.values()])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-9)
