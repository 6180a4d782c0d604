"""Coefficients of Burgers' equation from readings with mixed-up times: u_t + l1 u u_x = l2 u_xx.

t in [0, 0.99], x in [-1, 1]. True l1 = 1, l2 = 0.01 / pi; u(0, x) = -sin(pi x), which only the readings say. Exact:
Cole-Hopf, 100 nodes of Gauss-Hermite. 400 readings of the exact u on 256 places and 100 times. The places were
flattened in the order of the table of u, the times in that of its transpose, so that every u carries a right x and,
mostly, a wrong t.
Reported: l1 = 0.03 and l2 = 4e-5 after 10,000 epochs of Adam of 0.001; a mistake in the reshaping is suspected and
not seen. Where l1 and l2 start, the network and the points are not stated; chosen here.
True cause: contradictory data.
Known by: a reading of the report's lines: a table (256, 100) of x, one of (100, 256) for t. Told so, a training here
ends at l1 = 0.04 and l2 = 5e-4.
Public report: https://github.com/ehsanhaghighat/sciann-applications/issues/20
"""

from math import pi

import numpy as np
import torch
from torch import sin

from pinntk import Box, Problem, data, residual

NU = 0.01 / pi
NODES, SHARES = map(torch.from_numpy, np.polynomial.hermite.hermgauss(100))


def exact(t, x):
    """-E[sin(pi y)] over y = x - sqrt(4 NU t) z, z ~ exp(-z^2 - cos(pi y) / (2 pi NU))."""
    y = x[..., None] - torch.sqrt(4 * NU * t)[..., None] * NODES.to(x)
    share = torch.softmax(torch.log(SHARES).to(x) - torch.cos(pi * y) / (2 * pi * NU), -1)
    return -(share * sin(pi * y)).sum(-1)


def problem(readings: int = 400, scrambled: bool = True) -> Problem:
    domain = Box(t=(0, 0.99), x=(-1, 1))
    places, times = np.linspace(-1, 1, 256), np.linspace(0, 0.99, 100)
    chosen = np.sort(np.random.default_rng(0).choice(256 * 100, readings, replace=False))
    x, t = places[chosen // 100], times[chosen % 100]
    u = exact(torch.from_numpy(t), torch.from_numpy(x)).numpy()
    told = times[chosen // 256] if scrambled else t

    @residual(domain)
    def burgers(u, u_t, u_x, u_xx, l1, l2):
        return u_t + l1 * u * u_x - l2 * u_xx

    @data(domain, np.column_stack([told, x]), seen=u)
    def seen_u(u, seen):
        return u - seen

    return Problem(domain, [burgers, seen_u], exact=exact, coefficients={"l1": 0.5, "l2": 0.05})
