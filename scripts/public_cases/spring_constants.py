"""Friction and stiffness of a damped spring from readings: x'' + mu x' + k x = 0 on t in [0, 1], true mu = 4, k = 400.

Readings of x at 10 times in [0, 0.36], no noise, weight 10^4 beside the equation's 1; nothing else says where x
starts. Exact: x = exp(-2 t) (cos(w t) + 2 / w sin(w t)), w = sqrt(396).
Reported: with mu and k as unknowns beside the network the training does not converge; a second user got good curves
and inaccurate mu and k after 500,000 steps and more. Setting there: tanh, 3 layers of 32, 30 points in [0, 1], Adam
of 1e-4 (1e-3 here), mu and k trained at the network's rate; where they start is not stated, 1 here.
True cause: scales. k is 400 times what a unit-sized parameter is, and moves by a learning rate a step.
Known by: arithmetic (Adam of 1e-4 needs 4 million steps from 1 to 400), and the second user's remark that x, mu and k
differ by factors of 10 and 100.
Public report: https://github.com/benmoseley/harmonic-oscillator-pinn/issues/6
"""

from math import sqrt

import numpy as np
from torch import cos, exp, sin

from pinntk import Box, Problem, data, residual


def problem() -> Problem:
    domain = Box(t=(0, 1))
    w = sqrt(400 - 4)
    times = np.linspace(0, 0.36, 10)

    def exact(t):
        return exp(-2 * t) * (cos(w * t) + 2 / w * sin(w * t))

    @residual(domain)
    def spring(x, x_t, x_tt, mu, k):
        return x_tt + mu * x_t + k * x

    @data(domain, times, seen=np.exp(-2 * times) * (np.cos(w * times) + 2 / w * np.sin(w * times)))
    def readings(x, seen):
        return x - seen

    return Problem(domain, [spring, readings], fields=("x",), exact=exact, coefficients={"mu": 1.0, "k": 1.0})
