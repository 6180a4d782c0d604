"""Robertson's stiff kinetics: a' = b c - 0.04 a, b' = 1e4 (0.04 a - b c - 0.3 b^2), c' = 0.3 b^2 in log time, a = 1 first.

PINNs fail on it (Ji et al. 2021, stiff-PINN): its rates are 0.04, 1e4 and 3e7. b is the intermediate in units of 1e-4, and t
the decimal logarithm of time in seconds, from -5 to 5, so that y_t = log(10) 10^t y'. Each equation is divided by 1 + 10^t
times its rate, 1 or 1e4: late, that of b is the balance of its terms, in which its own derivative is lost. The reference is
that of Radau IIA of order 5 in log time with a relative tolerance of 1e-11; with BDF at 1e-12 it agrees to 3e-12.
"""

from math import log
from typing import Literal

import numpy as np
from scipy.integrate import solve_ivp

from pinntk import Box, GridSolution, Problem, cached, initial, residual


def problem() -> Problem:
    domain = Box(t=(-5, 5))

    @residual(domain)
    def reactant(a, b, c, a_t, t):
        return (a_t - log(10) * 10**t * (b * c - 0.04 * a)) / (1 + 10**t)

    @residual(domain)
    def intermediate(a, b, c, b_t, t):
        rate = 1e4 * 10**t
        return (b_t - log(10) * rate * (0.04 * a - b * c - 0.3 * b**2)) / (1 + rate)

    @residual(domain)
    def product(b, c_t, t):
        return (c_t - log(10) * 10**t * 0.3 * b**2) / (1 + 10**t)

    @initial(domain.at(t=-5))
    def start_a(a):
        return a - 1

    @initial(domain.at(t=-5))
    def start_b(b):
        return b

    @initial(domain.at(t=-5))
    def start_c(c):
        return c

    def reference():
        arrays = cached("robertson-v1", kinetics)
        return GridSolution((arrays["t"],), arrays["y"])

    conditions = [reactant, intermediate, product, start_a, start_b, start_c]
    return Problem(domain, conditions, fields=("a", "b", "c"), reference=reference, solution_accuracy=3e-12)


def kinetics(method: Literal["Radau", "BDF"] = "Radau", tolerance: float = 1e-11) -> dict[str, np.ndarray]:
    """t (1001,) and y (1001, 3)."""

    def slope(t, y):
        a, b, c = y
        return log(10) * 10**t * np.array([b * c - 0.04 * a, 1e4 * (0.04 * a - b * c - 0.3 * b**2), 0.3 * b**2])

    def jacobian(t, y):
        _, b, c = y
        return log(10) * 10**t * np.array([[-0.04, c, b], [400, -1e4 * c - 6e3 * b, -1e4 * b], [0, 0.6 * b, 0]])

    t = np.linspace(-5, 5, 1001)
    found = solve_ivp(slope, (-5, 5), [1.0, 0.0, 0.0], method, t, rtol=tolerance, atol=tolerance / 100, jac=jacobian)
    return {"t": t, "y": found.y.T}
