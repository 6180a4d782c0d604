"""QR factorizations by Householder reflections: of a matrix, and of a triangle over a multiple of the identity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_PANEL = 128  # columns that are reflected at a time on the CPU; on a device, where each panel waits for launches, more
_PANEL_ON_DEVICE = 1024


@dataclass(frozen=True)
class _Panel:
    """The reflections I - V U^-1 V^T of some rows and of others below them; U^-1 is Schreiber & Van Loan's T.

    rows, below: slices of a vector (m,)
    top, bottom: V on them, (w, w) and (b, w)
    U: upper triangular, (w, w)
    """

    rows: slice
    below: slice
    top: Tensor
    bottom: Tensor
    U: Tensor

    def reflect(self, rows: Tensor, below: Tensor, transpose: bool) -> None:
        """(w, k) and (b, k), in place."""
        U = self.U.T if transpose else self.U
        W = torch.linalg.solve_triangular(U, self.top.T @ rows + self.bottom.T @ below, upper=not transpose)
        rows.addmm_(self.top, W, alpha=-1)
        below.addmm_(self.bottom, W, alpha=-1)


def _panel(V: Tensor, tau: Tensor, rows: slice, below: slice) -> _Panel:
    """Of reflectors V, (w + b, w), as `torch.geqrf` has them."""
    width = len(tau)
    top = V[:width].tril(-1)
    top.diagonal().fill_(1.0)
    bottom = V[width:]
    U = (top.T @ top).addmm_(bottom.T, bottom).triu_(1)
    U.diagonal().copy_(tau.reciprocal())  # infinite for a column that was zero already: its reflection is none
    return _Panel(rows, below, top, bottom, U)


def _width(A: Tensor) -> int:
    return _PANEL if A.device.type == "cpu" else _PANEL_ON_DEVICE


class _Reflections:
    """Q, (m, m), as a product of panels."""

    size: int
    _panels: list[_Panel]

    def rotate(self, v: Tensor, transpose: bool = False) -> Tensor:
        """Q v, or Q^T v, (m,); a shorter v ends in zeros."""
        found = v.new_zeros(self.size, 1)
        found[: len(v), 0] = v
        for panel in self._panels if transpose else reversed(self._panels):
            panel.reflect(found[panel.rows], found[panel.below], transpose)
        return found.squeeze(1)


class Triangularized(_Reflections):
    """A = Q [R; 0] of a matrix (n, m), R upper triangular (m, m), its last rows zeros where n < m."""

    def __init__(self, A: Tensor):
        (n, m), width = A.shape, _width(A)
        V, tau = torch.geqrf(A)
        self.size, k = n, len(tau)
        self.R = A.new_zeros(m, m)
        self.R[:k] = V[:k].triu()
        self._panels = []
        for start in range(0, k, width):
            stop = min(start + width, k)
            self._panels.append(_panel(V[start:, start:stop], tau[start:stop], slice(start, stop), slice(stop, n)))


class DampedTriangle(_Reflections):
    r"""[R; sqrt(mu) I] = Q [T; 0] of an upper triangular R: T^T T = R^T R + mu I, which is not formed.

    R: (k, k)
    mu: above 0

    Below the triangle, column j meets nothing but the first j rows of the identity, so that all take (2/3) k^3
    multiplications and additions, a fifth of those of a dense matrix of 2 k rows (as LAPACK's tpqrt).
    """

    def __init__(self, R: Tensor, mu: float):
        k, width = len(R), _width(R)
        self.size, self.mu, self.T = 2 * k, mu, R.triu()
        below = (mu**0.5 * torch.ones(k, dtype=R.dtype, device=R.device)).diag()
        self._panels = [self._eliminate(below, start, min(start + width, k)) for start in range(0, k, width)]

    def _eliminate(self, below: Tensor, start: int, stop: int) -> _Panel:
        k, columns = len(below), slice(start, stop)
        V, tau = torch.geqrf(torch.cat([self.T[columns, columns], below[:stop, columns]]))
        self.T[columns, columns] = V[: stop - start].triu()
        panel = _panel(V, tau, columns, slice(k, k + stop))
        panel.reflect(self.T[columns, stop:], below[:stop, stop:], transpose=True)
        return panel

    def solve(self, b: Tensor, transpose: bool = False) -> Tensor:
        """T^-1 b, or T^-T b, (k,)."""
        T = self.T.T if transpose else self.T
        return torch.linalg.solve_triangular(T, b.unsqueeze(1), upper=not transpose).squeeze(1)
