"""Optimizers of the library pytorch-optimizer, SOAP among them, by name: `pip install "pinntk[optimizers]"`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch.optim import Optimizer

_LIBRARY = "pytorch_optimizer"


def more_optimizers() -> list[str]:
    """Names that the library has beside torch's; none where it is not installed."""
    return [] if find_spec(_LIBRARY) is None else sorted(_library().get_supported_optimizers())


def class_of_library(name: str) -> Callable[..., Optimizer] | None:
    """The class of that name in small letters; None where the library has none, or is not installed."""
    found: Callable[..., Optimizer] | None = _library().load_optimizer(name) if name in more_optimizers() else None
    return found


def hint_of_library() -> str:
    """What to say of a name that nobody knows."""
    if find_spec(_LIBRARY) is None:
        return 'soap and others come with pip install "pinntk[optimizers]"'
    return "the library pytorch-optimizer has none of that name either"


def _library() -> Any:
    return import_module(_LIBRARY)
