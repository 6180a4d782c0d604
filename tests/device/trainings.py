"""A problem, and trainings of it on a device or the CPU."""

from __future__ import annotations

from math import pi

import torch

import pinntk
from tests.device.on_device import F64

BOX = pinntk.Box(t=(0, 1), x=(0, 1))


COUNTS = {"residual": 12, "boundary": 4, "initial": 4}


FEW = {"residual": 6, "boundary": 2, "initial": 2}


def diffusion() -> pinntk.Problem:
    """Diffusion with an unknown coefficient and three readings: every kind of number that a training carries."""

    @pinntk.residual(BOX)
    def heat(u_t, u_xx, kappa):
        return u_t - kappa * u_xx

    @pinntk.boundary(BOX.ends("x"))
    def walls(u):
        return u

    @pinntk.initial(BOX.at(t=0))
    def start(u, x):
        return u - torch.sin(pi * x)

    @pinntk.data(BOX, [[0.2, 0.5], [0.4, 0.3], [0.5, 0.5]], seen=[0.8, 0.6, 0.6])
    def sensors(u, seen):
        return u - seen

    def exact(t, x):
        return torch.exp(-0.1 * pi**2 * t) * torch.sin(pi * x)

    return pinntk.Problem(BOX, [heat, walls, start, sensors], exact=exact, coefficients={"kappa": 0.2})


def trained(device: str, problem=None, network=None, **settings) -> pinntk.Run:
    problem = problem or diffusion()
    network = network or pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    given = {"steps": 2, "points": COUNTS, "device": device, "progress": False, "eval_every": 2, "snapshot_every": 2}
    return pinntk.train(problem, network, **{**given, **settings})


def numbers(run: pinntk.Run) -> dict:
    """All that a run is judged by, but for the clock."""
    clocks = ("seconds", "monitor/share")
    history = [{key: value for key, value in row.items() if key not in clocks} for row in run.history]
    kernels = {step: blocks.values for step, blocks in run.snapshots.items()}
    left = {"network": run.network.state_dict(), "coefficients": run.problem.coefficients.state_dict()}
    return {"history": history, "kernels": kernels, "weights": run.weights, "g": dict(run.point_weights), **left}
