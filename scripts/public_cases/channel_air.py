"""Air in a channel, in SI units: u_x = 0 and u_xx + u_yy = dp / mu + (rho / mu) u u_x, u = 0 at both walls.

x in [0, 1] m, y in [0, 0.1] m; rho = 1.145, mu = 1.895e-5, mean velocity 0.1655 m/s (Reynolds 1000 on the height), dp
= -12 mu U / H^2. Exact: u = 6 U (y / H) (1 - y / H), up to 0.25.
Reported: with the convective term the network does not come near the profile; with 1 in the place of (rho / mu) u it
does. Setting there: 100 steps of Adam, 1,000 of BFGS; the network is not stated, 2 layers of 16 sigmoids as in that
library's examples here.
True cause: units. rho / mu = 60,000 multiplies u u_x, which should vanish, and dp / mu is -200 where u is 0.25.
Known by: the reporter's comparison; a maintainer saw u go to 0, and advised more points.
Public report: https://github.com/SciML/NeuralPDE.jl/issues/456
"""

from pinntk import Box, Problem, boundary, residual


def problem(rho: float = 1.145, mu: float = 1.895e-5, reynolds: float = 1000.0, height: float = 0.1) -> Problem:
    domain = Box(x=(0, 1), y=(0, height))
    mean = reynolds * mu / rho / height
    push = -12 * mean * mu / height**2

    def exact(y):
        return 6 * mean * y / height * (1 - y / height)

    @residual(domain)
    def continuity(u_x):
        return u_x

    @residual(domain)
    def momentum(u, u_x, u_xx, u_yy):
        return u_xx + u_yy - push / mu - rho / mu * u * u_x

    @boundary(domain.ends("y"))
    def walls(u):
        return u

    return Problem(domain, [continuity, momentum, walls], exact=exact)
