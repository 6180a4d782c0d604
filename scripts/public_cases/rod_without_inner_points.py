"""A straight line with an equation at its ends only: y_xx = 0 on [0, 5], y = 1 at x = 0, y = 0 at x = 5.

Exact: y = 1 - x / 5. The points of the equation are the two ends, as a library does where 0 points inside and 2 on
the boundary are asked for (sampling "grid" with 2 points).
Reported: good on [0, 1], wrong on [0, 5] and on longer domains, and asked whether the library depends on scales.
Network and end values are not stated; tanh, 3 layers of 20 and those above here.
True cause: too few points. y_xx = 0 at two points leaves a network free to bend between them; on [0, 1] it happens to
be nearly straight.
Known by: the report's counts, and by its next case, which is better with 5 points inside.
Public report: https://github.com/lululxvi/deepxde/issues/794
"""

from pinntk import Box, Problem, boundary, residual


def problem(length: float = 5.0) -> Problem:
    domain = Box(x=(0, length))

    def exact(x):
        return 1 - x / length

    @residual(domain)
    def straight(y_xx):
        return y_xx

    @boundary(domain.ends("x"))
    def ends(y, x):
        return y - 1 + x / length

    return Problem(domain, [straight, ends], fields=("y",), exact=exact)
