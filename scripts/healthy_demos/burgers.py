"""u_t + u u_x = 0.01 / pi u_xx on [-1, 1] x [0, 0.99], u = 0 at both ends, u = -sin(pi x) at t = 0.

The demo compares with a file and knows no solution in the training; `known` gives it, by Cole and Hopf.
DeepXDE's demo Burgers.
"""

from math import pi

from torch import sin

import pinntk
from pinntk import Box, Problem, boundary, initial, residual

NU = 0.01 / pi


def problem(known: bool = False) -> Problem:
    domain = Box(x=(-1, 1), t=(0, 0.99))
    solution = pinntk.load("burgers", nu=NU).exact

    @residual(domain)
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - NU * u_xx

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @initial(domain.at(t=0))
    def start(u, x):
        return u + sin(pi * x)

    return Problem(domain, [burgers, ends, start], exact=(lambda x, t: solution(t, x)) if known else None)
