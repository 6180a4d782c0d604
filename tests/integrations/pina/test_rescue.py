"""A training of PINA that `Diagnose` recorded is rescued on copies of the solver's model."""

import pytest
import torch

pytest.importorskip("pina")

import pinntk
from pinntk.integrations.pina import Diagnose
from tests.integrations.pina.cases import QUIET, solver_of, trainer_of

pytestmark = QUIET
SOLVE = pinntk.Prescription(
    "train by Gauss-Newton",
    {"training.optimizer": "gauss-newton", "training.steps": 30, "weighting": {"name": "ntk", "every": 5}},
)


def recorded(case, folder):
    solver = solver_of(case)
    diagnosis = Diagnose(folder)
    trainer_of(solver, 2, folder, callbacks=[diagnosis]).train()
    return solver, diagnosis.run


@pytest.mark.slow
def test_a_recorded_training_is_rescued(tmp_path):
    solver, run = recorded("poisson", tmp_path)
    before = [p.detach().clone() for p in solver.model.parameters()]
    found = pinntk.rescue(run, prescription=SOLVE, findings=[], progress=False)
    assert found.score_after < 0.05 * found.score_before, str(found)
    assert all(torch.equal(p, q) for p, q in zip(solver.model.parameters(), before, strict=True))
    solver.model.load_state_dict(found.after.network.model.state_dict())


def test_one_with_unknown_coefficients_says_what_to_type(tmp_path):
    _, run = recorded("inverse", tmp_path)
    call = r"By hand, .*: pinntk.train\(problem, network, .*steps=30, weighting=pinntk.weighting.NTK\(every=5\)\)$"
    with pytest.raises(ValueError, match=call):
        pinntk.rescue(run, prescription=SOLVE, findings=[], progress=False)
