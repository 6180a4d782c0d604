"""Problems on shapes on a device: normals and kernels as on the CPU, and left where they were computed."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.geometry import Box, Disk, Ellipse, Polygon, interface
from tests.device.on_device import F64, NAME, covers, on_device, same, same_errors_and_kernel, there, twins
from tests.support.sweeps import sweep


def test_normals_on_a_curve():
    domain = (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2)) * Box(t=(0, 1))

    @pinntk.residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @pinntk.boundary(domain.boundary())
    def flux(u_n, n_x, u):
        return u_n + n_x * u

    problem = pinntk.Problem(domain, [heat, flux])
    points = problem.sample(residual=6, boundary=9, **F64)
    part = domain.boundary()
    normals = part.normals(points["flux"].to(NAME))
    assert on_device(normals)
    assert torch.equal(normals.cpu(), part.normals(points["flux"]))
    here, moved = twins(problem)
    same(pinntk.kernel(moved, problem, there(points)).matrix(), pinntk.kernel(here, problem, points).matrix())


@covers(pinntk.integral)
def test_integrals():
    domain = (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")) * Box(t=(0, 1))

    @pinntk.residual(domain)
    def heat(u_t, lap_u):
        return u_t - lap_u

    @pinntk.integral(domain, equals=[1, 2], t=[0, 1], points=60)
    def mass(u):
        return u**2

    @pinntk.integral(domain.boundary("hole"), points=60)
    def flux(u_n, k):
        return k * u_n

    problem = pinntk.Problem(domain, [heat, mass, flux], coefficients={"k": 2.0})
    points = problem.sample(residual=6, **F64)
    here, moved = twins(problem)
    assert all(on_device(error) for error in pinntk.errors(moved, problem, there(points)).values())
    same(pinntk.kernel(moved, problem, there(points)).values, pinntk.kernel(here, problem, points).values)


def test_two_fields_across_an_interface():
    core = Disk(x=0, y=0, radius=0.5)
    plate = Box(x=(-1, 1), y=(-1, 1))
    around = plate - core

    @pinntk.residual(core)
    def inside(lap_u1):
        return 5 * lap_u1 - 1

    @pinntk.residual(around)
    def outside(lap_u2):
        return lap_u2 - 1

    @pinntk.boundary(interface(core, around))
    def flux(u1_n, u2_n, n_x):
        return 5 * u1_n - u2_n + n_x

    @pinntk.integral(interface(core, around), points=20)
    def loss(u1_n):
        return u1_n

    def exact(x, y):
        return x**2 + y**2, x * y

    where = {"u1": core, "u2": around}
    problem = pinntk.Problem(plate, [inside, outside, flux, loss], ("u1", "u2"), exact, where=where)
    points = problem.sample(residual=5, boundary=4, **F64)
    here, moved = same_errors_and_kernel(problem, points)
    same(problem.relative_error(moved), problem.relative_error(here))
    run = pinntk.train(problem, twins(problem)[1], steps=2, points={"residual": 5, "boundary": 4}, progress=False)
    assert run.history[-1]["loss"] < run.history[0]["loss"]


@pytest.mark.parametrize("in_time", sweep((True, False), False))
@pytest.mark.slow
def test_values_met_by_construction_on_shapes(in_time):
    """A plate with a hole in time, or an ellipse less a polygon: distances from curves, and their kernels."""
    plate = (Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")) * Box(t=(0, 1))
    oval = Ellipse(x=0, y=0, radii=(2, 1)) - Polygon([(-0.3, -0.2), (0.4, -0.1), (0.1, 0.3)])

    def problem(domain, *more):
        @pinntk.residual(domain)
        def equation(lap_u, u, x):
            return lap_u - u - x

        @pinntk.boundary(domain.boundary())
        def walls(u, x, y):
            return u - x * y

        return pinntk.Problem(domain, [equation, walls, *more])

    @pinntk.initial(plate.at(t=0))
    def start(u, x, y):
        return u - x * y

    one = problem(plate, start) if in_time else problem(oval)
    points = one.sample(residual=6, boundary=5, initial=4, **F64)
    hard = {"hard": tuple(one.names[1:])}
    _, moved = same_errors_and_kernel(one, points, **hard)
    errors = pinntk.errors(moved, one, there(points))
    assert on_device(errors) and all(float(errors[name].detach().abs().max()) < 1e-13 for name in one.names[1:])
    network = twins(one, **hard)[1]
    few = {"residual": 6, "boundary": 5} | ({"initial": 4} if one.names[2:] else {})
    run = pinntk.train(one, network, steps=2, points=few, snapshot_every=0, device=NAME, progress=False)
    assert on_device(dict(network.named_parameters()))
    assert run.history[-1]["loss"] < run.history[0]["loss"]
