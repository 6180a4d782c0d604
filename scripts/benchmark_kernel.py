"""`pinntk.kernel` against other ways to the same K = J J^T, in one process: time, ratio, peak memory, agreement.

    python scripts/benchmark_kernel.py                 every case
    python scripts/benchmark_kernel.py --cases deep    [1, 512 x 3, 1], u_xx, n = 300
    python scripts/benchmark_kernel.py --one-thread    processor seconds of one thread: for a machine that others use too
    python scripts/benchmark_kernel.py --jax PYTHON    also JAX, run by the Python of an environment that has it
    python scripts/benchmark_kernel.py --device cuda   also K of [2, 512 x 4, 1] with 10,000 and 30,000 points there

torch.func  what a careful user writes: vmap(grad(e)) over points in chunks, and one product at the end. `_rivals.py` has
            six forms of e; each is tuned over chunk sizes by short runs, the two fastest are timed whole (others: ~)
by layer    the same factors as pinntk's, but the explicit Jacobian of one layer after the other
curvlinops  J (J^T I) by its linear operators, where installed: 8 columns of I, their time scaled up to all
jax, nt     `benchmark_jax.py`: jit of vmap(grad) and, where installed, neural-tangents' structured derivatives

Results are compared before anything is timed. Times are medians, the methods in turns; peak memory is that of a fresh
process that does nothing else, above its size before the call. The last line is the share of this machine's
matrix-multiply rate, measured beside it, at which K is assembled from its factors.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import _rivals as rivals
import numpy as np
import torch
from torch import Tensor, nn

import pinntk
from pinntk import Box, Problem, residual
from pinntk._util.files import replacing
from pinntk.ntk import Factors, gram
from pinntk.ntk._gram import is_structured
from pinntk.taylor._fused import plain

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


def by_layer(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    (found,) = pinntk.factors(network, problem, points).values()
    K = torch.zeros(found.n, found.n, dtype=torch.float64)
    for name in found.sizes:
        if found.has(name):
            J = found.explicit(name)
            K.addmm_(J, J.T)
    return K


class Errors(nn.Module):
    """The errors as a module that maps points to (n, 1), which is what curvlinops takes."""

    def __init__(self, network: nn.Module, problem: Problem):
        super().__init__()
        self.network, self.problem = network, problem

    def forward(self, rows: Tensor) -> Tensor:
        (error,) = pinntk.errors(self.network, self.problem, {self.problem.names[0]: rows}, "taylor").values()
        return error.unsqueeze(1)


def by_curvlinops(network: nn.Module, problem: Problem, points: dict[str, Tensor]) -> Tensor:
    """The first 8 columns of K, a sample of all."""
    ((_, rows),) = points.items()
    n = len(rows)
    data = [(rows, torch.zeros(n, 1, dtype=rows.dtype))]
    trained = [p for p in network.parameters() if p.requires_grad]
    with plain():  # its forward mode needs plain tensor operations
        J = JacobianLinearOperator(Errors(network, problem), trained, data, check_deterministic=False)
        return J @ (J.adjoint() @ torch.eye(n, min(n, 8), dtype=rows.dtype))


METHODS: dict[str, Callable[..., Tensor]] = {"pinntk": by_factors, "by layer": by_layer}
if find_spec("curvlinops"):
    from curvlinops import JacobianLinearOperator

    METHODS["curvlinops"] = by_curvlinops


def median_time(call: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    return statistics.median(seconds_of(call) for _ in range(repeats))


def seconds_of(call: Callable[[], object]) -> float:
    """Of one call, and of what it left to do on a GPU."""
    _finish()
    start = rivals.clock()
    call()
    _finish()
    return rivals.clock() - start


def _finish() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def in_turns(calls: dict[str, Callable[[], object]], repeats: int, at_most: float = 10.0) -> dict[str, float]:
    """Median seconds of every call: one of each a round, five of one that takes less than 0.2 s; a call drops out once
    `at_most` seconds are spent on it."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if sum(times[name]) < at_most:
                times[name].append(seconds_of(call))
                times[name] += [seconds_of(call) for _ in range(4 if times[name][-1] < 0.2 else 0)]
    return {name: statistics.median(found) for name, found in times.items()}


def peak_memory(case: str, method: str, chunk: int | None = None) -> float:
    """MiB above the size before the call, in a process of its own; `method`: of METHODS or of `rivals.FORMS`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (case, method, chunk))


def _peak_here(case: str, method: str, chunk: int | None) -> float:
    arguments = set_up(*CASES[case])
    task = rival(case, arguments)
    before = peak_so_far()
    if method in METHODS:
        METHODS[method](*arguments)
    else:
        task.kernel(method, chunk)
    return peak_so_far() - before


def peak_so_far() -> float:
    """This process's largest resident size so far, in MiB. On Linux from /proc: getrusage there counts the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def rival(case: str, arguments: tuple[nn.Module, Problem, dict[str, Tensor]]) -> rivals.Task:
    network, _, points = arguments
    return rivals.Task.of(network, next(iter(points.values())), CASES[case][1])


def compare(case: str, repeats: int, memory: bool = True, jax: str | None = None) -> dict:
    """Every method on one case: {"seconds", "difference", "chunk" and "MiB" by method, "ratio" to pinntk's seconds,
    "scaled": forms timed by a short run only, "strongest": the fastest method by torch.func}."""
    arguments = set_up(*CASES[case])
    task, n = rival(case, arguments), CASES[case][2]
    result = {"case": case, "sizes": CASES[case][0], "n": n, "MiB": {}, "difference": {}}
    tuned = sorted((task.tuned(form) for form in rivals.FORMS), key=lambda found: found.seconds)
    whole, others = tuned[:2], tuned[2:]
    expected = task.kernel(whole[0].form, whole[0].chunk)
    calls = {name: lambda method=method: method(*arguments) for name, method in METHODS.items()}
    calls |= {found.form: lambda found=found: task.kernel(found.form, found.chunk) for found in whole}
    columns = {}
    for name, call in calls.items():
        K = expected if name == whole[0].form else call()
        columns[name] = K.shape[1]
        _agree(result, name, K, expected)
    for found in others:
        _agree(result, found.form, found.first, expected[: len(found.first)])
    times = in_turns(calls, repeats)
    result["seconds"] = {name: seconds * n / columns[name] for name, seconds in times.items()}
    multiply = result["seconds"][whole[0].form] - whole[0].seconds  # the product J J^T, and whatever a short run misses
    result["seconds"] |= {found.form: found.seconds + max(0.0, multiply) for found in others}
    result["scaled"] = [found.form for found in others]
    result["chunk"] = {found.form: found.chunk or n for found in tuned}
    result["strongest"] = min(rivals.FORMS, key=result["seconds"].__getitem__)
    if jax is not None:
        for name, (K, seconds) in by_jax(jax, case, repeats).items():
            _agree(result, name, K, expected)
            result["seconds"][name] = seconds
    result["ratio"] = {name: seconds / result["seconds"]["pinntk"] for name, seconds in result["seconds"].items()}
    for name in [*METHODS, result["strongest"]] if memory else ():
        result["MiB"][name] = peak_memory(case, name, result["chunk"].get(name))
    return result


def _agree(result: dict, name: str, K: Tensor, expected: Tensor) -> None:
    expected = expected[:, : K.shape[1]]
    difference = float((K - expected).norm() / expected.norm())
    if not difference < 1e-12:
        raise ArithmeticError(
            f"{result['case']}: the kernels of {name} and torch.func differ by {difference:.1e} relative; no time is worth "
            "printing"
        )
    result["difference"][name] = difference


def by_jax(python: str, case: str, repeats: int) -> dict[str, tuple[Tensor, float]]:
    """{method: (K, median seconds)} from `benchmark_jax.py` on the same network and points, in a process of its own."""
    network, _, points = set_up(*CASES[case])
    arrays = {f"p{i}": p.detach().numpy() for i, p in enumerate(network.parameters())}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", x=next(iter(points.values())).numpy(), laplacian=CASES[case][1], **arrays)
        script = Path(__file__).with_name("benchmark_jax.py")
        subprocess.run([python, script, f"{folder}/in.npz", f"{folder}/out.npz", str(repeats)], check=True)
        with np.load(f"{folder}/out.npz") as found:
            names = [key.removesuffix("_seconds") for key in found if key.endswith("_seconds")]
            return {name: (torch.from_numpy(found[name]), float(found[f"{name}_seconds"])) for name in names}


def operations(found: Factors) -> float:
    """Floating-point operations of the matrix products that `gram(found, found)` chooses, on one triangle."""
    total = 0
    for name, size in found.sizes.items():
        if not found.has(name):
            continue
        if is_structured(found, found, name):
            outer = found.outers[name]
            total += len(outer.A) ** 2 * (outer.A.shape[2] + outer.B.shape[2])
        else:
            total += size
    return 2 * total * found.n**2 / 2


def share_of_peak(sizes: list[int], n: int, repeats: int) -> dict:
    """Assembly of K from its factors against a product of two n x n matrices, in operations a second."""
    (found,) = pinntk.factors(*set_up(sizes, True, n)).values()
    square = torch.randn(n, n, dtype=torch.float64)
    assembly = median_time(lambda: gram(found, found), repeats)
    product = median_time(lambda: square @ square, repeats)
    ours, peak = operations(found) / assembly / 1e9, 2 * n**3 / product / 1e9
    return {"sizes": sizes, "n": n, "GFLOP/s": ours, "peak GFLOP/s": peak, "share": ours / peak}


def whole_kernel(device: str, sizes: list[int], n: int, repeats: int) -> dict:
    """`pinntk.kernel` on a device, factors included: seconds, and the share of its rate in a product of two matrices."""
    network, problem, points = set_up(sizes, True, n)
    network = network.to(device)
    points = {name: rows.to(device) for name, rows in points.items()}

    (found,) = pinntk.factors(network, problem, points).values()
    counted = operations(found)
    del found
    m = min(n, 8192)
    square = torch.randn(m, m, dtype=torch.float64, device=device)
    square @ square  # starts the library
    peak = 2 * m**3 / median_time(lambda: square @ square, repeats)
    seconds = median_time(lambda: pinntk.kernel(network, problem, points, max_memory="16GiB"), repeats)
    return {"device": device, "sizes": sizes, "n": n, "seconds": seconds, "share": counted / seconds / peak}


def table(result: dict) -> str:
    strongest = result["strongest"]
    lines = [f"\n{result['case']}: {result['sizes']}, n = {result['n']}"]
    lines.append(f"  {'':<12} {'seconds':>10} {'ratio':>7} {'chunk':>6} {'MiB':>6}  differ")
    for name, seconds in result["seconds"].items():
        scaled = "~" if name in result["scaled"] else ""
        memory = f"{result['MiB'][name]:.0f}" if name in result["MiB"] else ""
        lines.append(
            f"  {name:<12} {f'{scaled}{seconds:.4f}':>10} {result['ratio'][name]:>7.1f} {result['chunk'].get(name, ''):>6} "
            f"{memory:>6}  {result['difference'][name]:.0e}"
        )
    lines.append(f"  pinntk against the strongest of torch.func, {strongest}: {result['ratio'][strongest]:.1f}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3, help="rounds; five runs a round of what takes less than 0.2 s")
    parser.add_argument("--one-thread", action="store_true", help="processor seconds of one thread, not those of the wall")
    parser.add_argument("--jax", metavar="PYTHON", help="the Python of an environment with jax and neural-tangents")
    parser.add_argument("--device", help="also K of [2, 512 x 4, 1] with 10,000 and 30,000 points on this device, as in cuda")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_kernel.json"))
    arguments = parser.parse_args(argv)
    if arguments.one_thread:
        torch.set_num_threads(1)
    rivals.clock = time.process_time if arguments.one_thread else time.perf_counter
    seconds = "processor seconds" if arguments.one_thread else "seconds"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float64, medians of {seconds}")
    results = []
    for case in arguments.cases:
        results.append(compare(case, arguments.repeats, jax=arguments.jax))
        print(table(results[-1]), flush=True)
    share = share_of_peak([2, 256, 256, 256, 256, 1], 2000, arguments.repeats)
    print(
        f"\nassembly of {share['sizes']}, n = {share['n']}, from its factors: {share['GFLOP/s']:.0f} of "
        f"{share['peak GFLOP/s']:.0f} GFLOP/s, {100 * share['share']:.0f} % of the matrix-multiply rate"
    )
    found = {"cases": results, "assembly": share, "device": []}
    for n in (10_000, 30_000) if arguments.device else ():
        large = whole_kernel(arguments.device, [2, 512, 512, 512, 512, 1], n, arguments.repeats)
        found["device"].append(large)
        print(
            f"{arguments.device}, n = {n}: {large['seconds']:.2f} s, {100 * large['share']:.0f} % of the matrix-multiply rate"
        )
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    main()
