"""A PINN in plain PyTorch: loss weights by two lines more, then kernel and diagnosis of the same code.

    python examples/bring_your_own.py

Under a minute on two cores.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

import pinntk

K = 4  # u_xx = -(K pi)^2 sin(K pi x) on [0, 1], with u = 0 at both ends


def residual(model: nn.Module, x: Tensor) -> Tensor:
    x = x.requires_grad_()
    u_x = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
    u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
    return u_xx + (K * torch.pi) ** 2 * torch.sin(K * torch.pi * x)


def ends(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def main(steps: int = 3000, seed: int = 0) -> tuple[float, float, pinntk.KernelBlocks]:
    """Relative L2 errors without and with NTK weights, and the kernel after the latter."""
    inside, walls = torch.linspace(0, 1, 100)[:, None], torch.tensor([[0.0], [1.0]])
    grid = torch.linspace(0, 1, 500)[:, None]
    exact, errors = torch.sin(K * torch.pi * grid), []
    for weighted in (False, True):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        ntk = pinntk.NTKWeights(model.parameters(), every=100)  # the first line
        for _ in range(steps):
            losses = {"pde": residual(model, inside).square().mean(), "ends": ends(model, walls).square().mean()}
            loss = ntk(losses) if weighted else losses["pde"] + losses["ends"]  # the second line
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            errors.append(float((model(grid) - exact).norm() / exact.norm()))
        print(f"{'NTK weights' if weighted else 'no weights'}: relative L2 error {errors[-1]:.1e}")

    given = {"pde": (partial(residual, model), inside, "residual"), "ends": (partial(ends, model), walls, "boundary")}
    network, problem, points = pinntk.wrap(model, given)  # the model and its functions, as they are
    kernel = pinntk.kernel(network, problem, points)
    print(kernel, {name: f"{trace:.3g}" for name, trace in kernel.traces().items()})
    for finding in pinntk.diagnose(network, problem, points, ntk.weights):
        print(finding)
    return errors[0], errors[1], kernel


if __name__ == "__main__":
    main()
