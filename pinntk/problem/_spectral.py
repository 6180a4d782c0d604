"""Reference solutions of periodic evolutions, by Fourier coefficients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_CIRCLE = 32  # points of a contour: the coefficients are then right to rounding


def etdrk4(
    symbol: np.ndarray,
    nonlinear: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    times: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Coefficients c(t) with c' = symbol c + nonlinear(c) at all `times`: (len(times), *start.shape), complex.

    The exponential Runge-Kutta method of order 4 by Cox & Matthews 2002, whose coefficients are means over circles in the
    complex plane (Kassam & Trefethen 2005). What is linear is solved exactly, however stiff.

    symbol: what multiplies each coefficient, of a shape that broadcasts to that of `start`
    nonlinear: the rest of the right-hand side, from coefficients to coefficients
    start: the coefficients at times[0]
    times: increasing, equally spaced
    steps: how many from one of the times to the next. The error falls as steps^-4: see by doubling them

    Raises ValueError for times that are not equally spaced, and ArithmeticError where the solution blows up: more steps help.

    >>> x = 2 * np.pi * np.arange(32) / 32  # Burgers' equation, u_t + u u_x = u_xx, from sin(x)
    >>> k = np.arange(17)
    >>> def steepening(c):
    ...     return -0.5j * k * np.fft.rfft(np.fft.irfft(c) ** 2)
    >>> c = etdrk4(-(k**2), steepening, np.fft.rfft(np.sin(x)), np.linspace(0, 1, 3), steps=20)
    >>> print(np.fft.irfft(c).max(1).round(4))
    [1.     0.6035 0.3612]
    """
    times = np.asarray(times, float)
    h = (times[-1] - times[0]) / max(len(times) - 1, 1) / steps
    if not np.allclose(np.diff(times), h * steps, rtol=1e-9, atol=0) or not h > 0:
        raise ValueError(f"times from {times[0]} to {times[-1]}: give equally spaced, increasing ones, as np.linspace does")
    whole, half, q, first, middle, last = _coefficients(h * np.asarray(symbol))
    q, first, middle, last = h * q, h * first, 2 * h * middle, h * last
    c = np.array(start, complex)
    found = [c]
    for time in times[1:]:
        for _ in range(steps):
            n_c = nonlinear(c)
            a = half * c + q * n_c
            n_a = nonlinear(a)
            n_b = nonlinear(half * c + q * n_a)
            n_d = nonlinear(half * a + q * (2 * n_b - n_c))
            c = whole * c + first * n_c + middle * (n_a + n_b) + last * n_d
        if not np.isfinite(c).all():
            raise ArithmeticError(f"the solution has blown up before t = {time:g} with steps={steps}; take more")
        found.append(c)
    return np.stack(found)


def _coefficients(z: np.ndarray) -> list[np.ndarray]:
    """exp(z), exp(z / 2) and the four weights of stages at z = h symbol; their formulas alone lose all digits near 0."""
    total: list[np.ndarray] = [np.zeros(z.shape, complex) for _ in range(4)]
    for point in np.exp(2j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE):
        w = z + point
        e = np.exp(w)
        total[0] += (np.exp(w / 2) - 1) / w
        total[1] += (-4 - w + e * (4 - 3 * w + w**2)) / w**3
        total[2] += (2 + w + e * (w - 2)) / w**3
        total[3] += (-4 - 3 * w - w**2 + e * (4 - w)) / w**3
    means = [part / _CIRCLE if np.iscomplexobj(z) else part.real / _CIRCLE for part in total]
    return [np.exp(z), np.exp(z / 2), *means]
