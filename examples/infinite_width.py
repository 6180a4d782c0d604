"""Infinite width: kernels of wider and wider networks approach K*, with which a linear PDE is solved without training.

    python examples/infinite_width.py

Ten seconds on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

import pinntk
from pinntk import Collocation


def main(widths: Sequence[int] = (32, 128, 512, 2048), residual: int = 40) -> tuple[list[float], Collocation]:
    """Relative distances |K - K*| / |K*| (Frobenius norm) by width, and the solution."""
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=residual, boundary=2, method="grid", dtype=torch.float64)
    settings = {"depth": 1, "activation": "sin", "parametrization": "ntk", "dtype": torch.float64}

    limit = pinntk.infinite_kernel(pinntk.nn.MLP(problem, **settings), problem, points).values
    distances = []
    for width in widths:
        draws = [pinntk.nn.MLP(problem, width=width, seed=seed, **settings) for seed in range(5)]
        off = [(pinntk.kernel(network, problem, points).values - limit).norm() / limit.norm() for network in draws]
        distances.append(float(torch.stack(off).mean()))
        print(f"width {width:>5}: |K - K*| / |K*| = {distances[-1]:.3f}, mean of {len(draws)} networks")

    deep = pinntk.nn.MLP(problem, **{**settings, "depth": 2})
    solution = pinntk.collocate(deep, problem, points, noise=1e-7)
    std = solution.std(torch.linspace(0, 1, 5, dtype=torch.float64)[:, None])
    print(
        f"without training: relative L2 error {solution.relative_error():.1e}, standard deviations up to {float(std.max()):.1e}"
    )
    return distances, solution


if __name__ == "__main__":
    main()
