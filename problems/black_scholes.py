"""Black-Scholes equation: u_t = sigma^2 s^2 u_ss / 2 + r s u_s - r u on [0, 1] x [0, 2], u(0, s) = max(s - 1, 0).

A European call: s is the price of the share and u that of the option, in units of the strike, t the time left to expiry, in
years; u is given at both ends. The start has a kink at s = 1, from which u_ss grows as 1 / sqrt(t): no smooth network meets
start and equation together, and errors stay where s = 1 and t is small. Exact solution (Black & Scholes 1973): u = s N(d)
- exp(-r t) N(d - sigma sqrt(t)) with d = (log(s) + (r + sigma^2 / 2) t) / (sigma sqrt(t)) and N the normal distribution.
"""

import torch
from torch import exp, log, relu, sqrt
from torch.special import ndtr

from pinntk import Box, Problem, boundary, initial, residual


def problem(sigma: float = 0.4, r: float = 0.05) -> Problem:
    if not sigma > 0:
        raise ValueError(f"sigma={sigma}: a positive number; without it, nothing is uncertain")
    domain = Box(t=(0, 1), s=(0, 2))

    def exact(t, s):
        left = torch.where(t > 0, t, 1)  # of times at which the formula is not asked
        price = torch.where(s > 0, s, 1)
        d = (log(price) + (r + sigma**2 / 2) * left) / (sigma * sqrt(left))
        u = price * ndtr(d) - exp(-r * left) * ndtr(d - sigma * sqrt(left))
        return torch.where((t > 0) & (s > 0), u, relu(s - 1))

    @residual(domain)
    def black_scholes(u, u_t, u_s, u_ss, s):
        return u_t - sigma**2 / 2 * s**2 * u_ss - r * s * u_s + r * u

    @initial(domain.at(t=0))
    def payoff(u, s):
        return u - relu(s - 1)

    @boundary(domain.ends("s"))
    def ends(u, t, s):
        return u - exact(t, s)

    return Problem(domain, [black_scholes, payoff, ends], exact=exact)
