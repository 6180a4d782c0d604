"""A training step's gradient: pinntk's jets against nested autograd as other packages write it; and what NTK weights cost.

    python scripts/benchmark_step.py

[2, 128 x 4, 1], float32, the residual u_x1x1 + u_x2x2 from two second derivatives, not collapsed. The yardstick is one gradient
with create_graph=True and one more for each second derivative, in one process, gradients compared first. Then: exact traces
on the training points in units of a training step (Adam included), and what updating NTK weights every 100 steps adds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from benchmark_kernel import median_time
from torch import Tensor, nn

import pinntk
from pinntk import Box, Problem, residual
from pinntk.files import replacing
from pinntk.ntk.assemble import checked_traces


def set_up(n: int, width: int = 128) -> tuple[nn.Module, Problem, dict[str, Tensor]]:
    domain = Box.cube(2)

    @residual(domain)
    def equation(u_x1x1, u_x2x2):
        return u_x1x1 + u_x2x2

    problem = Problem(domain, [equation])
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(2, width), nn.Tanh()]
    for _ in range(3):
        layers += [nn.Linear(width, width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 1)), problem, problem.sample(residual=n)


def by_jets(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    return pinntk.errors(network, problem, points, "taylor")["equation"].square().mean()


def by_nested_autograd(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    x = points["equation"].clone().requires_grad_()
    u = network(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    second = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)]
    return sum(second).square().mean()


def gradient(loss, network: nn.Module, *rest) -> Tensor:
    parts = torch.autograd.grad(loss(network, *rest), list(network.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def compare(n: int, repeats: int) -> dict:
    setting = set_up(n)
    ours, theirs = gradient(by_jets, *setting), gradient(by_nested_autograd, *setting)
    difference = float((ours - theirs).norm() / theirs.norm())
    if difference > 1e-4:
        raise ArithmeticError(f"n = {n}: the two gradients differ by {difference:.1e} relative; no time is worth printing")
    jets = median_time(lambda: gradient(by_jets, *setting), repeats)
    nested = median_time(lambda: gradient(by_nested_autograd, *setting), repeats)
    return {"n": n, "jets": jets, "nested": nested, "ratio": nested / jets, "difference": difference}


def price_of_weights(name: str, width: int, depth: int, repeats: int, **counts: int) -> dict:
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=width, depth=depth)
    points = problem.sample(**counts)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        sum(e.square().mean() for e in pinntk.errors(network, problem, points).values()).backward()
        optimizer.step()

    one_step = median_time(step, repeats)
    one_trace = median_time(lambda: checked_traces(network, problem, points), repeats)
    result = {"problem": name, "network": [width] * depth, "points": {k: len(v) for k, v in points.items()}}
    return {**result, "step": one_step, "traces_in_steps": one_trace / one_step, "every_100": 1 + one_trace / one_step / 100}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_step.json"))
    arguments = parser.parse_args(argv)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, medians")
    print(f"{'n':>7} {'jets s':>9} {'nested s':>9} {'ratio':>6}  differ")
    steps, prices = [], []
    for n in arguments.points:
        result = compare(n, arguments.repeats)
        steps.append(result)
        print(
            f"{n:>7} {result['jets']:>9.4f} {result['nested']:>9.4f} {result['ratio']:>6.2f}  {result['difference']:.0e}",
            flush=True,
        )
    print(f"{'problem':<10} {'network':<18} {'step s':>8} {'traces':>7} {'NTK weights every 100 steps':>28}")
    for name, width, depth, counts in (
        ("poisson1d", 100, 3, {}),
        ("wave1d", 500, 3, {"residual": 300}),
        ("burgers", 128, 4, {"residual": 1000}),
        ("burgers", 128, 4, {"residual": 10_000, "boundary": 1000, "initial": 1000}),
    ):
        result = price_of_weights(name, width, depth, arguments.repeats, **counts)
        prices.append(result)
        more = 100 * (result["every_100"] - 1)
        print(
            f"{name:<10} {result['network']!s:<18} {result['step']:>8.4f} {result['traces_in_steps']:>7.2f} {more:>26.1f} %",
            flush=True,
        )
    found = {"steps": steps, "prices": prices}
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    main()
