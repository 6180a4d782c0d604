"""Problems in PINA's own words, their solvers and trainers."""

import lightning.pytorch
import pytest
import torch
from pina import Condition, LabelTensor, Trainer
from pina.domain import CartesianDomain
from pina.equation import Equation, SystemEquation
from pina.equation.zoo import FixedGradient, FixedValue
from pina.model import FeedForward
from pina.operator import grad, laplacian
from pina.problem import InverseProblem, SpatialProblem, TimeDependentProblem
from pina.solver import PhysicsInformedSingleModelSolver as PINN

POINTS = 30
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-6}
QUIET = pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:`isinstance.treespec, LeafSpec")


def poisson():
    """- Laplacian u = 2 pi^2 sin(pi x) sin(pi y) on the unit square, 0 on its sides."""

    def balance(x, u):
        waves = torch.sin(torch.pi * x.extract(["x"])) * torch.sin(torch.pi * x.extract(["y"]))
        return laplacian(u, x, components=["u"], d=["x", "y"]) + 2 * torch.pi**2 * waves

    class Poisson(SpatialProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0], "y": [0.0, 1.0]})
        domains = {"D": spatial_domain, "sides": spatial_domain.partial()}
        conditions = {
            "sides": Condition(domain="sides", equation=FixedValue(0.0)),
            "D": Condition(domain="D", equation=Equation(balance)),
        }

    return Poisson()


def rod():
    """Heat in a rod, with the flux as a field: q = -0.1 u_x, u_t + q_x = 0; start, two ends and data of both fields."""

    def flux(x, fields):
        return fields.extract(["q"]) + 0.1 * grad(fields, x, components=["u"], d=["x"])

    def energy(x, fields):
        return grad(fields, x, components=["u"], d=["t"]) + grad(fields, x, components=["q"], d=["x"])

    def start(x, fields):
        return fields.extract(["u"]) - torch.sin(torch.pi * x.extract(["x"]))

    seen = LabelTensor(torch.rand(POINTS, 2), ["t", "x"])
    values = LabelTensor(torch.rand(POINTS, 2), ["q", "u"])

    class Rod(SpatialProblem, TimeDependentProblem):
        output_variables = ["u", "q"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
        temporal_domain = CartesianDomain({"t": [0.0, 1.0]})
        domains = {
            "D": CartesianDomain({"x": [0.0, 1.0], "t": [0.0, 1.0]}),
            "start": CartesianDomain({"x": [0.0, 1.0], "t": 0.0}),
            "left": CartesianDomain({"x": 0.0, "t": [0.0, 1.0]}),
            "right": CartesianDomain({"x": 1.0, "t": [0.0, 1.0]}),
        }
        conditions = {
            "D": Condition(domain="D", equation=SystemEquation([flux, energy])),
            "start": Condition(domain="start", equation=Equation(start)),
            "left": Condition(domain="left", equation=FixedValue(0.0, components=["u"])),
            "right": Condition(domain="right", equation=FixedGradient(0.0, components=["u"], d=["x"])),
            "seen": Condition(input=seen, target=values),
        }

    return Rod()


def inverse():
    """u'' = -a sin(pi x), 0 at both ends, with a unknown and data of u for a = 2 pi^2."""

    def balance(x, u, unknown):
        return laplacian(u, x, components=["u"], d=["x"]) + unknown["a"] * torch.sin(torch.pi * x.extract(["x"]))

    x = torch.linspace(0, 1, POINTS)[:, None]

    class Inverse(SpatialProblem, InverseProblem):
        output_variables = ["u"]
        spatial_domain = CartesianDomain({"x": [0.0, 1.0]})
        unknown_parameter_domain = CartesianDomain({"a": [1.0, 30.0]})
        domains = {"D": spatial_domain, "ends": spatial_domain.partial()}
        conditions = {
            "D": Condition(domain="D", equation=Equation(balance)),
            "ends": Condition(domain="ends", equation=FixedValue(0.0)),
            "seen": Condition(input=LabelTensor(x, ["x"]), target=LabelTensor(2 * torch.sin(torch.pi * x), ["u"])),
        }

    return Inverse()


CASES = {"poisson": poisson, "rod": rod, "inverse": inverse}


def solver_of(case="poisson", kind=PINN, width=16, seed=0, points=POINTS, **options):
    """A solver of a case on random points, a network of two layers."""
    lightning.pytorch.seed_everything(seed, verbose=False)
    problem = CASES[case]()
    problem.discretise_domain(points, "random")
    network = FeedForward(len(problem.input_variables), len(problem.output_variables), layers=[width, width])
    return kind(problem, network, **options)


def trainer_of(solver, steps, folder, seed=1, **options):
    """A trainer that leaves nothing behind and says nothing."""
    lightning.pytorch.seed_everything(seed, verbose=False)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(solver, **{"max_epochs": steps, "accelerator": "cpu", "default_root_dir": folder} | quiet | options)


def trained(solver):
    """{name: parameter} of the network and of the unknowns of an inverse problem."""
    return dict(solver.model.named_parameters()) | dict(getattr(solver.problem, "unknown_parameters", {}))
