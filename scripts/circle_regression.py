"""Regression in the setting of Jacot, Gabriel & Hongler 2018, for networks too wide or too many for `pinntk.train`.

Networks are ReLU in the NTK parametrization with beta = 0.1 and 3 hidden layers (L = 4 in the paper's count), the loss is
1/2 mean (f - y)^2: in pinntk's convention the weight of the only condition is 1/2.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch
from torch import Tensor

import pinntk
from pinntk.nn._layers import ACTIVATIONS

WEIGHTS = {"fit": 0.5}


def circle(angles: np.ndarray) -> Tensor:
    """Points of the unit circle, (n, 2)."""
    return torch.as_tensor(np.stack([np.cos(angles), np.sin(angles)], 1))


def product(x: Tensor) -> Tensor:
    """The target x_1 x_2, (n,)."""
    return x[:, 0] * x[:, 1]


def task() -> pinntk.Problem:
    """The errors u - y of measurements, rows (x1, x2, y); its kernel is that of the network's outputs."""
    plane = pinntk.Box(x1=(-10, 10), x2=(-10, 10))  # every draw of N(0, 1) that a script makes

    @pinntk.data(plane, [(0.0, 0.0)], y=[0.0])
    def fit(u, y):
        return u - y

    return pinntk.Problem(plane, [fit])


def rows(x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
    """Points of `task`; without y for a kernel, which does not depend on it."""
    return {"fit": torch.column_stack([x, torch.zeros(len(x)).to(x) if y is None else y])}


def network(width: int, seed: int, dtype: torch.dtype = torch.float32, **changes: object) -> pinntk.nn.MLP:
    """changes: of the arguments of `pinntk.nn.MLP`."""
    usual = {"depth": 3, "activation": "relu", "parametrization": "ntk", "beta": 0.1}
    return pinntk.nn.MLP(inputs=2, outputs=1, width=width, seed=seed, dtype=dtype, **{**usual, **changes})


def descend(network: pinntk.nn.MLP, x: Tensor, y: Tensor, steps: int, lr: float) -> Tensor:
    """Gradient descent on 1/2 mean (f - y)^2, in place; returns the errors f - y before each step, (steps, n).

    A weight's gradient is B^T A with A what goes into its layer and B the derivatives by what comes out, n rows each. It is
    added without being formed: with few points that takes a third of the time of autograd's gradient of its own.
    """
    dense = network.dense
    x, y = x.to(dense.weights[0]), y.to(dense.weights[0])
    layers = [(weight.detach(), bias.detach()) for weight, bias in zip(dense.weights, dense.biases, strict=True)]
    activation = ACTIVATIONS[dense.activation]
    found = []
    for _ in range(steps):
        inputs, outputs = [], []
        with torch.enable_grad():
            for weight, bias in layers:
                inputs.append(activation(outputs[-1]) if outputs else x)
                scale = 1 / sqrt(weight.shape[1])
                outputs.append((scale * inputs[-1] @ weight.T + dense.beta * bias).requires_grad_())
            error = outputs[-1][:, 0] - y
            slopes = torch.autograd.grad(0.5 * error.square().mean(), outputs)
        for (weight, bias), a, b in zip(layers, inputs, slopes, strict=True):
            weight.addmm_(b.T, a.detach(), alpha=-lr / sqrt(weight.shape[1]))
            bias.sub_(b.sum(0), alpha=lr * dense.beta)
        found.append(error.detach())
    return torch.stack(found)
