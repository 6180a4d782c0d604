"""Exponential decay by a network that ends in a relu: y_t = -y on [0, 2], y = 1 at t = 0.

Exact: y = exp(-t).
Reported: the loss stays where it is and the output is 0 everywhere. Setting there: relu in both layers of 16 and on
the output (`output` in cases.json), 21 equidistant points, Adam of 0.01, 1,000 steps; the derivative was also taken
of the wrong variable, which is not told here.
True cause: dead units. Where the last relu receives nothing but negative numbers, output and gradient are 0, for
good.
Known by: the answers there (relu reliably makes zero gradients; tanh trains), and the reporter's confirmation.
Public report: https://discourse.julialang.org/t/unable-to-solve-a-differential-equation-using-neural-network/103723
"""

from torch import exp

from pinntk import Box, Problem, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 2))

    def exact(t):
        return exp(-t)

    @residual(domain)
    def decay(y, y_t):
        return y_t + y

    @initial(domain.at(t=0))
    def start(y):
        return y - 1

    return Problem(domain, [decay, start], fields=("y",), exact=exact)
