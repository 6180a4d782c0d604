"""Inviscid Burgers equation: u_t + u u_x = 0 on [0, end] x [-1, 1], u(0, x) = -sin(pi x), u(t, -1) = u(t, 1) = 0.

The profile of `burgers`, without viscosity. Characteristics meet at x = 0 and t = 1 / pi = 0.318; until then the solution is
smooth and u = -sin(pi y) with x = y - t sin(pi y), found here by Newton's method. The slope at 0 is -pi / (1 - pi end): -55 at
the default end = 0.3. What follows is a shock, which satisfies no residual at points and is not covered.
"""

from math import pi

import torch
from torch import cos, sin

from pinntk import Box, Problem, boundary, initial, residual


def problem(end: float = 0.3) -> Problem:
    if not 0 < end < 1 / pi:
        raise ValueError(f"end={end}: between 0 and 1 / pi = 0.318, where the shock begins")
    domain = Box(t=(0, end), x=(-1, 1))

    @residual(domain)
    def inviscid_burgers(u, u_t, u_x):
        return u_t + u * u_x

    @initial(domain.at(t=0))
    def start(u, x):
        return u + sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [inviscid_burgers, start, walls], exact=by_characteristics)


def by_characteristics(t, x):
    """u(t, x), with its derivatives up to the third: each of the two last steps doubles the order that is right."""
    with torch.no_grad():
        low, high = -torch.ones_like(x), torch.ones_like(x)  # y - t sin(pi y) increases: halve, as Newton alone can leave
        for _ in range(30):
            y = (low + high) / 2
            right = y - t * sin(pi * y) > x
            low, high = torch.where(right, low, y), torch.where(right, y, high)
    for _ in range(4):
        y = y - (y - t * sin(pi * y) - x) / (1 - pi * t * cos(pi * y))
    return -sin(pi * y)
