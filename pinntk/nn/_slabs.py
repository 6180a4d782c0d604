"""One network over all of the time, made of the networks of time slabs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class SlabNetwork(nn.Module):
    """u(x) is that of the slab's network in whose time x lies; maps (n, d) to (n, fields).

    networks: one a slab, in order
    edges: the times between which the slabs lie, one more than networks, rising, or falling where time runs backward; a point
        at an edge belongs to the slab that it ends, one outside of all to the nearest
    axis: which coordinate is time

    Continuous as far as the trainings carried values over. Without gradients each network is evaluated on its own rows. With
    them, and for jets, kernels and compiled graphs, which tell points apart by their rows, each is evaluated at every point, at
    the middle of its own slab where the point lies in another.

    Raises ValueError where networks and edges do not fit.

    >>> import pinntk
    >>> problem = pinntk.load("convection")
    >>> networks = [pinntk.nn.MLP(pinntk.slab(problem, 0, 2), width=8, depth=1, seed=k) for k in (0, 1)]
    >>> whole = SlabNetwork(networks, (0.0, 0.5, 1.0), axis=0)
    >>> x = torch.tensor([[0.2, 1.0], [0.7, 1.0]])
    >>> bool((whole(x)[1] == networks[1](x)[1]).all())
    True
    """

    def __init__(self, networks: Sequence[nn.Module], edges: Sequence[float], axis: int):
        super().__init__()
        if not networks or len(edges) != len(networks) + 1:
            raise ValueError(f"{len(networks)} networks and {len(edges)} edges: one network a slab, and one edge more")
        sign = 1 if edges[-1] > edges[0] else -1
        if any(sign * (b - a) <= 0 for a, b in pairwise(edges)):
            raise ValueError(f"edges={tuple(edges)}: each beyond the one before")
        self.networks, self.edges, self.axis = nn.ModuleList(networks), tuple(map(float, edges)), axis

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        if len(self.networks) == 1:
            return self.networks[0](x)
        beyond = [self._beyond(x, edge) for edge in self.edges[1:-1]]
        if isinstance(x, Tensor) and len(x) and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            try:
                owners = torch.stack(beyond).sum(0)
                rows = [(owners == number).nonzero()[:, 0] for number in range(len(self.networks))]
            except RuntimeError:  # under vmap, and of tensors without numbers, there are no rows to choose
                pass
            else:
                return self._by_rows(x, rows)
        others = torch.arange(x.shape[1], device=x.device) != self.axis
        u: Tensor | None = None
        for number, network in enumerate(self.networks):
            inside = beyond[number - 1] if number else ~beyond[0]
            inside = inside & ~beyond[number] if number < len(beyond) else inside
            middle = (self.edges[number] + self.edges[number + 1]) / 2
            values = network(torch.where(inside[:, None] | others, x, middle))
            u = values if u is None else torch.where(inside[:, None], values, u)
        assert u is not None
        return u

    def _by_rows(self, x: Tensor, rows: Sequence[Tensor]) -> Tensor:
        parts = [(own, network(x[own])) for own, network in zip(rows, self.networks, strict=True) if len(own)]
        u = parts[0][1].new_empty((len(x), *parts[0][1].shape[1:]))
        for own, values in parts:
            u[own] = values
        return u

    def _beyond(self, x: Tensor, edge: float) -> Tensor:
        """Which points lie after an edge, (n,)."""
        return x[:, self.axis] > edge if self.edges[-1] > self.edges[0] else x[:, self.axis] < edge
