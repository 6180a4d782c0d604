"""Steady flow past a cylinder in a channel: the incompressible Navier-Stokes equations on [0, 2.2] x [0, 0.41] less a disk.

The DFG benchmark 2D-1 (Schaefer & Turek 1996; Re = 20 with nu = 1e-3), as in jaxpi: a parabola of height 0.3 enters at x = 0,
walls and cylinder (radius 0.05 around (0.2, 0.2)) hold the fluid, and no force acts at the outflow. No formula is known; the
reference is a spectral element solution (24 elements of degree 12, Newton's method), computed once, in seconds, and kept in the
user's cache folder, to 3e-5 of one of degree 15. Its drag is 5.579540, its lift 0.010622, its drop of pressure 0.117522; of
degree 15 they are 5.57953529, 0.01061895 and 0.11751995, where Nabh (1998) has 5.57953523, 0.01061895 and 0.11752017.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from pinntk import Box, GridSolution, Problem, boundary, cached, residual
from pinntk.geometry import Disk

LENGTH, HEIGHT, SPEED = 2.2, 0.41, 0.3
X, Y, RADIUS = 0.2, 0.2, 0.05

Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def problem(nu: float = 1e-3) -> Problem:
    if not 5e-4 <= nu <= 1:
        raise ValueError(f"nu={nu}: from 5e-4 (below, the flow soon sheds vortices and has no steady state) to 1")
    domain = Box(x=(0, LENGTH), y=(0, HEIGHT)) - Disk(x=X, y=Y, radius=RADIUS, name="cylinder")
    solid = domain.boundary("y=0", f"y={HEIGHT}", "cylinder")

    @residual(domain)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - nu * lap_u

    @residual(domain)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - nu * lap_v

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(domain.boundary("x=0"))
    def inflow_u(u, y):
        return u - profile(y)

    @boundary(domain.boundary("x=0"))
    def inflow_v(v):
        return v

    @boundary(solid)
    def held_u(u):
        return u

    @boundary(solid)
    def held_v(v):
        return v

    @boundary(domain.boundary(f"x={LENGTH}"))
    def outflow_u(u_x, p):
        return nu * u_x - p

    @boundary(domain.boundary(f"x={LENGTH}"))
    def outflow_v(v_x):
        return v_x

    def reference():
        arrays = cached(f"cylinder_flow-v1-nu{nu:.17g}", lambda: table(nu))
        return GridSolution((arrays["points"],), arrays["fields"])

    conditions = [momentum_x, momentum_y, continuity, inflow_u, inflow_v, held_u, held_v, outflow_u, outflow_v]
    return Problem(domain, conditions, ("u", "v", "p"), reference=reference, solution_accuracy=5e-5)


def profile(y):
    """Poiseuille's velocity."""
    return 4 * SPEED * y * (HEIGHT - y) / HEIGHT**2


def table(nu: float, spacing: float = 0.01) -> dict[str, np.ndarray]:
    """points (n, 2) in every element, about that far apart, and u, v and p (n, 3) there."""
    coarse, fine = Mesh(6), Mesh(12)
    fields = flow(fine, nu, fine.interpolated(coarse, flow(coarse, nu, None)))
    points, values = [], []
    for k, place in enumerate(blocks()):
        corners = np.stack(place(np.array([-1.0, 1, -1]), np.array([-1.0, -1, 1])), 1)
        counts = [max(2, int(np.linalg.norm(corners[i] - corners[0]) / spacing + 0.5)) for i in (1, 2)]
        r, s = (2 * (np.arange(n) + 0.5) / n - 1 for n in counts)
        points.append(np.stack(place(*(a.ravel() for a in np.meshgrid(r, s, indexing="ij"))), 1))
        there = np.kron(lagrange(fine.x, r), lagrange(fine.x, s))
        values.append(there @ fields[k])
    return {"points": np.concatenate(points), "fields": np.concatenate(values)}


# The elements: images of [-1, 1]^2.


def blocks() -> list[Map]:
    """Rectangles, and four quarters of the square of side 0.2 around the cylinder."""
    xs, ys = [0, X - 0.1, X + 0.1, 0.45, 0.7, 1.05, 1.55, LENGTH], [0, Y - 0.1, Y + 0.1, HEIGHT]
    cells = [(a, b, c, d) for a, b in pairwise(xs) for c, d in pairwise(ys)]
    return [*(rectangle(*cell) for cell in cells if cell[::2] != (xs[1], ys[1])), *(quarter(i * np.pi / 2) for i in range(4))]


def rectangle(left: float, right: float, bottom: float, top: float) -> Map:
    return lambda r, s: (left + (right - left) * (r + 1) / 2, bottom + (top - bottom) * (s + 1) / 2)


def quarter(turn: float) -> Map:
    """From the cylinder, s = -1, to the side of the square, s = 1."""

    def place(r: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle, share = turn + np.pi / 4 * r, (s + 1) / 2
        x = (1 - share) * RADIUS * np.cos(angle) + share * 0.1 * (np.cos(turn) - np.sin(turn) * r)
        y = (1 - share) * RADIUS * np.sin(angle) + share * 0.1 * (np.sin(turn) + np.cos(turn) * r)
        return X + x, Y + y

    return place


@dataclass(eq=False)
class Mesh:
    """The elements with polynomials of one degree in each direction, by their values at Gauss-Lobatto nodes.

    Pressures have two degrees less, and are not continuous.
    """

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
        return np.array([np.stack(place(r, s), 1) for place in blocks()])

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

    def interpolated(self, other: "Mesh", fields: np.ndarray) -> np.ndarray:
        """Fields (elements, nodes, 3) of another mesh on this one."""
        along = lagrange(other.x, self.x)
        return np.einsum("ij,kjf->kif", np.kron(along, along), fields)


def lagrange(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """From values at nodes to those of the polynomial at x (n,): (n, nodes)."""
    weights = np.array([1 / np.prod(np.delete(node - nodes, i)) for i, node in enumerate(nodes)])
    away = x[:, None] - nodes
    hit = np.abs(away) < 1e-14
    found = np.where(hit.any(1, keepdims=True), hit, weights / np.where(hit, 1, away))
    return found / found.sum(1, keepdims=True)


# The flow.


def flow(mesh: Mesh, nu: float, start: np.ndarray | None) -> np.ndarray:
    """u, v and p (elements, nodes, 3) of the steady state, by Newton's method; from a Stokes flow where there is no start."""
    n, m, P = len(mesh.places), mesh.pressure.shape[1], mesh.pressure
    x, y = mesh.places.T
    held = (x < 1e-9) | (y < 1e-9) | (y > HEIGHT - 1e-9) | (np.hypot(x - X, y - Y) < RADIUS + 1e-9)
    free = np.concatenate([~held, ~held, np.ones(m * len(mesh.nodes), bool)])
    z = np.zeros(len(free))
    if start is not None:
        z[mesh.numbers], z[n + mesh.numbers] = start[..., 0], start[..., 1]
        z[2 * n :] = np.linalg.lstsq(P, start[..., 2].T, rcond=None)[0].T.ravel()
    z[:n][x < 1e-9] = profile(y[x < 1e-9])
    where = [np.concatenate([g, n + g, 2 * n + k * m + np.arange(m)]) for k, g in enumerate(mesh.numbers)]
    for step in range(20):
        parts = [element(*mesh.operators[k], P, nu, z[i], start is not None or step > 0) for k, i in enumerate(where)]
        r = np.zeros(len(z))
        for i, (e, _) in zip(where, parts, strict=True):
            np.add.at(r, i, e)
        rows, columns = (np.concatenate([of(i, len(i)) for i in where]) for of in (np.repeat, np.tile))
        A = coo_matrix((np.concatenate([J.ravel() for _, J in parts]), (rows, columns))).tocsc()[free][:, free]
        change = splu(A).solve(-r[free])
        z[free] += change
        if np.abs(change).max() < 1e-5:  # the next one is of the order of its square
            break
    pressures = z[2 * n :].reshape(-1, m) @ P.T
    return np.stack([z[mesh.numbers], z[n + mesh.numbers], pressures], 2)


def element(
    d_x: np.ndarray, d_y: np.ndarray, w: np.ndarray, P: np.ndarray, nu: float, z: np.ndarray, moving: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The weak residual of an element for its numbers z of u, v and p, and its derivative; moving: with inertia."""
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
