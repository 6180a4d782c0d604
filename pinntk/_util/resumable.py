"""Long work that goes on from a file after it was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from pinntk._util.files import replacing

_PAUSE, _TIMES = 60.0, 20.0  # between two savings: seconds at least, and how many times as long as the last one took


def identity(*parts: Any) -> str:
    """A SHA-256 of what work depends on: tensors by their bytes, whatever else by how it is printed."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            values = part.detach().cpu().contiguous()
            digest.update(repr((values.dtype, tuple(values.shape))).encode())
            digest.update(values.numpy().tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


class Resumable:
    """The file of one piece of work, written whole or not at all.

    path: None keeps nothing
    parts: what the work depends on; the file of another piece of work is refused

    `state` is what the file holds, {} where there is none. Raises ValueError for a file that is not of this work.
    """

    def __init__(self, path: Path | None, parts: Iterable[Any]):
        self.path, self.state = path, dict[str, Any]()
        self._identity = "" if path is None else identity(*parts)
        self._saved, self._took = perf_counter(), 0.0
        if path is None or not path.exists():
            return
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            saved, state = found["identity"], dict(found["state"])
        except Exception as error:  # torch raises whatever its readers raise
            raise ValueError(f"{path} is no checkpoint that can be read; remove it, or name another file") from error
        if saved != self._identity:
            raise ValueError(f"{path} is the checkpoint of other work; remove it, or name another file")
        self.state = state

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last saving."""
        return self.path is not None and perf_counter() - self._saved >= max(_PAUSE, _TIMES * self._took)

    def save(self, state: dict[str, Any]) -> None:
        """Tensors and plain values."""
        if self.path is None:
            return
        start = perf_counter()
        with replacing(self.path) as temporary:
            torch.save({"identity": self._identity, "state": state}, temporary)
        self._saved = perf_counter()
        self._took = self._saved - start

    def remove(self) -> None:
        """When the work is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
