"""A forced oscillator over 50 units of time: y'' + 0.2 (y^2 - 1) y' - y + y^3 = 0.53 cos(t).

y = 0.1 and y' = -0.2 at t = 0. Domain t in [0, 50]. Reference: Dormand-Prince of order 8, 1e-11; an error of 1e-6 at
the start has grown 20,000 times at t = 40.
Reported: not the proper result on a large domain. Setting there: neurodiffeq, tanh, one layer of 50, 300 points, Adam
of 0.001, 5,000 epochs, t as it is; better, and still wrong, once t was divided by 50.
True cause: raw inputs of up to 50, which saturate units with weights of order 1; and, once they are scaled, a long
horizon that is learned from its start.
Known by: the maintainer's answer (scale t, or the first weights), and the reporter's second result.
Public report: https://github.com/NeuroDiffGym/neurodiffeq/issues/90
"""

import numpy as np
from scipy.integrate import solve_ivp
from torch import cos

from pinntk import Box, GridSolution, Problem, initial, residual


def problem(end: float = 50.0) -> Problem:
    domain = Box(t=(0, end))

    def reference():
        t = np.linspace(0, end, 2001)

        def slopes(t, y):
            return [y[1], -0.2 * (y[0] ** 2 - 1) * y[1] + y[0] - y[0] ** 3 + 0.53 * np.cos(t)]

        return GridSolution((t,), solve_ivp(slopes, (0, end), [0.1, -0.2], "DOP853", t, rtol=1e-11, atol=1e-12).y[0])

    @residual(domain)
    def oscillator(y, y_t, y_tt, t):
        return y_tt + 0.2 * (y**2 - 1) * y_t - y + y**3 - 0.53 * cos(t)

    @initial(domain.at(t=0))
    def start(y):
        return y - 0.1

    @initial(domain.at(t=0))
    def speed(y_t):
        return y_t + 0.2

    return Problem(domain, [oscillator, start, speed], fields=("y",), reference=reference)
