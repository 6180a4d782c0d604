"""DeepXDE models as problems: their kernels are those of the model's own losses, and the rest of pinntk works on them."""

import warnings
from copy import deepcopy

import deepxde as dde
import numpy as np
import pytest
import torch

import pinntk
from pinntk.integrations.deepxde import from_model
from pinntk.integrations.deepxde._errors import evaluate, factors
from pinntk.integrations.deepxde._model import untouched
from tests.integrations.deepxde import models
from tests.support.reference import relative

POINTWISE = [name for name in models.MODELS if name != "integral"]


@pytest.mark.parametrize("made", POINTWISE)
def test_kernels_are_those_of_the_models_losses(made):
    model = models.MODELS[made]()
    network, problem, points = from_model(model)
    with untouched(model):
        blocks = evaluate(model)
        theirs = factors(model, blocks)
    assert problem.names == tuple(block.name for block in blocks) == tuple(points)
    found = pinntk.factors(network, problem, points)
    for block in blocks:
        columns = [part.matrix() for part in theirs[block.name]]
        expected = torch.stack(columns, 1).reshape(-1, columns[0].shape[1])
        assert relative(found[block.name].matrix(), expected) < 1e-10, block.name
        e = pinntk.errors(network, problem, points)[block.name]
        assert relative(e, block.errors.flatten()) < 1e-12, block.name


def test_a_copy_in_float64_has_its_own_errors():
    dde.config.set_default_float("float32")
    model = models.holed_system()
    network, problem, points = from_model(model)
    copy = deepcopy(network).double()
    with torch.no_grad():
        for p in copy.parameters():
            p.mul_(1.5)
    doubled = {name: rows.double() for name, rows in points.items()}
    theirs = pinntk.errors(copy, problem, doubled)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1.5)
    ours = pinntk.errors(network, problem, points)
    for name, e in theirs.items():
        assert e.dtype == torch.float64 and relative(ours[name].double(), e) < 1e-5, name
        assert torch.autograd.grad(e.square().mean(), copy.linears[0].weight)[0].abs().max() > 0, name


def test_a_network_of_another_kind_and_an_equation_that_uses_its_own():
    model = models.dirichlet()
    network, problem, points = from_model(model)
    other = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    x = points["DirichletBC"]
    assert (
        relative(pinntk.errors(other, problem, points)["DirichletBC"], other(x)[:, 0] - torch.sin(torch.pi * x[:, 0])) < 1e-14
    )

    home = models.net()

    def closed(x, y):
        return y - home(x) ** 2

    model = models.compiled(models.interval([], pde=closed), home)
    network, problem, points = from_model(model)
    with pytest.raises(pinntk.problem.ForeignNetworkError, match=r"uses model\.net by itself"):
        pinntk.errors(other, problem, points)
    copy = deepcopy(network)
    with torch.no_grad():
        copy.linears[0].weight.zero_()
    x, u = points["pde"], copy(points["pde"])
    assert relative(pinntk.errors(copy, problem, points)["pde"], (u - u**2)[:, 0]) < 1e-14


def test_variables_that_nobody_trains_are_named():
    C, declared = dde.Variable(2.0), models.inverse()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        from_model(declared)
    model = models.compiled(models.interval([], pde=lambda x, y: C * dde.grad.hessian(y, x) - 1))
    with pytest.warns(
        UserWarning, match=r"errors of pde depend on a .* of shape \(\), in neither.*external_trainable_variables="
    ):
        from_model(model)
    model.compile("adam", lr=1e-3, external_trainable_variables=[C], verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        _, problem, _ = from_model(model)
    assert problem.coefficients["variable_1"] is C


def test_values_of_conditions_are_those_of_their_points_whatever_arrays_came_before():
    model = models.dirichlet()
    network, problem, _ = from_model(model)
    for seed in range(30):  # arrays that are freed, whose ids are used again
        x = torch.tensor([[-1.0], [1.0]])[torch.randperm(2, generator=torch.Generator().manual_seed(seed))] * torch.ones(1)
        e = pinntk.errors(network, problem, {"DirichletBC": x.double()})["DirichletBC"]
        assert relative(e, network(x.double())[:, 0] - torch.sin(torch.pi * x[:, 0].double())) < 1e-12
    assert not any(key[0] != id(model.data.train_x) for key in cached(model.data.bcs[0].func))


def cached(function):
    return next(cell.cell_contents for cell in function.__closure__ if isinstance(cell.cell_contents, dict))


@pytest.mark.parametrize("made", ["heat", "holed_system", "neumann_robin_periodic"])
def test_fresh_points_lie_where_the_conditions_are(made):
    model = models.MODELS[made]()
    network, problem, _ = from_model(model)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    counts = {"residual": 40, "boundary": 12, "initial": 12, "periodic": 3}
    fresh, again = (problem.sample(counts, seed=3) for _ in range(2))
    assert (np.random.get_state()[1] == before).all()
    assert all(torch.equal(fresh[name], again[name]) for name in problem.names)
    geometry = model.data.geom
    assert geometry.inside(fresh[problem.names[0]].numpy()).all() if hasattr(geometry, "inside") else True
    for bc, name in zip(model.data.bcs, problem.names[-len(model.data.bcs) :], strict=True):
        rows = fresh[name].numpy()
        assert len(bc.filter(rows)) == len(rows), name
    assert all(e.isfinite().all() for e in pinntk.errors(network, problem, fresh).values())


def test_names_coordinates_fields_and_the_solution():
    network, problem, points = from_model(models.holed_system())
    assert problem.names == ("pde_1", "pde_2", "DirichletBC", "NeumannBC")
    assert problem.coordinates == ("x", "y") and problem.fields == ("u0", "u1") and not problem.has_solution
    assert points["pde_1"] is points["pde_2"]
    _, timed, _ = from_model(models.heat())
    assert timed.coordinates == ("x", "t") and [c.kind for c in timed.conditions] == ["residual", "boundary", "initial"]
    model = models.dirichlet(metrics=["l2 relative error"])
    network, problem, _ = from_model(model)
    x = np.unique(model.data.test_x, axis=0)
    u = network(torch.as_tensor(x)).detach().numpy()
    assert problem.relative_error(network) == pytest.approx(np.linalg.norm(u - models.sine(x)) / np.linalg.norm(models.sine(x)))


def test_external_variables_are_its_coefficients():
    model = models.inverse()
    D = model.external_trainable_variables[0]
    network, problem, points = from_model(model)
    assert list(problem.coefficients) == ["variable_1", "variable_2"] and problem.coefficients["variable_1"] is D
    e = pinntk.errors(network, problem, points)["pde"]
    assert torch.autograd.grad(e.sum(), D)[0] != 0
    model.train(iterations=3, verbose=0)
    assert problem.coefficients["variable_1"].item() == D.item() != 2.0


def test_batches_of_measured_points():
    at = np.linspace(-1, 1, 11)[:, None]
    bc = dde.icbc.PointSetBC(at, models.sine(at), batch_size=4)
    model = models.compiled(models.interval([bc]))
    _, problem, points = from_model(model)
    assert len(points["PointSetBC"]) == 4 and len(problem["PointSetBC"].region.rows) == 11
    x, value = points["PointSetBC"][:, :1], points["PointSetBC"][:, 1]
    assert relative(value, torch.sin(torch.pi * x[:, 0])) < 1e-12


def test_two_edges_of_an_interface():
    square = dde.geometry.Rectangle([0, 0], [1, 1])
    bc = dde.icbc.Interface2DBC(
        square,
        lambda x: 0 * x[:, :1],
        lambda x, on: on and dde.utils.isclose(x[0], 0),
        lambda x, on: on and dde.utils.isclose(x[0], 1),
    )

    def pde(x, y):
        return dde.grad.jacobian(y, x, i=0, j=0) + dde.grad.jacobian(y, x, i=1, j=1)

    data = dde.data.PDE(square, pde, bc, num_domain=12, num_boundary=24, train_distribution="uniform")
    model = models.compiled(data, models.net(2, 2))
    network, problem, points = from_model(model)
    with untouched(model):
        blocks = evaluate(model)
        (expected,) = factors(model, blocks)["Interface2DBC"]
    found = pinntk.factors(network, problem, points)["Interface2DBC"]
    assert relative(found.matrix(), expected.matrix()) < 1e-10 and found.origin.path == "graph"


def test_what_is_not_pointwise_is_refused():
    with pytest.raises(ValueError, match=r"a IDE has errors that use more points.*NTKWeighting works on it"):
        from_model(models.integral())

    def mean(x, y):
        return y - y.mean()

    with pytest.raises(ValueError, match="the errors of pde depend on which other points are in the batch"):
        from_model(models.compiled(models.interval(dde.icbc.DirichletBC(models.LINE, models.sine, lambda x, on: on), pde=mean)))
    vector = dde.Variable([1.0, 2.0])
    with pytest.raises(ValueError, match=r"external variable 1 has shape \(2,\)"):
        from_model(models.dirichlet(external_trainable_variables=[vector]))


def test_a_problem_of_deepxde_is_diagnosed_and_solved():
    model = models.dirichlet()
    network, problem, points = from_model(model)
    K = pinntk.kernel(network, problem, points)
    assert K.eigvalsh().min() > -1e-9 * K.eigvalsh().max()
    assert isinstance(pinntk.diagnose(network, problem, points), list)
    before = problem.relative_error(network)
    solver = pinntk.solvers.GaussNewton(network, problem)
    for _ in range(25):
        solver.step(points)
    assert problem.relative_error(network) < 0.05 * before
