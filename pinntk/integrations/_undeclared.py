"""What the errors of someone's function depend on and nobody declared: a second network, an unknown number."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.warn import warn_user
from pinntk.integrations._function import ErrorFunction
from pinntk.ntk.graph import post_order
from pinntk.problem import Points, Problem
from pinntk.residuals import ForeignError, errors

_DEEP = 4  # functions that call functions, whose names are looked through


def kept_leaves(first: Tensor, again: Tensor) -> list[Tensor]:
    """The leaves that the graphs of two evaluations share: what is kept between them, unlike the points of each.

    >>> w, x = torch.ones(1, requires_grad=True), torch.ones(1)
    >>> def f(x):
    ...     return w * x.clone().requires_grad_()
    >>> [leaf is w for leaf in kept_leaves(f(x), f(x))]
    [True]
    """
    other = {id(leaf) for leaf in _leaves(again)}
    return [leaf for leaf in _leaves(first) if id(leaf) in other]


def _leaves(e: Tensor) -> list[Tensor]:
    if e.grad_fn is None:
        return [e] if e.requires_grad else []
    return [node.variable for node in post_order(e.grad_fn) if hasattr(node, "variable")]


def undeclared(network: nn.Module, problem: Problem, points: Points) -> dict[str, list[Tensor]]:
    """{condition: kept leaves that are parameters neither of the network nor of the problem}, of conditions that have any."""
    parts = {id(rows): rows[:2] for rows in points.values()}  # conditions of one code on one tensor are one call
    few = {name: parts[id(rows)] for name, rows in points.items()}
    with torch.enable_grad():
        first, again = errors(network, problem, few), errors(network, problem, few)
    known = {id(p) for p in (*network.parameters(), *problem.coefficients.values())}
    found = {name: [leaf for leaf in kept_leaves(e, again[name]) if id(leaf) not in known] for name, e in first.items()}
    return {name: leaves for name, leaves in found.items() if leaves}


def check_declared(
    function: ErrorFunction, leaves: Iterable[Tensor], points: Tensor, coefficients: Mapping[str, nn.Parameter]
) -> None:
    """Raises ForeignError where errors at points (n, d) depend on parameters that neither the model nor the coefficients are;
    warns of tensors that might be.

    leaves: that the function keeps between calls
    """
    known = {id(p) for p in (*function.network.parameters(), *function.network.buffers(), *coefficients.values())}
    others = [leaf for leaf in leaves if id(leaf) not in known]
    n, d = points.shape
    missing = [leaf for leaf in others if isinstance(leaf, nn.Parameter) or leaf.numel() == 1 < n]
    if missing:
        remedies = []
        words = in_words(missing, function.function)
        if " parameters)" in words or any(leaf.numel() > 1 for leaf in missing):
            remedies.append(
                "Wrap a torch.nn.Module that holds all of it, such as an nn.ModuleDict, with output= for the solution"
            )
        if re.search(r"of shape \((1, )*1?,?\)", words):
            remedies.append('Give unknown numbers as nn.Parameters in coefficients={"nu": nu}')
        raise ForeignError(
            f"the errors of {function.name!r} depend on what neither the model nor coefficients= holds, so that kernels and "
            f"trainings would leave it out: {words}. {'. '.join(remedies)}; detach "
            "what is not to be trained, by requires_grad_(False)"
        )
    points_like = [leaf for leaf in others if leaf.ndim in (1, 2) and len(leaf) == n and leaf.numel() <= n * d]
    doubtful = [leaf for leaf in others if not any(leaf is one for one in points_like)]
    if doubtful:
        warn_user(
            f"the errors of {function.name!r} depend on {in_words(doubtful, function.function)}, which the model does not "
            "hold: taken for points, and not trained; make it an nn.Parameter of the model where it is to be"
        )


def say_undeclared(network: nn.Module, problem: Problem, points: Points, remedy: str) -> None:
    """Warns of conditions whose errors depend on numbers that require gradients and that nobody trains."""
    found = undeclared(network, problem, points)
    if found:
        names = ", ".join(found)
        leaves = {id(leaf): leaf for of in found.values() for leaf in of}
        warn_user(
            f"the errors of {names} depend on {in_words(leaves.values())}, in neither the network nor the coefficients: it "
            f"stays as it is, and out of the kernel. {remedy}"
        )


def in_words(leaves: Iterable[Tensor], function: Callable[..., Any] | None = None) -> str:
    """'k, a Sequential (4 parameters); nu of shape ()', with the names that the function knows them by."""
    names = {} if function is None else _names(function)
    said: dict[str, list[Tensor]] = {}
    for leaf in leaves:
        what = "parameter" if isinstance(leaf, nn.Parameter) else "tensor"
        said.setdefault(names.get(id(leaf), f"a {what} of shape {tuple(leaf.shape)}"), []).append(leaf)
    return "; ".join(f"{name} ({len(of)} parameters)" if len(of) > 1 else name for name, of in said.items())


def _names(function: Callable[..., Any]) -> dict[int, str]:
    """{id of a tensor: how a function has it}, from what it closes over, its object and its module."""
    found: dict[int, str] = {}
    seen: set[int] = set()

    def look(values: Mapping[str, Any], depth: int) -> None:
        for name, value in values.items():
            if isinstance(value, nn.Module):
                for p in value.parameters():
                    found.setdefault(id(p), f"{name}, a {type(value).__name__}")
            elif isinstance(value, Tensor):
                found.setdefault(id(value), f"{name} of shape {tuple(value.shape)}")
            elif isinstance(value, (list, tuple)):
                look({f"{name}[{i}]": part for i, part in enumerate(value[:100])}, depth)
            elif isinstance(value, dict):
                look({f"{name}[{key!r}]": part for key, part in list(value.items())[:100]}, depth)
            elif callable(value):
                enter(value, depth + 1)

    def enter(called: Any, depth: int) -> None:
        if depth > _DEEP or id(called) in seen:
            return
        seen.add(id(called))
        if isinstance(called, partial):
            look({"an argument": [*called.args, *called.keywords.values()]}, depth)
            enter(called.func, depth)
            return
        owner = getattr(called, "__self__", None) if inspect.ismethod(called) else called
        if owner is not None and not isinstance(owner, (FunctionType, type)) and hasattr(owner, "__dict__"):
            own = {**vars(owner), **vars(owner).get("_parameters", {}), **vars(owner).get("_modules", {})}
            own = {name: value for name, value in own.items() if name not in ("_parameters", "_modules")}
            look({f"self.{name}": value for name, value in own.items()}, depth)
        code = getattr(called, "__func__", called)
        code = code if isinstance(code, FunctionType) else vars(type(called)).get("__call__")
        if isinstance(code, FunctionType) and not code.__module__.startswith("torch."):
            with suppress(ValueError):  # a name that nothing was given to yet
                known = inspect.getclosurevars(code)
                look({**known.globals, **known.nonlocals}, depth)

    enter(function, 0)
    return found
