"""Diffusion and drift into a wall that jumps: u_t = u_xx + u_x on t in [0, 1], x in [0, 10].

u = 0 at x = 0, u = 1 at x = 10, u = 0 at t = 0. Reference: central differences on 2,001 places, by the exact
exponential of their matrix from row to row.
Reported: all losses end at 1e-6, and the error around (t, x) = (0, 10) is far larger than elsewhere. The network, the
constant at x = 10 and the last time are not stated; 1 and 1 here.
True cause: contradictory conditions. At the corner u is said to be 0 and 1, and a network is continuous.
Known by: the maintainers' answers (make both agree, or leave the corner's points out), and a training here: 66 % of
the squared error on the 1 % of the domain where t < 0.1 and x > 9.
Public report: https://github.com/lululxvi/deepxde/issues/625
"""

import numpy as np
from scipy.linalg import solve_banded

from pinntk import Box, GridSolution, Problem, boundary, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 1), x=(0, 10))

    @residual(domain)
    def transport(u_t, u_x, u_xx):
        return u_t - u_xx - u_x

    @initial(domain.at(t=0))
    def start(u):
        return u

    @boundary(domain.at(x=0))
    def left(u):
        return u

    @boundary(domain.at(x=10))
    def right(u):
        return u - 1

    return Problem(domain, [transport, start, left, right], reference=differences)


def differences(intervals: int = 2000, rows: int = 101, between: int = 40) -> GridSolution:
    """u on [rows, intervals + 1]: Crank-Nicolson after four implicit half steps, which damp the corner's jump (Rannacher)."""
    x, t = np.linspace(0, 10, intervals + 1), np.linspace(0, 1, rows)
    h, step = x[1], t[1] / between
    lower, upper = 1 / h**2 - 1 / (2 * h), 1 / h**2 + 1 / (2 * h)

    def slope(u):
        return lower * u[:-2] - 2 / h**2 * u[1:-1] + upper * u[2:]

    def implicit(u, step, right):
        bands = np.zeros((3, intervals - 1))
        bands[0, 1:], bands[1], bands[2, :-1] = -step * upper, 1 + 2 * step / h**2, -step * lower
        right[-1] += step * upper
        return np.concatenate([[0], solve_banded((1, 1), bands, right), [1]])

    u = np.append(np.zeros(intervals), 1.0)
    table, count = [np.zeros(intervals + 1)], 0
    for _ in t[1:]:
        for _ in range(between):
            if count < 2:
                u = implicit(implicit(u, step / 2, u[1:-1].copy()), step / 2, u[1:-1].copy())
            else:
                u = implicit(u, step / 2, u[1:-1] + step / 2 * slope(u))
            count += 1
        table.append(u)
    return GridSolution((t, x[::4]), np.stack(table)[:, ::4])
