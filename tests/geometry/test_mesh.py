"""Solids from triangulated surfaces."""

from math import pi

import numpy as np
import pytest
import torch
import trimesh

import pinntk
from pinntk.geometry import Ball, Box
from pinntk.geometry._sampling import generator
from pinntk.geometry.mesh import Mesh


@pytest.fixture
def ball():
    return Mesh(trimesh.creation.icosphere(subdivisions=2), name="skin")


def test_inside_and_outside(ball):
    rows = Box(x=(-1, 1), y=(-1, 1), z=(-1, 1)).sample(2000, "sobol", generator(0))
    radius = np.linalg.norm(rows, axis=1)
    assert ball.contains(rows)[radius < 0.95].all()
    assert not ball.contains(rows)[radius > 1].any()


@pytest.mark.parametrize("solid", ["box", "annulus", "many triangles"])
def test_inside_of_surfaces_with_axes(solid):
    """Also on a grid that has lines over edges."""
    if solid == "many triangles":
        mesh = Mesh(trimesh.creation.icosphere(subdivisions=6))
        rows = np.random.default_rng(0).uniform(-1, 1, (100_000, 3))
        radius = np.linalg.norm(rows, axis=1)
        expected, clear = radius < 1, np.abs(radius - 1) > 1e-3
    else:
        surface = trimesh.creation.box((2, 2, 2)) if solid == "box" else trimesh.creation.annulus(0.5, 1, 2, sections=256)
        mesh = Mesh(surface)
        rows = Box(x=(-1.5, 1.5), y=(-1.5, 1.5), z=(-1.5, 1.5)).grid((25, 25, 25))
        radius, height = np.linalg.norm(rows[:, :2], axis=1), np.abs(rows[:, 2])
        expected = np.abs(rows).max(1) < 1 if solid == "box" else (radius > 0.5) & (radius < 1) & (height < 1)
        clear = np.abs(np.abs(rows) - 1).min(1) > 1e-9
        clear &= (solid == "box") | (np.abs(radius - 0.5) > 1e-3) & (np.abs(radius - 1) > 1e-3)
    assert (mesh.contains(rows) == expected)[clear].all()


def test_points_and_normals(ball):
    part = ball.boundary("skin")
    rows = part.sample(500, "sobol", generator(0))
    assert part.distance(rows).max() <= 1e-5
    assert np.linalg.norm(rows, axis=1).min() > 0.94
    normals = part.normals(torch.as_tensor(rows)).numpy()
    assert (rows * normals).sum(1).min() > 0.94
    flux = part.measure * (rows * normals).sum(1).mean()
    assert flux == pytest.approx(3 * ball.measure, rel=1e-2)
    assert ball.sample(300, "uniform", generator(0)).shape == (300, 3)


def test_every_triangle_has_points_by_its_area():
    mesh = trimesh.creation.box((4, 1, 1))
    rows = Mesh(mesh).boundary().sample(1800, "sobol", generator(0))
    ends = (np.abs(rows[:, 0]) > 2 - 1e-9).mean()
    assert ends == pytest.approx(2 / 18, abs=0.01)


def test_a_file_and_set_operations(tmp_path):
    path = tmp_path / "block.stl"
    trimesh.creation.box((2, 2, 2)).export(path)
    block = Mesh(path)
    assert block.measure == pytest.approx(8)
    hollow = block - Ball(x=0, y=0, z=0, radius=0.5, name="cavity")
    assert hollow.measure == pytest.approx(8 - pi / 6, rel=1e-3)
    assert hollow.boundary("cavity").measure == pytest.approx(pi, rel=1e-12)
    top = block.named(lid=lambda z: z > 0.999999).boundary("lid")
    assert top.measure == pytest.approx(4, rel=1e-3)
    assert (top.normals(torch.as_tensor(top.sample(9, "uniform", generator(0))))[:, 2] == 1).all()


def test_a_problem_in_it(ball):
    @pinntk.residual(ball)
    def poisson(lap_u):
        return lap_u - 6

    @pinntk.boundary(ball.boundary())
    def flux(u_n):
        return u_n - 2

    problem = pinntk.Problem(ball, [poisson, flux])
    network = pinntk.nn.MLP(problem, width=5, depth=1)
    errors = pinntk.errors(network, problem, problem.sample(residual=20, boundary=20))
    assert all(error.isfinite().all() for error in errors.values())


def test_an_inverted_surface_is_turned():
    mesh = trimesh.creation.box((1, 1, 1))
    mesh.invert()
    assert Mesh(mesh).measure == pytest.approx(1)


def test_bad_surfaces(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"part.stl: no such file"):
        Mesh(tmp_path / "part.stl")
    mesh = trimesh.creation.box((1, 1, 1))
    mesh.update_faces(np.arange(11))
    with pytest.raises(ValueError, match="the surface is open: 3 of 18 edges belong to one triangle only; close it"):
        Mesh(mesh)
    with pytest.raises(ValueError, match="names of three coordinates"):
        Mesh(trimesh.creation.box((1, 1, 1)), coordinates=("x", "y"))
