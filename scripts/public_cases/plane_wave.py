"""A plane wave over six wavelengths: u_xx + u_zz + k^2 u = 0, k = 2 pi, x in [0, 1], z in [0, 6].

u = cos(k z) on all sides. Exact: u = cos(k z).
Reported: about one period is learned well; a longer domain in z, or a larger permittivity, never converges, and the
reporter asks for more points. Network, points and steps are not stated there; the values in cases.json are chosen
here.
True cause: spectral bias.
Known by: nothing but the number of periods was changed; the maintainers' pointers for such waves are Fourier features
and a network for high frequencies (issue 578 there).
Public report: https://github.com/lululxvi/deepxde/issues/649 (first question)
"""

from math import pi

from torch import cos

from pinntk import Box, Problem, boundary, residual


def problem(waves: int = 6) -> Problem:
    domain = Box(x=(0, 1), z=(0, waves))
    k = 2 * pi

    def exact(z):
        return cos(k * z)

    @residual(domain)
    def helmholtz(u, u_xx, u_zz):
        return u_xx + u_zz + k**2 * u

    @boundary(domain.boundary())
    def incoming(u, z):
        return u - cos(k * z)

    return Problem(domain, [helmholtz, incoming], exact=exact)
