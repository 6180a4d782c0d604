"""A PDE of your own, solved and drawn: advection and diffusion, u_t + u_x = 0.05 u_xx.

    python examples/own_pde.py

Ten seconds on two cores; writes own_pde.png.
"""

from __future__ import annotations

from math import pi

import torch

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk.reporting import plot


def problem(speed: float = 1.0, diffusion: float = 0.05) -> Problem:
    """A wave that moves and fades. The argument names of an operator say what it reads."""
    domain = Box(t=(0, 1), x=(0, 2))

    @residual(domain)
    def transport(u_t, u_x, u_xx):
        return u_t + speed * u_x - diffusion * u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - torch.sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u, t, x):
        return u - exact(t, x)

    def exact(t, x):
        return torch.exp(-diffusion * pi**2 * t) * torch.sin(pi * (x - speed * t))

    return Problem(domain, [transport, start, walls], exact=exact, name="advection and diffusion")


def main(steps: int = 20, speed: float = 1.0, figure: str = "own_pde.png") -> pinntk.Run:
    pde = problem(speed)
    for finding in pinntk.check(pde):  # before any training: can it be solved as it is stated?
        print(finding)
    network = pinntk.nn.MLP(pde, width=20, depth=2, dtype=torch.float64)
    run = pinntk.train(pde, network, optimizer="gauss-newton", steps=steps, points={"residual": 200}, progress=False)
    print(f"{run.step} steps, {run.seconds:.0f} s, relative L2 error {run.relative_error:.1e}")
    plot.write(plot.solution(pde, network), figure)
    return run


if __name__ == "__main__":
    main()
