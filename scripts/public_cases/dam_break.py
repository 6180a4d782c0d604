"""A dam of 5 millimeters breaks, in meters: h_t + (h u)_x = 0, (h u)_t + (h u^2 + g h^2 / 2)_x = 0.

t in [0, 6] s, x in [0, 10] m; h = 0.005 for x < 5 and 0.001 beyond, u = 0 at t = 0; both as at the start at the ends.
Exact: a fan and a shock (Stoker 1957).
Reported: a loss of 4e-7 after 10,000 steps of Adam, L-BFGS stops after 13 more, and the solution is far off. Setting
there: tanh, 8 layers of 40, 150,000 points on a grid; a smaller network and fewer points here.
True cause: units. With h of 0.005 the second equation's terms are of 1e-4 and the jump's square is 1e-5: a loss of
1e-7 is as much as there is to gain. The jump makes it hard besides.
Known by: arithmetic; the reporter went on to multiply h by 1,000. Here, the same steps on h / 0.005, u / 0.22, x / 5
leave errors of 0.11 in h and 0.72 in u, where meters leave 0.53 and 0.99.
Public report: https://github.com/lululxvi/deepxde/issues/247
"""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import where

from pinntk import Box, Problem, boundary, initial, residual

G = 9.81


def problem(left: float = 0.005, right: float = 0.001) -> Problem:
    domain = Box(t=(0, 6), x=(0, 10))

    @residual(domain)
    def mass(h, u, h_t, h_x, u_x):
        return h_t + u * h_x + h * u_x

    @residual(domain)
    def momentum(h, u, h_t, u_t, h_x, u_x):
        return h * u_t + u * h_t + u**2 * h_x + 2 * h * u * u_x + G * h * h_x

    @initial(domain.at(t=0))
    def start_h(h, x):
        return h - where(x < 5, left, right)

    @initial(domain.at(t=0))
    def start_u(u):
        return u

    @boundary(domain.ends("x"))
    def ends_h(h, x):
        return h - where(x < 5, left, right)

    @boundary(domain.ends("x"))
    def ends_u(u):
        return u

    conditions = [mass, momentum, start_h, start_u, ends_h, ends_u]
    return Problem(domain, conditions, fields=("h", "u"), exact=stoker(left, right))


def stoker(left: float, right: float):
    """h and u of (x - 5) / t: still water, a fan, a plateau (h_m, u_m) up to the shock, still water."""
    c_l = np.sqrt(G * left)

    def mismatch(h):  # the fan's u less the shock's
        return 2 * (c_l - np.sqrt(G * h)) - (h - right) * np.sqrt(G / 2 * (1 / h + 1 / right))

    h_m = brentq(mismatch, right, left, xtol=1e-16)
    c_m = np.sqrt(G * h_m)
    u_m = 2 * (c_l - c_m)
    shock = h_m * u_m / (h_m - right)

    def exact(t, x):
        s = (x - 5) / t.clamp(min=1e-9)
        h, u = torch.full_like(s, left), torch.zeros_like(s)
        fan, plateau, still = (s > -c_l) & (s < u_m - c_m), (s >= u_m - c_m) & (s < shock), s >= shock
        h, u = where(fan, ((2 * c_l - s) / 3) ** 2 / G, h), where(fan, 2 / 3 * (c_l + s), u)
        h, u = where(plateau, h_m, h), where(plateau, u_m, u)
        return where(still, right, h), where(still, 0.0, u)

    return exact
