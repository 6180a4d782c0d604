"""An epidemic counted in persons: S' = -b S I / N, I' = b S I / N - g I, R' = g I, N = 7,900,010.

t in [0, 150] days, true b = 0.5, g = 0.33; S = N - 10, I = 10, R = 0 at t = 0; S, I and R of every day are given, b
and g are sought. Reference: DOP853, 1e-10.
Reported: the parameters are not found; the reporter kept days and persons as they are on purpose. Setting there:
after a paper on systems biology, with 150 days of data; the network is not stated in full, tanh and 3 layers of 32
here, and b and g from 0.1.
True cause: units. Networks whose outputs are of order 1 have to reach 8 million by steps of 0.001, and t runs to 150.
Known by: arithmetic, and the maintainer's standing advice on such reports, to scale both.
Public report: https://github.com/lululxvi/deepxde/issues/515
"""

import numpy as np
from scipy.integrate import solve_ivp

from pinntk import Box, GridSolution, Problem, data, initial, residual

N, CONTACT, RECOVERY = 7_900_010, 0.5, 0.33


def problem() -> Problem:
    domain = Box(t=(0, 150))
    days = np.arange(1, 151)
    S_seen, I_seen, R_seen = course(days)

    def reference():
        t = np.linspace(0, 150, 1501)
        return GridSolution((t,), course(t).T)

    @residual(domain)
    def susceptible(S, I, S_t, b):  # noqa: E741
        return S_t + b * S * I / N

    @residual(domain)
    def infected(S, I, I_t, b, g):  # noqa: E741
        return I_t - b * S * I / N + g * I

    @residual(domain)
    def recovered(I, R_t, g):  # noqa: E741
        return R_t - g * I

    @initial(domain.at(t=0))
    def start_S(S):
        return S - (N - 10)

    @initial(domain.at(t=0))
    def start_I(I):  # noqa: E741
        return I - 10

    @initial(domain.at(t=0))
    def start_R(R):
        return R

    @data(domain, days, seen=S_seen)
    def counted_S(S, seen):
        return S - seen

    @data(domain, days, seen=I_seen)
    def counted_I(I, seen):  # noqa: E741
        return I - seen

    @data(domain, days, seen=R_seen)
    def counted_R(R, seen):
        return R - seen

    conditions = [susceptible, infected, recovered, start_S, start_I, start_R, counted_S, counted_I, counted_R]
    unknown = {"b": 0.1, "g": 0.1}
    return Problem(domain, conditions, fields=("S", "I", "R"), reference=reference, coefficients=unknown)


def course(t: np.ndarray) -> np.ndarray:
    """S, I and R at t, (3, len(t)), as shares of N within, since the tolerance is for those."""

    def slopes(_, y):
        return [-CONTACT * y[0] * y[1], CONTACT * y[0] * y[1] - RECOVERY * y[1], RECOVERY * y[1]]

    start = [1 - 10 / N, 10 / N, 0]
    return N * solve_ivp(slopes, (0, 150), start, "DOP853", t, rtol=1e-10, atol=1e-14).y
