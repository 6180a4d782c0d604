"""Lotka-Volterra equations: r' = T r (2 - 8 p), p' = T p (4 r - 1.06) on [0, 1], r(0) = 0.5, p(0) = 0.075.

DeepXDE's Lotka_Volterra: prey r and predators p in units of 200, time in units of T = `duration`, four and a half periods for
T = 20, with steep rises between long lows. A network that is wrong early is wrong, or zero, ever after. The reference is that
of Dormand-Prince of order 8 with a relative tolerance of 1e-13; with a third of it and short steps it agrees to 1e-13, and
4 r - 1.06 log r + 8 p - 2 log p stays the same to 1e-11.
"""

import numpy as np
from scipy.integrate import solve_ivp

from pinntk import Box, GridSolution, Problem, initial, residual


def problem(duration: float = 20.0) -> Problem:
    if not duration > 0:
        raise ValueError(f"duration={duration}: a positive number")
    domain = Box(t=(0, 1))

    def rates(r, p):
        return duration * r * (2 - 8 * p), duration * p * (4 * r - 1.06)

    @residual(domain)
    def prey(r, p, r_t):
        return r_t - rates(r, p)[0]

    @residual(domain)
    def predators(r, p, p_t):
        return p_t - rates(r, p)[1]

    @initial(domain.at(t=0))
    def start_r(r):
        return r - 0.5

    @initial(domain.at(t=0))
    def start_p(p):
        return p - 0.075

    def reference():
        t = np.linspace(0, 1, 1001)
        found = solve_ivp(lambda _, y: rates(*y), (0, 1), [0.5, 0.075], "DOP853", t, rtol=1e-13, atol=1e-15)
        return GridSolution((t,), found.y.T)

    return Problem(domain, [prey, predators, start_r, start_p], fields=("r", "p"), reference=reference)
