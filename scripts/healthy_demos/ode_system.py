"""u_t = v, v_t = -u on [0, 10], u = 0 and v = 1 at t = 0. Exact: sin(t), cos(t). DeepXDE's demo ode_system."""

from torch import cos, sin

from pinntk import Box, Problem, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 10))

    @residual(domain)
    def first(u_t, v):
        return u_t - v

    @residual(domain)
    def second(v_t, u):
        return v_t + u

    @initial(domain.at(t=0))
    def start_u(u):
        return u

    @initial(domain.at(t=0))
    def start_v(v):
        return v - 1

    return Problem(domain, [first, second, start_u, start_v], fields=("u", "v"), exact=lambda t: (sin(t), cos(t)))
