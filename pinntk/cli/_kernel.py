"""`pinntk kernel`: the kernel of a network on a problem, as a table and in a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pinntk._util import distributed
from pinntk._util.progress import Progress, short
from pinntk.cli._meaning import counts, load_problem, make_network, usable_device
from pinntk.cli._trainings import load_run, refuse_all_but
from pinntk.geometry._sampling import TRAINED_ON
from pinntk.nn import MLP
from pinntk.ntk import (
    KernelBlocks,
    KernelOperator,
    LeadingEigenvalues,
    Origin,
    infinite_kernel,
    kernel,
    leading_eigenvalues,
    sharded_kernel,
)
from pinntk.ntk._blocks import require_kernel
from pinntk.problem import Points, Problem

_BESIDE_RUN = ("run", "points", "sampling", "seed", "out", "device", "verbose", "trust", "top", "max_memory")
_IN_LINE = 6  # eigenvalues


def kernel_blocks(arguments: argparse.Namespace) -> int:
    if arguments.run:
        if arguments.problem is not None:
            raise ValueError("--run takes the problem from the run; leave the problem out")
        refuse_all_but(arguments, "--run", _BESIDE_RUN)
        run = load_run(arguments.run, arguments)
        problem, network = run.problem, run.network.to(usable_device(arguments.device))
    else:
        problem = load_problem(arguments)
        network = _limit_network(arguments, problem) if arguments.infinite else make_network(arguments, problem)
    _check_top(arguments)
    wanted: dict[str, Any] = {**counts(arguments, problem)}
    if distributed.world() == 1 and not arguments.top:
        n = sum(count or 0 for count in problem.counts(**wanted).values())
        require_kernel(n, n, copies=3)  # K, and what its eigenvalues take
    points = problem.sample(wanted, seed=arguments.seed or 0, method=arguments.sampling or TRAINED_ON)
    if arguments.top:
        return _leading(arguments, problem, network, points)
    if arguments.infinite and isinstance(network, MLP):
        blocks = infinite_kernel(network, problem, points, at="exact" if problem.exact else None)
    elif distributed.world() > 1:
        return _kernel_rows(arguments, problem, network, points)
    else:
        blocks = kernel(network, problem, points)
    out = _out(arguments)
    if out is not None:
        blocks.save(out)
    _describe_kernel(blocks)
    if arguments.verbose:
        _print_origins(blocks.origins)
    if out is not None:
        print(f"written to {out}: read it with pinntk.KernelBlocks.load")
    return 0


def _out(arguments: argparse.Namespace) -> Path | None:
    if not arguments.out:
        return None
    out = Path(arguments.out)
    return out if out.suffix == ".npz" else out.with_name(out.name + ".npz")


def _check_top(arguments: argparse.Namespace) -> None:
    if arguments.top is None:
        if arguments.max_memory is not None:
            raise ValueError(f"--max-memory {arguments.max_memory} is that of --top; add --top K, or leave it out")
        return
    if arguments.infinite:
        raise ValueError("--top takes eigenvalues of J^T J, and at infinite width there is no J: leave one of them out")
    if arguments.verbose:
        raise ValueError("--verbose says how the blocks of K came about, and --top makes none; leave one of them out")
    if arguments.top < 1:
        raise ValueError(f"--top {arguments.top}: a whole number of at least 1")


def _leading(arguments: argparse.Namespace, problem: Problem, network: nn.Module, points: Points) -> int:
    """The largest eigenvalues of K, on as many points as are wanted."""
    out = _out(arguments)
    found = leading_eigenvalues(
        network,
        problem,
        points,
        arguments.top,
        max_memory=arguments.max_memory,
        checkpoint=None if out is None else out.with_name(out.name + ".checkpoint"),
        announce=lambda forecast: print(forecast, flush=True),
    )
    if distributed.rank():
        return 0
    if out is not None:
        found.save(out)
    _print_traces([(name, problem[name].kind, n) for name, n in found.sizes.items()], found.traces)
    _describe_leading(found)
    if out is not None:
        print(f"written to {out}: read it with pinntk.ntk.LeadingEigenvalues.load")
    return 0


def _describe_leading(found: LeadingEigenvalues) -> None:
    values, total = found.values.tolist(), sum(found.traces.values())
    n, bound = sum(found.sizes.values()), float(found.bounds.max())
    print(f"{len(values)} largest of {n:,} eigenvalues, each to within {bound:.1e}:")
    for start in range(0, len(values), _IN_LINE):
        print("".join(f"{value:>13.5g}" for value in values[start : start + _IN_LINE]))
    share = found.rest / total if total else 0.0
    print(f"all others: {short(share)} of the trace, and none is above {min(found.rest, values[-1]):.3g}")


def _limit_network(arguments: argparse.Namespace, problem: Problem) -> nn.Module:
    """What `infinite_kernel` takes the limit of: its width does not matter."""
    if arguments.network != "mlp":
        raise ValueError(f"--infinite needs --network mlp, not {arguments.network}: the limit of others is not known here")
    return make_network(argparse.Namespace(**{**vars(arguments), "parametrization": "ntk", "width": 1}), problem)


def _kernel_rows(arguments: argparse.Namespace, problem: Problem, network: Any, points: Points) -> int:
    """Under torchrun: every rank computes and writes its rows; traces and leading eigenvalues are those of all of K."""
    block = sharded_kernel(network, problem, points)
    operator = KernelOperator(network, problem, points)
    diagonal, leading = operator.diagonal(), operator.eigh(min(10, operator.n)).values
    written = block.save(arguments.out) if arguments.out else None
    if distributed.rank() == 0:
        traces = {name: float(part.sum()) for name, part in zip(block.names, diagonal.split(block.sizes), strict=True)}
        _print_traces(list(zip(block.names, block.kinds, block.sizes, strict=True)), traces)
        if arguments.verbose:
            _print_origins(operator.origins)
        print(f"leading eigenvalues {' '.join(f'{value:.5g}' for value in leading.tolist())}")
        if written:
            print(f"written to {written} and its like: read them with pinntk.KernelBlocks.join")
    return 0


def _print_traces(conditions: list[tuple[str, str, int]], traces: Mapping[str, float]) -> None:
    print(f"{'condition':<16} {'kind':<9} {'points':>7} {'trace':>12} {'mean diagonal':>14}")
    for name, kind, n in conditions:
        print(f"{name:<16} {kind:<9} {n:>7} {traces[name]:>12.5g} {traces[name] / n:>14.5g}")


def _print_origins(origins: Mapping[str, Origin]) -> None:
    for name, origin in origins.items():
        print(f"J of {name}: {origin}")


def _describe_kernel(blocks: KernelBlocks) -> None:
    _print_traces(list(zip(blocks.names, blocks.kinds, blocks.sizes, strict=True)), blocks.traces())
    with Progress("eigenvalues"):
        values = blocks.eigvalsh().flip(0)
    floor = blocks.floor()
    above = int((values > floor).sum())
    print(f"largest eigenvalue {values[0]:.5g}; {above} of {len(values)} above the rounding floor {floor:.2g}")
    if above:
        print(f"condition number above the floor {values[0] / values[above - 1]:.3g}")
