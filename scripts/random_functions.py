"""Kernel gradients with random functions (Jacot, Gabriel & Hongler 2018, sections 3 and 3.1).

A linear model f = P^-1/2 sum_p theta_p f_p of P random functions has a kernel of its own, (1/P) sum_p f_p(x) f_p(x'), which
tends to K(x, x') = E[f_p(x) f_p(x')] as P grows. Here f_p(x) = sqrt(2) cos(w x + b) with w ~ N(0, 1) and b uniform, so that
K(x, x') = exp(-|x - x'|^2 / 2). For any model the cost falls along its gradient flow at the rate |d|_K^2, d the derivative of
the cost by the function: here (2/n)^2 e^T K e for the cost mean(e^2), for the linear model, a network, and a PINN.

    python scripts/random_functions.py            20 seconds on one core
    python scripts/random_functions.py --quick    seconds, for a look
"""

from __future__ import annotations

import copy
from math import pi, sqrt

import _reproduction as reproduction
import circle_regression
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, GREEN, RED, Check, tidy
from matplotlib.figure import Figure
from torch import Tensor, nn

import pinntk


class RandomFunctions(nn.Module):
    """f(x) = P^-1/2 sum_p theta_p sqrt(2) cos(w_p x + b_p), theta ~ N(0, 1) the only parameters: (n, d) -> (n, 1)."""

    def __init__(self, count: int, inputs: int, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("w", torch.randn(count, inputs, generator=generator, dtype=torch.float64))
        self.register_buffer("b", 2 * pi * torch.rand(count, generator=generator, dtype=torch.float64))
        self.theta = nn.Parameter(torch.randn(1, count, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return sqrt(2 / len(self.b)) * torch.cos(x @ self.w.T + self.b) @ self.theta.T


def limit(x: Tensor) -> Tensor:
    """K(x, x') = E[f_p(x) f_p(x')], (n, n)."""
    return torch.exp(-0.5 * torch.cdist(x, x).square())


def expected_error(x: Tensor) -> float:
    """The root mean square of norm_F(K_P - K) / norm_F(K), times sqrt(P): from Var[f_p(x) f_p(x')], known in closed form."""
    square = torch.cdist(x, x).square()
    variance = 0.5 * (1 + torch.exp(-2 * square)) - torch.exp(-square) + 0.5
    return float((variance.sum() / limit(x).square().sum()).sqrt())


def kernel_errors(counts: list[int], seeds: int, x: Tensor) -> np.ndarray:
    """norm_F(K_P - K) / norm_F(K), (counts, seeds)."""
    K, problem, points = limit(x), circle_regression.task(), circle_regression.rows(x)

    def off(count: int, seed: int) -> float:
        return float((pinntk.kernel(RandomFunctions(count, 2, seed), problem, points).values - K).norm() / K.norm())

    return np.array([[off(count, seed) for seed in range(seeds)] for count in counts])


def cost(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points) -> Tensor:
    """sum_i mean(e_i^2)."""
    return sum(e.square().mean() for e in pinntk.errors(network, problem, points).values())


def kernel_norm(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points) -> float:
    """|d|_K^2 = d^T K d with d_i = 2 e_i / n_i, the derivative of the cost by the errors."""
    with torch.no_grad():
        d = torch.cat([2 * e / len(e) for e in pinntk.errors(network, problem, points).values()])
    return float(d @ pinntk.kernel(network, problem, points).values @ d)


def moved(network: nn.Module, direction: list[Tensor], step: float) -> nn.Module:
    """A copy with parameters theta - step direction."""
    there = copy.deepcopy(network)
    with torch.no_grad():
        torch._foreach_sub_(list(there.parameters()), direction, alpha=step)
    return there


def gradient(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points) -> list[Tensor]:
    return list(torch.autograd.grad(cost(network, problem, points), list(network.parameters())))


def rates(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points, step: float) -> tuple[float, float]:
    """-d cost / dt along gradient flow, by differences of the cost at theta -+ step gradient; and |d|_K^2."""
    direction = gradient(network, problem, points)
    with torch.no_grad():
        behind, ahead = (cost(moved(network, direction, sign * step), problem, points) for sign in (-1, 1))
    return float(behind - ahead) / (2 * step), kernel_norm(network, problem, points)


def along_descent(
    network: nn.Module, problem: pinntk.Problem, points: pinntk.Points, lr: float, steps: int, moments: int = 20
) -> np.ndarray:
    """Both rates at some of the steps of gradient descent: (moments + 1, 3) of step, -d cost / dt and |d|_K^2."""
    network, found = copy.deepcopy(network), []
    for step in range(steps + 1):
        if step % max(1, steps // moments) == 0:
            found.append((step, *rates(network, problem, points, 1e-6 * lr)))  # so short that few meet a kink of ReLU
        direction = gradient(network, problem, points)
        with torch.no_grad():
            torch._foreach_sub_(list(network.parameters()), direction, alpha=lr)
    return np.array(found)


def step_errors(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points, lrs: np.ndarray) -> np.ndarray:
    """How far one step's decrease, divided by lr, is from |d|_K^2, relative, for every lr."""
    direction, norm = gradient(network, problem, points), kernel_norm(network, problem, points)
    with torch.no_grad():
        start = cost(network, problem, points)
        return np.array(
            [abs(float(start - cost(moved(network, direction, lr), problem, points)) / lr / norm - 1) for lr in lrs]
        )


def models(quick: bool) -> dict[str, tuple[nn.Module, pinntk.Problem, pinntk.Points, float]]:
    """{name: (model, problem, points, largest stable step at the start)}."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, task, poisson = circle_regression.product(x), circle_regression.task(), pinntk.load("poisson1d", k=1)
    width = 30 if quick else 100
    tasks = {
        "random functions": (RandomFunctions(200, 2, 0), task, circle_regression.rows(x, y)),
        "ReLU network": (circle_regression.network(width, 0, torch.float64), task, circle_regression.rows(x, y)),
        "tanh PINN, poisson1d": (
            pinntk.nn.MLP(poisson, width=width, depth=2, parametrization="ntk", dtype=torch.float64),
            poisson,
            poisson.sample(boundary=2, residual=20, dtype=torch.float64),
        ),
    }
    return {name: (*parts, largest_step(*parts)) for name, parts in tasks.items()}


def largest_step(network: nn.Module, problem: pinntk.Problem, points: pinntk.Points) -> float:
    K = pinntk.kernel(network, problem, points)
    return 2 / float(K.eigvalsh(dict.fromkeys(K.names, 1.0))[-1])


def checks(
    counts: list[int],
    errors: np.ndarray,
    expected: float,
    flows: dict[str, np.ndarray],
    lrs: np.ndarray,
    steps: dict[str, np.ndarray],
) -> list[Check]:
    slope = float(np.polyfit(np.log(counts), np.log(np.sqrt((errors**2).mean(1))), 1)[0])
    constant = float(np.sqrt((errors**2 * np.array(counts)[:, None]).mean()))
    worst = {name: float(np.abs(flow[:, 1] / flow[:, 2] - 1).max()) for name, flow in flows.items()}
    orders = {name: float(np.polyfit(np.log(lrs), np.log(values), 1)[0]) for name, values in steps.items()}
    close = abs(slope + 0.5) <= 0.05 and abs(constant / expected - 1) <= 0.1
    return [
        Check(
            "The tangent kernel of P random functions tends to the fixed kernel K as P grows.",
            f"law of large numbers; by its variance an error of {expected:.2f} P^-1/2",
            f"{constant:.2f} P^-1/2, fitted slope {slope:.3f}",
            AGREES if close else DIFFERS,
            "slope within 0.05 of -1/2, constant within 10 % of the one from Var[f_p(x) f_p(x')]",
        ),
        Check(
            "Along gradient flow the cost falls at the rate |d|_K^2 of the model's own kernel, whatever the model.",
            "an identity",
            "largest relative difference: " + ", ".join(f"{name} {value:.0e}" for name, value in worst.items()),
            AGREES if max(worst.values()) <= 1e-4 else DIFFERS,
            "at every one of the moments shown, to 1e-4 (central differences of the cost)",
        ),
        Check(
            "Gradient descent with small steps follows that flow.",
            "an error in proportion to the learning rate",
            "fitted power of the learning rate: " + ", ".join(f"{name} {order:.2f}" for name, order in orders.items()),
            AGREES if all(abs(order - 1) <= 0.15 for order in orders.values()) else DIFFERS,
            "power within 0.15 of 1, over three decades",
        ),
    ]


def figure(
    counts: list[int], errors: np.ndarray, expected: float, flows: dict[str, np.ndarray], lrs: np.ndarray, steps: dict
) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = drawn.subplots(1, 3)
    left.loglog(np.repeat(counts, errors.shape[1]), errors.ravel(), ".", color=GRAY, ms=4, label="one model each")
    left.loglog(counts, np.sqrt((errors**2).mean(1)), "o-", color=BLUE, label="root mean square")
    left.loglog(counts, expected / np.sqrt(counts), "k--", lw=1, label=f"expected: {expected:.2f} $P^{{-1/2}}$")
    left.set(title="random functions: error of the kernel", xlabel="number of functions P", ylabel="relative, Frobenius norm")
    for (name, flow), color in zip(flows.items(), (BLUE, RED, GREEN), strict=True):
        share = flow[:, 0] / flow[-1, 0]
        middle.semilogy(share, flow[:, 1] / flow[0, 2], "o", ms=4, color=color, label=name)
        middle.semilogy(share, flow[:, 2] / flow[0, 2], "-", lw=1, color=color)
        right.loglog(lrs, steps[name], "o-", ms=4, color=color, label=name)
    middle.set(title="points: $-dC/dt$, lines: $|d|_K^2$", xlabel="share of the descent", ylabel="relative to the start")
    right.loglog(lrs, 0.3 * lrs, "k--", lw=1, label="slope 1")
    right.set(title="one step: decrease / lr against $|d|_K^2$", xlabel="lr / largest stable lr", ylabel="relative difference")
    tidy((left, middle, right))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, help="models for each number of functions, 20 unless given")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    seeds = arguments.seeds or (8 if quick else 20)
    counts = [8, 32, 128] if quick else [2**power for power in range(4, 15)]
    descent = 10 if quick else 400
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors, expected = kernel_errors(counts, seeds, x), expected_error(x)
    lrs = np.logspace(-4, -1, 7)
    flows, steps = {}, {}
    for name, (network, problem, points, largest) in models(quick).items():
        flows[name] = along_descent(network, problem, points, 0.3 * largest, descent, 5 if quick else 20)
        steps[name] = step_errors(network, problem, points, lrs * largest)
    numbers = {
        "points": len(x),
        "counts": counts,
        "seeds": seeds,
        "kernel_error": errors.tolist(),
        "expected_constant": expected,
        "descent": {name: flow.tolist() for name, flow in flows.items()},
        "lr_over_largest": lrs.tolist(),
        "step_error": {name: values.tolist() for name, values in steps.items()},
    }
    found = checks(counts, errors, expected, flows, lrs, steps)
    return reproduction.finish(__file__, arguments.out, figure(counts, errors, expected, flows, lrs, steps), numbers, found)


if __name__ == "__main__":
    main()
