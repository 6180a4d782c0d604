"""Poisson's equation with the unknown in the place of y: -(u_xx + u_yy) = sin(pi x) sin(pi u), [0, 1]^2.

u = 0 on all sides. Meant: sin(pi x) sin(pi y) on the right, whose solution is sin(pi x) sin(pi y) / (2 pi^2); stated,
as it was coded: sin(pi u), whose solution is u = 0.
Reported: asked whether the implementation is right, since the result is not. Setting there: tanh, 4 layers of 50,
1,200 points and 120 on the walls, Adam of 0.001, 10,000 steps, then L-BFGS; a smaller network and fewer points here.
True cause: another problem is solved.
Known by: a reading of the report's formula, in which y is the name of the network's output.
Public report: https://github.com/lululxvi/deepxde/issues/201
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        return sin(pi * x) * sin(pi * y) / (2 * pi**2)

    @residual(domain)
    def poisson(u, lap_u, x):
        return -lap_u - sin(pi * x) * sin(pi * u)

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [poisson, walls], exact=exact)
