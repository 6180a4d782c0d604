"""Factors of many points in bounded memory: computed a chunk of points at a time, kept as far as a budget allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk._factors import compute_factors
from pinntk.ntk._finite import check_rows
from pinntk.problem import Points, Problem
from pinntk.residuals._points import groups, to_network

CHUNK = 2048  # points factored at a time: bounds what one pass through the network remembers


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` of one condition; `row` is where they begin among all rows."""

    name: str
    start: int
    stop: int
    row: int

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + self.stop - self.start)


class FactorStore:
    """The factored Jacobian of all points, chunk by chunk. The network must not change while it is in use.

    points: checked before
    budget: bytes of factors to keep; what does not fit is computed anew each time
    first_rows: where each condition's rows begin among all rows of K; one after the other unless given
    """

    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        points: Points,
        budget: int,
        chunk: int = CHUNK,
        first_rows: Mapping[str, int] | None = None,
    ):
        self._network, self._problem, self._points = network, problem, to_network(network, points)
        self._remaining = budget
        self._kept: dict[tuple[str, int], Factors] = {}
        self._together = {name: group for group in groups(problem, self._points) for name in group}
        self.origins: dict[str, Origin] = {}  # of what was computed so far
        self.chunks: list[Chunk] = []
        following = 0
        for name, rows in self._points.items():
            first = following if first_rows is None else first_rows[name]
            step = max(1, chunk // problem[name].places)
            for start in range(0, len(rows), step):
                self.chunks.append(Chunk(name, start, min(start + step, len(rows)), first + start))
            following += len(rows)
        at = {(part.name, part.start): part for part in self.chunks}
        self.blocks: list[list[Chunk]] = []  # chunks of the conditions on the same points, factored together
        for part in self.chunks:
            group = self._together[part.name]
            if part.name == group[0]:
                self.blocks.append([at[name, part.start] for name in group])

    def __getitem__(self, chunk: Chunk) -> Factors:
        key = (chunk.name, chunk.start)
        return self._kept[key] if key in self._kept else self._compute(chunk)[chunk.name]

    def _compute(self, chunk: Chunk) -> dict[str, Factors]:
        """Factors of all conditions on the chunk's points, which cost one pass of the network together."""
        group = self._together[chunk.name]
        rows = self._points[chunk.name][chunk.start : chunk.stop]
        points = dict.fromkeys(group, rows)
        found = compute_factors(self._network, self._problem, points)
        check_rows(self._network, self._problem, points, found, chunk.start)
        for name, part in found.items():
            assert part.origin is not None
            self.origins[name] = self.origins[name].and_then(part.origin) if name in self.origins else part.origin
            if part.nbytes <= self._remaining and (name, chunk.start) not in self._kept:
                self._remaining -= part.nbytes
                self._kept[name, chunk.start] = part
        return found

    def __iter__(self) -> Iterator[tuple[Chunk, Factors]]:
        """All chunks, those of conditions on the same points one after the other."""
        for number in range(len(self.blocks)):
            yield from self.of_block(number)

    def of_block(self, number: int) -> Iterator[tuple[Chunk, Factors]]:
        """The chunks of one block."""
        found: dict[str, Factors] = {}
        for chunk in self.blocks[number]:
            if (chunk.name, chunk.start) not in self._kept and chunk.name not in found:
                found = self._compute(self.blocks[number][0])
            yield chunk, found.get(chunk.name) or self._kept[chunk.name, chunk.start]
