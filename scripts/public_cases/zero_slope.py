"""Healthy, though reported: y_x = 0 on [0, 1], y = 0 at x = 0.

The solution is y = 0, and relative errors have no meaning; none is given here.
Reported: the prediction agrees with the solution, but y at x = 0 is 1e-5 and not 0. Setting there: the library's
example of an ODE; its network is not stated, tanh and 3 layers of 50 here.
True cause: none, a condition in the loss is met as well as the loss is minimized.
Known by: the maintainers' answers, which explain this and offer a hard constraint for those who want 0.
Public report: https://github.com/lululxvi/deepxde/issues/36
"""

from pinntk import Box, Problem, boundary, residual


def problem() -> Problem:
    domain = Box(x=(0, 1))

    @residual(domain)
    def level(y_x):
        return y_x

    @boundary(domain.at(x=0))
    def start(y):
        return y

    return Problem(domain, [level, start], fields=("y",))
