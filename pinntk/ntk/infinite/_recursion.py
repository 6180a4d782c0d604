"""The NNGP and NTK recursions for a pair of points, carried as Taylor polynomials in both points.

A kernel k(x + h, x' + h') is a `Double`: {(s, t): (P,)}, coefficient of component s of a `Basis` in h and t of another in h',
for P pairs. What depends on x only has t = 0. Components that are zero are left out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from pinntk.ntk.infinite import _dual as dual
from pinntk.taylor import Basis

Double = dict[tuple[int, int], Tensor]


@dataclass(frozen=True)
class Stack:
    """The layers that a recursion goes through. See `InfiniteMLP`."""

    depth: int
    activation: dual.Activation
    weight_scale: float
    beta: float
    gain: float


@dataclass(frozen=True)
class Kernels:
    """nngp: covariance of the outputs at initialization; ntk: the tangent kernel. Both Doubles."""

    nngp: Double
    ntk: Double


def first_layer(features: Double, stack: Stack) -> Kernels:
    """Of the first affine layer, from the mean of products of its input features."""
    return _affine(features, {}, stack)


def hidden_layer(below: Kernels, q11: Double, q22: Double, left: Basis, right: Basis, stack: Stack) -> Kernels:
    """Of an activation and the affine layer after it.

    q11, q22: variances of the layer below at x and at x', as Doubles of one side each
    """
    powers = _powers(below.nngp, left, right)
    V = dual.dual_table(stack.activation, q11[0, 0], below.nngp[0, 0], q22[0, 0], _indices(left, right, slope=True))
    slopes = {(a, b - 1, c): b * value for (a, b, c), value in V.items() if b > 0}  # of V: E[s'(u) s'(v)]
    wanted = _indices(left, right, slope=False)
    value, slope = (_compose({index: part[index] for index in wanted}, powers, q11, q22, left, right) for part in (V, slopes))
    return _affine(value, multiply(below.ntk, slope, left, right), stack)


def _affine(value: Double, through: Double, stack: Stack) -> Kernels:
    """Weights N(0, gain^2) times weight_scale, biases N(0, 1) times beta; `through` is what trains below."""
    weights, biases = stack.weight_scale**2, stack.beta**2
    variance = stack.gain**2 * weights
    nngp = {key: variance * part for key, part in value.items()}
    ntk = {key: weights * part for key, part in value.items()}
    for key, part in through.items():
        ntk[key] = variance * part + ntk[key] if key in ntk else variance * part
    for kernel in (nngp, ntk):
        kernel[0, 0] = kernel[0, 0] + biases
    return Kernels(nngp, ntk)


def diagonal(kernel: Double, basis: Basis) -> Double:
    """k(x + h, x + h) as a function of h, from the Double of the pair (x, x)."""
    found = {}
    for s, terms in enumerate(basis.product_terms):
        parts = [c * kernel[a, b] for a, b, c in terms if (a, b) in kernel]
        if parts:
            found[s, 0] = sum(parts[1:], parts[0])
    return found


def multiply(f: Double, g: Double, left: Basis, right: Basis) -> Double:
    """The truncated product."""
    into_left, into_right = _into(left), _into(right)
    total: dict[tuple[int, int], Tensor] = {}
    for (a, b), first in f.items():
        for (i, j), second in g.items():
            ends = [(s, t, c * d) for s, c in into_left[a, i] for t, d in into_right[b, j]]
            if not ends:
                continue
            part = first * second
            for s, t, c in ends:
                term = part if c == 1 else c * part
                total[s, t] = total[s, t] + term if (s, t) in total else term
    return total


@cache
def _into(basis: Basis) -> dict[tuple[int, int], list[tuple[int, float]]]:
    """(a, b) -> [(s, c)]: into which components the product of two components goes."""
    found: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for s, terms in enumerate(basis.product_terms):
        for a, b, c in terms:
            found[a, b].append((s, c))
    return found


def _indices(left: Basis, right: Basis, slope: bool) -> list[dual.Index]:
    """Powers (a, b, c) of the changes of q11, q12, q22 that a truncated polynomial can hold; `slope` asks for one b more."""
    return [
        (a, b, c)
        for a in range(left.order + 1)
        for c in range(right.order + 1)
        for b in range(left.order - a + right.order - c + 1 + slope)
    ]


def _powers(kernel: Double, left: Basis, right: Basis) -> list[Double]:
    """Powers 1, 2, ... of the part without value."""
    change = {key: part for key, part in kernel.items() if key != (0, 0)}
    powers = [change]
    for _ in range(left.order + right.order - 1):
        powers.append(multiply(powers[-1], change, left, right))
    return powers


def _compose(V: dual.Table, powers: list[Double], q11: Double, q22: Double, left: Basis, right: Basis) -> Double:
    """V(q11 + dq11, q12 + dq12, q22 + dq22)."""
    left_change = {key: part for key, part in q11.items() if key != (0, 0)}
    right_change = {(0, s): part for (s, _), part in q22.items() if s != 0}
    total: Double = {}
    for a in range(left.order + 1):
        for c in range(right.order + 1):
            inner: Double = {(0, 0): V[a, 0, c]}
            for b in range(1, left.order - a + right.order - c + 1):
                for key, part in powers[b - 1].items():
                    term = V[a, b, c] * part
                    inner[key] = inner[key] + term if key in inner else term
            for change, times in ((left_change, a), (right_change, c)):
                for _ in range(times):
                    inner = multiply(inner, change, left, right)
            for key, part in inner.items():
                total[key] = total[key] + part if key in total else part
    return total
