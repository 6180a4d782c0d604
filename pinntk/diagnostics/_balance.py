"""How the conditions of a problem share the training: rates, gradients, coupling, conflict, and everyone's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._spectrum import stacked_errors
from pinntk.ntk import KernelBlocks
from pinntk.ntk import kernel as computed_kernel
from pinntk.ntk._blocks import check_weights
from pinntk.ntk._rounding import vanishing
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.weighting._by_name import inverse_shares, measures
from pinntk.weighting._gradients import errors_and_gradients


@dataclass(frozen=True, eq=False)
class Balance:
    """Measurements of a network's conditions i on their points; the loss is L = sum_i lambda_i L_i, L_i = mean(e_i^2).

    names, sizes, weights: of the conditions: their n_i and lambda_i

    By condition:
    errors: (n_i,) e_i
    diagonals: (n_i,) of K_ii: the squared norm of the gradient of each point's error
    trace: Tr K_ii
    mean_diagonal: Tr K_ii / n_i, the average rate c_i of Wang, Yu & Perdikaris 2022, definition 5.1
    rate: 2 lambda_i Tr K_ii / n_i, the sum of the rates of the condition's own modes in gradient flow on L
    loss: L_i, without its weight
    gradient_norm, gradient_max, gradient_mean: Euclidean norm, largest and mean absolute entry of the gradient of
        lambda_i L_i (Wang, Teng & Perdikaris 2021 weight by the ratio of the last two)
    gradient_rate: -d log L_i / dt in gradient flow on L, sum_j lambda_j (grad L_i . grad L_j) / L_i: what all conditions
        together do to this one's loss; negative where it rises, 0 where L_i = 0

    By pair of conditions, (m, m) in the order of `names`:
    coupling: norm_F(K_ij) / sqrt(norm_F(K_ii) norm_F(K_jj)), 0 to 1: how far training one moves the errors of the other
    conflict: cosine between grad L_i and grad L_j, -1 to 1: negative where one step cannot serve both; e_i^T K_ij e_j over
        the square root of (e_i^T K_ii e_i) (e_j^T K_jj e_j)

    Of all conditions together:
    alignment: `gradient_alignment` of grad L_i, over the conditions that depend on the parameters and have a weight above 0;
        weights do not turn gradients, so that it is that of lambda_i L_i

    dependent: the conditions that depend on the parameters; the others are met by construction, to rounding

    A condition whose kernel or gradient is zero has coupling and conflict 0, also with itself. All tensors are float64 on
    the CPU; a gradient of a float32 network is as exact as float32.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: Mapping[str, float]
    errors: Mapping[str, Tensor]
    diagonals: Mapping[str, Tensor]
    trace: Mapping[str, float]
    mean_diagonal: Mapping[str, float]
    rate: Mapping[str, float]
    loss: Mapping[str, float]
    gradient_norm: Mapping[str, float]
    gradient_max: Mapping[str, float]
    gradient_mean: Mapping[str, float]
    gradient_rate: Mapping[str, float]
    coupling: Tensor
    conflict: Tensor
    alignment: float
    dependent: frozenset[str]

    @property
    def imbalance(self) -> float:
        """Largest over smallest lambda_i Tr K_ii / n_i, 1 where NTK weights are in place. Conditions that depend on no
        parameter are left out; infinite where a weight is 0.
        """
        return _ratio([self.rate[name] for name in self.names if name in self.dependent])

    @property
    def gradient_imbalance(self) -> float:
        """Largest over smallest `gradient_norm`, of the same conditions; infinite where a gradient is zero."""
        return _ratio([self.gradient_norm[name] for name in self.names if name in self.dependent])

    @property
    def cosines(self) -> dict[str, dict[str, float]]:
        """`conflict` by names: {condition: {condition: cosine between both gradients}}."""
        rows = self.conflict.tolist()
        return {name: dict(zip(self.names, row, strict=True)) for name, row in zip(self.names, rows, strict=True)}


@without_autocast
def balance(
    network: nn.Module,
    problem: Problem,
    points: Points,
    weights: Mapping[str, float] | None = None,
    *,
    kernel: KernelBlocks | None = None,
) -> Balance:
    """How the conditions on `points` share the training: `Balance`, from one kernel and one gradient a condition.

    points: {condition: (n, d)}
    weights: the loss weights lambda_i by condition; all 1 if None
    kernel: `pinntk.kernel` of the same network and points, if it exists already; computed if None

    Raises ValueError for weights or a kernel that do not fit, NonFiniteError for errors with NaN, and as `pinntk.kernel` does.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem, points)")
    points = problem.check(points)
    weights = dict.fromkeys(points, 1.0) if weights is None else dict(weights)
    check_weights(weights, tuple(points))
    if kernel is not None:
        _check_kernel(kernel, points)
    check_network(network, problem, points)
    e, (gradients,) = errors_and_gradients(network, problem, points, lambda e: e.square().mean())
    K = computed_kernel(network, problem, points) if kernel is None else kernel
    names = K.names
    trace = K.traces()
    mean_diagonal = {name: trace[name] / n for name, n in zip(names, K.sizes, strict=True)}
    weighted = {name: weights[name] * g for name, g in zip(names, gradients, strict=True)}
    dependent = frozenset(names) - vanishing(network, problem, points, mean_diagonal)
    loss = {name: float(e[name].square().mean()) for name in names}
    flow = gradients @ sum(weighted.values())  # (m,), -dL_i / dt
    return Balance(
        names=names,
        sizes=K.sizes,
        weights=weights,
        errors=e,
        diagonals={name: K.diagonal(name).double().cpu().clone() for name in names},
        trace=trace,
        mean_diagonal=mean_diagonal,
        rate={name: 2 * weights[name] * mean_diagonal[name] for name in names},
        loss=loss,
        gradient_norm={name: float(g.norm()) for name, g in weighted.items()},
        gradient_max={name: float(g.abs().max()) for name, g in weighted.items()},
        gradient_mean={name: float(g.abs().mean()) for name, g in weighted.items()},
        gradient_rate={name: float(f) / loss[name] if loss[name] else 0.0 for name, f in zip(names, flow, strict=True)},
        coupling=_coupling(K),
        conflict=_cosines(gradients, [name in dependent for name in names]),
        alignment=gradient_alignment(gradients[[name in dependent and weights[name] > 0 for name in names]]),
        dependent=dependent,
    )


def gradient_alignment(gradients: Tensor) -> float:
    """Whether m gradients point the same way, -1 to 1: 2 |mean_i g_i / |g_i||^2 - 1.

    gradients: (m, p) one a row, of any lengths; zero ones are left out

    For two it is their cosine. 1 where all point the same way, -1 where the unit vectors cancel, and 2 / m - 1 where they are
    orthogonal, as unrelated gradients of many parameters about are: with more conditions a lower number says less. NaN for
    fewer than two, and where one is not finite. Raises ValueError for another shape.
    The alignment score of Wang, Bhartari, Li & Perdikaris 2025 (arXiv 2502.00604), section 3.

    >>> gradient_alignment(torch.tensor([[3.0, 0.0], [1.0, 1.0]]))  # the cosine of 45 degrees
    0.7071067811865475
    >>> gradient_alignment(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]))
    -1.0
    """
    if gradients.ndim != 2:
        raise ValueError(f"gradients has shape {tuple(gradients.shape)}; give (m, p), one gradient a row")
    rows = gradients.double()
    rows = rows[rows.any(1)]
    if len(rows) < 2:
        return nan
    rows = rows / rows.abs().amax(1, keepdim=True)  # or squares of tiny entries would vanish
    mean = (rows / rows.norm(dim=1, keepdim=True)).mean(0)
    return float((2 * mean.square().sum() - 1).clamp(max=1))


def weights_by_name(kernel: KernelBlocks, errors: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """What packages call NTK weights, each by the quantity that it is made of: {quantity: {condition: weight}}.

    errors: {condition: (n_i,)} on the kernel's points, as from `pinntk.errors`

    Each set is normalized to sum 1, since only ratios of weights matter to its meaning; momentum, and how often a package
    updates, are left out. With g_i = grad mean(e_i^2) and weights proportional to

        "trace"               1 / Tr K_ii                   Wang, Yu & Perdikaris 2022, algorithm 1 (PINNsNTK);
                                                            weighting.NTK(normalization="sum")
        "mean-diagonal"       n_i / Tr K_ii                 jaxpi (mean of means over own, the same ratios);
                                                            weighting.NTK(normalization="mean")
        "kernel-sum"          1 / (1^T K_ii 1)              PINNacle: |grad of the sum of errors|^2; signs cancel
        "root-loss-gradient"  1 / |grad sqrt(mean e_i^2)|   PhysicsNeMo-Sym, losses as means
        "root-sum-gradient"   1 / |grad sqrt(sum e_i^2)|    PhysicsNeMo-Sym, losses as sums
        "inverted-gradient"   |g_i|                         PINA 0.3.2: the larger the gradient, the larger the weight
        "gradient-norm"       1 / |g_i|                     no kernel at all: jaxpi's other scheme, for comparison

    The first two are NTK weights; the others are gradients of losses, from K since |g_i|^2 = 4 e_i^T K_ii e_i / n_i^2.
    A condition that depends on no parameter is in no set. Where a quantity is 0, its limit: that condition has all weight,
    or shares it with others like it. Raises ValueError for errors that do not fit the kernel.
    """
    if not isinstance(kernel, KernelBlocks):
        raise TypeError(f"kernel is a {type(kernel).__name__}; expected KernelBlocks, as from pinntk.kernel")
    parts = stacked_errors(errors, kernel.names, kernel.sizes).split(kernel.sizes)
    trace = kernel.traces()
    found: dict[str, dict[str, float]] = {}
    for name, n, e in zip(kernel.names, kernel.sizes, parts, strict=True):
        if trace[name] > 0:
            block, e = kernel[name].double().cpu(), e.cpu()
            pulled = float((e @ block @ e).clamp(min=0).sqrt())  # |J^T e|
            found[name] = measures(trace[name], n, float(e.norm()), pulled, float(block.sum()))
    quantities = next(iter(found.values()), {})
    return {quantity: inverse_shares({name: own[quantity] for name, own in found.items()}) for quantity in quantities}


def _ratio(values: Sequence[float]) -> float:
    if not values or max(values) == 0:
        return 1.0
    return max(values) / min(values) if min(values) else inf


def _check_kernel(kernel: KernelBlocks, points: Points) -> None:
    if not isinstance(kernel, KernelBlocks):
        raise TypeError(f"kernel is a {type(kernel).__name__}; expected KernelBlocks, as from pinntk.kernel")
    counts = {name: len(rows) for name, rows in points.items()}
    if dict(zip(kernel.names, kernel.sizes, strict=True)) != counts or kernel.names != tuple(points):
        raise ValueError(f"kernel is {kernel!r}, the points are {counts}; give the kernel of these points, or none")
    for name, rows in kernel.points.items():
        if not torch.equal(rows.double().cpu(), points[name].double().cpu()):
            raise ValueError(f"kernel was computed on other points of {name!r}; give kernel.points as points, or no kernel")


def _coupling(kernel: KernelBlocks) -> Tensor:
    norms = torch.tensor(
        [[float(kernel[i, j].double().norm()) for j in kernel.names] for i in kernel.names], dtype=torch.float64
    )
    root = norms.diagonal().sqrt()
    return torch.where((root > 0) & (root[:, None] > 0), norms / root / root[:, None], 0)


def _cosines(rows: Tensor, depends: Sequence[bool]) -> Tensor:
    norms = rows.norm(dim=1, keepdim=True)
    unit = torch.where((norms > 0) & torch.tensor(depends)[:, None], rows / norms, 0)
    return (unit @ unit.T).clamp(-1, 1)
