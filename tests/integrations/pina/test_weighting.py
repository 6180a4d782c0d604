"""`NTKWeighting`: traces against row-by-row reverse mode, when weights change, and what a resumed training goes on with."""

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from pina.equation import Equation
from pina.loss import PowerLoss
from pina.model import FeedForward
from pina.optim import TorchOptimizer
from pina.solver import (
    CausalPhysicsInformedSingleModelSolver,
    GradientPhysicsInformedSingleModelSolver,
    RBAPhysicsInformedSingleModelSolver,
)

from pinntk.integrations.pina import NTKWeighting
from pinntk.weighting import NTK
from tests.integrations.pina.cases import CASES, PINN, QUIET, TOLERANCE, solver_of, trained, trainer_of
from tests.support.sweeps import pairs

pytestmark = QUIET


class Watch(Callback):
    """Reference traces by reverse mode, before every `every`-th batch; and the weights that each step was taken with."""

    def __init__(self, columns=False, every=1):
        self.columns, self.every = columns, every
        self.traces, self.counts, self.weights, self.losses = {}, {}, [], []

    def on_train_batch_start(self, trainer, solver, batch, batch_idx):
        if len(self.weights) % self.every:
            return
        traces = self.traces[len(self.weights)] = {}
        for name, data in batch:
            data = dict(data, input=data["input"].clone())
            e = solver.problem.conditions[name].evaluate(data, solver).as_subclass(torch.Tensor)
            parts = {f"{name}[{j}]": e[:, j] for j in range(e.shape[1])} if self.columns and e.shape[1] > 1 else {name: e}
            for block, part in parts.items():
                traces[block], self.counts[block] = trace_by_rows(part, solver), part.numel()

    def on_train_batch_end(self, trainer, solver, outputs, batch, batch_idx):
        self.weights.append(dict(solver.weighting.last_saved_weights()))
        self.losses.append(float(outputs["loss"]))


def trace_by_rows(e, solver):
    theta, total = list(trained(solver).values()), 0.0
    for one in e.reshape(-1):
        gradients = torch.autograd.grad(one, theta, retain_graph=True, allow_unused=True)
        total += sum(float(g.as_subclass(torch.Tensor).double().square().sum()) for g in gradients if g is not None)
    return total


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=tolerance), name


@pytest.mark.parametrize(("case", "columns"), pairs(CASES, ("together", "apart"), each=1))
def test_weights_are_those_of_traces_row_by_row(case, columns, dtype, tmp_path):
    watch = Watch(columns == "apart", every=2)
    solver = solver_of(case, weighting=NTKWeighting(every=2, momentum=0.3, columns=columns))
    trainer_of(solver, 4, tmp_path, callbacks=[watch]).train()
    scheme = NTK(momentum=0.3)
    first = scheme.update(None, watch.traces[0], watch.counts)
    third = scheme.update(first, watch.traces[2], watch.counts)
    for found, expected in zip(watch.weights, [first, first, third, third], strict=True):
        assert_close(found, expected, TOLERANCE[dtype])
    if columns == "apart" and case == "rod":
        assert {"D[0]", "D[1]", "seen[0]", "seen[1]", "start", "left", "right"} == set(first)


def test_the_loss_is_the_weighted_sum_from_the_first_step_on(tmp_path):
    class Check(Callback):
        def on_train_epoch_end(self, trainer, solver):
            metrics, weights = trainer.callback_metrics, solver.weighting.last_saved_weights()
            expected = sum(weights[name] * float(metrics[f"{name}_loss"]) for name in weights)
            assert float(metrics["train_loss"]) == pytest.approx(expected, rel=1e-5)
            assert min(weights.values()) != 1.0
            seen.append(1)

    seen = []
    trainer_of(solver_of(weighting=NTKWeighting(every=2)), 3, tmp_path, callbacks=[Check()]).train()
    assert len(seen) == 3


def test_apart_is_the_problem_with_a_condition_for_each_equation(tmp_path):
    solver = solver_of("rod", weighting=NTKWeighting(columns="apart"))
    weights = {"D[0]": 2.0, "D[1]": 3.0, "start": 5.0, "left": 7.0, "right": 11.0, "seen[0]": 13.0, "seen[1]": 17.0}
    expected = []

    class Fix(Callback):
        def on_train_batch_start(self, trainer, solver, batch, batch_idx):
            solver.weighting._saved_weights, solver.weighting._updated_at = dict(weights), trainer.global_step
            total = 0.0
            for name, data in batch:
                data = dict(data, input=data["input"].clone())
                e = solver.problem.conditions[name].evaluate(data, solver).as_subclass(torch.Tensor)
                for j, mean in enumerate(e.square().mean(0)):
                    total += weights[name if e.shape[1] == 1 else f"{name}[{j}]"] * float(mean.detach())
            expected.append(total)

        def on_train_batch_end(self, trainer, solver, outputs, batch, batch_idx):
            assert float(outputs["loss"]) == pytest.approx(expected[-1], rel=1e-5)

    trainer_of(solver, 2, tmp_path, callbacks=[Fix()]).train()
    assert len(expected) == 2


def test_steps_are_counted_with_batches_accumulation_and_validation(tmp_path):
    """3 batches an epoch, 2 batches a step or what is left of them: steps 0 to 3 are batches 0-1, 2, 3-4 and 5."""
    weighting, watch = NTKWeighting(every=3, momentum=0.0), Watch(every=5)
    solver = solver_of(weighting=weighting, points=50)
    options = {"batch_size": 10, "train_size": 0.6, "val_size": 0.4, "accumulate_grad_batches": 2}
    trainer = trainer_of(solver, 2, tmp_path, callbacks=[watch], check_val_every_n_epoch=1, **options)
    trainer.train()
    assert trainer.global_step == 4
    assert len(watch.weights) == 6  # batches
    changes = [n for n in range(6) if n == 0 or watch.weights[n] != watch.weights[n - 1]]
    assert changes == [0, 5]
    for batch in changes:
        assert_close(watch.weights[batch], NTK().rule(watch.traces[batch], watch.counts), 1e-5)


def test_validation_and_tests_use_the_weights_and_keep_them(tmp_path):
    weighting = NTKWeighting(every=1)
    solver = solver_of(weighting=weighting, points=50)
    trainer = trainer_of(solver, 2, tmp_path, train_size=0.6, val_size=0.2, test_size=0.2)
    trainer.train()
    before, metrics = weighting.last_saved_weights(), trainer.callback_metrics
    (tested,) = trainer.test(verbose=False)
    assert weighting.last_saved_weights() == before
    assert tested["test_loss"] == pytest.approx(sum(before[n] * tested[f"{n}_loss"] for n in before), rel=1e-5)
    assert metrics["val_loss"] > 0


def test_lbfgs_has_one_set_of_weights_in_a_step(tmp_path):
    weighting = NTKWeighting(every=1)
    optimizer = TorchOptimizer(torch.optim.LBFGS, lr=0.1, max_iter=4)
    solver = solver_of(weighting=weighting, optimizer=optimizer)
    seen, plain = [], weighting.aggregate

    def aggregate(losses):
        found = plain(losses)
        seen.append((solver.trainer.global_step, tuple(weighting.last_saved_weights().values())))
        return found

    weighting.aggregate = aggregate
    trainer_of(solver, 3, tmp_path).train()
    assert len(seen) >= 12
    assert len(set(seen)) == 3


@pytest.mark.parametrize(("case", "momentum"), pairs(("poisson", "inverse"), (0.0, 0.5), each=1))
def test_a_resumed_training_goes_on_with_its_weights(case, momentum, tmp_path):
    def solver(seed):
        return solver_of(case, seed=seed, weighting=NTKWeighting(every=4, momentum=momentum))

    whole, watch = solver(0), Watch(every=100)
    trainer_of(whole, 12, tmp_path, callbacks=[watch]).train()

    begun = solver(0)
    trainer = trainer_of(begun, 6, tmp_path)
    trainer.train()
    trainer.save_checkpoint(tmp_path / "begun.ckpt")

    resumed, again = solver(0), Watch(every=100)
    with torch.no_grad():  # whatever the new objects hold
        for p in trained(resumed).values():
            p.mul_(0.5)
    trainer_of(resumed, 12, tmp_path, callbacks=[again]).train(ckpt_path=tmp_path / "begun.ckpt")
    assert again.weights == watch.weights[6:]
    assert again.losses == watch.losses[6:]
    for a, b in zip(trained(whole).values(), trained(resumed).values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_a_training_without_weights_gets_them_at_once(tmp_path):
    trainer = trainer_of(solver_of(), 3, tmp_path)
    trainer.train()
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    watch = Watch(every=100)
    trainer_of(solver_of(weighting=NTKWeighting(every=100)), 5, tmp_path, callbacks=[watch]).train(
        ckpt_path=tmp_path / "plain.ckpt"
    )
    assert_close(watch.weights[0], NTK().rule(watch.traces[0], watch.counts), 1e-5)


def test_a_second_trainer_goes_on_from_the_weights(tmp_path):
    solver = solver_of(weighting=NTKWeighting(every=100, momentum=0.5))
    trainer_of(solver, 2, tmp_path).train()
    before, watch = solver.weighting.last_saved_weights(), Watch(every=100)
    trainer_of(solver, 2, tmp_path, callbacks=[watch]).train()
    assert_close(watch.weights[0], NTK(momentum=0.5).update(before, watch.traces[0], watch.counts), 1e-5)


# Other solvers: their kernel is that of the loss that they minimize.


@pytest.mark.parametrize(
    ("kind", "case", "options"),
    [
        (GradientPhysicsInformedSingleModelSolver, "poisson", {"regularization_weight": 0.5}),
        (RBAPhysicsInformedSingleModelSolver, "rod", {}),
        (CausalPhysicsInformedSingleModelSolver, "rod", {"eps": 1.0, "n_steps": 3, "regularized_conditions": ["D"]}),
        (PINN, "rod", {"loss": PowerLoss(p=2)}),
    ],
    ids=["gradients", "attention", "causal", "power"],
)
def test_traces_of_other_solvers_are_those_of_their_loss(kind, case, options, tmp_path):
    solver = solver_of(case, kind, weighting=NTKWeighting(every=1), **options)
    expected, plain = {}, solver.weighting.aggregate

    def aggregate(losses):
        expected.update({name: trace_of_squares(loss, solver) for name, loss in losses.items()})
        return plain(losses)

    solver.weighting.aggregate = aggregate
    trainer_of(solver, 1, tmp_path).train()
    total = sum(expected.values())
    assert_close(solver.weighting.last_saved_weights(), {name: total / size for name, size in expected.items()}, 1e-5)


def trace_of_squares(loss, solver):
    """sum_k c_k |grad e_k|^2 of a loss sum_k c_k e_k^2: every squared entry has e_k = s / 2 c_k, with s = d loss / d e_k."""
    total, stack, seen = 0.0, [loss.grad_fn], set()
    theta = list(trained(solver).values())
    while stack:
        node = stack.pop()
        if node in seen or node is None:
            continue
        seen.add(node)
        if node.name() in ("MseLossBackward0", "PowBackward0"):
            e = node._saved_self.as_subclass(torch.Tensor)
            (s,) = torch.autograd.grad(loss, node._saved_self, retain_graph=True, materialize_grads=True)
            c = (s.as_subclass(torch.Tensor) / (2 * e)).detach()
            for one, factor in zip(e.reshape(-1), c.reshape(-1), strict=True):
                rows = torch.autograd.grad(one, theta, retain_graph=True, allow_unused=True)
                total += float(factor.detach()) * sum(
                    float(g.as_subclass(torch.Tensor).square().sum()) for g in rows if g is not None
                )
        else:
            stack += [below for below, _ in node.next_functions]
    return total


@pytest.mark.parametrize("columns", ["together", "apart"])
def test_a_condition_in_other_units_has_its_weight(columns, tmp_path):
    """A trace 1e-16 of the other's, which no rounding made."""
    solver = solver_of("rod", weighting=NTKWeighting(columns=columns))
    plain = solver.problem.conditions["D"].equation.equations
    solver.problem.conditions["D"].equation.equations = [Small(equation) for equation in plain]
    watch = Watch(columns == "apart")
    trainer_of(solver, 1, tmp_path, callbacks=[watch]).train()
    assert_close(watch.weights[0], NTK().rule(watch.traces[0], watch.counts), 1e-5)
    assert max(watch.weights[0].values()) > 1e13


class Small:
    def __init__(self, equation):
        self.equation = equation

    def residual(self, *arguments):
        return 1e-8 * self.equation.residual(*arguments)


def test_a_condition_met_by_construction_keeps_weight_1_and_is_told_once(tmp_path):
    class Hard(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = FeedForward(2, 1, layers=[8])

        def forward(self, x):
            waves = torch.sin(torch.pi * x.extract(["x"])) * torch.sin(torch.pi * x.extract(["y"]))
            return waves.as_subclass(torch.Tensor) * self.inner(x)

    solver = solver_of(weighting=NTKWeighting(every=1))
    solver._pina_models[0] = Hard()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer_of(solver, 3, tmp_path).train()
    assert solver.weighting.last_saved_weights() == {"sides": 1.0, "D": pytest.approx(1.0)}
    assert sum("condition sides does not depend on the parameters" in str(w.message) for w in told) == 1


@pytest.mark.parametrize(("length", "scale"), [(1.0, 0.01), (100.0, 1.0), (100.0, 0.01)])
def test_a_rounding_that_is_not_much_smaller_keeps_weight_1(length, scale, tmp_path):
    """In float32 sin(pi x) is 9e-8 at x = 1, and 3e-5 at x = 100."""

    class Hard(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = FeedForward(2, 1, layers=[8])

        def forward(self, x):
            x = x.as_subclass(torch.Tensor) * length
            return torch.sin(torch.pi * x).prod(1, keepdim=True) * self.inner(x / length)

    solver = solver_of(weighting=NTKWeighting(every=1))
    solver._pina_models[0] = Hard()
    solver.problem.conditions["D"].equation = Equation(lambda x, u: scale * u)
    with pytest.warns(UserWarning, match="condition sides does not depend on the parameters"):
        trainer_of(solver, 1, tmp_path).train()
    assert solver.weighting.last_saved_weights()["sides"] == 1.0
