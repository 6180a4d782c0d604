"""Nonlinear Schrodinger equation: i h_t + h_xx / 2 + |h|^2 h = 0 on [0, pi/2] x [-5, 5], h(0, x) = 2 sech(x), periodic in x.

Fields u and v with h = u + i v. Raissi, Perdikaris & Karniadakis 2019; Urban, Stefanou & Pons 2025 have width = 15, not 5. The
start is two solitons at one place: |h| grows to 4 at x = 0 and t = pi / 4, where it is narrow. As a periodic function it has a
kink: its slope jumps at the ends by 8 exp(-width), 0.054 for 5, which then runs through the domain as waves of all lengths. The
reference is a Fourier solution (splitting of order 4, below); its relative L2 error by doubling modes and steps is 4e-7 for
width 5, where the shortest of those waves are cut off, and 1e-9 for 15.
"""

from math import exp, pi

import numpy as np
import torch
from scipy.fft import fft, fftfreq, ifft

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual


def problem(width: float = 5.0) -> Problem:
    if not 4 <= width <= 20:
        raise ValueError(f"width={width}: from 4, for the jump of the slope at the ends to be small, to 20, for the reference")
    domain = Box(t=(0, pi / 2), x=(-width, width))

    @residual(domain)
    def real(u, v, u_xx, v_t):
        return -v_t + u_xx / 2 + (u**2 + v**2) * u

    @residual(domain)
    def imaginary(u, v, v_xx, u_t):
        return u_t + v_xx / 2 + (u**2 + v**2) * v

    @initial(domain.at(t=0))
    def start_u(u, x):
        return u - 2 / torch.cosh(x)

    @initial(domain.at(t=0))
    def start_v(v):
        return v

    def reference():
        arrays = cached(f"schrodinger-v1-width{width:.17g}", lambda: splitting(width, 2048, 20))
        return GridSolution((arrays["t"], arrays["x"]), np.stack([arrays["u"], arrays["v"]], -1))

    conditions = [real, imaginary, start_u, start_v, *periodic_fields(domain.ends("x"), 1, ("u", "v"))]
    accuracy = 1e-9 + 4e-7 * exp(5 - width) * (width / 5) ** 1.5
    return Problem(domain, conditions, fields=("u", "v"), reference=reference, solution_accuracy=accuracy)


def splitting(width: float, points: int, steps: int) -> dict[str, np.ndarray]:
    """t (101,), x (257,), u and v (101, 257) from a grid of `points`, a multiple of 256, and `steps` from one t to the next.

    h_xx / 2 turns Fourier coefficients, |h|^2 h turns values, both exactly: Suzuki's composition of five symmetric steps. An
    exponential Runge-Kutta method would take |h|^2 h for slow, which it is not in the waves that come from the ends.
    """
    t, x = np.linspace(0, pi / 2, 101), np.linspace(-width, width, points + 1)
    k = pi / width * fftfreq(points, 1 / points)
    fine = fft(2 / np.cosh(np.linspace(-width, width, 16 * points, endpoint=False))) / 16  # the kink's coefficients, unaliased
    h = ifft(np.concatenate([fine[: points // 2], fine[-points // 2 :]]))
    share = 1 / (4 - 4 ** (1 / 3))
    shares = np.array([share, share, 1 - 4 * share, share, share]) * t[1] / steps
    spins = np.exp(-0.5j * k**2 * shares[:, None])
    found = [h]
    for _ in t[1:]:
        for _ in range(steps):
            for dt, spin in zip(shares, spins, strict=True):
                h = ifft(spin * fft(h * np.exp(0.5j * dt * abs(h) ** 2)))
                h = h * np.exp(0.5j * dt * abs(h) ** 2)
        found.append(h)
    every = points // 256
    h = np.stack(found)[:, ::every]
    h[0] = 2 / np.cosh(x[:-1:every])
    h = np.concatenate([h, h[:, :1]], 1)
    return {"t": t, "x": x[::every], "u": h.real, "v": h.imag}
