"""`Diagnose`: the training is the same to the last bit, and what it leaves behind."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

pytest.importorskip("pina")
from pina.callback import R3Refinement, SwitchOptimizer
from pina.loss import LpLoss, PowerLoss
from pina.optim import TorchOptimizer
from pina.weighting import ScalarWeighting

import pinntk
from pinntk.diagnostics._prescriptions import by_ntk
from pinntk.integrations import _recorded, _verdict
from pinntk.integrations.pina import Diagnose, NTKWeighting, from_solver
from pinntk.reporting._calls import call_of
from tests.integrations.pina.cases import QUIET, solver_of, trained, trainer_of

pytestmark = QUIET


class States(Callback):
    """What a training is made of, after every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, solver, outputs, batch, batch_idx):
        parts = [torch.get_rng_state(), torch.tensor(float(outputs["loss"]))]
        for p in trained(solver).values():
            parts += [p.detach().clone(), p.grad.clone()]
        modes = [module.training for module in solver.modules()]
        self.seen.append((parts, modes, np.random.get_state()[1].tolist()))

    def same_as(self, other):
        for (a, modes, numbers), (b, other_modes, other_numbers) in zip(self.seen, other.seen, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
            assert modes == other_modes
            assert numbers == other_numbers


@pytest.fixture
def undiagnosed(monkeypatch):
    """Trainings are recorded, and not examined at their end."""
    monkeypatch.setattr(_recorded, "diagnose_into", lambda run, folder, failed: ([], ""))


@pytest.mark.parametrize(
    ("case", "batches"),
    [
        ("poisson", {"batch_size": 7, "train_size": 0.7, "val_size": 0.3}),
        pytest.param("rod", {}, marks=pytest.mark.slow),
        pytest.param("inverse", {}, marks=pytest.mark.slow),
    ],
    ids=["poisson", "rod", "inverse"],
)
def test_a_diagnosed_training_is_the_same_to_the_last_bit(case, batches, tmp_path):
    weighting = lambda: NTKWeighting(every=3) if case == "rod" else None  # noqa: E731
    plain, watched = States(), States()
    trainer_of(solver_of(case, weighting=weighting()), 4, tmp_path, callbacks=[plain], **batches).train()
    after = torch.get_rng_state()
    diagnosis = Diagnose(tmp_path / "run", every=2)
    trainer_of(solver_of(case, weighting=weighting()), 4, tmp_path, callbacks=[diagnosis, watched], **batches).train()
    assert torch.equal(after, torch.get_rng_state())
    watched.same_as(plain)
    assert {"diagnosis.json", "report.html", "config.json", "metrics.csv"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    found = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
    assert [finding["code"] for finding in found["findings"]] == [finding.code for finding in diagnosis.findings]


def test_the_history_is_that_of_the_training(tmp_path, capsys):
    solver = solver_of("rod", weighting=NTKWeighting(every=4))
    diagnosis, losses = Diagnose(tmp_path / "run", every=2), []

    class Losses(Callback):
        def on_train_batch_start(self, trainer, solver, batch, batch_idx):
            found = {}
            for name, data in batch:
                data = dict(data, input=data["input"].clone())
                e = solver.problem.conditions[name].evaluate(data, solver).as_subclass(torch.Tensor).detach()
                found |= {name if e.shape[1] == 1 else f"{name}[{j}]": float(part) for j, part in enumerate(e.square().mean(0))}
            losses.append(found)

        def on_train_batch_end(self, trainer, solver, outputs, batch, batch_idx):
            losses[-1] = (losses[-1], dict(solver.weighting.last_saved_weights()), float(outputs["loss"]))

    trainer_of(solver, 8, tmp_path, callbacks=[diagnosis, Losses()]).train()
    rows = diagnosis.run.history
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8]
    for row in rows[:-1]:
        for name, loss in losses[row["step"]][0].items():
            assert row[f"loss/{name}"] == pytest.approx(loss, rel=1e-5)
    for row in rows[1:]:
        weights = losses[row["step"] - 1][1]
        assert row["weight/start"] == pytest.approx(weights["start"])
        assert row["weight/D[1]"] == pytest.approx(weights["D"] / 2)  # the mean over both columns
    whole = losses[2]
    assert sum(rows[1][f"weight/{name}"] * loss for name, loss in whole[0].items()) == pytest.approx(whole[2], rel=1e-5)
    assert rows[0]["learning_rate"] == 1e-3
    said = capsys.readouterr().out
    assert said.startswith("Rod, 8 steps")
    assert f"report in {tmp_path / 'run' / 'report.html'}" in said


@pytest.mark.slow
def test_a_fault_is_found(tmp_path, capsys):
    """A learning rate a thousand times too large."""
    solver = solver_of(optimizer=TorchOptimizer(torch.optim.Adam, lr=3.0), width=20)
    diagnosis = Diagnose(tmp_path / "run", every=5)
    trainer_of(solver, 100, tmp_path, callbacks=[diagnosis]).train()
    assert diagnosis.findings
    assert str(diagnosis.findings[0]) in capsys.readouterr().out


@pytest.mark.usefixtures("undiagnosed")
def test_weights_of_other_weightings_are_recorded(tmp_path):
    solver = solver_of("rod", weighting=ScalarWeighting({"D": 3.0, "seen": 5.0}))
    diagnosis = Diagnose(tmp_path / "run")
    trainer_of(solver, 2, tmp_path, callbacks=[diagnosis]).train()
    weights = diagnosis.run.weights
    assert weights["D[0]"] == weights["D[1]"] == 1.5
    assert weights["seen[0]"] == 2.5
    assert weights["left"] == 1.0


@pytest.mark.usefixtures("undiagnosed")
def test_an_inverse_problem_shows_its_unknown(tmp_path):
    solver = solver_of("inverse")
    diagnosis = Diagnose(tmp_path / "run", every=1)
    trainer = trainer_of(solver, 3, tmp_path, callbacks=[diagnosis])
    trainer.train()
    column = [row["coefficient/a"] for row in diagnosis.run.history]
    assert len(set(column)) == 4
    assert column[-1] == float(solver.problem.unknown_parameters["a"].detach())


@pytest.mark.usefixtures("undiagnosed")
def test_points_are_those_of_the_batches(tmp_path):
    """Whatever a refinement says that they are: PINA 0.3.2 moves those of the condition, and not those that it trains on."""
    diagnosis, seen = Diagnose(tmp_path / "run", every=1), []

    class Seen(Callback):
        def on_train_batch_start(self, trainer, solver, batch, batch_idx):
            seen.append(dict(batch)["D"]["input"].extract(["x", "y"]).tolist())

    trainer_of(solver_of(), 6, tmp_path, callbacks=[R3Refinement(sample_every=2), diagnosis, Seen()]).train()
    assert sorted(map(tuple, seen[-1])) == sorted(map(tuple, diagnosis.run.points["D"].tolist()))


@pytest.mark.usefixtures("undiagnosed")
def test_an_optimizer_that_is_switched_is_followed(tmp_path):
    switch = SwitchOptimizer(TorchOptimizer(torch.optim.LBFGS, lr=0.1), epoch_switch=3)
    diagnosis = Diagnose(tmp_path / "run", every=1)
    trainer_of(solver_of(weighting=NTKWeighting(every=2)), 5, tmp_path, callbacks=[switch, diagnosis]).train()
    assert [row["learning_rate"] for row in diagnosis.run.history] == [1e-3] * 4 + [0.1] * 2
    assert diagnosis.run.config["training"]["optimizer"] == "lbfgs"


@pytest.mark.usefixtures("undiagnosed")
def test_functions_of_the_run_are_called_and_may_end_the_training(tmp_path):
    seen = []

    def stop(run):
        seen.append(run.step)
        return run.step == 4

    diagnosis = Diagnose(tmp_path / "run", every=2, on_log=stop)
    trainer = trainer_of(solver_of(), 10, tmp_path, callbacks=[diagnosis])
    trainer.train()
    assert trainer.global_step == 4
    assert seen == [0, 2, 4]


@pytest.mark.usefixtures("undiagnosed")
def test_it_goes_on_from_a_checkpoint(tmp_path):
    trainer = trainer_of(solver_of(), 4, tmp_path, callbacks=[Diagnose(tmp_path / "run", every=2)])
    trainer.train()
    trainer.save_checkpoint(tmp_path / "begun.ckpt")
    again = Diagnose(tmp_path / "run", every=2)
    trainer_of(solver_of(), 8, tmp_path, callbacks=[again]).train(ckpt_path=tmp_path / "begun.ckpt")
    assert [row["step"] for row in again.run.history] == [0, 2, 4, 6, 8]


def refusal(make, match, error=ValueError):
    with pytest.raises(error, match=match) as raised:
        make()
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("undiagnosed")
def test_one_training_for_each(tmp_path):
    diagnosis = Diagnose(tmp_path / "run")
    trainer_of(solver_of(), 1, tmp_path, callbacks=[diagnosis]).train()
    refusal(trainer_of(solver_of(), 1, tmp_path, callbacks=[diagnosis]).train, "has recorded a training")
    fresh = trainer_of(solver_of(), 1, tmp_path, callbacks=[Diagnose(tmp_path / "run")])
    refusal(fresh.train, "already holds a run; give overwrite=True, which removes it, or another folder$", FileExistsError)


def test_prescribed_weights_are_named_as_pina_has_them():
    call = call_of(pinntk.examine(*from_solver(solver_of())), by_ntk(None), 1)
    assert call.startswith(
        "network, problem, points = from_solver(solver)\npinntk.train(\n    problem, network, points=points,"
    )
    assert "weighting=NTKWeighting(every=100)" in call


@pytest.mark.parametrize("loss", [LpLoss(p=2), PowerLoss(p=1), torch.nn.L1Loss()])
def test_losses_that_are_no_mean_squares_are_refused(loss, tmp_path):
    trainer = trainer_of(solver_of(loss=loss), 1, tmp_path, callbacks=[Diagnose(tmp_path / "run")])
    refusal(trainer.train, "kernels are of mean squares")


def test_errors_that_are_not_finite_are_told(tmp_path):
    solver = solver_of(optimizer=TorchOptimizer(torch.optim.SGD, lr=1e30))
    trainer = trainer_of(solver, 4, tmp_path, callbacks=[Diagnose(tmp_path / "run", every=1)])
    with pytest.warns(UserWarning, match="is not finite"), pytest.warns(UserWarning, match="could not be diagnosed"):
        trainer.train()
    assert (tmp_path / "run" / "metrics.csv").exists()


def test_what_fails_never_ends_the_training(tmp_path, monkeypatch):
    def broken(*given):
        raise KeyError("page")

    monkeypatch.setattr(_verdict, "write_report", broken)
    diagnosis = Diagnose(tmp_path / "run", every=5)
    solver = solver_of(optimizer=TorchOptimizer(torch.optim.Adam, lr=3.0), width=20)
    trainer = trainer_of(solver, 50, tmp_path, callbacks=[diagnosis])
    with pytest.warns(UserWarning, match=r"report.html could not be written: KeyError: 'page'"):
        trainer.train()
    assert trainer.global_step == 50 and diagnosis.findings
    again = Diagnose(tmp_path / "other", every=1)
    trainer = trainer_of(solver_of(), 3, tmp_path, callbacks=[again])
    monkeypatch.setattr("pinntk.integrations.pina._diagnose.training_points", broken)
    with pytest.warns(UserWarning, match="step 0 could not be recorded in .*: KeyError: 'page'"):
        trainer.train()
    assert trainer.global_step == 3 and again.run.history == []


def test_settings_are_checked(tmp_path):
    refusal(lambda: Diagnose(tmp_path, every=0), "every=0")
    trainer = trainer_of(solver_of(), 1, tmp_path, callbacks=[Diagnose(tmp_path / "run", kinds={"wall": "data"})])
    refusal(trainer.train, "kinds has 'wall'")
    assert Diagnose(tmp_path).run is None
