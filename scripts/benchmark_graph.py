"""What kernels of other people's code cost: `pinntk.graph_factors` on an error vector in plain PyTorch, against a training
step of that code and against the same kernel by Taylor jets.

    python scripts/benchmark_graph.py [--points 1000] [--width 64] [--depth 3] [--dtype float32] [--device cpu]

Burgers' equation, u_t + u u_x - nu u_xx, by nested torch.autograd.grad; medians in turns. Traces count the evaluation of the
errors, the factors and the diagonal; the kernel is the (n, n) block of the residual.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

import pinntk
from pinntk.ntk import gram

NU = 0.01


def errors(network: torch.nn.Module, points: Tensor) -> Tensor:
    """(n,), as a user writes it."""
    x = points.detach().clone().requires_grad_()
    u = network(x)
    du = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]
    u_x = du[:, 1:]
    u_xx = torch.autograd.grad(u_x, x, torch.ones_like(u_x), create_graph=True)[0][:, 1:]
    return (du[:, :1] + u * u_x - NU * u_xx).squeeze(1)


def medians(methods: dict[str, Callable[[], object]], repeats: int, synchronize: Callable[[], None]) -> dict[str, float]:
    """Seconds of each, measured in turns after one call that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(repeats + 1):
        for name, method in methods.items():
            synchronize()
            start = perf_counter()
            method()
            synchronize()
            if turn:
                times[name].append(perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def measure(n: int, width: int, depth: int, dtype: torch.dtype, device: str, repeats: int) -> dict[str, float]:
    problem = pinntk.load("burgers", nu=NU)
    network = pinntk.nn.MLP(problem, width=width, depth=depth).to(device, dtype)
    points = problem.sample(residual=n, seed=0, dtype=dtype)["burgers"].to(device)
    parameters = list(network.parameters())

    def step() -> None:
        torch.autograd.grad(errors(network, points).square().mean(), parameters)

    def from_graph() -> pinntk.Factors:
        return pinntk.graph_factors(errors(network, points), network)

    def by_jets() -> pinntk.Factors:
        return pinntk.factors(network, problem, {"burgers": points})["burgers"]

    left, right = from_graph(), by_jets()
    K, expected = gram(left, left), gram(right, right)
    print(f"kernels differ by {float((K - expected).norm() / expected.norm()):.1e}; {left.origin.path}: ", end="")
    print(f"uses {[len(outer.A) for outer in left.outers.values()]}, jets {[len(outer.A) for outer in right.outers.values()]}")
    return medians(
        {
            "step": step,
            "errors": lambda: errors(network, points),
            "traces, graph": lambda: from_graph().diagonal.sum(),
            "traces, jets": lambda: by_jets().diagonal.sum(),
            "kernel, graph": lambda: gram(*(from_graph(),) * 2),
            "kernel, jets": lambda: gram(*(by_jets(),) * 2),
        },
        repeats,
        torch.cuda.synchronize if device.startswith("cuda") else lambda: None,
    )


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args(arguments)
    dtype = getattr(torch, given.dtype)
    found = measure(given.points, given.width, given.depth, dtype, given.device, given.repeats)
    for name, seconds in found.items():
        against = found["kernel, jets"] if name.startswith("kernel") else found["step"]
        print(
            f"{name:36s} {1e3 * seconds:8.2f} ms   {seconds / against:5.2f} {'jets' if name.startswith('kernel') else 'steps'}"
        )
    return found


if __name__ == "__main__":
    main()
