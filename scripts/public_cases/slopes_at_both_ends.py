"""Start values stated as outward slopes at both ends: u'' = -600 u v - 250 x, v'' = 300 (u^2 - v^2) + 250 x on [0, 1].

Meant: u = v = 0 and u' = v' = 9.259 at x = 0, and nothing at x = 1. Stated: u_n = v_n = 9.259 at both ends, where u_n
is the derivative outward: u' = -9.259 at x = 0, and 9.259 at x = 1 besides. Reference (of what was meant):
Dormand-Prince of order 8, 1e-11.
Reported: the loss starts huge and cannot be reduced. Setting there: tanh, 5 layers of 20, 1,000 points, u and v times
x as a hard constraint (a condition here).
True cause: a wrong sign, and conditions at an end where there should be none: three for each of two equations of
second order.
Known by: a reading of the report's lines, in which the filter that should keep x = 0 is a parameter's name and lets
every boundary point pass, and of the library's documentation, in which Neumann conditions are outward. The report was
closed with no cause given.
Public report: https://github.com/lululxvi/deepxde/issues/462
"""

import numpy as np
from scipy.integrate import solve_ivp

from pinntk import Box, GridSolution, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1))

    def reference():
        x = np.linspace(0, 1, 4001)

        def slopes(x, y):
            return [y[2], y[3], -600 * y[0] * y[1] - 250 * x, 300 * (y[0] ** 2 - y[1] ** 2) + 250 * x]

        start = [0, 0, 9.259, 9.259]
        return GridSolution((x,), solve_ivp(slopes, (0, 1), start, "DOP853", x, rtol=1e-11, atol=1e-11).y[:2].T)

    @residual(domain)
    def first(u, v, u_xx, x):
        return u_xx + 600 * u * v + 250 * x

    @residual(domain)
    def second(u, v, v_xx, x):
        return v_xx - 300 * (u**2 - v**2) - 250 * x

    @boundary(domain.at(x=0))
    def start_u(u):
        return u

    @boundary(domain.at(x=0))
    def start_v(v):
        return v

    @boundary(domain.ends("x"))
    def slope_u(u_n):
        return u_n - 9.259

    @boundary(domain.ends("x"))
    def slope_v(v_n):
        return v_n - 9.259

    conditions = [first, second, start_u, start_v, slope_u, slope_v]
    return Problem(domain, conditions, fields=("u", "v"), reference=reference)
