"""Eikonal equation: u_x^2 + u_y^2 = 1 / c(y)^2 on [0, 1]^2, c = 1 + g y, u on the boundary: travel times from (0.5, -0.5).

The seismologist's equation (Smith, Azizzadenesheli & Ross 2021, EikoNet; bin Waheed et al. 2021, PINNeik), of the first order
and nonlinear; rays bend where the speed grows with depth. The source is outside, so that u is smooth. Exact solution (Slotnick
1959): u = arcosh(1 + g^2 r^2 / (2 c(y) c(-0.5))) / g with r the distance from the source; u = r for g = 0. With the values on
the boundary, -u is no solution.
"""

from torch import asinh, sqrt

from pinntk import Box, Problem, boundary, residual


def problem(g: float = 1.0) -> Problem:
    if not -1 < g < 2:
        raise ValueError(f"g={g}: between -1 and 2, or the speed vanishes between the source and the domain")
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        r = sqrt((x - 0.5) ** 2 + (y + 0.5) ** 2)
        half = r / (2 * sqrt((1 + g * y) * (1 - 0.5 * g)))
        return 2 / g * asinh(g * half) if g else r  # arcosh(1 + 2 h^2) = 2 arsinh(h)

    @residual(domain)
    def eikonal(u_x, u_y, y):
        return u_x**2 + u_y**2 - 1 / (1 + g * y) ** 2

    @boundary(domain.boundary())
    def walls(u, x, y):
        return u - exact(x, y)

    return Problem(domain, [eikonal, walls], exact=exact)
