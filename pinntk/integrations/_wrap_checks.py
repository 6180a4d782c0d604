"""What a model and the functions of its losses must be, tried once when they are wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pinntk._util.warn import warn_user
from pinntk.integrations._function import ErrorFunction
from pinntk.integrations._undeclared import check_declared, kept_leaves
from pinntk.integrations._wrap_columns import check_columns
from pinntk.ntk.graph import ends_in_squares
from pinntk.problem import Box, Points, Problem
from pinntk.residuals import ForeignError, errors
from pinntk.residuals._checks import check_modules, reaches, size_by_parameters
from pinntk.residuals._points import to_network
from pinntk.residuals._probe import select_probe
from pinntk.taylor import DependentPointsError

_HALF = (torch.float16, torch.bfloat16)
_SHIFT = 1e-3  # of the extents, by which points are moved to see whether a function uses them
_FEW = 8  # points whose errors are taken apart
_BATCH = 8.0  # roundings: of networks that are periodic by construction in batches of other sizes
_DISTURBED = 0.1  # of a parameter's size, by which a copy differs


def check_model(model: Any) -> None:
    """Raises TypeError and ValueError for what cannot be wrapped, with what to give instead."""
    if not isinstance(model, nn.Module):
        inside = [name for name, part in getattr(model, "__dict__", {}).items() if isinstance(part, nn.Module)]
        hint = f"; give the torch.nn.Module inside of it, its .{inside[0]}" if inside else ""
        module = type(model).__module__.partition(".")[0]
        if module in ("jax", "jaxlib", "flax", "equinox", "tensorflow", "keras"):
            hint = "; its errors have no graph in torch, and no kernel can be read from it here"
        raise TypeError(f"model is a {type(model).__module__}.{type(model).__qualname__}; expected a torch.nn.Module{hint}")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise TypeError(f"model is a {type(model).__name__}, whose copies share no parameters; give model.module")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError("the model is a TorchScript module, whose parameters cannot be replaced; give the one it was made from")
    for name, p in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(p):
            raise ValueError(f"parameter {name!r} of the model has no shape yet; call the model once, on any points, before")
        if p.dtype in _HALF:
            raise ValueError(
                f"parameter {name!r} of the model is {p.dtype}, which leaves nothing of derivatives; wrap model.float()"
            )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("the model has no parameter with requires_grad=True, so its kernel is zero")
    check_modules(model)


def check_coefficients(coefficients: Any) -> None:
    """Raises TypeError and ValueError, naming it, for what is no parameter of one number."""
    if not isinstance(coefficients, Mapping):
        raise TypeError(f"coefficients is a {type(coefficients).__name__}; expected {{name: nn.Parameter}}")
    for name, value in coefficients.items():
        if not isinstance(value, nn.Parameter):
            raise TypeError(
                f"coefficients[{name!r}] is a {type(value).__name__}; give the nn.Parameter that the functions close over, "
                "made by nn.Parameter(torch.tensor(1.0)), so that pinntk can train it"
            )
        if value.numel() != 1:
            raise ValueError(
                f"coefficients[{name!r}] has {value.numel()} numbers; a coefficient is one: make several of it, or leave it to "
                "the parameters of the model"
            )
        if value.dtype in _HALF:
            raise ValueError(f"coefficients[{name!r}] is {value.dtype}; make it float32 or float64")


class Probed(NamedTuple):
    """columns: equations; whole: whether errors come for all points at once only; read: coefficients that they depend on."""

    columns: int
    whole: bool
    read: frozenset[str]


def probe_function(function: ErrorFunction, points: Tensor, coefficients: Mapping[str, nn.Parameter]) -> Probed:
    """What a function of the user's returns, evaluated a few times on its points (n, d) or parts of them.

    Raises ForeignError where it fails, no parameter reaches its errors, one does that nobody declared, or every point's error
    comes once for each point; DependentPointsError where it is random. Warns of squares.
    """
    first, again = called(function, points), called(function, points)
    parameters = [p for p in (*function.network.parameters(), *coefficients.values()) if p.requires_grad]
    size = size_by_parameters(first[:: max(1, len(first) // _FEW)], parameters)
    if not _equal(first.detach(), again.detach(), size):
        raise DependentPointsError(
            f"the function of {function.name!r} returns other errors at every call on the same points: something in it is "
            "random; draw once, before, and close over what was drawn"
        )
    leaves = kept_leaves(first, again)
    check_declared(function, leaves, points, coefficients)
    check_columns(function, points, first, parameters)
    if ends_in_squares(first) and not ends_in_squares(function.network(points)):
        warn_user(
            f"the function of {function.name!r} returns squares, and what it returns is squared once more: the loss would be "
            "the mean of a fourth power; return what is squared there"
        )
    if not reaches(first, parameters):
        raise ForeignError(
            f"the errors of {function.name!r} depend on no parameter of the model and on no coefficient: its function closes "
            "over another model, or something in it is detached (detach(), .data, numpy(), torch.no_grad())"
        )
    n = len(points)
    parts = [torch.arange(0, n, 2), torch.arange(n - 1, n)] if n > 1 else []
    whole = not all(_is_part(function, points, first.detach(), part, size) for part in parts)
    known = {id(leaf) for leaf in leaves}
    return Probed(first.shape[1], whole, frozenset(name for name, value in coefficients.items() if id(value) in known))


def say_unread(coefficients: Mapping[str, nn.Parameter], read: Iterable[str]) -> None:
    """Warns of coefficients that no function depends on."""
    for name in sorted({name for name, value in coefficients.items() if value.requires_grad} - set(read)):
        warn_user(
            f"coefficients[{name!r}] is read by no function, so nothing determines it; leave it out, or let a function use "
            "this very parameter, and not a copy or its .item()"
        )


def called(function: ErrorFunction, points: Tensor) -> Tensor:
    """Its errors, (n, k). Raises ForeignError, saying how it was called, where it raises an exception of its own."""
    try:
        return function.at_home(points)
    except ForeignError:
        raise
    except Exception as failure:
        how = "one tuple of columns" if function.form.packed else f"{len(function.form.widths)} tensor(s)"
        widths = ", ".join(
            f"({len(points)},)" if flat else f"({len(points)}, {width})"
            for width, flat in zip(function.form.widths, function.form.flat, strict=True)
        )
        raise ForeignError(
            f"the function of {function.name!r}, called with {how} of shape {widths} in {points.dtype}, failed: "
            f"{type(failure).__name__}: {failure}{_hint(function, str(failure))}"
        ) from failure


def _hint(function: ErrorFunction, failure: str) -> str:
    if "double backward" in failure:
        return ". What torch.compile has made is differentiated once only: wrap that module itself, or call the one inside"
    if "not have been used in the graph" in failure:
        return (
            ". It differentiates by a tensor that its values are not computed from, such as points stored elsewhere: compute "
            "and differentiate with the points that it is called with"
        )
    if any(function.form.flat) and "shape" in failure:
        return ". Points that are given as (n,) come as (n,); give columns, by x.unsqueeze(1)"
    return ""


def _equal(a: Tensor, b: Tensor, size: float, floor: float = 0.0) -> bool:
    """Whether errors, in any units, are the same to half the digits of the largest, or of what they are made of.

    floor: a difference, in roundings of 1, that counts for nothing
    """
    if a.shape != b.shape:
        return False
    eps, both = torch.finfo(a.dtype).eps, torch.cat([a, b])
    scale = max(float(torch.where(both.isfinite(), both, 0).abs().max()), size)
    return bool(torch.isclose(a, b, rtol=0, atol=max(eps**0.5 * scale, floor * eps), equal_nan=True).all())


def _is_part(function: ErrorFunction, points: Tensor, every: Tensor, part: Tensor, size: float) -> bool:
    """Whether the errors of some points alone are those that they have among all."""
    part = part.to(points.device)
    try:
        alone = function.at_home(points[part]).detach()
    except Exception:  # it needs all of them
        return False
    return _equal(alone, every[part], size, _BATCH)


def say_unused_points(function: ErrorFunction, points: Tensor, box: Box) -> None:
    """Warns of a function whose errors are the same wherever its points are."""
    size = torch.as_tensor(box.high - box.low).to(points)
    moved = points + _SHIFT * size
    try:
        same = torch.equal(called(function, moved).detach(), called(function, points).detach())
    except ForeignError:
        return
    if same:
        warn_user(
            f"the function of {function.name!r} does not use the points that it is called with: its errors are taken to be "
            "those of the points given with it, in their order; use them in the place of stored ones, or diagnose may fail"
        )


def check_copies(network: nn.Module, problem: Problem, points: Points) -> None:
    """Raises ForeignError where the errors of a copy with other parameters are not those that the model itself has with them;
    warns where a copy, or one in float64, cannot be evaluated.
    """
    few = to_network(network, select_probe(points))
    try:
        other = deepcopy(network)
    except Exception as failure:
        warn_user(
            f"the model cannot be copied ({type(failure).__name__}: {failure}), so that diagnose and what else compares it "
            "with others will fail; keep out of its attributes what copy.deepcopy does not copy"
        )
        return
    _disturb(other)
    with torch.no_grad():
        by_copy = errors(other, problem, few)
        expected = _with_values_of(network, other, problem, few)
    for name, e in expected.items():
        if not _equal(by_copy[name], e, size=0.0):
            raise ForeignError(
                f"the function of {name!r} reads parameters past the model: with others in their place its errors are not "
                "those of the model with these. Let it take them from the model at every call, and keep no tensors made from "
                "them"
            )
    try:
        with torch.no_grad():
            errors(deepcopy(network).double(), problem, {name: rows.double() for name, rows in few.items()})
    except Exception as failure:
        warn_user(f"kernels are computed, but diagnose needs float64, and there {failure}")


def _disturb(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
                p.add_(noise, alpha=_DISTURBED * (float(p.abs().square().mean().sqrt()) or 1.0))


def _with_values_of(network: nn.Module, other: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """Errors of the network itself while it has the other's parameters, which it does not keep."""
    own: dict[str, Tensor] = dict(network.named_parameters())
    before = {name: p.detach().clone() for name, p in own.items()}
    try:
        for name, value in other.named_parameters():
            own[name].copy_(value)
        return errors(network, problem, points)
    finally:
        for name, saved in before.items():
            own[name].copy_(saved)
