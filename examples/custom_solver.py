"""A solver of your own from the kernel: natural gradients with momentum (SPRING), in fifteen lines.

    python examples/custom_solver.py

Half a minute on two cores. The step d minimizes |r + J d|^2 + mu |d - b|^2 on fresh points, b being beta times the step before:

    d = b - J^T (K + mu I)^-1 (r + J b),       K = J J^T.

What the points of this step do not determine is kept from those before (Goldshlager, Abrahamsen & Lin 2024).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pinntk

WEIGHTS = {"poisson": 1e-2, "ends": 1.0}


def scaled(parts: Mapping[str, Tensor]) -> Tensor:
    """Rows of all conditions, so that the loss, the weighted sum of mean squares, is |r|^2."""
    return torch.cat([(WEIGHTS[name] / len(rows)) ** 0.5 * rows for name, rows in parts.items()])


def main(steps: int = 150, mu: float = 1e-6, beta: float = 0.9, seed: int = 0) -> float:
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=20, depth=3, activation="sin", dtype=torch.float64)
    theta = list(pinntk.trained_parameters(network, problem).values())
    d = torch.zeros_like(parameters_to_vector(theta)).detach()
    for step in range(steps):
        points = problem.sample(residual=60, boundary=2, seed=seed + step, dtype=torch.float64)
        r = scaled({name: e.detach() for name, e in pinntk.errors(network, problem, points).items()})
        J = scaled({name: part.matrix() for name, part in pinntk.factors(network, problem, points).items()})
        b = beta * d
        d = b - J.T @ torch.linalg.solve(J @ J.T + mu * torch.eye(len(r)).to(J), r + J @ b)
        d *= min(1.0, 0.1 / float(d.norm()))  # steps that the linear model is good for
        vector_to_parameters(parameters_to_vector(theta).detach() + d, theta)
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:>4}: loss {float(r @ r):.1e}, relative L2 error {problem.relative_error(network):.1e}")
    return problem.relative_error(network)


if __name__ == "__main__":
    main()
