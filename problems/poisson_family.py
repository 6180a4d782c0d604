"""A family of 1D Poisson problems, solved at once: -u_xx = pi^2 (c1 sin(pi x) + c2 sin(2 pi x) + ...), u = 0 at both ends.

The coordinates are x in [0, 1] and c1, c2, ..., each in [-1, 1], which say what the right-hand side is: what is learned is the
operator that maps right-hand sides to solutions. Exact solution: u = sum of c_k sin(k pi x) / k^2.
"""

from math import pi

import torch
from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(modes: int = 3) -> Problem:
    domain = Box(x=(0, 1)) * Box.of_parameters(**{f"c{k}": (-1, 1) for k in range(1, modes + 1)})

    def waves(points, power):
        """The sum of c_k sin(k pi x) / k^power, (n,)."""
        k = torch.arange(1, modes + 1, dtype=points.dtype, device=points.device)
        return (points[:, 1:] * sin(pi * k * points[:, :1]) / k**power).sum(1)

    def exact(points):
        return waves(points, 2)

    @residual(domain)
    def poisson(u_xx, points):
        return u_xx + pi**2 * waves(points, 0)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [poisson, ends], exact=exact)
