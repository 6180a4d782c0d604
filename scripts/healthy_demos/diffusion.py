"""u_t = u_xx - exp(-t) (1 - pi^2) sin(pi x) on [-1, 1] x [0, 1], u = 0 at both ends, u = sin(pi x) at t = 0.

Exact: exp(-t) sin(pi x). With `hard` the conditions are met by construction, u = sin(pi x) + t (1 - x^2) N(x, t).
DeepXDE's demos diffusion_1d, diffusion_1d_exactBC and diffusion_1d_resample.
"""

from math import pi

from torch import exp, nn, sin

from pinntk import Box, Problem, boundary, initial, residual
from pinntk.nn import MLP, HardConstraint


def problem(hard: bool = False) -> Problem:
    domain = Box(x=(-1, 1), t=(0, 1))

    @residual(domain)
    def diffusion(u_t, u_xx, x, t):
        return u_t - u_xx + exp(-t) * (1 - pi**2) * sin(pi * x)

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    conditions = [diffusion] if hard else [diffusion, ends, start]
    return Problem(domain, conditions, exact=lambda x, t: exp(-t) * sin(pi * x))


def network(problem: Problem, **options) -> nn.Module:
    plain = MLP(problem, **options)
    if len(problem.conditions) > 1:
        return plain
    return HardConstraint(problem, plain, offset=lambda x, t: sin(pi * x), factor=lambda x, t: t * (1 - x**2))
