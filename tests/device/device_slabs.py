"""Series of trainings on a device, time slabs, curricula and ensembles: the same numbers as on the CPU.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

import pytest
import torch

import pinntk
from tests.device.on_device import F64, NAME, covers, on_device, same, there, twins

FEW = {"residual": 12, "initial": 4, "boundary": 4}


@covers(pinntk.train_slabs, pinntk.load_slabs, pinntk.Slabs, pinntk.nn.SlabNetwork)
def test_a_training_in_slabs(tmp_path):
    problem = pinntk.load("wave1d")
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    settings = {"slabs": 2, "steps": 2, "points": FEW, "progress": False}
    found, expected = (
        pinntk.train_slabs(problem, network, device=device, out=tmp_path / device, **settings) for device in (NAME, "cpu")
    )
    assert isinstance(found, pinntk.Slabs) and isinstance(found.network, pinntk.nn.SlabNetwork)
    assert on_device([list(run.network.parameters()) for run in found.runs])
    same(found.network.state_dict(), expected.network.state_dict())
    same(found.relative_error, expected.relative_error)
    points = problem.sample(FEW, **F64)
    errors = pinntk.errors(found.network, problem, there(points))
    assert on_device(errors)
    same(errors, pinntk.errors(expected.network, problem, points))
    loaded = pinntk.load_slabs(tmp_path / NAME)
    assert {p.device.type for p in loaded.network.parameters()} == {"cpu"}
    same(loaded.network.state_dict(), found.network.state_dict(), 0.0)
    again = pinntk.train_slabs(problem, network, device=NAME, out=tmp_path / NAME, resume=True, **settings)
    same(again.network.state_dict(), found.network.state_dict(), 0.0)


@covers(pinntk.train_curriculum, pinntk.Curriculum)
def test_a_curriculum(tmp_path):
    problem = pinntk.load("wave1d")
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    settings = {"curriculum": {"c": [1, 2]}, "steps": 2, "points": FEW, "progress": False}
    found, expected = (
        pinntk.train_curriculum(problem, network, device=device, out=tmp_path / device, **settings) for device in (NAME, "cpu")
    )
    assert isinstance(found, pinntk.Curriculum) and on_device([list(run.network.parameters()) for run in found.runs])
    same(found.network.state_dict(), expected.network.state_dict())
    again = pinntk.train_curriculum(problem, network, device=NAME, out=tmp_path / NAME, resume=True, **settings)
    same(again.network.state_dict(), found.network.state_dict(), 0.0)


@covers(pinntk.train_ensemble, pinntk.Ensemble)
@pytest.mark.filterwarnings("ignore:the members are trained one after the other")
def test_an_ensemble():
    problem = pinntk.load("heat_inverse")
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    settings = {"seeds": 2, "steps": 2, "points": FEW, "progress": False}
    found, expected = (pinntk.train_ensemble(problem, network, device=device, **settings) for device in (NAME, "cpu"))
    assert isinstance(found, pinntk.Ensemble) and on_device([list(run.network.parameters()) for run in found.runs])
    points = problem.sample(FEW, **F64)[problem.names[0]].numpy()
    same([torch.from_numpy(part) for part in found.predict(points)], [torch.from_numpy(p) for p in expected.predict(points)])
    same(found.coefficients()["kappa"], expected.coefficients()["kappa"], 1e-6)


@covers(pinntk.slab)
def test_a_slab_begins_with_a_network_on_any_device():
    problem = pinntk.load("wave1d")
    before, before_there = twins(problem, seed=1)
    here, away = twins(problem, seed=2)
    part = pinntk.slab(problem, 1, 2, before)
    points = part.sample(FEW, **F64)
    expected = pinntk.errors(here, part, points)
    for previous in (before, before_there):
        found = pinntk.errors(away, pinntk.slab(problem, 1, 2, previous), there(points))
        assert on_device(found)
        same(found, expected)
    assert pinntk.slab(problem, 1, 2, before_there).slab == part.slab
    same(pinntk.errors(before, part, points)["start"], torch.zeros(4, **F64), size=1.0)
