"""A training step's gradient: pinntk's jets against nested autograd as other packages write it; and what NTK weights cost.

    python scripts/benchmark_step.py
    python scripts/benchmark_step.py --device cuda --points 1000 10000 100000

[2, 128 x 4, 1], float32, the residual u_x1x1 + u_x2x2 from two second derivatives, not collapsed:

eager, compiled  pinntk's step as `train` and `train(compile=True)` take it
nested           one gradient with create_graph=True and one more for each second derivative
columns          the same with a leaf for each coordinate
batched          both second derivatives in one batched backward pass
forward          torch.func: forward mode over reverse mode, both directions by vmap
DeepXDE          its `dde.grad.hessian`, where installed

in one process, in turns, gradients compared first; ratios to the fastest of the last five. Then: exact traces on the training
points in units of a training step (Adam included), and whole trainings with NTK weights every 100 steps against fixed weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from benchmark_kernel import median_time
from torch import Tensor, nn

import pinntk
from pinntk import Box, Problem, residual
from pinntk._util.files import replacing
from pinntk.ntk._assemble import compute_traces
from pinntk.training import Batch, Step


def set_up(n: int, width: int = 128, device: str = "cpu") -> tuple[nn.Module, Problem, dict[str, Tensor]]:
    domain = Box.cube(2)

    @residual(domain)
    def equation(u_x1x1, u_x2x2):
        return u_x1x1 + u_x2x2

    problem = Problem(domain, [equation])
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(2, width), nn.Tanh()]
    for _ in range(3):
        layers += [nn.Linear(width, width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, 1)).to(device), problem, problem.sample(residual=n, device=device)


def by_nested_autograd(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    x = points["equation"].clone().requires_grad_()
    u = network(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    second = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)]
    return sum(second).square().mean()


def by_columns(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    columns = [column.clone().requires_grad_() for column in points["equation"].unbind(1)]
    slopes = torch.autograd.grad(network(torch.stack(columns, 1)).sum(), columns, create_graph=True)
    pairs = zip(slopes, columns, strict=True)
    return sum(torch.autograd.grad(slope.sum(), x, create_graph=True)[0] for slope, x in pairs).square().mean()


def by_batched_autograd(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    x = points["equation"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    directions = torch.eye(2, device=x.device).unsqueeze(1).expand(2, len(x), 2)
    (H,) = torch.autograd.grad(slope, x, directions, create_graph=True, is_grads_batched=True)
    return (H[0, :, 0] + H[1, :, 1]).square().mean()


def by_forward_over_reverse(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    x = points["equation"]
    slope = torch.func.grad(lambda x: network(x).sum())

    def second(direction: Tensor) -> Tensor:
        return (torch.func.jvp(slope, (x,), (direction.expand_as(x),))[1] * direction).sum(1)

    return torch.func.vmap(second)(torch.eye(2, device=x.device)).sum(0).square().mean()


def by_deepxde(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    x = points["equation"].clone().requires_grad_()
    u = network(x)
    error = sum(dde.grad.hessian(u, x, i=i, j=i) for i in range(2))
    dde.gradients.clear()
    return error.square().mean()


YARDSTICKS = {
    "nested": by_nested_autograd,
    "columns": by_columns,
    "batched": by_batched_autograd,
    "forward": by_forward_over_reverse,
}
if find_spec("deepxde"):
    os.environ.setdefault("DDE_BACKEND", "pytorch")
    import deepxde as dde

    YARDSTICKS["DeepXDE"] = by_deepxde


def gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def compare(n: int, repeats: int, compiled: bool = True, device: str = "cpu") -> dict:
    network, problem, points = set_up(n, device=device)
    steps = {"eager": Step(network, problem)}
    if compiled:
        steps["compiled"] = Step(network, problem, compiled=True)
    calls = {name: lambda step=step: step(Batch(points, {"equation": n}, {"equation": 1.0})) for name, step in steps.items()}

    def backward(loss) -> None:
        network.zero_grad()
        loss(network, problem, points).backward()

    calls |= {name: lambda loss=loss: backward(loss) for name, loss in YARDSTICKS.items()}
    backward(by_nested_autograd)
    expected = gradient(network)
    result: dict = {"n": n, "seconds": {}, "difference": {}}
    for name, call in calls.items():
        call()
        difference = float((gradient(network)[: len(expected)] - expected).norm() / expected.norm())
        if difference > 1e-4:
            raise ArithmeticError(f"n = {n}: the gradient of {name} is {difference:.1e} off; no time is worth printing")
        result["difference"][name] = difference
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):  # in turns: what else the machine does meets all of them
        for name, call in calls.items():
            times[name].append(median_time(call, 1))
    result["seconds"] = {name: statistics.median(values) for name, values in times.items()}
    fastest = min(result["seconds"][name] for name in YARDSTICKS)
    result["ratio"] = {name: fastest / seconds for name, seconds in result["seconds"].items()}
    return result


def price_of_weights(name: str, width: int, depth: int, repeats: int, device: str = "cpu", **counts: int) -> dict:
    """Exact traces in units of one Adam step on the same points."""
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=width, depth=depth).to(device)
    points = problem.sample(counts, device=device)
    sizes = {condition: len(rows) for condition, rows in points.items()}
    optimizer, gradients = torch.optim.Adam(network.parameters()), Step(network, problem)

    def step() -> None:
        gradients(Batch(points, sizes, dict.fromkeys(points, 1.0)))
        optimizer.step()

    step()
    one_step = median_time(step, repeats)
    one_trace = median_time(lambda: compute_traces(network, problem, points), repeats)
    return {
        "problem": name,
        "network": [width] * depth,
        "points": sizes,
        "step": one_step,
        "traces_in_steps": one_trace / one_step,
    }


def training_with_weights(
    name: str, width: int, depth: int, steps: int, turns: int, device: str = "cpu", **counts: int
) -> float:
    """Whole trainings, NTK weights every 100 steps over fixed ones, in turns: the median ratio of their times."""
    ratios = []
    for _ in range(turns):
        seconds = {}
        for weighting in ("fixed", "ntk"):
            problem = pinntk.load(name)
            network = pinntk.nn.MLP(problem, width=width, depth=depth)
            settings = {"weighting": weighting, "points": counts, "device": device}
            settings |= {"eval_every": 0, "snapshot_every": 0, "progress": False}
            seconds[weighting] = median_time(partial(pinntk.train, problem, network, steps=steps, **settings), 1)
        ratios.append(seconds["ntk"] / seconds["fixed"])
    return statistics.median(ratios)


TRAININGS = (
    ("poisson1d", 100, 3, 1000, {}),
    ("wave1d", 500, 3, 200, {"residual": 300}),
    ("burgers", 128, 4, 300, {"residual": 1000}),
    ("burgers", 128, 4, 100, {"residual": 10_000, "boundary": 1000, "initial": 1000}),
)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3, help="trainings with either weighting")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_step.json"))
    arguments = parser.parse_args(argv)
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads, float32, medians")
    print("gradient of one step; in brackets, how many times as fast as the fastest rival")
    steps, prices = [], []
    for n in arguments.points:
        result = compare(n, arguments.repeats, device=arguments.device)
        steps.append(result)
        shown = (f"{name} {1e3 * t:.1f} ms ({result['ratio'][name]:.2f})" for name, t in result["seconds"].items())
        print(f"  n = {n}: {', '.join(shown)}", flush=True)
    print(f"{'problem':<10} {'network':<18} {'points':>7} {'step s':>8} {'traces':>11} {'NTK weights every 100 steps':>28}")
    for name, width, depth, length, counts in TRAININGS:
        result = price_of_weights(name, width, depth, arguments.repeats, arguments.device, **counts)
        result["every_100"] = training_with_weights(name, width, depth, length, arguments.turns, arguments.device, **counts)
        prices.append(result)
        print(
            f"{name:<10} {result['network']!s:<18} {sum(result['points'].values()):>7} {result['step']:>8.4f} "
            f"{result['traces_in_steps']:>5.2f} steps {100 * (result['every_100'] - 1):>+26.1f} %",
            flush=True,
        )
    found = {"steps": steps, "prices": prices}
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    main()
