"""Steady flow in the plane: conditions of a channel, and a reference solution by spectral elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.polynomial import legendre
from torch import Tensor

from pinntk.geometry import Part
from pinntk.problem._conditions import Condition, boundary

Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def channel_conditions(inflow: Part, held: Part, outflow: Part, profile: Callable, nu: float) -> list[Condition]:
    """What holds on the boundary of a channel along x, of the velocity u, v and the pressure p of a fluid of viscosity nu.

    It enters with u = profile(y) and v = 0, stands still where it is held, and leaves where no force acts: nu u_x = p, v_x = 0.
    """

    @boundary(inflow)
    def inflow_u(u: Tensor, y: Tensor) -> Tensor:
        return u - profile(y)

    @boundary(inflow)
    def inflow_v(v: Tensor) -> Tensor:
        return v

    @boundary(held)
    def held_u(u: Tensor) -> Tensor:
        return u

    @boundary(held)
    def held_v(v: Tensor) -> Tensor:
        return v

    @boundary(outflow)
    def outflow_u(u_x: Tensor, p: Tensor) -> Tensor:
        return nu * u_x - p

    @boundary(outflow)
    def outflow_v(v_x: Tensor) -> Tensor:
        return v_x

    return [inflow_u, inflow_v, held_u, held_v, outflow_u, outflow_v]


@dataclass(frozen=True, eq=False)
class SpectralElements:
    """Images of the square [-1, 1]^2 with polynomials of one degree in each direction, by their values at Gauss-Lobatto nodes.

    Pressures have two degrees less, and are not continuous (Maday & Patera 1989).

    blocks: (r, s) -> (x, y) of each element, arrays; neighbors have their nodes in common
    """

    blocks: Sequence[Map]
    degree: int

    @cached_property
    def x(self) -> np.ndarray:
        """The nodes in [-1, 1], (degree + 1,)."""
        inner = legendre.Legendre.basis(self.degree).deriv().roots().real
        return np.concatenate([[-1.0], inner, [1.0]])

    @cached_property
    def pressure(self) -> np.ndarray:
        """From the numbers of a pressure in an element to its values at the nodes."""
        inner = lagrange(self.x[1:-1], self.x)
        return np.kron(inner, inner)

    @cached_property
    def nodes(self) -> np.ndarray:
        """(elements, nodes, 2)."""
        r, s = (a.ravel() for a in np.meshgrid(self.x, self.x, indexing="ij"))
        return np.array([np.stack(place(r, s), 1) for place in self.blocks])

    @cached_property
    def numbers(self) -> np.ndarray:
        """(elements, nodes): the same number for nodes that elements share."""
        places = np.round(self.nodes.reshape(-1, 2) * 1e9).astype(np.int64)
        return np.unique(places, axis=0, return_inverse=True)[1].reshape(len(self.nodes), -1)

    @cached_property
    def places(self) -> np.ndarray:
        """(numbers, 2)."""
        found = np.empty((self.numbers.max() + 1, 2))
        found[self.numbers.ravel()] = self.nodes.reshape(-1, 2)
        return found

    @cached_property
    def operators(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each element d/dx and d/dy at the nodes, and the weights of quadrature."""
        top = legendre.Legendre.basis(self.degree)(self.x)
        D = top[:, None] / top / (self.x[:, None] - self.x + np.eye(len(top)))
        np.fill_diagonal(D, 0)
        D[0, 0], D[-1, -1] = (sign * self.degree * (self.degree + 1) / 4 for sign in (-1, 1))
        weights = 2 / (self.degree * (self.degree + 1) * top**2)
        one = np.eye(len(top))
        along_r, along_s = np.kron(D, one), np.kron(one, D)
        found = []
        for x, y in self.nodes.transpose(0, 2, 1):
            x_r, x_s, y_r, y_s = along_r @ x, along_s @ x, along_r @ y, along_s @ y
            J = (x_r * y_s - x_s * y_r)[:, None]
            d_x = (y_s[:, None] * along_r - y_r[:, None] * along_s) / J
            d_y = (x_r[:, None] * along_s - x_s[:, None] * along_r) / J
            found.append((d_x, d_y, np.kron(weights, weights) * np.abs(J[:, 0])))
        return found

    def interpolated(self, fields: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Fields (..., nodes, f) of elements at r x s, a product of places in [-1, 1]: (..., places, f)."""
        return np.kron(lagrange(self.x, r), lagrange(self.x, s)) @ fields


def rectangle(left: float, right: float, bottom: float, top: float) -> Map:
    """An element of `SpectralElements`."""
    return lambda r, s: (left + (right - left) * (r + 1) / 2, bottom + (top - bottom) * (s + 1) / 2)


def lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """From values at nodes to those of the polynomial at x (n,): (n, nodes)."""
    weights = np.array([1 / np.prod(np.delete(node - nodes, i)) for i, node in enumerate(nodes)])
    away = x[:, None] - nodes
    hit = np.abs(away) < 1e-14
    found = np.where(hit.any(1, keepdims=True), hit, weights / np.where(hit, 1, away))
    return found / found.sum(1, keepdims=True)


def steady_flow(
    mesh: SpectralElements, nu: float, velocity: np.ndarray, start: np.ndarray | None = None, tolerance: float = 1e-5
) -> np.ndarray:
    """u, v and p (elements, nodes, 3) of a steady flow of viscosity nu, by Newton's method; no force acts where it is free.

    velocity: (numbers, 2) at `mesh.places`, NaN where it is not given
    start: what to begin with, at the nodes as what is returned; a Stokes flow where there is none
    tolerance: of the last change; the next one would be of the order of its square

    Raises RuntimeError where 20 steps do not get there: then begin with the flow of a larger viscosity.
    """
    n, m, P = len(mesh.places), mesh.pressure.shape[1], mesh.pressure
    given = np.concatenate([velocity.T.ravel(), np.full(m * len(mesh.nodes), np.nan)])
    free, z = np.isnan(given), np.zeros(len(given))
    if start is not None:
        z[mesh.numbers], z[n + mesh.numbers] = start[..., 0], start[..., 1]
        z[2 * n :] = np.linalg.lstsq(P, start[..., 2].T, rcond=None)[0].T.ravel()
    z[~free] = given[~free]
    where = [np.concatenate([g, n + g, 2 * n + k * m + np.arange(m)]) for k, g in enumerate(mesh.numbers)]
    for step in range(20):
        parts = [weak_residual(*mesh.operators[k], P, nu, z[i], start is not None or step > 0) for k, i in enumerate(where)]
        r = np.zeros(len(z))
        for i, (e, _) in zip(where, parts, strict=True):
            np.add.at(r, i, e)
        rows, columns = (np.concatenate([of(i, len(i)) for i in where]) for of in (np.repeat, np.tile))
        A = scipy.sparse.coo_matrix((np.concatenate([J.ravel() for _, J in parts]), (rows, columns))).tocsc()[free][:, free]
        change = scipy.sparse.linalg.splu(A).solve(-r[free])
        z[free] += change
        if np.abs(change).max() < tolerance:
            break
    else:
        raise RuntimeError(f"steady_flow: the last of 20 steps changed it by {np.abs(change).max():.2g} at nu={nu:g}")
    pressures = z[2 * n :].reshape(-1, m) @ P.T
    return np.stack([z[mesh.numbers], z[n + mesh.numbers], pressures], 2)


def weak_residual(
    d_x: np.ndarray, d_y: np.ndarray, w: np.ndarray, P: np.ndarray, nu: float, z: np.ndarray, moving: bool
) -> tuple[Any, Any]:
    """Of an element for its numbers z of u, v and p, and its derivative; moving: with inertia."""
    n, inertia = len(w), float(moving) * w
    u, v, p = z[:n], z[n : 2 * n], z[2 * n :]
    K = nu * (d_x.T @ (w[:, None] * d_x) + d_y.T @ (w[:, None] * d_y))
    B = np.concatenate([P.T @ (w[:, None] * d_x), P.T @ (w[:, None] * d_y)], 1)
    carried = (inertia * u)[:, None] * d_x + (inertia * v)[:, None] * d_y
    slopes = [np.diag(inertia * (d @ field)) for field in (u, v) for d in (d_x, d_y)]
    A = np.block([[K + carried + slopes[0], slopes[1]], [slopes[2], K + carried + slopes[3]]])
    velocity = np.concatenate([u, v])
    e = np.concatenate([(K + carried) @ u, (K + carried) @ v]) - B.T @ p
    return np.concatenate([e, -B @ velocity]), np.block([[A, -B.T], [-B, np.zeros((len(p), len(p)))]])
