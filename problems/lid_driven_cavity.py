"""Lid-driven cavity: steady Navier-Stokes equations on [0, 1]^2, u = 1 (or 4x (1 - x)) on the lid y = 1, no slip on the walls.

Fields u, v (velocity) and p (pressure, free by a constant); momentum in x and y, and continuity. The benchmark of Ghia, Ghia &
Shin 1982, of DeepXDE, PINNacle, jaxpi and others; re is the Reynolds number. The uniform lid jumps from 1 to 0 in its corners,
where p grows as 1 / r; its condition is 4x (1 - x) (u - 1) = 0, so that the jump, which no network has, does not outweigh all
else: errors after the same time are a fifth. The parabolic lid is smoother: PINNacle's u = a x (1 - x) at Re = 100 is lid =
"parabola" at re = 25 a, in units of its largest velocity. Thin layers and the pressure, seen by its derivatives only, are what
is difficult.

No formula is known. The reference, for re up to 1000, is a Legendre-Galerkin solution of the stream function by Newton's
method, beside the flow in the lid's corners; computed once, in seconds, and kept in the user's cache folder. It leaves out what
is within 0.05 of a uniform lid's corners, and the corners of a parabola, where p is infinite as log(r). By refinement, all
fields together are right to 1e-4 at re = 100 and to 5e-4 at 1000 under the uniform lid, to 5e-6 under the parabola; u and v
alone to 1e-5 and 1e-4. At re = 100, 400 and 1000, Ghia's u(0.5, y) differs from it by up to 0.0050, 0.0028 and 0.0063, and
their v(x, 0.5) at 100 by 0.0092. Botella & Peyret 1998, who give seven digits, have its least and largest velocities on the
center lines at 100, and its u(0.5, 0.5) at 1000, to 3e-7.
"""

from math import pi

import numpy as np
from numpy.polynomial import Legendre
from numpy.polynomial.legendre import legder, leggauss, legval
from scipy.linalg import eigh

from pinntk import Box, GridSolution, Problem, boundary, cached, residual


def problem(re: float = 100.0, lid: str = "uniform") -> Problem:
    if not 0 < re < float("inf"):
        raise ValueError(f"re={re}: the Reynolds number is positive and finite")
    if lid not in ("uniform", "parabola"):
        raise ValueError(f"lid={lid!r}: 'uniform' is u = 1, 'parabola' is u = 4x (1 - x)")
    domain = Box(x=(0, 1), y=(0, 1))

    @residual(domain)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - lap_u / re

    @residual(domain)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - lap_v / re

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    @boundary(domain.at(y=1))
    def lid_u(u, x):
        bump = 4 * x * (1 - x)
        return bump * (u - 1) if lid == "uniform" else u - bump

    @boundary(domain.ends("x") | domain.at(y=0))
    def walls_u(u):
        return u

    @boundary(domain.boundary())
    def walls_v(v):
        return v

    def reference():
        size = 40 if re <= 100 else 48
        arrays = cached(f"lid_driven_cavity-v2-{lid}-re{re:.17g}", lambda: table(re, lid, size))
        return GridSolution((arrays["points"],), arrays["values"])

    conditions = [momentum_x, momentum_y, continuity, lid_u, walls_u, walls_v]
    if re > 1000:
        return Problem(domain, conditions, fields=("u", "v", "p"))
    accuracy = 5e-6 if lid == "parabola" else 1e-4 if re <= 100 else 5e-4
    return Problem(domain, conditions, fields=("u", "v", "p"), reference=reference, solution_accuracy=accuracy)


def table(re: float, lid: str, size: int) -> dict[str, np.ndarray]:
    """Points (n, 2), 0.02 apart, without the lid's corners, or what is within 0.05 of them, and values (n, 3) of u, v and p."""
    x, y = (a.ravel() for a in np.meshgrid(*2 * [np.linspace(0, 1, 51)], indexing="ij"))
    kept = np.hypot(np.minimum(x, 1 - x), 1 - y) > (0.05 if lid == "uniform" else 0)
    x, y = x[kept], y[kept]
    A, coarse = np.zeros((0, 0)), Cavity(re, lid, 20)
    for viscosity in [1.0, *(0.01 / 2**k for k in range(4) if 100 * 2**k < re)]:
        A = coarse.solve(A, viscosity)
    for cavity in (Cavity(re, lid, 28), Cavity(re, lid, size)):
        A = cavity.solve(A, 1 / re)
    return {"points": np.stack([x, y], 1), "values": cavity.fields(A, x, y)}


class Cavity:
    """psi = corners + W0 + sum_jk A_jk f_j(x) f_k(y), with u = psi_y and v = -psi_x, and polynomials f that are clamped.

    corners: what the two ends of the lid do to the flow near them
    W0: a polynomial with the boundary values of psi and psi_n that the corners leave

    (lap psi, lap f) / re + (lap psi, psi_y f_x - psi_x f_y) = 0 for all f = f_j f_k, by Gauss quadrature.
    """

    def __init__(self, re: float, lid: str, size: int):
        self.re, self.lid, self.degree, self.corner = re, lid, size + 3, Corner(re, lid)
        k = np.arange(size)
        self.clamped = np.zeros((self.degree + 1, size))  # Legendre coefficients of f_k: Shen 1994
        self.clamped[k, k] = 1
        self.clamped[k + 2, k] = -2 * (2 * k + 5) / (2 * k + 7)
        self.clamped[k + 4, k] = (2 * k + 3) / (2 * k + 7)
        s, weights = leggauss(2 * size)
        self.nodes, self.weights = (s + 1) / 2, np.outer(weights, weights) / 4
        self.L = legendre_at(self.nodes, self.degree)
        self.corners = self.both(*np.meshgrid(self.nodes, self.nodes, indexing="ij"))
        self.W0 = self.boundary_values()

    def both(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What `Corner` has, of both corners together and with derivatives in x and y."""
        left, right = self.corner(x, 1 - y, -1), self.corner(1 - x, 1 - y, 1)
        left[[2, 7]] *= -1
        right[[1, 2, 6, 7]] *= -1
        return left + right

    def boundary_values(self) -> np.ndarray:
        """Legendre coefficients (degree + 1, degree + 1) by blending Hermite's cubics."""
        s = self.nodes
        lid = np.ones_like(s) if self.lid == "uniform" else 4 * s * (1 - s)
        left, right, low, high = (self.both(*at) for at in ((0 * s, s), (0 * s + 1, s), (s, 0 * s), (s, 0 * s + 1)))
        to_coefficients = np.linalg.pinv(self.L[0]).T
        in_y = -np.stack([left[0], right[0], left[1], right[1]]) @ to_coefficients
        in_x = -np.stack([low[0], high[0], low[2], high[2] - lid]) @ to_coefficients
        ends = np.concatenate([*legendre_at(np.array([0.0, 1.0]), self.degree)[:2]])
        cubics = np.zeros((self.degree + 1, 4))
        cubics[:4] = np.linalg.inv(ends[:, :4])
        return cubics @ in_y + in_x.T @ cubics.T - cubics @ (in_y @ ends.T) @ cubics.T

    def polynomial(self, A: np.ndarray) -> np.ndarray:
        return self.W0 + self.clamped @ A @ self.clamped.T

    def at_nodes(self, W: np.ndarray, i: int, j: int) -> np.ndarray:
        return self.L[i] @ W @ self.L[j].T

    def gradients(self, A: np.ndarray) -> tuple[np.ndarray, ...]:
        """psi_x, psi_y, lap psi, and the last without what is biharmonic, at the nodes."""
        W, (_, x, y, lap, rest, *_) = self.polynomial(A), self.corners
        smooth = self.at_nodes(W, 2, 0) + self.at_nodes(W, 0, 2)
        return self.at_nodes(W, 1, 0) + x, self.at_nodes(W, 0, 1) + y, smooth + lap, smooth + rest

    def solve(self, start: np.ndarray, nu: float, steps: int = 20) -> np.ndarray:
        """A (size, size) by Newton's method from that of a smaller size."""
        size = self.clamped.shape[1]
        A = np.zeros((size, size))
        A[: len(start), : len(start)] = start
        f = self.L[:3] @ self.clamped
        for _ in range(steps):
            x, y, lap, viscous = self.gradients(A)
            terms = [(lap * y, 1, 0), (-lap * x, 0, 1), (nu * viscous, 2, 0), (nu * viscous, 0, 2)]
            F = sum(f[i].T @ (self.weights * c) @ f[j] for c, i, j in terms)
            J = self.matrix(f, lap, (0, 1), (1, 0)) - self.matrix(f, lap, (1, 0), (0, 1))
            one = np.ones_like(lap)
            for laplacian in ((2, 0), (0, 2)):
                J += self.matrix(f, y, laplacian, (1, 0)) - self.matrix(f, x, laplacian, (0, 1))
                J += nu * (self.matrix(f, one, laplacian, (2, 0)) + self.matrix(f, one, laplacian, (0, 2)))
            step = np.linalg.solve(J, F.ravel()).reshape(A.shape)
            A = A - step
            if np.abs(step).max() < 1e-7 * np.abs(A).max():  # the next one would be its square
                return A
        raise RuntimeError(f"Newton's method has not converged at nu={nu} in {steps} steps")

    def matrix(self, f: np.ndarray, c: np.ndarray, trial: tuple[int, int], test: tuple[int, int]) -> np.ndarray:
        """(c D^trial f_l f_m, D^test f_j f_k) in row jk and column lm."""
        size, nodes = f.shape[2], len(c)
        in_y = np.einsum("xy,yk,ym->xkm", self.weights * c, f[test[1]], f[trial[1]], optimize=True).reshape(nodes, -1)
        in_x = np.einsum("xj,xl->jlx", f[test[0]], f[trial[0]]).reshape(-1, nodes)
        return (in_x @ in_y).reshape(size, size, size, size).transpose(0, 2, 1, 3).reshape(size**2, size**2)

    def fields(self, A: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """u, v and p at points (n,): (n, 3); p without its mean.

        P = p + (u^2 + v^2) / 2 has grad P = rot lap psi / re + lap psi grad psi: a polynomial in the mean, beside the corners'.
        """
        W, (psi_x, psi_y, lap, _) = self.polynomial(A), self.gradients(A)
        P_x = (self.at_nodes(W, 2, 1) + self.at_nodes(W, 0, 3)) / self.re + lap * psi_x - self.corners[6]
        P_y = -(self.at_nodes(W, 3, 0) + self.at_nodes(W, 1, 2)) / self.re + lap * psi_y - self.corners[7]
        right = self.L[1].T @ (self.weights * P_x) @ self.L[0] + self.L[0].T @ (self.weights * P_y) @ self.L[1]
        w = self.weights.sum(1)
        mass, stiffness = (self.L[k].T @ (w[:, None] * self.L[k]) for k in (0, 1))
        rates, E = eigh(stiffness, mass)
        sums = rates[:, None] + rates
        sums[0, 0] = np.inf  # the constant
        P = E @ (E.T @ right @ E / sums) @ E.T
        X, Y = legendre_at(x, self.degree), legendre_at(y, self.degree)
        corners = self.both(x, y)
        u = np.einsum("ni,ij,nj->n", X[0], W, Y[1], optimize=True) + corners[2]
        v = -np.einsum("ni,ij,nj->n", X[1], W, Y[0], optimize=True) - corners[1]
        p = np.einsum("ni,ij,nj->n", X[0], P, Y[0], optimize=True) + corners[5] - (u**2 + v**2) / 2
        return np.stack([u, v, p - p.mean()], 1)


class Corner:
    """The flow psi = r F(angle) + re r^2 H(angle) + O(r^3) near the end of a uniform lid, r^2 F(angle) near that of a parabola.

    The lid is at angle 0, where psi_Y = -1, or -4 X; the wall at pi / 2. r F and r^2 F are biharmonic, F has the jump.
    """

    def __init__(self, re: float, lid: str):
        self.re, self.n = re, 1 if lid == "uniform" else 2
        self.F = wedge(self.n, -1.0 if lid == "uniform" else -4.0)
        self.G = self.n**2 * self.F + self.F.deriv(2)  # lap(r^n F) = r^(n - 2) G
        self.H = wedge(2, 0.0, -(self.F * self.G).deriv()) if lid == "uniform" else 0 * self.F

    def __call__(self, X: np.ndarray, Y: np.ndarray, turn: int) -> np.ndarray:
        """psi, psi_X, psi_Y, lap psi, lap(r^2 H), P, and what of lap psi grad psi belongs to that P: (8, *shape).

        turn: -1 where X, Y is a mirror image of x, y, which turns the sense of the flow
        """
        r, angle, n = np.maximum(np.hypot(X, Y), 1e-30), np.arctan2(Y, X), self.n
        F, F1, G, G1, H, H1 = (f(angle) for f in (self.F, self.F.deriv(), self.G, self.G.deriv(), self.H, self.H.deriv()))
        curl = turn * self.re * (4 * self.H + self.H.deriv(2))(angle)

        def slopes(in_r, in_angle):
            return np.stack([X * in_r - Y * in_angle, Y * in_r + X * in_angle]) / r

        first = slopes(n * r ** (n - 1) * F, r ** (n - 1) * F1)
        psi_X, psi_Y = first + turn * self.re * slopes(2 * r * H, r * H1)
        lap = r ** (n - 2.0) * G
        P = turn / self.re * (-G1 / r if n == 1 else G1 * np.log(r))
        if n == 1:
            rate = self.H.deriv(3) + 4 * self.H.deriv() + self.F * self.G  # the same at all angles
            P = P + rate(angle) * np.log(r) + (self.G * self.F.deriv()).integ()(angle)
        psi = r**n * F + turn * self.re * r**2 * H
        return np.stack([psi, psi_X, psi_Y, lap + curl, curl, P, *(lap * first * (n == 1))])


def wedge(n: int, slope: float, forcing: Legendre | None = None, degree: int = 16) -> Legendre:
    """F with lap lap (r^n F) = r^(n - 4) forcing on 0 <= angle <= pi / 2; zero at both ends, and F' = slope and 0 there."""
    basis = [Legendre.basis(k, [0, pi / 2]) for k in range(degree + 1)]
    angle = pi / 4 * (1 + leggauss(degree - 3)[0])
    inside = [(f.deriv(4) + (n**2 + (n - 2) ** 2) * f.deriv(2) + n**2 * (n - 2) ** 2 * f)(angle) for f in basis]
    ends = [[f(0), f(pi / 2), f.deriv()(0), f.deriv()(pi / 2)] for f in basis]
    rows = np.concatenate([np.transpose(inside), np.transpose(ends)])
    return Legendre(np.linalg.solve(rows, [*(0 * angle if forcing is None else forcing(angle)), 0, 0, slope, 0]), [0, pi / 2])


def legendre_at(x: np.ndarray, degree: int) -> np.ndarray:
    """Legendre polynomials of [0, 1] and their first three derivatives: (4, n, degree + 1)."""
    one = np.eye(degree + 1)
    return np.stack([2.0**k * legval(2 * x - 1, legder(one, k)).T for k in range(4)])
