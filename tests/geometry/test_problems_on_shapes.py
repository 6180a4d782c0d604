"""Problems on shapes: operators with normals, kernels, errors, trainings, slabs."""

from math import pi

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, GridSolution, Problem
from pinntk.geometry import Disk, Domain
from tests.support.reference import relative

F64 = {"dtype": torch.float64}
PLATE = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")
COUNTS = {"residual": 60, "boundary": 15}


def exact(x, y):
    return torch.sin(pi * x) * torch.sin(pi * y)


def plate(domain: Domain = PLATE, **options) -> Problem:
    """Poisson's equation in a plate with a hole, at whose edge the slope across it is given."""

    @pinntk.residual(domain)
    def poisson(lap_u, x, y):
        return lap_u + 2 * pi**2 * exact(x, y)

    @pinntk.boundary(domain.boundary(without="hole"))
    def walls(u):
        return u

    @pinntk.boundary(domain.boundary("hole"))
    def hole(u_n, n_x, n_y, x, y):
        slope = n_x * torch.cos(pi * x) * torch.sin(pi * y) + n_y * torch.sin(pi * x) * torch.cos(pi * y)
        return u_n - pi * slope

    return Problem(domain, [poisson, walls, hole], **{"exact": exact, **options})


def cooling(**options) -> Problem:
    """A disk that cools, with a wall that leaks: Robin's condition."""
    domain = Disk(x=0, y=0, radius=1) * Box(t=(0, 1))

    @pinntk.residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @pinntk.boundary(domain.boundary())
    def leak(u, u_n):
        return u_n + 2 * u

    @pinntk.initial(domain.at(t=0))
    def start(u, x, y):
        return u - (1 - x**2 - y**2)

    return Problem(domain, [heat, leak, start], **options)


def test_the_exact_solution_has_no_errors():
    problem = plate()
    points = problem.sample(COUNTS, **F64)

    class Exact(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones((), **F64))

        def forward(self, points):
            return self.one * torch.sin(pi * points[:, :1]) * torch.sin(pi * points[:, 1:])

    for error in pinntk.errors(Exact(), problem, points).values():
        assert error.detach().abs().max() < 1e-13


def test_kernel_with_normals_on_a_curve():
    """u_n by hand, one row at a time: the slope along the vector from the hole's center."""
    problem = plate()
    network = pinntk.nn.MLP(problem, width=6, depth=2, **F64)
    points = problem.sample(COUNTS, **F64)
    blocks = pinntk.kernel(network, problem, points)

    def row(name: str, point: torch.Tensor) -> torch.Tensor:
        x = point.clone()[None].requires_grad_()
        u = network(x)[0, 0]
        if name == "walls":
            error = u
        else:
            (slope,) = torch.autograd.grad(u, x, create_graph=True)
            if name == "hole":
                away = torch.tensor([0.5, 0.5], **F64) - point
                error = slope[0] @ (away / away.norm())
            else:
                second = [torch.autograd.grad(slope[0, i], x, create_graph=True)[0][0, i] for i in range(2)]
                error = second[0] + second[1]
        grads = torch.autograd.grad(error, list(network.parameters()), allow_unused=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in grads])

    rows = {name: torch.stack([row(name, point) for point in points[name]]) for name in problem.names}
    for one in problem.names:
        for other in problem.names:
            assert relative(blocks[one, other], rows[one] @ rows[other].T) < 1e-12


def test_normals_have_the_networks_dtype_and_device():
    problem = plate()
    points = problem.sample(COUNTS)
    found = pinntk.errors(pinntk.nn.MLP(problem, width=4, depth=1), problem, points)
    assert {error.dtype for error in found.values()} == {torch.float32}


def test_the_error_is_of_points_inside():
    problem = plate()
    points = problem.solution_points
    assert PLATE.contains(points).all()
    assert len(points) == pytest.approx(200**2 * PLATE.measure, rel=0.01)
    axes = np.linspace(0, 1, 51), np.linspace(0, 1, 51)
    grid = exact(*map(torch.as_tensor, np.meshgrid(*axes, indexing="ij"))).numpy()
    grid[25, 25] = np.nan  # in the hole, where a reference may have anything
    by_grid = plate(exact=None, reference=lambda: GridSolution(axes, grid))
    network = pinntk.nn.MLP(problem, width=6, depth=2, **F64)
    assert by_grid.relative_error(network) == pytest.approx(problem.relative_error(network), rel=0.05)
    nodes = points[::7]
    on_mesh = plate(exact=None, reference=lambda: GridSolution((nodes,), problem.exact_array(nodes)[:, 0]))
    assert on_mesh.relative_error(network) == pytest.approx(problem.relative_error(network), rel=0.05)


@pytest.mark.slow
def test_it_is_solved():
    problem = plate()
    network = pinntk.nn.MLP(problem, width=10, depth=2, **F64)
    points = {"residual": 120, "boundary": 30}
    off = {"eval_every": 0, "snapshot_every": 0, "progress": False}
    run = pinntk.train(problem, network, steps=20, optimizer="gauss-newton", points=points, **off)
    assert run.relative_error < 1e-2


def test_nothing_is_wrong_with_it():
    assert not pinntk.check(plate())
    assert not pinntk.check(cooling())


def test_a_training_that_draws_where_errors_are_large():
    problem = cooling()
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    run = pinntk.train(
        problem, network, steps=20, resample=10, adaptive=pinntk.RAD(), points=COUNTS, snapshot_every=0, progress=False
    )
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_slabs_of_time():
    problem = cooling()
    domain = problem.domain
    first = pinntk.slab(problem, 0, [0, 0.25, 1])
    assert first.domain.bounds[2] == (0, 0.25)
    assert first["leak"].region.domain.bounds[2] == (0, 0.25)
    assert first["start"].region.sample(3, "uniform", np.random.default_rng(0))[:, 2].tolist() == [0, 0, 0]
    assert domain.bounds[2] == (0, 1)


def test_initial_values_by_construction():
    """A slice of time is a face that a network can meet, whatever the shape in space."""
    problem = cooling()
    network = pinntk.nn.MLP(problem, width=5, depth=1, hard=["start"], **F64)
    points = problem.sample(COUNTS, **F64)
    assert pinntk.errors(network, problem, points)["start"].abs().max() < 1e-14


def test_a_flux_on_a_shape_is_not_met_by_construction():
    with pytest.raises(ValueError, match="'leak' cannot be met by construction: it takes u, u_n"):
        pinntk.nn.MLP(cooling(), width=5, depth=1, hard=["leak"])


@pytest.mark.parametrize("argument", ["u_n", "n_x"])
def test_normals_where_there_are_none(argument):
    domain = PLATE * Box(t=(0, 1))
    space = {"u_n": lambda u_n: u_n, "n_x": lambda n_x, u: u * n_x}
    operator = space[argument]
    operator.__name__ = "start"
    with pytest.raises(ValueError, match=f"'{argument}' needs boundary faces"):
        Problem(domain, [pinntk.initial(domain.at(t=0))(operator)])


def test_a_field_named_n_has_derivatives():
    box = Box(x=(0, 1))

    @pinntk.residual(box)
    def density(n_x):
        return n_x

    assert Problem(box, [density], fields=("n",)).arguments["density"][0].kind == "derivative"
