"""An unknown coefficient from noisy readings, with its error bars: u_t = kappa u_xx, kappa = 0.2.

    python examples/inverse.py

Half a minute on two cores.
"""

from __future__ import annotations

import torch

import pinntk
from pinntk import Posterior

# Standard deviations: of the readings, and how strictly everything else holds.
NOISE = {"readings": 0.01, "heat": 1e-2, "start": 1e-3, "walls": 1e-3}


def main(steps: int = 40, residual: int = 300, sensors: int = 50) -> Posterior:
    problem = pinntk.load("heat_inverse", kappa=0.2, noise=NOISE["readings"], sensors=sensors)
    network = pinntk.nn.MLP(problem, width=12, depth=2, dtype=torch.float64)
    points = problem.sample(residual=residual, initial=40, boundary=40, method="sobol", dtype=torch.float64)

    # The least sum of (error / its standard deviation)^2 is the loss with weights n_i / s_i^2.
    weights = {name: len(points[name]) / s**2 for name, s in NOISE.items()}
    scale = max(weights.values())
    fixed = pinntk.weighting.Fixed(**{name: weight / scale for name, weight in weights.items()})
    run = pinntk.train(problem, network, optimizer="gauss-newton", steps=steps, points=points, weighting=fixed, progress=False)

    fitted = pinntk.posterior(network, problem, points, NOISE)
    low, high = fitted.interval("kappa", 0.95)
    mean, std = fitted.field(torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    print(f"{run.step} steps: {fitted}")
    print(f"kappa lies between {low:.4f} and {high:.4f} with 95 %; it is 0.2")
    print(f"u at t = x = 0.5 is {mean.item():.4f} +- {std.item():.4f}")
    return fitted


if __name__ == "__main__":
    main()
