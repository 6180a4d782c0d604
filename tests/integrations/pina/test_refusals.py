"""What the weighting for PINA refuses, in one line."""

import importlib
import sys

import pytest
import torch
from pina.loss import LpLoss, PowerLoss
from pina.model import FeedForward
from pina.solver import (
    CompetitivePhysicsInformedSolver,
    GradientPhysicsInformedSingleModelSolver,
    SelfAdaptivePhysicsInformedSolver,
    SupervisedSingleModelSolver,
)

from pinntk.integrations.pina import NTKWeighting
from tests.integrations.pina.cases import QUIET, solver_of, trainer_of

pytestmark = QUIET


def test_without_pina_there_is_the_line_that_installs_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pinntk.integrations.pina")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pina", None)
    with pytest.raises(ImportError, match=r'pip install "pinntk\[pina\]"') as error:
        importlib.import_module("pinntk.integrations.pina")
    assert "\n" not in str(error.value)


def refusal(make, match):
    with pytest.raises(ValueError, match=match) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [SelfAdaptivePhysicsInformedSolver, CompetitivePhysicsInformedSolver])
def test_solvers_of_two_networks_are_refused(kind):
    refusal(lambda: solver_of(kind=kind, weighting=NTKWeighting()), f"does not work with {kind.__name__}.*use PINN")


def test_a_solver_without_residuals_is_refused():
    from pina import Condition, LabelTensor
    from pina.problem import BaseProblem

    class Data(BaseProblem):
        input_variables, output_variables = ["x"], ["u"]
        conditions = {
            "seen": Condition(input=LabelTensor(torch.rand(4, 1), ["x"]), target=LabelTensor(torch.rand(4, 1), ["u"]))
        }

    weighting = NTKWeighting()
    refusal(lambda: SupervisedSingleModelSolver(Data(), FeedForward(1, 1), weighting=weighting), "no residuals of a PDE")


def test_one_weighting_for_one_solver(tmp_path):
    weighting = NTKWeighting()
    solver = solver_of(weighting=weighting)
    refusal(lambda: solver_of(weighting=weighting), "belongs to another solver; make one for each")
    refusal(lambda: trainer_of(solver, 1, tmp_path, callbacks=[NTKWeighting()]).train(), "the solver brings its own")
    refusal(lambda: trainer_of(solver_of(), 1, tmp_path, callbacks=[NTKWeighting()]).train(), "and not in its solver")


def test_it_may_be_a_callback_too(tmp_path):
    weighting = NTKWeighting(every=1)
    trainer = trainer_of(solver_of(weighting=weighting), 2, tmp_path, callbacks=[weighting])
    trainer.train()
    assert trainer.callbacks.count(weighting) == 1


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (LpLoss(p=1), "condition 'sides': loss is not a sum of mean squares"),
        (LpLoss(p=2), "condition 'sides': loss is not a sum of mean squares"),
        (PowerLoss(p=4), "condition 'sides': loss is not a sum of mean squares"),
        (torch.nn.L1Loss(), "condition 'sides': loss is not a sum of mean squares"),
        (torch.nn.MSELoss(reduction="sum"), "reduction='sum'.*use loss=torch.nn.MSELoss"),
    ],
    ids=["l1", "norm", "quartic", "absolute", "sum"],
)
def test_losses_that_are_no_mean_squares_are_refused(loss, match, tmp_path):
    solver = solver_of(weighting=NTKWeighting(), loss=loss)
    refusal(trainer_of(solver, 1, tmp_path).train, match)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true"])
def test_coarse_precision_is_refused(precision, tmp_path):
    solver = solver_of(weighting=NTKWeighting())
    refusal(trainer_of(solver, 1, tmp_path, precision=precision).train, "float32 or float64.*precision='32-true'")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"every": 0}, "every=0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"normalization": "max"}, "'max'"),
        ({"columns": 2}, "columns=2"),
    ],
)
def test_settings_are_checked(options, match):
    refusal(lambda: NTKWeighting(**options), match)


def test_columns_apart_is_for_residuals_alone(tmp_path):
    kind, options = GradientPhysicsInformedSingleModelSolver, {"regularization_weight": 0.5}
    solver = solver_of(kind=kind, weighting=NTKWeighting(columns="apart"), **options)
    refusal(trainer_of(solver, 1, tmp_path).train, "columns='apart' is for PINN")


@pytest.mark.parametrize("module", [torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(8)])
def test_networks_that_are_random_or_mix_points_are_refused(module, tmp_path):
    solver = solver_of(weighting=NTKWeighting())
    solver._pina_models[0] = torch.nn.Sequential(torch.nn.Linear(2, 8), module, torch.nn.Linear(8, 1))
    refusal(trainer_of(solver, 1, tmp_path).train, f"has a {type(module).__name__}.*remove it")
