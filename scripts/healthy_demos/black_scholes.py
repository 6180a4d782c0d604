"""A European call, V_t = 0.02 S^2 V_SS + 0.05 S V_S - 0.05 V, S in [0, 150], time to maturity t in [0, 1], strike 50.

V = max(S - 50, 0) at t = 0, 0 at S = 0 and S - 50 exp(-0.05 t) at S = 150. Exact by the formula of Black and Scholes, as
the limit where t or S is 0. The network sees dollars and gives dollars. DeepXDE's demo black_scholes_call.
"""

import torch
from torch import erf, exp, log, sqrt

from pinntk import Box, Problem, boundary, initial, residual

STRIKE, RATE, VOLATILITY = 50.0, 0.05, 0.2


def problem() -> Problem:
    domain = Box(S=(0, 150), t=(0, 1))

    def exact(S, t):
        t, S = t.clamp(min=1e-8), S.clamp(min=1e-10)
        d = (log(S / STRIKE) + (RATE + VOLATILITY**2 / 2) * t) / (VOLATILITY * sqrt(t))
        return S * _normal(d) - STRIKE * exp(-RATE * t) * _normal(d - VOLATILITY * sqrt(t))

    @residual(domain)
    def black_scholes(V, V_t, V_S, V_SS, S):
        return V_t - (VOLATILITY**2 / 2 * S**2 * V_SS + RATE * S * V_S - RATE * V)

    @initial(domain.at(t=0))
    def payoff(V, S):
        return V - torch.relu(S - STRIKE)

    @boundary(domain.at(S=0))
    def worthless(V):
        return V

    @boundary(domain.at(S=150))
    def deep(V, S, t):
        return V - (S - STRIKE * exp(-RATE * t))

    return Problem(domain, [black_scholes, payoff, worthless, deep], fields=("V",), exact=exact)


def _normal(d):
    return (1 + erf(d / 2**0.5)) / 2
