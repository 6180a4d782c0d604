"""Small trainings in time slabs, and Ctrl-C in the middle of one."""

import os
import signal

import torch

import pinntk
from pinntk.weighting import NTK
from tests.support.small_problems import F64

COUNTS = {"residual": 12, "initial": 4, "periodic": 4}


def convection(beta=1.0):
    return pinntk.load("convection", beta=beta)


def decay():
    """u_t = -u from u = 1, on a line in time."""
    domain = pinntk.Box(t=(0, 1))

    @pinntk.residual(domain)
    def equation(u, u_t):
        return u_t + u

    @pinntk.initial(domain.at(t=0))
    def begin(u):
        return u - 1

    return pinntk.Problem(domain, [equation, begin], exact=lambda t: torch.exp(-t))


def mlp(problem, **choices):
    return pinntk.nn.MLP(problem, **{"width": 6, "depth": 1, **F64, **choices})


def train(out=None, *, problem=None, network=None, **settings):
    problem = problem or convection()
    given = {
        "steps": 8,
        "points": COUNTS,
        "weighting": NTK(every=3),
        "lr": 1e-3,
        "slabs": 3,
        "snapshot_every": 0,
        "checkpoint_every": 4,
        "progress": False,
    }
    return pinntk.train_slabs(problem, network or mlp(problem), out=out, **{**given, **settings})


def parameters(found):
    return [p for run in found.runs for p in run.network.parameters()]


def same_tensors(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def same(a, b):
    """Whether two trainings ended alike, to the bit."""
    return same_tensors(parameters(a), parameters(b)) and a.relative_error == b.relative_error


class Interrupting(NTK):
    """Ctrl-C at the n-th update of all slabs together, each of whose trainings has a copy of it."""

    seen = 0  # since one was made last

    def __init__(self, at):
        super().__init__(every=3)
        self._at, Interrupting.seen = at, 0

    def update(self, weights, traces, counts):
        Interrupting.seen += 1
        if Interrupting.seen == self._at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().update(weights, traces, counts)
