"""`from_solver`: kernels of PINA's own residuals against row-by-row reverse mode, and what else works on the problem."""

import random
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip("pina")
from pina import Condition, LabelTensor
from pina.domain import CartesianDomain, Difference, EllipsoidDomain
from pina.equation import Equation
from pina.equation.zoo import FixedFlux, FixedLaplacian, FixedValue
from pina.model import FeedForward
from pina.operator import laplacian
from pina.problem import SpatialProblem, TimeDependentProblem
from pina.problem.zoo import Poisson2DSquareProblem
from pina.solver import (
    CausalPhysicsInformedSingleModelSolver,
    GradientPhysicsInformedSingleModelSolver,
    RBAPhysicsInformedSingleModelSolver,
    SelfAdaptivePhysicsInformedSolver,
)

import pinntk
from pinntk.integrations.pina import from_solver
from pinntk.problem import ForeignNetworkError
from tests.integrations.pina.cases import CASES, PINN, POINTS, QUIET, TOLERANCE, solver_of, trained, trainer_of

pytestmark = QUIET


def rows_by_reverse_mode(solver):
    """J of every condition of PINA on its points, by PINA's own code: {name: J (n, p)}, of each column."""
    theta, found = list(trained(solver).values()), {}
    for name, condition in solver.problem.conditions.items():
        batch = {key: value.clone() for key, value in condition.data.data.items()}
        e = condition.evaluate(batch, solver).as_subclass(torch.Tensor)
        for j, column in enumerate(e.unbind(1)):
            rows = []
            for one in column:
                parts = torch.autograd.grad(one, theta, retain_graph=True, allow_unused=True)
                parts = [torch.zeros_like(p) if g is None else g for p, g in zip(theta, parts, strict=True)]
                rows.append(torch.cat([part.as_subclass(torch.Tensor).flatten().double() for part in parts]))
            found[name if e.shape[1] == 1 else f"{name}[{j}]"] = torch.stack(rows)
    return found


@pytest.mark.parametrize("case", CASES)
def test_kernel_blocks_are_those_of_reverse_mode(case, dtype, tmp_path):
    solver = solver_of(case)
    trainer_of(solver, 1, tmp_path, shuffle=False)  # after which conditions have their points
    network, problem, points = from_solver(solver)
    J = rows_by_reverse_mode(solver)
    assert set(problem.names) == set(J)
    assert all(len(rows) == POINTS for rows in points.values())
    K = pinntk.kernel(network, problem, points)
    for a in problem.names:
        for b in problem.names:
            expected = J[a] @ J[b].T
            scale = (J[a].norm() * J[b].norm()).item()
            assert (K[a, b] - expected).abs().max() <= TOLERANCE[dtype] * scale, (a, b)


@pytest.mark.parametrize("case", CASES)
def test_the_same_before_and_after_the_trainer(case, tmp_path):
    solver = solver_of(case)
    network, problem, points = from_solver(solver)
    before = pinntk.errors(network, problem, points)
    trainer_of(solver, 1, tmp_path, shuffle=False)
    network, problem, points = from_solver(solver)
    after = pinntk.errors(network, problem, points)
    assert all(torch.equal(before[name], after[name]) for name in problem.names)


def test_nothing_is_changed():
    solver = solver_of("rod")
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    parameters = [p.clone() for p in solver.parameters()]
    _, problem, _ = from_solver(solver)
    assert torch.equal(states[0], torch.get_rng_state())
    problem.sample(residual=9, seed=3)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()
    assert all(torch.equal(a, b) for a, b in zip(parameters, solver.parameters(), strict=True))
    assert all(p.grad is None for p in solver.parameters())
    assert solver.training


def test_kinds_regions_and_names():
    _, problem, points = from_solver(solver_of("rod"))
    assert {name: problem[name].kind for name in problem.names} == {
        "D[0]": "residual",
        "D[1]": "residual",
        "start": "initial",
        "left": "boundary",
        "right": "boundary",
        "seen[0]": "data",
        "seen[1]": "data",
    }
    assert problem.coordinates == ("x", "t")
    assert problem.fields == ("u", "q")
    assert problem["left"].region.describe() == "x = 0"
    assert points["D[0]"] is points["D[1]"]
    assert points["seen[0]"].shape == (POINTS, 4)


def test_fresh_points_and_copies_in_float64():
    network, problem, _ = from_solver(solver_of("poisson"))
    points = problem.sample(D=40, sides=8, seed=1)
    twin = deepcopy(network).double()
    wide = {name: rows.double() for name, rows in points.items()}
    e, finer = pinntk.errors(network, problem, points), pinntk.errors(twin, problem, wide)
    assert finer["D"].dtype == torch.float64
    assert torch.allclose(e["D"].double(), finer["D"], rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert torch.equal(pinntk.errors(network, problem, points)["D"], e["D"])
    x, y = wide["D"].unbind(1)
    source = 2 * torch.pi**2 * torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
    assert torch.allclose(pinntk.errors(twin, problem, wide)["D"], source)


def test_other_networks_are_evaluated():
    _, problem, points = from_solver(solver_of("poisson"))
    torch.manual_seed(3)
    other = pinntk.nn.MLP(problem, width=8, depth=1)
    e = pinntk.errors(other, problem, points)["sides"]
    assert torch.equal(e, other(points["sides"])[:, 0])


def test_an_equation_that_closes_over_the_model_is_right_for_copies_and_refused_for_others():
    model = FeedForward(1, 1, layers=[8])

    def balance(x, u):
        return laplacian(u, x, components=["u"], d=["x"]) + model(x.extract(["x"])) ** 2

    class Closed(SpatialProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
        conditions = {"D": Condition(domain=spatial_domain, equation=Equation(balance))}

    problem = Closed()
    problem.discretise_domain(10, "random")
    network, problem, points = from_solver(PINN(problem, model))
    twin = deepcopy(network)
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(1.3)
    e = pinntk.errors(twin, problem, points)["D"]
    with torch.no_grad():
        model.load_state_dict(twin.model.state_dict())
    assert torch.equal(e, pinntk.errors(network, problem, points)["D"])
    with pytest.raises(ForeignNetworkError, match="uses the solver's model"):
        problem["D"].errors(torch.nn.Linear(1, 1), points["D"])


def test_pinas_own_poisson_with_its_solution_and_its_name_for_a_condition():
    problem = Poisson2DSquareProblem()
    problem.discretise_domain(20, "random")
    network, problem, _ = from_solver(PINN(problem, FeedForward(2, 1, layers=[8])))
    assert problem.names == ("boundary_condition", "D")
    x = torch.rand(5, 2, dtype=torch.float64)
    expected = -torch.sin(torch.pi * x[:, 0]) * torch.sin(torch.pi * x[:, 1])
    assert torch.allclose(problem.exact(x=x[:, 0], y=x[:, 1]), expected)
    assert 0 < problem.relative_error(network) < 10


def disk():
    """A disk with a hole, and time called s."""
    outer = EllipsoidDomain({"x": [-1.0, 1.0], "y": [-1.0, 1.0], "s": 0.5})
    ring = Difference(
        [EllipsoidDomain({"x": [-1.0, 1.0], "y": [-1.0, 1.0]}), EllipsoidDomain({"x": [-0.3, 0.3], "y": [-0.3, 0.3]})]
    )

    class Disk(SpatialProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [-1.0, 1.0], "y": [-1.0, 1.0]})
        domains = {"ring": ring, "rim": EllipsoidDomain({"x": [-1.0, 1.0], "y": [-1.0, 1.0]}, sample_surface=True)}
        conditions = {
            "ring": Condition(domain="ring", equation=FixedLaplacian(1.0)),
            "rim": Condition(domain="rim", equation=FixedValue(0.0)),
            "middle": Condition(
                input=LabelTensor(torch.zeros(3, 2) + 0.5, ["y", "x"]), equation=FixedFlux(0.0, components=["u"], d=["x"])
            ),
        }

    assert outer.fixed
    return Disk()


def test_geometries_of_pina():
    problem = disk()
    problem.discretise_domain(20, "random")
    network, problem, points = from_solver(PINN(problem, FeedForward(2, 1, layers=[8])), kinds={"middle": "boundary"})
    assert {name: problem[name].kind for name in problem.names} == {"ring": "residual", "rim": "boundary", "middle": "boundary"}
    drawn = problem.sample(ring=50, rim=30, seed=2)
    again = problem.sample(ring=50, rim=30, seed=2)
    radius = drawn["ring"].norm(dim=1)
    assert radius.min() >= 0.3 and radius.max() <= 1
    assert torch.allclose(drawn["rim"].norm(dim=1), torch.ones(30), atol=1e-5)
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    region = problem["ring"].region
    assert region.distance(np.array([[0.5, 0.5], [0.1, 0.0]])).tolist() == [0.0, np.inf]
    assert len(pinntk.kernel(network, problem, points).sizes) == 3


def test_time_has_its_name():
    class Wave(SpatialProblem, TimeDependentProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
        temporal_domain = CartesianDomain({"time": [0.0, 2.0]})
        conditions = {
            "start": Condition(domain=CartesianDomain({"x": [0.0, 1.0], "time": 0.0}), equation=FixedValue(0.0)),
            "D": Condition(
                domain=CartesianDomain({"x": [0.0, 1.0], "time": [0.0, 2.0]}), equation=FixedLaplacian(0.0, d=["x"])
            ),
        }

    problem = Wave()
    problem.discretise_domain(6, "random")
    _, problem, _ = from_solver(PINN(problem, FeedForward(2, 1, layers=[8])))
    assert problem.coordinates == ("x", "t")
    assert [condition.kind for condition in problem.conditions] == ["initial", "residual"]


class Hard(torch.nn.Module):
    """Zero on the sides by construction, by the names of the coordinates."""

    def __init__(self):
        super().__init__()
        self.inner = FeedForward(2, 1, layers=[8])

    def forward(self, x):
        a, b = x.extract(["x"]).as_subclass(torch.Tensor), x.extract(["y"]).as_subclass(torch.Tensor)
        return a * (1 - a) * b * (1 - b) * self.inner(x)


def test_a_model_that_asks_for_labels():
    solver = solver_of("poisson")
    hard = PINN(solver.problem, Hard())
    network, problem, points = from_solver(hard)
    assert pinntk.errors(network, problem, points)["sides"].abs().max() == 0
    K = pinntk.kernel(network, problem, {"D": points["D"]})
    assert K.origins["D"].path == "graph"
    assert pinntk.diagnose(network, problem, points) is not None


def test_pinntk_trains_the_model(tmp_path):
    solver = solver_of("inverse")
    network, problem, points = from_solver(solver)
    before = [p.clone() for p in trained(solver).values()]
    run = pinntk.train(problem, network, steps=3, points=points, progress=False)
    assert np.isfinite([row["loss"] for row in run.history]).all()
    assert not any(torch.equal(a, b) for a, b in zip(before, trained(solver).values(), strict=True) if a.numel() > 1)
    assert before[-1].item() != problem.coefficients["a"].item()


def test_validation_points_are_left_out(tmp_path):
    solver = solver_of("poisson", points=20)
    trainer = trainer_of(solver, 1, tmp_path, train_size=0.5, val_size=0.5)
    _, _, points = from_solver(solver)
    assert len(points["D"]) == 20  # the solver knows of no trainer before it trains
    trainer.train()
    _, _, points = from_solver(solver)
    assert len(points["D"]) == 10


# What is refused, or told.


def refusal(make, match):
    with pytest.raises(ValueError, match=match) as error:
        make()
    assert "\n" not in str(error.value)


def test_parameters_that_pina_replaced_are_noticed(tmp_path):
    solver = solver_of("inverse")
    network, problem, points = from_solver(solver)
    trainer_of(solver, 1, tmp_path)
    with pytest.raises(ForeignNetworkError, match=r"replaced the unknown parameter 'a'.*call from_solver again"):
        pinntk.errors(network, problem, points)


def solver_of_one(residual, points):
    """A solver of one equation on a line."""

    class Line(SpatialProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
        domains = {"D": spatial_domain}
        conditions = {"D": Condition(domain="D", equation=Equation(residual))}

    problem = Line()
    problem.discretise_domain(points)
    return PINN(problem, FeedForward(1, 1, layers=[6]))


def test_a_second_network_that_nobody_trains_is_named():
    k = torch.nn.Linear(1, 1)

    def scaled(x, u):
        return laplacian(u, x, components=["u"], d=["x"]) * k(x.extract(["x"]).as_subclass(torch.Tensor)) + 1

    solver = solver_of_one(scaled, 7)
    with pytest.warns(
        UserWarning, match=r"errors of D depend on a parameter of shape \(1, 1\); a parameter of shape \(1,\), in"
    ):
        from_solver(solver)
    k.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        from_solver(solver)


@pytest.mark.parametrize("n", [9, 30])
@pytest.mark.parametrize("captured", [True, False])
def test_an_n_1_that_meets_an_n_is_refused(n, captured):
    fixed = torch.linspace(0, 1, n)

    def shifted(x, u):
        target = fixed if captured else x.extract(["x"]).as_subclass(torch.Tensor).squeeze(1)
        return u.as_subclass(torch.Tensor) - target

    solver = solver_of_one(shifted, n)
    refusal(lambda: from_solver(solver), f"'D' has {n} residuals for each of {n} points: an \\(n, 1\\) met an \\(n,\\)")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GradientPhysicsInformedSingleModelSolver, {}),
        (RBAPhysicsInformedSingleModelSolver, {}),
        (CausalPhysicsInformedSingleModelSolver, {"regularized_conditions": ["D"]}),
    ],
)
def test_what_other_solvers_add_is_told(kind, options):
    solver = solver_of("rod", kind=kind, **options)
    with pytest.warns(UserWarning, match=f"the residuals of {kind.__name__} alone"):
        from_solver(solver)


def test_refusals():
    refusal(lambda: from_solver(solver_of(kind=SelfAdaptivePhysicsInformedSolver)), "does not work with SelfAdaptive")
    refusal(lambda: from_solver(torch.nn.Linear(1, 1)), "solver is a Linear")
    bare = PINN(CASES["poisson"](), FeedForward(2, 1))
    refusal(lambda: from_solver(bare), "has no points; call problem.discretise_domain")

    class Own(PINN):
        def forward(self, x):
            return 2 * super().forward(x)

    refusal(lambda: from_solver(solver_of(kind=Own)), "Own has a forward of its own")


def test_residuals_that_depend_on_other_points_are_refused():
    solver = solver_of("poisson")
    solver.problem.conditions["D"].equation = Equation(lambda x, u: u - u.as_subclass(torch.Tensor).mean())
    refusal(lambda: from_solver(solver), "depend on which other points are in the batch")


def test_a_solution_that_does_not_answer_is_told():
    solver = solver_of("poisson")
    type(solver.problem).solution = lambda self, x: 1 / 0
    with pytest.warns(UserWarning, match="solution is not used as the known solution: ZeroDivisionError"):
        _, problem, _ = from_solver(solver)
    assert not problem.has_solution
