"""`pinntk.kernel` against explicit Jacobians by vmap(grad), J J^T, in one process: time, ratio, peak memory, agreement.

    python scripts/benchmark_kernel.py                 every case
    python scripts/benchmark_kernel.py --cases deep    [1, 512 x 3, 1], u_xx, n = 300

The yardstick is what a careful user of torch.func writes: vmap(grad(e)) over points in chunks, nested forward-mode
derivatives inside, one matrix product at the end. Times are medians; peak memory is that of a fresh process that does
nothing else, above its size before the call.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

import pinntk
from pinntk import Box, Problem, residual
from pinntk.files import replacing
from pinntk.ntk.factors import trained_parameters
from pinntk.ntk.jacobian import vmap_rows

CASES = {  # layer sizes, whether the operator is the Laplacian (else u_x1x1), n
    "deep": ([1, 512, 512, 512, 1], False, 300),
    "laplacian": ([2, 256, 256, 256, 256, 1], True, 1000),
    "narrow": ([2, 64, 64, 64, 1], True, 1000),
    "dimension10": ([10, 128, 128, 128, 1], True, 256),
    "paper": ([1, 500, 1], False, 100),
}


def set_up(sizes: list[int], laplacian: bool, n: int) -> tuple[nn.Module, Problem, dict[str, Tensor]]:
    domain = Box.cube(sizes[0])

    @residual(domain)
    def second(u_x1x1):
        return u_x1x1

    @residual(domain)
    def laplace(lap_u):
        return lap_u

    problem = Problem(domain, [laplace if laplacian else second])
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    network = nn.Sequential(*layers[:-1]).double()
    return network, problem, problem.sample(residual=n, dtype=torch.float64)


def by_factors(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    return pinntk.kernel(network, problem, points).matrix()


def by_jacobian(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    (name,) = problem.names
    rows = vmap_rows(network, problem, name, points[name], trained_parameters(network, problem))
    J = torch.cat(list(rows.values()), 1)
    return J @ J.T


METHODS: dict[str, Callable[..., Tensor]] = {"pinntk": by_factors, "vmap": by_jacobian}


def median_time(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_memory(case: str, method: str) -> float:
    """MiB above the size before the call, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (case, method))


def _peak_here(case: str, method: str) -> float:
    arguments = set_up(*CASES[case])
    before = peak_so_far()
    METHODS[method](*arguments)
    return peak_so_far() - before


def peak_so_far() -> float:
    """This process's largest resident size so far, in MiB. On Linux from /proc: getrusage there counts the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def compare(case: str, repeats: int, memory: bool = True) -> dict:
    arguments = set_up(*CASES[case])
    ours, theirs = by_factors(*arguments), by_jacobian(*arguments)
    difference = float((ours - theirs).norm() / theirs.norm())
    if difference > 1e-10:
        raise ArithmeticError(f"{case}: the two kernels differ by {difference:.1e} relative; no time is worth printing")
    result = {"case": case, "sizes": CASES[case][0], "n": CASES[case][2], "difference": difference}
    for name, method in METHODS.items():
        result[f"{name}_seconds"] = median_time(
            lambda method=method: method(*arguments), repeats if name == "vmap" else 3 * repeats
        )
        if memory:
            result[f"{name}_MiB"] = peak_memory(case, name)
    result["ratio"] = result["vmap_seconds"] / result["pinntk_seconds"]
    return result


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3, help="of the slow one; three times as many of the fast one")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_kernel.json"))
    arguments = parser.parse_args(argv)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float64, medians")
    print(
        f"{'case':<12} {'network':<26} {'n':>5} {'pinntk s':>9} {'vmap s':>8} {'ratio':>6} {'MiB':>6} {'vmap MiB':>9}  differ"
    )
    results = []
    for case in arguments.cases:
        result = compare(case, arguments.repeats)
        results.append(result)
        print(
            f"{case:<12} {result['sizes']!s:<26} {result['n']:>5} {result['pinntk_seconds']:>9.4f} "
            f"{result['vmap_seconds']:>8.3f} {result['ratio']:>6.1f} {result['pinntk_MiB']:>6.0f} {result['vmap_MiB']:>9.0f}  "
            f"{result['difference']:.0e}",
            flush=True,
        )
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(results, indent=2))
    return results


if __name__ == "__main__":
    main()
