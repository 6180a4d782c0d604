"""Gradient descent of many networks [1, width, 1] on poisson1d at once, in closed form.

What `pinntk.train(optimizer="gradient-descent", schedule="constant")` does with each of them, to rounding, several times
faster: the reproductions need tens of thousands of steps of networks that cost next to nothing each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import torch
from torch import Tensor

from pinntk import Points, Problem
from pinntk.nn import MLP

_ENTRIES = 50_000  # of an array, beyond which it no longer stays in the cache


class Shallow:
    """m networks u(x) = s a . tanh(W x~ + b) + c with x~ = (x - mean) / deviation; s = 1, or 1 / sqrt(width) in the NTK
    parametrization.

    networks: m MLPs of one hidden layer of tanh units, equal but for their weights
    points: {"poisson": (n, 1), "ends": (n_b, 1)}, the same for all
    weights: {condition: lambda}, a number, or one for each network; 1 where none is given

    Raises ValueError for other networks.
    """

    def __init__(
        self,
        networks: Sequence[MLP],
        problem: Problem,
        points: Points,
        weights: Mapping[str, float | Sequence[float]] | None = None,
    ):
        first = networks[0]
        same = ("width", "depth", "activation", "parametrization", "beta", "normalize", "periodic", "fourier")
        settings = [{key: network.config[key] for key in same} for network in networks]
        only = {"depth": 1, "activation": "tanh", "beta": 1.0, "periodic": None, "fourier": None}
        if any(setting != {**settings[0], **only} for setting in settings):
            raise ValueError("networks: MLPs of one hidden layer of tanh units and beta=1, equal but for their weights")
        self.networks = tuple(networks)
        by_parameter = zip(*(network.parameters() for network in networks), strict=True)
        stacked = [torch.stack(list(group)).detach().double() for group in by_parameter]
        W, a, b, c = stacked  # (m, width, 1), (m, 1, width), (m, width), (m, 1)
        self.W, self.a, self.b, self.c = W[:, None, :, 0], a, b[:, None, :], c  # the first three [m, 1, width]
        self.scale = 1 / sqrt(first.config["width"]) if first.dense.parametrization == "ntk" else 1.0
        self.deviation = float(first.deviation)
        x, x_b = (points[name].double() for name in ("poisson", "ends"))
        self.x, self.x_b = ((rows - first.mean.double()) / self.deviation for rows in (x, x_b))
        zero, zero_b = torch.zeros_like(x[:, 0]), torch.zeros_like(x_b[:, 0])
        self.source = problem["poisson"].operator(zero, x[:, 0])  # e of the zero function: both conditions are linear
        self.source_b = problem["ends"].operator(zero_b, x_b[:, 0])
        given = {"poisson": 1.0, "ends": 1.0, **(weights or {})}
        self.factor, self.factor_b = (
            (2 * torch.as_tensor(given[name], dtype=torch.float64) / len(points[name])).reshape(-1, 1).expand(len(networks), 1)
            for name in ("poisson", "ends")
        )

    def descend(self, steps: int, lr: float) -> None:
        """So many steps of gradient descent on L = sum_i lambda_i mean(e_i^2). The networks stay until `update`."""
        together = max(1, _ENTRIES // (len(self.x) * self.W.shape[2]))
        for start in range(0, len(self.networks), together):
            rows = slice(start, start + together)
            parameters = [p[rows] for p in (self.W, self.a, self.b, self.c)]
            for _ in range(steps):
                for p, gradient in zip(parameters, self._gradient(*parameters, rows), strict=True):
                    p.sub_(gradient, alpha=lr)

    def _gradient(self, W: Tensor, a: Tensor, b: Tensor, c: Tensor, rows: slice) -> tuple[Tensor, ...]:
        """Of some networks' W, a, b and c."""
        s = torch.tanh(self.x * W + b)  # [m, n, width]
        square = s.square()
        d = 1 - square
        s2, s3 = s.mul_(d).mul_(-2), d * square.mul_(6).sub_(2)  # tanh'' and tanh'''
        scale = self.scale / self.deviation**2
        residual = scale * (s2 @ (a * W.square()).mT)[..., 0] + self.source  # u_xx - f, (m, n)
        g = (scale * self.factor[rows] * residual)[:, None]  # [m, 1, n]
        by_s2, by_s3, by_s3_x = g @ s2, g @ s3, (g * self.x[:, 0]) @ s3  # [m, 1, width]

        t = torch.tanh(self.x_b * W + b)
        ends = self.scale * (t @ a.mT)[..., 0] + c + self.source_b
        h = self.factor_b[rows] * ends
        h_scaled = self.scale * h[:, None]
        slope = 1 - t.square()
        return (
            a * (2 * W * by_s2 + W.square() * by_s3_x + (h_scaled * self.x_b[:, 0]) @ slope),
            W.square() * by_s2 + h_scaled @ t,
            a * (W.square() * by_s3 + h_scaled @ slope),
            h.sum(1, keepdim=True),
        )

    def update(self) -> tuple[MLP, ...]:
        """The networks, given their weights."""
        with torch.no_grad():
            for i, network in enumerate(self.networks):
                found = (self.W[i, 0, :, None], self.a[i], self.b[i, 0], self.c[i])
                for p, value in zip(network.parameters(), found, strict=True):
                    p.copy_(value)
        return self.networks
