"""u_t = u_xx + exp(-t) sum over i = 2, 3, 4, 8 of (i - 1 / i) sin(i x) on [-pi, pi] x [0, 1], u = 0 at both ends.

Exact: exp(-t) sum over i = 1, 2, 3, 4, 8 of sin(i x) / i. Met by construction are ends and start, u(x, 0) + t (pi^2 -
x^2) N(x, t). DeepXDE's demo diffusion_reaction.
"""

from math import pi

from torch import exp, nn, sin

from pinntk import Box, Problem, residual
from pinntk.nn import MLP, HardConstraint

WAVES = (1, 2, 3, 4, 8)


def problem() -> Problem:
    domain = Box(x=(-pi, pi), t=(0, 1))

    @residual(domain)
    def reaction(u_t, u_xx, x, t):
        return u_t - u_xx - exp(-t) * sum((i - 1 / i) * sin(i * x) for i in WAVES)

    return Problem(domain, [reaction], exact=lambda x, t: exp(-t) * sum(sin(i * x) / i for i in WAVES))


def network(problem: Problem, **options) -> nn.Module:
    return HardConstraint(
        problem,
        MLP(problem, **options),
        offset=lambda x, t: sum(sin(i * x) / i for i in WAVES),
        factor=lambda x, t: t * (pi**2 - x**2),
    )
