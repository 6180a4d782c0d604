"""Problems on shapes on a device: normals and kernels as on the CPU, and left where they were computed."""

from __future__ import annotations

import torch

import pinntk
from pinntk.geometry import Box, Disk
from tests.device.on_device import F64, NAME, covers, on_device, same, there, twins


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
