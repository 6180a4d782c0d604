"""checkpoint.pt of a run folder: what `torch.save` writes, followed by a checksum."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.files import replacing
from pinntk.problem import Problem
from pinntk.run._folder import CHECKPOINT, CHECKSUM_DIGITS, CHECKSUM_MARK

_FORMAT = 6
_TRAILER = len(CHECKSUM_MARK) + CHECKSUM_DIGITS
_PARTS: dict[str, type | tuple[type, ...]] = {
    "identity": dict,
    "step": int,
    "seconds": (int, float),
    "diverged": bool,
    "network": dict,
    "coefficients": dict,
    "initial": list,
    "weights": dict,
    "points": dict,
    "point_weights": dict,
    "parts": dict,
    "rng": dict,
    "history": list,
}


def identity(problem: Problem) -> dict[str, Any]:
    """What makes two problems the same to a checkpoint."""
    found = {
        "name": problem.name,
        "parameters": json.loads(json.dumps(dict(problem.parameters), default=str)),
        "coordinates": list(problem.coordinates),
        "fields": list(problem.fields),
        "conditions": {c.name: c.kind for c in problem.conditions},
    }
    if problem.slab:  # wherever the folder of the one before lies
        found["slab"] = {"edges": list(problem.slab["edges"]), "begins with": problem.slab["sha256"]}
    return found


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, **state}, buffer)
    content = buffer.getvalue()
    with replacing(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(content + CHECKSUM_MARK + sha256(content).hexdigest().encode())


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError if there is none, ValueError, naming the file, if it is damaged."""
    path = folder / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no checkpoint ({CHECKPOINT} is missing); restore it from a copy or train anew")
    whole = path.read_bytes()
    content, trailer = whole[:-_TRAILER], whole[-_TRAILER:]
    if not trailer.startswith(CHECKSUM_MARK):
        raise _unreadable(path, "its end is missing or damaged")
    if trailer[len(CHECKSUM_MARK) :] != sha256(content).hexdigest().encode():
        raise _unreadable(path, "its checksum does not fit: some of its bytes have changed")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for what `torch.save` did not write, or would not run
        raise _unreadable(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        found = state.get("format") if isinstance(state, dict) else None
        raise _unreadable(path, f"written by another version of pinntk: format {found}, this one reads {_FORMAT}")
    for name, kind in _PARTS.items():
        if not isinstance(state.get(name), kind):
            raise _unreadable(path, f"its part {name!r} is missing or of another kind")
    return state


def _unreadable(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} cannot be read as a checkpoint ({reason}); restore it from a copy or train anew")


def check_identity(state: Mapping[str, Any], problem: Problem, folder: Path) -> None:
    """Raises ValueError if a checkpoint belongs to another problem."""
    theirs, ours = state["identity"], identity(problem)
    if theirs != ours:
        different = [key for key in ours if theirs.get(key) != ours[key]]
        if different == ["slab"] and theirs.get("slab", {}).get("edges") == ours["slab"]["edges"]:
            raise ValueError(
                f"the checkpoint in {folder} is of another problem: its slab began with another network than the slab before "
                "has now; restore that one, or train the slabs anew"
            )
        details = "; ".join(f"{key}: {theirs.get(key)} there, {ours[key]} here" for key in different)
        raise ValueError(f"the checkpoint in {folder} is of another problem ({details}); name another folder")


def load_state(state: Mapping[str, Any], network: nn.Module, problem: Problem, folder: Path) -> None:
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise ValueError(f"the checkpoint in {folder} is of another network: {error}") from error
    problem.coefficients.load_state_dict(state["coefficients"])


def all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
