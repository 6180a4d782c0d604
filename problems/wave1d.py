"""1D wave equation: u_tt = c^2 u_xx on [0, 1] x [0, 1], u = 0 at both walls, a superposition of two standing waves.

Wang, Yu & Perdikaris 2022 (JCP 449:110768), section 7.3: c = 2, a = 1/2, beta = 4; Rathore et al. 2024 with beta = 5. The
initial displacement is sin(pi x) + a sin(beta pi x), the initial velocity 0. Exact solution for whole beta:
u = sin(pi x) cos(c pi t) + a sin(beta pi x) cos(beta c pi t).
"""

from math import pi

from torch import cos, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(c: float = 2.0, a: float = 0.5, beta: float = 4.0) -> Problem:
    if beta % 1 != 0:
        raise ValueError(f"beta={beta}: a whole number, or sin(beta pi x) does not vanish at the wall x = 1")
    domain = Box(t=(0, 1), x=(0, 1))

    def exact(t, x):
        return sin(pi * x) * cos(c * pi * t) + a * sin(beta * pi * x) * cos(beta * c * pi * t)

    @residual(domain)
    def wave(u_tt, u_xx):
        return u_tt - c**2 * u_xx

    @initial(domain.at(t=0))
    def start(u, t, x):
        return u - exact(t, x)

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [wave, start, start_velocity, walls], exact=exact)
