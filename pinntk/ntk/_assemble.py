"""`pinntk.kernel`, `pinntk.cross_kernel` and `pinntk.traces`."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from pinntk._util.memory import parse_bytes
from pinntk._util.precision import without_autocast
from pinntk._util.progress import Progress
from pinntk._util.threads import of_cross_kernel, of_kernel, of_step, with_threads_for
from pinntk.ntk._blocks import KernelBlocks, require_kernel
from pinntk.ntk._factors import compute_factors
from pinntk.ntk._finite import check_rows
from pinntk.ntk._gram import gram
from pinntk.ntk._store import CHUNK, FactorStore
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._values import DIAGONAL, check_finite


@without_autocast
@with_threads_for(of_kernel)
def kernel(
    network: nn.Module,
    problem: Problem,
    points: Points,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    max_memory: int | str = "2GiB",
) -> KernelBlocks:
    """The exact neural tangent kernel K_ij = J_i J_j^T of the conditions' errors, J_i = d e_i / d theta.

    theta is every parameter with requires_grad=True, and the problem's coefficients.
    points: {condition name: (n, d)}, from `problem.sample` or the user's own; conditions may be left out
    dtype: in which products are accumulated and K is returned; the network is evaluated in its own dtype. float32
        doubles the speed and costs half the digits
    device: where to compute, on a copy of the network; its own device unless given
    max_memory: for factors, beside the (n, n) result: "2GiB" or bytes. Those that do not fit are computed again for each
        block that needs them

    Raises ValueError for points or a network that do not fit the problem, DependentPointsError for a network that mixes
    points, NonFiniteError, naming condition and points, for a K with NaN or infinity, MemoryError beforehand where K does not
    fit. `KernelBlocks.origins` holds the path of each J, with its certificate: Taylor jets, or, with a warning, the autograd
    graph of the errors or reverse mode row by row.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> K = pinntk.kernel(network, problem, points)
    >>> K.sizes, K["ends", "poisson"].shape
    ((5, 2), torch.Size([2, 5]))
    >>> bool(K.eigvalsh().min() > -1e-9 * K.eigvalsh().max())
    True
    """
    network, points = _prepare(network, problem, points, dtype, device)
    store = FactorStore(network, problem, points, parse_bytes(max_memory))
    n = sum(map(len, points.values()))
    K = _allocate(n, n, dtype, network)
    with Progress("kernel", len(store.chunks) * (len(store.chunks) + 1) // 2) as progress:
        for position, chunk in enumerate(store.chunks):
            left = store[chunk]
            for other in store.chunks[: position + 1]:
                block = gram(left, left if other is chunk else store[other], dtype)
                K[chunk.rows, other.rows] = block
                if other is not chunk:
                    K[other.rows, chunk.rows] = block.T
                progress.advance()
    names = tuple(points)
    kinds = tuple(problem[name].kind for name in names)
    blocks = KernelBlocks(K, names, kinds, tuple(len(points[name]) for name in names), points, store.origins)
    check_finite(network, problem, points, {name: blocks.diagonal(name) for name in names}, DIAGONAL)
    return blocks


@without_autocast
@with_threads_for(of_cross_kernel)
def cross_kernel(
    network: nn.Module,
    problem: Problem,
    rows: Points,
    columns: Points,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    max_memory: int | str = "2GiB",
) -> dict[tuple[str, str], Tensor]:
    """K between two sets of points, J(rows) J(columns)^T: {(row condition, column condition): (n_i, m_j)}.

    A block of rows of a kernel too large to hold, or the kernel between test and training points. Arguments and errors as
    for `kernel`.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> other = problem.sample(residual=3, boundary=2, seed=1)
    >>> {block: tuple(K.shape) for block, K in pinntk.cross_kernel(network, problem, points, other).items()}
    {('poisson', 'poisson'): (5, 3), ('poisson', 'ends'): (5, 2), ('ends', 'poisson'): (2, 3), ('ends', 'ends'): (2, 2)}
    """
    network, rows = _prepare(network, problem, rows, dtype, device)
    columns = problem.check(columns)
    n, m = (sum(map(len, points.values())) for points in (rows, columns))
    require_kernel(n, m, dtype, device_of(network))
    narrow = FactorStore(network, problem, columns, parse_bytes(max_memory))
    blocks = {(i, j): _allocate(len(rows[i]), len(columns[j]), dtype, network) for i in rows for j in columns}
    for chunk, left in FactorStore(network, problem, rows, 0):  # each is needed once
        for other, right in narrow:
            block = blocks[chunk.name, other.name]
            block[chunk.start : chunk.stop, other.start : other.stop] = gram(left, right, dtype)
    return blocks


@without_autocast
@with_threads_for(of_step)
def traces(
    network: nn.Module, problem: Problem, points: Points, *, device: torch.device | str | None = None
) -> dict[str, float]:
    """The exact trace of every diagonal block, {condition: Tr K_ii}, without any (n, n) array, in float64.

    Arguments and errors as for `kernel`.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> traces = pinntk.traces(network, problem, points)
    >>> K = pinntk.kernel(network, problem, points)
    >>> {name: round(trace / K.trace(name), 9) for name, trace in traces.items()}
    {'poisson': 1.0, 'ends': 1.0}
    """
    network, points = _prepare(network, problem, points, torch.float64, device)
    return compute_traces(network, problem, points)


def compute_traces(
    network: nn.Module, problem: Problem, points: Points, point_weights: Points | None = None
) -> dict[str, float]:
    """`traces` for points and a network that were checked before, as in every step of a training. Raises NonFiniteError.

    point_weights: {condition: g (n,)}; its trace is then that of sqrt(g) e, the sum of g_p K_pp
    """
    found, given = dict.fromkeys(points, 0.0), point_weights or {}

    def trace(name: str, diagonal: Tensor, rows: slice) -> float:
        return float((diagonal * given[name][rows] if name in given else diagonal).sum())

    if (
        max(len(rows) * problem[name].places for name, rows in points.items()) <= CHUNK
    ):  # one pass for all conditions on the same points
        factored = compute_factors(network, problem, points)
        check_rows(network, problem, points, factored)
        return {name: trace(name, part.diagonal, slice(None)) for name, part in factored.items()}
    for chunk, part in FactorStore(network, problem, points, 0):
        found[chunk.name] += trace(chunk.name, part.diagonal, slice(chunk.start, chunk.stop))
    return found


def _prepare(
    network: nn.Module, problem: Problem, points: Points, dtype: torch.dtype, device: torch.device | str | None
) -> tuple[nn.Module, dict[str, Tensor]]:
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem, points)")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype={dtype}: a kernel needs a floating-point dtype, such as torch.float64")
    network, points = _move_to(network, device), problem.check(points)
    check_network(network, problem, points)
    return network, points


def _allocate(n: int, m: int, dtype: torch.dtype, network: nn.Module) -> Tensor:
    require_kernel(n, m, dtype, device_of(network))
    try:
        return torch.empty(n, m, dtype=dtype, device=device_of(network))
    except RuntimeError as error:
        raise MemoryError(f"a kernel of {n} x {m} does not fit into memory; use pinntk.KernelOperator") from error


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the CPU for one without any."""
    return next(network.parameters(), torch.empty(0)).device


def _move_to(network: nn.Module, device: torch.device | str | None) -> nn.Module:
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    if device is None or parameter is None or parameter.device == torch.device(device):
        return network
    return deepcopy(network).to(device)
