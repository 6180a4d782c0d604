"""What two lines do for a PINN in plain PyTorch: the picture of docs/INTEGRATIONS.md.

u_xx = -(k pi)^2 sin(k pi x) on [0, 1], u = 0 at both ends, k = 4; two hidden layers of 50 tanh units, 100 points,
3,000 Adam steps with a learning rate of 1e-3, float32. Nothing but `NTKWeights` is pinntk's.

    python scripts/two_lines.py [-o docs/two_lines.png]      2 minutes on one core
    python scripts/two_lines.py --quick                      seconds, for a look
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

import torch
from _reproduction import BLUE, GRAY, RED, tidy
from matplotlib.figure import Figure
from torch import Tensor, nn, pi, sin

import pinntk

K = 4


class Training(NamedTuple):
    """steps and errors: relative L2, every 50 steps; weights: of the ends over that of the equation, by step of its update."""

    solution: Tensor
    steps: list[int]
    errors: list[float]
    weights: dict[float, float]


def train(two_lines: bool, seed: int, steps: int) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(1, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    ntk = pinntk.NTKWeights(model.parameters(), every=100)
    x, ends = torch.linspace(0, 1, 100).unsqueeze(1).requires_grad_(), torch.tensor([[0.0], [1.0]])
    places = torch.linspace(0, 1, 401).unsqueeze(1)
    exact, f = sin(K * pi * places), -((K * pi) ** 2) * sin(K * pi * x.detach())
    logged, errors = [], []
    for step in range(1, steps + 1):
        u_x = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
        loss_pde, loss_ends = ((u_xx - f) ** 2).mean(), (model(ends) ** 2).mean()
        loss = ntk({"pde": loss_pde, "ends": loss_ends}) if two_lines else loss_pde + loss_ends
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps:
            with torch.no_grad():
                logged.append(step)
                errors.append(float((model(places) - exact).norm() / exact.norm()))
    with torch.no_grad():
        weights = {row["step"]: row["weight/ends"] / row["weight/pde"] for row in ntk.history}
        return Training(model(places).squeeze(1), logged, errors, weights)


def figure(before: list[Training], after: list[Training]) -> Figure:
    drawn = Figure(figsize=(12, 3.4), layout="constrained")
    left, middle, right = drawn.subplots(1, 3)
    x = torch.linspace(0, 1, 401)
    left.plot(x, sin(K * pi * x), color="#9aa0a6", lw=4, label="exact")
    for trainings, color, label in ((before, RED, "loss_pde + loss_ends"), (after, BLUE, "ntk({...})")):
        left.plot(x, trainings[0].solution, color=color, lw=1.3, label=label)
        for number, training in enumerate(trainings):
            middle.semilogy(training.steps, training.errors, color=color, lw=1.2, label=None if number else label)
    for training in after:
        right.semilogy(list(training.weights), list(training.weights.values()), color=GRAY, lw=1.2)
    left.set(title="u after the last step, seed 0", xlabel="x", ylim=(-1.2, 2.4))  # with room for the names
    middle.set(title="relative L2 error", xlabel="Adam step")
    right.set(title="weight of the ends over that of the equation", xlabel="Adam step")
    tidy((left, middle))
    return drawn


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/two_lines.png"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, 100 steps")
    given = parser.parse_args(arguments)
    seeds, steps = (1, 100) if given.quick else (given.seeds, 3000)
    before, after = [], []
    for seed in range(seeds):
        before.append(train(False, seed, steps))
        after.append(train(True, seed, steps))
        print(
            f"seed {seed}: relative L2 error {before[-1].errors[-1]:.2e} before, {after[-1].errors[-1]:.2e} after", flush=True
        )
    medians = [statistics.median(training.errors[-1] for training in trainings) for trainings in (before, after)]
    print(f"medians {medians[0]:.2e} and {medians[1]:.2e}: {medians[0] / medians[1]:.0f} times")
    figure(before, after).savefig(given.out, dpi=90)
    return medians[0], medians[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
