"""A porous square whose inlet and outlet are also closed: p_xx + p_yy = 0, p = 5 at y = 0, p = 10 at y = 1.

On [0, 1]^2. Meant: no flow through x = 0 and x = 1, p = 5 + 5 y. Stated: no flow, p_n = 0, on all four sides.
Reported: the vertical derivative is forced to 0 as well, and the result makes no sense. Network, points and steps are
not stated in full; the values in cases.json are chosen here.
True cause: contradictory conditions. Where the pressure is given at y = 0 and y = 1, something flows through.
Known by: the reporter's own words for it, and by the meant solution, whose p_n is 5 there.
Public report: https://github.com/lululxvi/deepxde/issues/554
"""

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(y):
        return 5 + 5 * y

    @residual(domain)
    def darcy(lap_p):
        return lap_p

    @boundary(domain.at(y=0))
    def outlet(p):
        return p - 5

    @boundary(domain.at(y=1))
    def inlet(p):
        return p - 10

    @boundary(domain.boundary())
    def no_flow(p_n):
        return p_n

    return Problem(domain, [darcy, outlet, inlet, no_flow], fields=("p",), exact=exact)
