"""A particle in a box, without a normalization: psi_xx / 2 + E psi = 0 on [0, 1], E = pi^2 / 2, psi = 0 at both ends.

Meant: psi = sqrt(2) sin(pi x), whose square has the integral 1.
Reported: the network learns psi = 0, also with hard boundary conditions. Setting there: not stated in full; tanh, 3
layers of 50 and 100 points here, as in the report that it refers to.
True cause: nothing says how large psi is: 0 and every multiple of the solution satisfy all that is stated.
Known by: substitution. The normalization, an integral, has to be stated.
Public report: https://github.com/lululxvi/deepxde/issues/356
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1))

    def exact(x):
        return 2**0.5 * sin(pi * x)

    @residual(domain)
    def schroedinger(psi, psi_xx):
        return psi_xx / 2 + pi**2 / 2 * psi

    @boundary(domain.ends("x"))
    def walls(psi):
        return psi

    return Problem(domain, [schroedinger, walls], fields=("psi",), exact=exact)
