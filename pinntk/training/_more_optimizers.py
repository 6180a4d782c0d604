"""Optimizers of the library pytorch-optimizer, SOAP among them, by name: `pip install "pinntk[optimizers]"`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from torch.optim import Optimizer

from pinntk.training._soap import with_matrix_products

LIBRARY = "pytorch_optimizer"


def more_optimizers() -> list[str]:
    """Names that the library has beside torch's; none where it is not installed."""
    return [] if find_spec(LIBRARY) is None else sorted(_library().get_supported_optimizers())


def class_of_library(name: str) -> Callable[..., Optimizer] | None:
    """The class of that name in small letters; None where the library has none, or is not installed."""
    found: Callable[..., Optimizer] | None = _library().load_optimizer(name) if name in more_optimizers() else None
    return with_matrix_products(found) if name == "soap" and found is not None else found


def check_options(optimizer: Callable[..., Any], options: Iterable[str]) -> None:
    """Raises TypeError for an option that an optimizer of the library would swallow without a word."""
    if not getattr(optimizer.__init__, "__module__", "").startswith(LIBRARY):  # where its arguments are named
        return
    known = [name for name, entry in signature(optimizer).parameters.items() if entry.kind != entry.VAR_KEYWORD]
    for name in options:
        if name not in known:
            raise TypeError(f"it has no option {name!r}; it has {', '.join(known[1:])}")


def hint_of_library() -> str:
    """What to say beside a name that nobody knows; "" where the library has been asked."""
    return '; soap and others come with pip install "pinntk[optimizers]"' if find_spec(LIBRARY) is None else ""


def _library() -> Any:
    return import_module(LIBRARY)
