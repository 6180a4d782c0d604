"""A breather of the nonlinear Schroedinger equation, i h_t + h_xx / 2 + |h|^2 h = 0, trained too briefly.

t in [0, pi / 2], x in [-5, 5], periodic; h = u + i v, h(0, x) = 2 sech(x). Reference: Strang splitting, 512 Fourier
modes, 4,000 steps, 1e-5; on the infinite line there is a formula (Satsuma & Yajima 1974), 0.7 % away.
Reported: the tutorial's code, run as it is, predicts something far from the solution. Setting there: tanh, 4 layers
of 100, normalized inputs, 20,000 points, 50 on the slice and 50 on the ends, Adam, and the trainer's default of 1,000
epochs; fewer points and a smaller network here.
True cause: too few steps.
Known by: the maintainer's answer, which is 60,000 epochs; it closed the report.
Public report: https://github.com/rezaakb/pinns-torch/issues/6
"""

from math import pi

import numpy as np
from torch import cosh

from pinntk import Box, GridSolution, Problem, initial, periodic_fields, residual


def problem() -> Problem:
    domain = Box(t=(0, pi / 2), x=(-5, 5))

    @residual(domain)
    def real_part(u, v, v_t, u_xx):
        return -v_t + u_xx / 2 + (u**2 + v**2) * u

    @residual(domain)
    def imaginary_part(u, v, u_t, v_xx):
        return u_t + v_xx / 2 + (u**2 + v**2) * v

    @initial(domain.at(t=0))
    def start_u(u, x):
        return u - 2 / cosh(x)

    @initial(domain.at(t=0))
    def start_v(v):
        return v

    fields = ("u", "v")
    conditions = [real_part, imaginary_part, start_u, start_v, *periodic_fields(domain.ends("x"), 1, fields)]
    return Problem(domain, conditions, fields, reference=splitting)


def splitting(modes: int = 512, rows: int = 101, between: int = 40) -> GridSolution:
    """u and v on [rows, modes + 1, 2]; `between` steps of the splitting from row to row."""
    x = np.linspace(-5, 5, modes + 1)
    t = np.linspace(0, pi / 2, rows)
    step = t[1] / between
    drift = np.exp(-0.5j * step * (2 * pi * np.fft.fftfreq(modes, 10 / modes)) ** 2)
    h = (2 / np.cosh(x[:-1])).astype(complex)
    table = [h]
    for _ in t[1:]:
        for _ in range(between):
            h = h * np.exp(0.5j * step * abs(h) ** 2)
            h = np.fft.ifft(drift * np.fft.fft(h))
            h = h * np.exp(0.5j * step * abs(h) ** 2)
        table.append(h)
    values = np.stack([np.append(row, row[0]) for row in table])
    return GridSolution((t, x), np.stack([values.real, values.imag], -1))
