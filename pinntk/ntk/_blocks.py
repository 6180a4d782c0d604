"""Kernel blocks: K = J J^T over named conditions, and what is read off it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from pinntk._util.files import replacing
from pinntk._util.html import curves, page, table
from pinntk._util.memory import require
from pinntk._util.threads import of_factorization, with_threads_for
from pinntk.ntk._factored import Origin

_SHOWN = 1500  # errors, up to which a notebook shows the spectrum: a quarter of a second


def rows_of(name: str, names: Sequence[str], sizes: Sequence[int]) -> slice:
    """Where a condition's rows lie among those of all conditions. Raises KeyError for an unknown one."""
    if name not in names:
        raise KeyError(f"no condition {name!r} in this kernel; it has {tuple(names)}")
    i = names.index(name)
    start = sum(sizes[:i])
    return slice(start, start + sizes[i])


def sizes_text(names: Sequence[str], sizes: Sequence[int]) -> str:
    """Conditions and their numbers of points."""
    return ", ".join(f"{name}: {n}" for name, n in zip(names, sizes, strict=True))


def require_kernel(
    n: int, m: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu", copies: float = 1
) -> None:
    """Raises MemoryError where so many matrices (n, m) do not fit on a device."""
    number = "a kernel" if copies == 1 else f"{copies:g} times the kernel"
    require(
        copies * n * m * torch.finfo(dtype).bits / 8,
        f"{number} of {n} x {m} numbers in {str(dtype).removeprefix('torch.')}",
        "use pinntk.KernelOperator for products with it and its leading eigenvalues, pinntk.traces, pinntk.cross_kernel for "
        "some of its rows, or fewer points",
        device,
    )


Weights = Mapping[str, float | Tensor]  # one number per condition, or a tensor (n_i,), one per point


def check_weights(weights: Weights, names: Sequence[str]) -> None:
    """Raises ValueError unless every condition, and no other name, has a finite weight of at least 0."""
    if missing := set(names) - set(weights):
        raise ValueError(f"weights for {sorted(missing)} are missing; give one for each of {tuple(names)}")
    if unknown := set(weights) - set(names):
        raise ValueError(f"weights for {sorted(unknown)}: there are no such conditions here, only {tuple(names)}")
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight {name}={weight!r}: a finite number of at least 0")


def check_point_weights(name: str, g: Tensor, n: int) -> None:
    """Raises ValueError unless g is (n,), finite and at least 0."""
    if g.shape != (n,) or not (g.isfinite() & (g >= 0)).all():
        raise ValueError(f"point weights of {name!r} have shape {tuple(g.shape)}; expected ({n},), finite and at least 0")


def loss_scales(weights: Weights, names: Sequence[str], sizes: Sequence[int]) -> Tensor:
    """The diagonal of D, 2 lambda_i / n_i or, with point weights g, 2 g_p / n_i: (n,), float64. Raises ValueError as
    `check_weights`, also for point weights of another number of points.
    """
    points = {name: weight for name, weight in weights.items() if isinstance(weight, Tensor) and weight.ndim}
    check_weights({**weights, **dict.fromkeys(points, 1.0)}, names)
    parts = []
    for name, n in zip(names, sizes, strict=True):
        if name not in points:
            parts.append(torch.full((n,), 2 * float(weights[name]) / n, dtype=torch.float64))
            continue
        check_point_weights(name, points[name], n)
        parts.append(2 * points[name].detach().double().cpu() / n)
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class KernelBlocks:
    """The neural tangent kernel K = J J^T of a problem's errors, in named blocks. No hidden 1/n.

    values: (n, n) symmetric, all conditions in order
    names, kinds: each condition's name and kind ("residual", "boundary", ...)
    sizes: each condition's number of points n_i
    points: the points it was computed on, {name: (n_i, d)}; may be empty
    origins: how each condition's J was obtained (path, certificate, seconds), {name: Origin}; may be empty

    `K["ends", "poisson"]` is the block of two conditions, `K["poisson"]` a diagonal block; `K.uu`, `K.ur`, `K.rr` gather
    all conditions other than residuals as u and all residuals as r (Wang, Yu & Perdikaris 2022, lemma 3.1).
    """

    values: Tensor
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    points: Mapping[str, Tensor] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def __getitem__(self, key: str | tuple[str, str]) -> Tensor:
        """The block of two conditions, (n_i, n_j); of one with itself for a single name."""
        row, column = (key, key) if isinstance(key, str) else key
        return self.values[self._span(row), self._span(column)]

    def _span(self, name: str) -> slice:
        return rows_of(name, self.names, self.sizes)

    def _indices(self, residual: bool) -> Tensor:
        chosen = [np.arange(self.values.shape[0])[self._span(name)] for name in self._of_kind(residual)]
        return torch.as_tensor(np.concatenate([np.empty(0, int), *chosen]), device=self.values.device)

    def _of_kind(self, residual: bool) -> list[str]:
        return [name for name, kind in zip(self.names, self.kinds, strict=True) if (kind == "residual") == residual]

    def _gather(self, row: bool, column: bool) -> Tensor:
        return self.values[self._indices(row)][:, self._indices(column)]

    @property
    def uu(self) -> Tensor:
        """Conditions other than residuals, (n_u, n_u)."""
        return self._gather(False, False)

    @property
    def ur(self) -> Tensor:
        """(n_u, n_r)."""
        return self._gather(False, True)

    @property
    def rr(self) -> Tensor:
        """Residuals, (n_r, n_r)."""
        return self._gather(True, True)

    def diagonal(self, name: str | None = None) -> Tensor:
        """The diagonal of a condition's block, (n_i,), or of K, (n,)."""
        return (self.values if name is None else self[name]).diagonal()

    def trace(self, name: str | None = None) -> float:
        """The trace of a condition's block, or of K."""
        return float(self.diagonal(name).sum())

    def traces(self) -> dict[str, float]:
        return {name: self.trace(name) for name in self.names}

    def matrix(self, weights: Weights | None = None) -> Tensor:
        """All of K, (n, n). With weights D^1/2 K D^1/2, D = blockdiag(2 lambda_i / n_i): the symmetric form of the matrix K D
        that drives gradient flow on L = sum of lambda_i mean(e_i^2), with the same real, non-negative spectrum.

        weights: lambda_i by condition; or point weights g (n_i,), as in `Run.point_weights`, for L_i = mean(g e_i^2)

        With point weights this is the kernel K Gamma of self-adaptive weights (McClenny & Braga-Neto 2023), and by Ostrowski's
        theorem its k-th eigenvalue lies between min(g) and max(g) times that with weights of 1.
        """
        if weights is None:
            return self.values
        self._require(1)
        root = loss_scales(weights, self.names, self.sizes).sqrt().to(self.values)
        return self.values * (root[:, None] * root)

    @with_threads_for(lambda self: of_factorization(self.values))
    def eigvalsh(self, weights: Weights | None = None) -> Tensor:
        """Eigenvalues of K, or of D^1/2 K D^1/2 if weights are given, ascending, (n,), float64. See `floor`."""
        self._require(2)  # a copy with weights or in float64, and that of the decomposition
        return torch.linalg.eigvalsh(self.matrix(weights).double())

    @with_threads_for(lambda self: of_factorization(self.values))
    def eigh(self, weights: Weights | None = None) -> tuple[Tensor, Tensor]:
        """Eigenvalues as from `eigvalsh`, and orthonormal eigenvectors in columns, (n, n)."""
        self._require(4)  # as for `eigvalsh`, the vectors, and twice as much workspace
        return torch.linalg.eigh(self.matrix(weights).double())

    def floor(self, weights: Weights | None = None) -> float:
        """Eigenvalues below this are rounding: n eps lambda_max, eps that of K's dtype."""
        n = self.values.shape[0]
        largest = float(self.eigvalsh(weights)[-1])
        return n * torch.finfo(self.values.dtype).eps * largest

    def _require(self, copies: int) -> None:
        n, m = self.values.shape
        require_kernel(n, m, device=self.values.device, copies=copies)

    def numpy(self) -> np.ndarray:
        """All of K as a numpy array, (n, n)."""
        return self.values.detach().cpu().numpy()

    def save(self, path: str | os.PathLike) -> None:
        """Writes K, names, kinds, sizes, points and origins to an .npz file (whole or not at all)."""
        arrays: dict[str, Any] = {f"points/{name}": rows.detach().cpu().numpy() for name, rows in self.points.items()}
        arrays["origins"] = np.array(json.dumps({name: asdict(origin) for name, origin in self.origins.items()}))
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez(
                file, matrix=self.numpy(), names=list(self.names), kinds=list(self.kinds), sizes=list(self.sizes), **arrays
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> KernelBlocks:
        """Reads what `save` wrote. Raises ValueError for a file of another kind, FileNotFoundError for a missing one."""
        try:
            archive = np.load(path, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile) or archive.zip is None:
                raise ValueError("it is a single array")
            with archive:
                n = int(archive["sizes"].sum())
                size = archive.zip.getinfo("matrix.npy").file_size
                require(size, f"the kernel of {n} points in {path}", "end other programs, or save that of fewer points")
                matrix = archive["matrix"]
                if matrix.shape != (n, n):
                    raise ValueError("its sizes do not fit its matrix")
                points = {key[len("points/") :]: torch.from_numpy(archive[key]) for key in archive if key.startswith("points/")}
                return cls(
                    torch.from_numpy(matrix),
                    tuple(map(str, archive["names"])),
                    tuple(map(str, archive["kinds"])),
                    tuple(map(int, archive["sizes"])),
                    points,
                    {name: Origin(**origin) for name, origin in json.loads(str(archive["origins"])).items()},
                )
        except (BadZipFile, KeyError, ValueError, EOFError) as error:
            raise ValueError(f"{path} holds no kernel blocks ({error}); write one with KernelBlocks.save") from error

    @classmethod
    def join(cls, paths: Sequence[str | os.PathLike]) -> KernelBlocks:
        """All of K from the row blocks that the ranks of a torchrun wrote. Raises ValueError if rows are missing."""
        K, filled = np.empty((0, 0)), np.zeros(0, bool)
        names: tuple[str, ...] = ()
        kinds: tuple[str, ...] = ()
        sizes: tuple[int, ...] = ()
        for path in paths:
            with np.load(path, allow_pickle=False) as archive:
                if not len(filled):
                    n = int(archive["sizes"].sum())
                    require_kernel(n, n)
                    K, filled = np.empty((n, n), archive["block"].dtype), np.zeros(n, bool)
                    names, kinds = (tuple(map(str, archive[key])) for key in ("names", "kinds"))
                    sizes = tuple(map(int, archive["sizes"]))
                K[archive["rows"]], filled[archive["rows"]] = archive["block"], True
        if not len(filled) or not filled.all():
            raise ValueError(f"{int((~filled).sum())} rows are missing; give the files of all ranks")
        return cls(torch.from_numpy(K), names, kinds, sizes)

    def __repr__(self) -> str:
        return f"KernelBlocks({sizes_text(self.names, self.sizes)}; {self.values.dtype}, {self.values.device})"

    def _repr_html_(self) -> str:
        """Conditions in a table, and the spectrum."""
        n, dtype = len(self.values), str(self.values.dtype).removeprefix("torch.")
        rows = []
        for name, kind, size in zip(self.names, self.kinds, self.sizes, strict=True):
            trace, origin = self.trace(name), self.origins.get(name)
            rows.append([name, kind, size, trace, trace / size, "not known" if origin is None else str(origin)])
        head = ["condition", "kind", "points", "trace", "mean of diagonal", "J obtained by"]
        return page(f"K = J Jᵀ, {n:,} x {n:,}", table(head, rows), self._spectrum(), remark=f"{dtype}, {self.values.device}")

    def _spectrum(self) -> str:
        n = len(self.values)
        if n > _SHOWN:
            return f"Its {n:,} eigenvalues, by K.eigvalsh(), are not computed for display."
        if not self.values.isfinite().all():
            return "It has entries that are not finite, and so no eigenvalues."
        values = self.eigvalsh().flip(0).cpu().numpy()
        floor = n * torch.finfo(self.values.dtype).eps * values[0]
        title = f"{int((values > floor).sum()):,} of {n:,} eigenvalues are above rounding, the dashed line"
        return curves({"": (np.arange(1, n + 1), values)}, title=title, across="index", log=True, floor=floor)
