"""Taylor-Green vortex: incompressible Navier-Stokes equations on [0, 1] x [0, 2 pi]^2, u and v given at t = 0 and on the walls.

Taylor & Green 1937: four eddies that decay as they are, since the pressure balances their inertia. Fields u, v (velocity) and
p (pressure, free by a function of time); momentum in x and y, and continuity. Exact solution: u = -cos x sin y exp(-2 nu t),
v = sin x cos y exp(-2 nu t), p = -(cos 2x + cos 2y) exp(-4 nu t) / 4.
"""

from math import pi

from torch import cos, exp, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(nu: float = 0.1) -> Problem:
    if not nu >= 0:
        raise ValueError(f"nu={nu}: the viscosity is positive, or 0 for Euler's equations")
    domain = Box(t=(0, 1), x=(0, 2 * pi), y=(0, 2 * pi))

    def exact(t, x, y):
        decay = exp(-2 * nu * t)
        return -cos(x) * sin(y) * decay, sin(x) * cos(y) * decay, -(cos(2 * x) + cos(2 * y)) / 4 * decay**2

    @residual(domain)
    def momentum_x(u, v, u_t, u_x, u_y, p_x, lap_u):
        return u_t + u * u_x + v * u_y + p_x - nu * lap_u

    @residual(domain)
    def momentum_y(u, v, v_t, v_x, v_y, p_y, lap_v):
        return v_t + u * v_x + v * v_y + p_y - nu * lap_v

    @residual(domain)
    def continuity(u_x, v_y):
        return u_x + v_y

    @initial(domain.at(t=0))
    def start_u(u, x, y):
        return u + cos(x) * sin(y)

    @initial(domain.at(t=0))
    def start_v(v, x, y):
        return v - sin(x) * cos(y)

    @boundary(domain.boundary())
    def walls_u(u, t, x, y):
        return u - exact(t, x, y)[0]

    @boundary(domain.boundary())
    def walls_v(v, t, x, y):
        return v - exact(t, x, y)[1]

    conditions = [momentum_x, momentum_y, continuity, start_u, start_v, walls_u, walls_v]
    return Problem(domain, conditions, fields=("u", "v", "p"), exact=exact)
