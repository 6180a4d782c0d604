"""NTK weights in DeepXDE: blocks against rows in reverse mode, and trainings that do with the weights what they should."""

import copy
import importlib
import random

import deepxde as dde
import numpy as np
import pytest
import torch

import pinntk
from pinntk.integrations import deepxde
from pinntk.integrations.deepxde import NTKWeighting, _ntk_weighting
from pinntk.integrations.deepxde._errors import evaluate, factors, traces
from pinntk.integrations.deepxde._model import trained_parameters, untouched
from pinntk.weighting import NTK
from tests.integrations.deepxde import models
from tests.support.reference import relative

TOLERANCE = {"float64": 1e-10, "float32": 1e-6}


def rows(e, parameters):
    """J of e (n,), by one backward pass a row."""
    found = []
    for value in e:
        gradients = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
        pairs = zip(gradients, parameters.values(), strict=True)
        found.append(torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in pairs]))
    return torch.stack(found)


def blocks_and_rows(model):
    """(name, J by its factors, J row by row) of every column of every loss."""
    with untouched(model):
        blocks = evaluate(model)
        parameters = trained_parameters(model)
        found = factors(model, blocks)
        for block in blocks:
            for part, e in zip(found[block.name], block.errors.unbind(1), strict=True):
                yield block.name, part, rows(e, parameters)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("made", models.MODELS)
def test_blocks_are_those_of_reverse_mode(made, dtype):
    dde.config.set_default_float(dtype)
    seen = 0
    for name, part, J in blocks_and_rows(models.MODELS[made]()):
        assert relative(part.matrix(), J) < TOLERANCE[dtype], name
        assert relative(part.diagonal, J.double().square().sum(1)) < TOLERANCE[dtype], name
        seen += 1
    assert seen >= 2


def test_all_conditions_and_an_equation_are_read_in_one_pass(monkeypatch):
    passes = []
    true_grad = torch.autograd.grad
    model = models.heat()
    with untouched(model):
        blocks = evaluate(model)
        monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or true_grad(*a, **k))
        found = factors(model, blocks)
    assert {part.origin.path for parts in found.values() for part in parts} == {"graph"}
    assert len(passes) == 2  # and its certificate


def test_forward_autodiff():
    dde.config.set_default_autodiff("forward")
    try:
        model = models.forward()
        for name, part, J in blocks_and_rows(model):
            assert relative(part.matrix(), J) < 1e-10, name
            assert part.origin.path == "graph", name
        model.train(iterations=1, verbose=0, callbacks=[NTKWeighting()])
    finally:
        dde.config.set_default_autodiff("reverse")


def test_blocks_follow_resampled_points():
    model = models.heat()
    before = model.data.train_x.copy()
    weighting = NTKWeighting(every=1)
    resampler = dde.callbacks.PDEPointResampler(period=1)
    model.train(iterations=2, verbose=0, callbacks=[weighting, resampler])
    assert not np.array_equal(model.data.train_x, before)
    for name, part, J in blocks_and_rows(model):
        assert relative(part.matrix(), J) < 1e-10, name


def test_weights_are_the_rule_of_NTK_and_act_at_the_next_step():
    model, twin = models.heat(), models.heat()
    with untouched(twin):
        blocks = evaluate(twin)
        counts = {block.name: block.errors.numel() for block in blocks}
        expected = NTK().rule(traces(twin, blocks), counts)
    assert list(expected) == ["pde", "DirichletBC", "IC"]
    weighting = NTKWeighting(every=100)
    model.train(iterations=1, verbose=0, callbacks=[weighting])
    assert weighting.weights == expected and model.loss_weights == list(expected.values())
    twin.loss_weights = list(expected.values())  # as if they had been given by hand
    twin.train(iterations=1, verbose=0)
    for ours, theirs in zip(model.net.parameters(), twin.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_updates_come_every_so_many_steps_with_momentum():
    model = models.heat()
    weighting = NTKWeighting(every=3, momentum=0.5, normalization="sum")
    model.train(iterations=7, verbose=0, callbacks=[weighting])
    model.train(iterations=3, verbose=0, callbacks=[weighting])
    assert [step for step, _ in weighting.history] == [0, 3, 6, 9]
    fresh = models.heat()
    alone = NTKWeighting(every=3, normalization="sum")
    fresh.train(iterations=1, verbose=0, callbacks=[alone])
    assert weighting.history[0][1] == alone.weights  # no average before there are two


def test_lbfgs_gets_weights_at_its_start_and_between_its_calls(monkeypatch):
    monkeypatch.setitem(dde.optimizers.LBFGS_options, "maxiter", 30)
    monkeypatch.setitem(dde.optimizers.LBFGS_options, "iter_per_step", 10)
    monkeypatch.setitem(dde.optimizers.LBFGS_options, "fun_per_step", 12)
    model = models.dirichlet()
    weighting = NTKWeighting(every=5)
    model.train(iterations=5, verbose=0, callbacks=[weighting])
    assert len(weighting.history) == 1
    model.compile("L-BFGS", verbose=0)
    assert model.loss_weights is None
    losses = []
    original = model._train_step

    def step(*arguments):
        losses.append(weighted_loss(model))
        original(*arguments)
        losses.append(weighted_loss(model))

    model._train_step = step
    model.train(verbose=0, callbacks=[weighting])
    steps = [step for step, _ in weighting.history]
    assert steps[:2] == [0, 5] and len(steps) >= 4
    assert all(after < before for before, after in zip(losses[::2], losses[1::2], strict=True))  # of the weights it has


def weighted_loss(model):
    with untouched(model):
        return sum(w * block.loss for w, block in zip(model.loss_weights, evaluate(model), strict=True))


def test_lbfgs_forgets_what_it_knew_of_another_loss():
    model = models.dirichlet("L-BFGS")
    weighting = NTKWeighting(every=10_000)
    weighting.set_model(model)
    model.callbacks = dde.callbacks.CallbackList([weighting])
    weighting.on_train_begin()
    weighting.on_epoch_begin()
    data = model.data
    model.opt.param_groups[0].update(max_iter=6)
    model._train_step(data.train_x, data.train_y, None)
    state = next(iter(model.opt.state.values()))
    assert len(state["old_dirs"]) > 0
    weighting._since = 10_000
    weighting.on_epoch_begin()
    assert state["old_dirs"] == [] and state["n_iter"] > 0
    model.opt.param_groups[0].update(max_iter=1)
    before = weighted_loss(model)
    gradient = torch.cat([g.flatten() for g in gradients(model)])
    start = torch.cat([p.detach().flatten().clone() for p in model.net.parameters()])
    model._train_step(data.train_x, data.train_y, None)
    moved = torch.cat([p.detach().flatten() for p in model.net.parameters()]) - start
    assert torch.cosine_similarity(moved, -gradient, dim=0) > 1 - 1e-9  # downhill on the new loss, and on nothing else
    assert weighted_loss(model) < before


def gradients(model):
    with untouched(model):
        loss = sum(w * b.errors.square().mean() for w, b in zip(model.loss_weights, evaluate(model), strict=True))
        return torch.autograd.grad(loss, list(model.net.parameters()))


def test_a_restored_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = models.heat()
    kept = NTKWeighting(every=4, momentum=0.5)
    whole.train(iterations=11, verbose=0, callbacks=[kept])

    first = models.heat()
    first.train(iterations=6, verbose=0, callbacks=[NTKWeighting(every=4, momentum=0.5)], model_save_path=tmp_path / "run")
    second = models.heat()
    resumed = NTKWeighting(every=4, momentum=0.5)
    second.train(iterations=5, verbose=0, callbacks=[resumed], model_restore_path=tmp_path / "run-6.pt")
    assert resumed.weights == kept.weights
    assert [step for step, _ in resumed.history] == [2]  # step 8 of the whole run
    for ours, theirs in zip(second.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)

    by_hand = NTKWeighting(every=4, momentum=0.5)
    third = models.heat()
    by_hand.load_state_dict(kept.state_dict())
    third.train(iterations=1, verbose=0, callbacks=[by_hand])
    assert by_hand.weights == kept.weights and by_hand.history == []


def test_a_state_of_another_model_is_refused():
    weighting = NTKWeighting()
    weighting.load_state_dict({"weights": {"pde": 1.0, "IC": 2.0}, "since": 0})
    with pytest.raises(
        ValueError, match=r"weights are of the losses \['pde', 'IC'\], and this model has \['pde', 'DirichletBC'\]"
    ):
        models.dirichlet().train(iterations=1, verbose=0, callbacks=[weighting])


def test_loss_weights_of_compile_are_replaced_with_a_warning_but_a_zero_stays():
    model = models.neumann_robin_periodic()
    model.compile("adam", lr=1e-3, loss_weights=[1, 100, 0, 1, 1], verbose=0)
    weighting = NTKWeighting()
    with pytest.warns(UserWarning, match=r"NTKWeighting replaces loss_weights=\[1, 100, 0, 1, 1\]"):
        model.train(iterations=1, verbose=0, callbacks=[weighting])
    assert weighting.weights["RobinBC"] == 0 and all(w >= 1 for n, w in weighting.weights.items() if n != "RobinBC")
    assert list(weighting.weights) == ["pde", "NeumannBC", "RobinBC", "PeriodicBC_1", "PeriodicBC_2"]
    model.compile("adam", lr=1e-3, loss_weights=[1, 1, 1, 1, 1], verbose=0)
    model.train(iterations=1, verbose=0, callbacks=[weighting])  # equal ones say nothing; all losses are in again
    assert weighting.weights["RobinBC"] >= 1


def test_a_condition_that_the_network_meets_keeps_its_weight_of_1():
    for dtype in TOLERANCE:
        dde.config.set_default_float(dtype)
        model = models.transformed()
        weighting = NTKWeighting()
        with pytest.warns(UserWarning, match="DirichletBC does not depend on the parameters"):
            model.train(iterations=1, verbose=0, callbacks=[weighting])
        assert weighting.weights["DirichletBC"] == 1
        assert 1 <= weighting.weights["pde"] < 2


def test_a_condition_in_small_units_is_no_rounding():
    small = dde.icbc.OperatorBC(models.LINE, lambda x, y, _: 1e-9 * y, lambda x, on: on)
    bc = dde.icbc.DirichletBC(models.LINE, models.sine, lambda x, on: on)
    model = models.compiled(models.interval([bc, small]))
    weighting = NTKWeighting()
    model.train(iterations=1, verbose=0, callbacks=[weighting])
    assert weighting.weights["OperatorBC"] == pytest.approx(1e18 * weighting.weights["DirichletBC"], rel=1e-6)


@pytest.mark.parametrize(("length", "scale"), [(1, 1), (1, 0.01), (10, 0.01), (100, 1), (100, 0.01)])
def test_a_rounding_that_is_not_much_smaller_keeps_its_weight_of_1(length, scale):
    """In float32 sin(pi x) is 9e-8 at x = 1, and 3e-5 at x = 100."""
    dde.config.set_default_float("float32")
    line = dde.geometry.Interval(0, length)
    bc = dde.icbc.DirichletBC(line, lambda x: 0, lambda x, on: on)
    network = models.net()
    network.apply_output_transform(lambda x, y: torch.sin(np.pi * x) * y)
    data = dde.data.PDE(line, lambda x, y: scale * (dde.grad.jacobian(y, x) + y), bc, num_domain=20, num_boundary=2)
    weighting = NTKWeighting()
    with pytest.warns(UserWarning, match="DirichletBC does not depend on the parameters"):
        models.compiled(data, network).train(iterations=1, verbose=0, callbacks=[weighting])
    assert weighting.weights["DirichletBC"] == 1


def test_a_small_kernel_is_measured_twice_where_it_is_certified(monkeypatch):
    small = dde.icbc.OperatorBC(models.LINE, lambda x, y, _: 1e-9 * y, lambda x, on: on)
    model, weighting = models.compiled(models.interval([small])), NTKWeighting(every=1)
    calls = []
    plain = model.data.losses_train
    monkeypatch.setattr(model.data, "losses_train", lambda *a, **k: calls.append(model.train_state.step) or plain(*a, **k))
    model.train(iterations=12, verbose=0, callbacks=[weighting])
    ours = [calls.count(step) for step in range(12)]
    assert ours[0] > ours[10] == ours[1] + 1  # at step 0 losses are compared with DeepXDE's, and displayed


def test_losses_that_are_infinite_where_errors_are_not_are_no_mean_squares():
    model = models.compiled(models.interval([dde.icbc.DirichletBC(models.LINE, lambda x: 0, lambda x, on: on)]))
    model.compile("adam", lr=1e-3, loss="mean l2 relative error", verbose=0)  # of targets that are zero
    with pytest.raises(ValueError, match=r"the loss of pde is nan, .*model\.compile"):
        model.train(iterations=1, verbose=0, callbacks=[NTKWeighting()])


def test_errors_that_are_not_finite_are_read_when_weights_are_due(monkeypatch):
    factor = [1.0]
    bc = dde.icbc.DirichletBC(models.LINE, models.sine, lambda x, on: on)
    model = models.compiled(models.interval(bc, pde=lambda x, y: factor[0] * dde.grad.jacobian(y, x)))
    weighting = NTKWeighting(every=3)
    model.train(iterations=1, verbose=0, callbacks=[weighting])
    weights, factor[0] = dict(weighting.weights), float("nan")
    monkeypatch.setattr(model, "_test", lambda **settings: None)  # which ends a training at NaN
    steps, evaluated = [], _ntk_weighting.evaluate
    monkeypatch.setattr(_ntk_weighting, "evaluate", lambda m: steps.append(m.train_state.step) or evaluated(m))
    with pytest.warns(UserWarning, match="the kernel of pde, DirichletBC is not finite at step 3"):
        model.train(iterations=8, verbose=0, callbacks=[weighting])
    assert weighting.weights == weights and steps[1:] == [3, 6]


def test_a_pde_that_takes_another_way_is_certified_again(monkeypatch):
    way = [1.0]
    bc = dde.icbc.DirichletBC(models.LINE, models.sine, lambda x, on: on)
    model = models.compiled(models.interval(bc, pde=lambda x, y: dde.grad.jacobian(y, x) + (y**2 if way[0] > 1 else y)))
    certified = []
    monkeypatch.setattr(
        _ntk_weighting,
        "traces",
        lambda m, blocks, certify, known: certified.append(certify) or traces(m, blocks, certify, known),
    )
    weighting = NTKWeighting(every=1)
    model.train(iterations=2, verbose=0, callbacks=[weighting])
    way[0] = 2.0
    model.train(iterations=2, verbose=0, callbacks=[weighting])
    assert certified == [True, False, True, False]


def test_measuring_leaves_no_trace():
    torch.manual_seed(3)
    model = models.auxiliary()
    model.train(iterations=2, verbose=0)
    model.net.eval()
    drawn = torch.get_rng_state(), np.random.get_state()[1].copy()
    auxiliary, weights = model.net.auxiliary_vars, model.loss_weights
    with untouched(model):
        traces(model, evaluate(model))
    assert torch.equal(torch.get_rng_state(), drawn[0]) and (np.random.get_state()[1] == drawn[1]).all()
    assert model.net.auxiliary_vars is auxiliary and model.loss_weights is weights and not model.net.training
    assert not dde.gradients.gradients_reverse.jacobian._Jacobians.Js
    model = models.drawing()
    before = torch.get_rng_state(), np.random.get_state()[2], random.getstate()
    with untouched(model):
        traces(model, evaluate(model))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[2], random.getstate()) == before[1:]


def test_the_best_model_is_of_one_set_of_weights():
    model = models.heat()
    _, state = model.train(iterations=4, verbose=0, display_every=1, callbacks=[NTKWeighting(every=2)])
    assert state.best_step > 2  # else it would be step 0, whose loss had no weights


def test_a_training_that_diverges_keeps_its_weights():
    model = models.dirichlet()
    weighting = NTKWeighting(every=1)
    model.train(iterations=1, verbose=0, callbacks=[weighting])
    kept = dict(weighting.weights)
    with torch.no_grad():
        model.net.linears[0].weight.fill_(float("nan"))
    with pytest.warns(UserWarning, match="the kernel of pde, DirichletBC is not finite at step 1"):
        model.train(iterations=2, verbose=0, callbacks=[weighting])
    assert weighting.weights == kept


@pytest.mark.parametrize("name", ["NTKWeighting", "Diagnose"])
def test_callbacks_of_another_package_are_called_that(name, tmp_path):
    pina = pytest.importorskip("pinntk.integrations.pina")
    cases = importlib.import_module("tests.integrations.pina.cases")
    given = (tmp_path,) if name == "Diagnose" else ()
    with pytest.raises(TypeError, match=f"this {name} is PINA's; with DeepXDE use pinntk.integrations.deepxde.{name}"):
        models.dirichlet().train(iterations=1, verbose=0, callbacks=[getattr(pina, name)(*given)])
    with pytest.raises(TypeError, match=f"this {name} is DeepXDE's; with PINA use pinntk.integrations.pina.{name}"):
        cases.trainer_of(cases.solver_of(), 1, tmp_path, callbacks=[getattr(deepxde, name)(*given)]).train()
    with pytest.raises(TypeError, match="NTKWeights is called in a training loop of your own"):
        models.dirichlet().train(iterations=1, verbose=0, callbacks=[pinntk.NTKWeights([torch.ones(1, requires_grad=True)])])
    weights = pinntk.NTKWeights([torch.ones(1, requires_grad=True)])
    assert copy.deepcopy(weights).steps == 0 and not hasattr(weights, "unknown")
