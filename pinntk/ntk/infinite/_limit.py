"""Kernels of infinitely wide networks, for any problem: `infinite_kernel`, `infinite_cross_kernel`."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pinntk._util.threads import of_infinite_cross_kernel, of_infinite_kernel, with_threads_for
from pinntk.nn import MLP
from pinntk.ntk._blocks import KernelBlocks, require_kernel
from pinntk.ntk.infinite import _dual as dual
from pinntk.ntk.infinite._functional import Exact, Functional, functionals
from pinntk.ntk.infinite._recursion import Double, Stack, diagonal, first_layer, hidden_layer
from pinntk.problem import Points, Problem
from pinntk.residuals._values import DIAGONAL, check_finite
from pinntk.taylor import Basis, Jet

KINDS = ("ntk", "nngp")
_PAIRS = 2**14  # of points at once
_COPIES = 4  # of K at most: the numbers of all pairs of points, a block, and K itself with its transpose


def _identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class InfiniteMLP:
    r"""A fully connected network in the NTK parametrization, in the limit of infinite width.

    Each layer is weight_scale W x / sqrt(fan-in) + beta b with W ~ N(0, gain^2), b ~ N(0, 1); hidden layers are followed by
    the activation s. With q^(1) = <x, x'> / fan-in for the first layer and E[s s'] of the layer below for the others,

        Sigma = gain^2 weight_scale^2 q + beta^2                     (NNGP: covariance of the outputs at initialization)
        Theta = weight_scale^2 q + beta^2 + gain^2 weight_scale^2 Theta_below E[s'(u) s'(v)]                        (NTK)

    depth: hidden layers, 0 for a linear model
    activation: "relu", "erf", "sin", "cos", "exp", "gaussian" (exp(-x^2 / 2)), "identity" or a numpy Polynomial in closed form;
        "tanh", "sigmoid", "silu", "gelu", "softplus" or any smooth function that maps tensors and jets by quadrature to 1e-12
    weight_scale, beta, gain: as above
    inputs: what the first layer receives, a function of (n, d) tensors and jets: normalized inputs, Fourier features

    Source: Jacot, Gabriel & Hongler 2018; Lee et al. 2018 (NNGP); for errors of PDEs Wang, Yu & Perdikaris 2022, theorem 4.3.
    Raises ValueError for a depth below 0, a scale that is not a positive number, an unknown activation.
    """

    depth: int = 1
    activation: dual.Activation = "tanh"
    weight_scale: float = 1.0
    beta: float = 1.0
    gain: float = 1.0
    inputs: Callable = _identity

    def __post_init__(self) -> None:
        if not isinstance(self.depth, int) or self.depth < 0:
            raise ValueError(f"depth={self.depth!r}: a whole number of hidden layers, at least 0")
        for name in ("weight_scale", "gain"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)!r}: a finite number above 0")
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta={self.beta!r}: a finite number of at least 0")
        dual.check(self.activation)

    @classmethod
    def of(cls, network: MLP) -> InfiniteMLP:
        """The limit of an MLP in the NTK parametrization as its width grows; random Fourier features stay as they are.

        Raises TypeError for another network, ValueError for the standard parametrization, whose kernel grows with the width,
        for factorized weights and adaptive activations, values that are met by construction (`hard`) and scaled outputs.
        """
        if not isinstance(network, MLP):
            raise TypeError(f"{type(network).__name__} has no known limit; give a pinntk.nn.MLP, or an InfiniteMLP")
        if network.dense.parametrization != "ntk":
            raise ValueError(
                "the kernel of an MLP in the standard parametrization grows with its width and has no limit; use "
                'MLP(..., parametrization="ntk")'
            )
        for name in ("factorized", "adaptive_slopes"):
            if network.config[name] is not None:
                raise ValueError(
                    f"{name}={network.config[name]} trains scales that the limit does not know; give the same network without"
                )
        if network.constraint is not None:
            raise ValueError(
                f"hard={list(network.hard)} multiplies the network by a factor, and the limit of that is not known here; give "
                "the same network without hard"
            )
        if network.output_scales:
            raise ValueError(
                f"output_scales={network.output_scales} stretches and shifts the network, and the limit of that is not known "
                "here; give the same network with output_scales={}"
            )
        inputs = deepcopy(network).double().features
        depth, gain = network.config["depth"], network.config["gain"]
        return cls(depth, network.dense.activation, beta=network.dense.beta, gain=gain, inputs=inputs)

    @property
    def stack(self) -> Stack:
        return Stack(self.depth, self.activation, self.weight_scale, self.beta, self.gain)


@with_threads_for(of_infinite_kernel)
def infinite_kernel(
    network: MLP | InfiniteMLP, problem: Problem, points: Points, *, kind: str = "ntk", at: nn.Module | str | None = None
) -> KernelBlocks:
    r"""The kernel of a problem's errors in the limit of infinite width, K*_ij = L_i L_j' k(x_i, x_j'), exact, in float64.

    L_i is the operator of condition i, linearized at `at` where it is not linear; fields are independent outputs. Unknown
    coefficients count as parameters in the NTK, held at their values.

    network: an `InfiniteMLP`, or an MLP in the NTK parametrization, whose width then does not matter
    points: {condition name: (n, d)}; computed where the MLP is, or where they are for an `InfiniteMLP`
    kind: "ntk", what training follows, or "nngp", the covariance of the errors at initialization
    at: a network or any module that maps (n, d) to (n, fields), or "exact"; not needed for linear operators

    Raises ValueError for points that do not fit, an operator that is not linear without `at`, an activation without the
    derivatives that the operators need.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> limit = pinntk.nn.MLP(problem, depth=1, activation="sin", parametrization="ntk")
    >>> infinite_kernel(limit, problem, problem.sample(residual=5, boundary=2))
    KernelBlocks(poisson: 5, ends: 2; torch.float64, cpu)
    """
    stack, points, sides = _prepare(network, problem, points, kind, at)
    names, sizes = tuple(points), tuple(map(len, points.values()))
    require_kernel(sum(sizes), sum(sizes), device=next(iter(points.values())).device, copies=_COPIES)
    parts = dict(zip(names, torch.arange(sum(sizes)).split(sizes), strict=True))
    K = torch.empty(sum(sizes), sum(sizes), dtype=torch.float64, device=next(iter(points.values())).device)
    for position, i in enumerate(names):
        for j in names[: position + 1]:
            block = _block(sides[i], sides[j], stack, kind)
            K[parts[i][:, None], parts[j]] = block
            K[parts[j][:, None], parts[i]] = block.T
    blocks = KernelBlocks(0.5 * (K + K.T), names, tuple(problem[name].kind for name in names), sizes, points)
    parameters = network if isinstance(network, nn.Module) else nn.Identity()  # whose own are looked at for the message
    check_finite(parameters, problem, points, {name: blocks.diagonal(name) for name in names}, DIAGONAL)
    return blocks


@with_threads_for(of_infinite_cross_kernel)
def infinite_cross_kernel(
    network: MLP | InfiniteMLP,
    problem: Problem,
    rows: Points,
    columns: Points,
    *,
    kind: str = "ntk",
    at: nn.Module | str | None = None,
) -> dict[tuple[str, str], Tensor]:
    """The same between two sets of points: {(row condition, column condition): (n_i, m_j)}. See `infinite_kernel`."""
    stack, _, left = _prepare(network, problem, rows, kind, at)
    _, columns, right = _prepare(network, problem, columns, kind, at)
    n, m = (sum(map(len, points.values())) for points in (rows, columns))
    require_kernel(n, m, device=next(iter(columns.values())).device, copies=_COPIES)
    return {(i, j): _block(left[i], right[j], stack, kind) for i in left for j in right}


@dataclass(frozen=True, eq=False)
class _Term:
    """One evaluation of the fields in a condition's errors.

    features: [S, n, f] Taylor coefficients of the first layer's inputs
    weights: [S, n, fields] what the error takes of the fields' Taylor coefficients
    variances: of every layer before an activation, as functions of the point
    """

    basis: Basis
    features: Tensor
    weights: Tensor
    variances: tuple[Double, ...]


@dataclass(frozen=True, eq=False)
class _Side:
    terms: tuple[_Term, ...]
    coefficients: Tensor


def _prepare(
    network: MLP | InfiniteMLP, problem: Problem, points: Points, kind: str, at: nn.Module | str | None
) -> tuple[Stack, dict[str, Tensor], dict[str, _Side]]:
    limit = network if isinstance(network, InfiniteMLP) else InfiniteMLP.of(network)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}; use one of {', '.join(KINDS)}")
    if isinstance(at, str):
        if at != "exact" or problem.exact is None:
            raise ValueError(f"at={at!r}: a network, or 'exact' for a problem whose exact solution is a formula")
        at = Exact(problem)
    device = next(network.parameters()).device if isinstance(network, MLP) else None
    points = {name: rows.to(device, torch.float64) for name, rows in problem.check(points).items()}
    found = functionals(problem, points, at)
    return limit.stack, points, {name: _side(part, limit) for name, part in found.items()}


def _side(functional: Functional, limit: InfiniteMLP) -> _Side:
    terms = []
    for points, weights in functional.terms:
        with torch.no_grad():
            features = limit.inputs(Jet.seed(functional.basis, points)).components
        variances = _variances(features, functional.basis, limit.stack)
        terms.append(_Term(functional.basis, features, weights, variances))
    return _Side(tuple(terms), functional.coefficients)


def _variances(features: Tensor, basis: Basis, stack: Stack) -> tuple[Double, ...]:
    """k(x, x) of every layer but the last, as Taylor polynomials in x."""
    products = {(s, t): (f * g).mean(1) for s, f in enumerate(features) for t, g in enumerate(features)}
    below, found = first_layer(products, stack), []
    for _ in range(stack.depth):
        found.append(diagonal(below.nngp, basis))
        if len(found) < stack.depth:
            below = hidden_layer(below, found[-1], found[-1], basis, basis, stack)
    return tuple(found)


def _block(left: _Side, right: _Side, stack: Stack, kind: str) -> Tensor:
    """(n, m) of two conditions."""
    blocks = [_pair_block(first, second, stack, kind) for first in left.terms for second in right.terms]
    total = sum(blocks[1:], blocks[0])
    n, m = len(left.coefficients), len(right.coefficients)
    if total.shape != (n, m):  # of integrals, whose errors have many points
        total = total.unflatten(1, (m, -1)).sum(2).unflatten(0, (n, -1)).sum(1)
    return total + left.coefficients @ right.coefficients.T if kind == "ntk" else total


def _pair_block(left: _Term, right: _Term, stack: Stack, kind: str) -> Tensor:
    """(n, m) of two evaluations; of one with itself from one triangle."""
    n, m = left.features.shape[1], right.features.shape[1]
    all_pairs = torch.tril_indices(n, n) if left is right else torch.cartesian_prod(torch.arange(n), torch.arange(m)).T
    block = left.features.new_empty(n, m)
    for pairs in all_pairs.to(block.device).split(_PAIRS, 1):
        i, j = pairs
        values = _entries(left, right, i, j, stack, kind)
        block[i, j] = values
        if left is right:
            block[j, i] = values
    return block


def _entries(left: _Term, right: _Term, i: Tensor, j: Tensor, stack: Stack, kind: str) -> Tensor:
    """The kernel of errors i of one evaluation with errors j of another, (P,)."""
    products = {}
    for s, first in enumerate(left.features):
        for t, second in enumerate(right.features):
            if (s, t) == (0, 0) or (first.any() and second.any()):
                products[s, t] = (first[i] * second[j]).mean(1)
    kernels = first_layer(products, stack)
    for q11, q22 in zip(left.variances, right.variances, strict=True):
        at_i, at_j = ({key: value[at] for key, value in q.items()} for q, at in ((q11, i), (q22, j)))
        kernels = hidden_layer(kernels, at_i, at_j, left.basis, right.basis, stack)
    kernel: Double = getattr(kernels, kind)
    parts = [(left.weights[s, i] * right.weights[t, j]).sum(1) * values for (s, t), values in kernel.items()]
    return sum(parts[1:], parts[0])
