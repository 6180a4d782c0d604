"""Beltrami flow: the incompressible Navier-Stokes equations on [0, 1] x [-1, 1]^3, velocity given at t = 0 and on the walls.

DeepXDE's Beltrami_flow, with a = d = 1 and re = 1: four fields in four coordinates. Fields u, v, w (velocity) and p (pressure,
free by a function of time). Exact solution (Ethier & Steinman 1994): with (X, Y, Z) a cyclic shift of (x, y, z), each component
is -a (exp(a X) sin(a Y + d Z) + exp(a Z) cos(a X + d Y)) exp(-d^2 t / re); the velocity is parallel to its own curl.
"""

from torch import cos, exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(re: float = 1.0, a: float = 1.0, d: float = 1.0) -> Problem:
    if not re > 0:
        raise ValueError(f"re={re}: the Reynolds number is positive")
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1), z=(-1, 1))

    def velocity(t, x, y, z):
        """The component along x; the others with the coordinates shifted."""
        return -a * (exp(a * x) * sin(a * y + d * z) + exp(a * z) * cos(a * x + d * y)) * exp(-(d**2) / re * t)

    def head(x, y, z):
        return exp(2 * a * x) / 2 + sin(a * x + d * y) * cos(a * z + d * x) * exp(a * (y + z))

    def exact(t, x, y, z):
        p = -(a**2) * (head(x, y, z) + head(y, z, x) + head(z, x, y)) * exp(-2 * d**2 / re * t)
        return velocity(t, x, y, z), velocity(t, y, z, x), velocity(t, z, x, y), p

    @residual(domain)
    def momentum_x(u, v, w, u_t, u_x, u_y, u_z, p_x, lap_u):
        return u_t + u * u_x + v * u_y + w * u_z + p_x - lap_u / re

    @residual(domain)
    def momentum_y(u, v, w, v_t, v_x, v_y, v_z, p_y, lap_v):
        return v_t + u * v_x + v * v_y + w * v_z + p_y - lap_v / re

    @residual(domain)
    def momentum_z(u, v, w, w_t, w_x, w_y, w_z, p_z, lap_w):
        return w_t + u * w_x + v * w_y + w * w_z + p_z - lap_w / re

    @residual(domain)
    def continuity(u_x, v_y, w_z):
        return u_x + v_y + w_z

    @initial(domain.at(t=0))
    def start_u(u, t, x, y, z):
        return u - velocity(t, x, y, z)

    @initial(domain.at(t=0))
    def start_v(v, t, x, y, z):
        return v - velocity(t, y, z, x)

    @initial(domain.at(t=0))
    def start_w(w, t, x, y, z):
        return w - velocity(t, z, x, y)

    @boundary(domain.boundary())
    def walls_u(u, t, x, y, z):
        return u - velocity(t, x, y, z)

    @boundary(domain.boundary())
    def walls_v(v, t, x, y, z):
        return v - velocity(t, y, z, x)

    @boundary(domain.boundary())
    def walls_w(w, t, x, y, z):
        return w - velocity(t, z, x, y)

    equations = [momentum_x, momentum_y, momentum_z, continuity]
    conditions = [*equations, start_u, start_v, start_w, walls_u, walls_v, walls_w]
    return Problem(domain, conditions, fields=("u", "v", "w", "p"), exact=exact)
