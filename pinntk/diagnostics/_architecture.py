"""Whether a network has the derivatives that a problem's conditions ask for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from pinntk.diagnostics._sampling import subset
from pinntk.diagnostics._thresholds import below
from pinntk.diagnostics._undetermined import undetermined
from pinntk.nn import NETWORKS
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem
from pinntk.problem._arguments import ArgumentSpec
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.taylor import DependentPointsError, UnsupportedOperationError

_POINTS, _KERNEL_POINTS = 64, 300
_DRAWN = (1.0, 1e-2, 1e-4)  # standard deviations of parameters with which a network is tried again


def lacking(network: nn.Module, problem: Problem, names: Sequence[str]) -> dict[str, list[str]]:
    """{condition: its derivatives of second and higher order that are exactly zero for this network at all points, whatever its
    parameters}, as those of relu and of linear layers are.

    They are measured on a float64 copy whose parameters are disturbed, at up to 64 points of each condition; what is zero there
    is measured again with other, smaller parameters, so that units that are saturated do not look as if they had no slope.
    """
    device = next((p.device for p in network.parameters()), None)
    points = subset(problem.sample(method="sobol", dtype=torch.float64, device=device), _POINTS)
    found = {name: high for name in names if (high := [spec for spec in problem.arguments[name] if _order(spec) > 1])}
    for other in disturbed(network):
        if not found:
            break
        zero = {}
        for name, specs in found.items():
            rows = points[name][:, : problem.domain.dimension]
            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")
                fields = _fields(other, problem, name, rows)
                zero[name] = [spec for spec in specs if not bool(_value(fields, problem, spec).any())]
        found = {name: specs for name, specs in zero.items() if specs}
    return {name: [spec.argument for spec in specs] for name, specs in found.items()}


def disturbed(network: nn.Module) -> Iterator[nn.Module]:
    """A float64 copy with disturbed parameters, then with other, smaller ones, so that units that are saturated do not look as
    if they had no slope.
    """
    network = deepcopy(network).double()
    generator = torch.Generator().manual_seed(0)
    start = [p.detach().clone() for p in network.parameters()]
    sizes = [float(p.square().mean().sqrt()) if p.numel() else 0.0 for p in start]
    for draw in (None, *_DRAWN):
        with torch.no_grad():
            for p, was, size in zip(network.parameters(), start, sizes, strict=True):
                noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
                p.copy_(was.add(noise, alpha=0.1 * (size or 1.0)) if draw is None else draw * noise)
        yield network


def unconstrained(network: nn.Module, problem: Problem) -> bool:
    """Whether a network is known to meet no condition by construction: one of pinntk.nn without `hard` and `periodic`, or
    linear layers and activations in sequence. Any other may have conditions in its forward pass.
    """
    if isinstance(network, EmbeddedNetwork) and type(network) in NETWORKS.values():
        return network.constraint is None and not network.config["periodic"] and not network.hard
    return isinstance(network, nn.Sequential) and all(
        isinstance(part, nn.Linear) or type(part).__module__ == "torch.nn.modules.activation" for part in network
    )


def may_be_open(network: nn.Module, problem: Problem) -> bool:
    """Whether a field can be undetermined for this network: not if it meets by construction what the conditions leave out.

    That is asked of the network, and of a copy with fresh parameters in float64: what trained ones leave open, since their
    kernel has hardly any other directions, says nothing of the construction.
    """
    if unconstrained(network, problem):
        return True
    points = subset(problem.sample(method="sobol", dtype=torch.float64), _KERNEL_POINTS)

    def leaves_open(one: nn.Module) -> bool:
        return any(below("undetermined-rate", found.rate) for found in undetermined(one, problem, points).values())

    return leaves_open(network) and leaves_open(fresh(network).double())


def fresh(network: nn.Module) -> nn.Module:
    """A copy whose weight matrices are drawn anew, rows of norm about 1, and whose other parameters stay."""
    network = deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / p[0].numel() ** 0.5)
    return network


def can_be_zero(network: nn.Module, problem: Problem) -> bool:
    """Whether all fields are zero where all parameters are, so that nothing else is added by construction."""
    network = deepcopy(network)
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
        x = next(iter(problem.sample(method="sobol").values()))[:_POINTS, : problem.domain.dimension]
        like = next(network.parameters(), x)
        return not bool(network(x.to(like)).any())


def activation_of(network: nn.Module) -> str:
    """The activation's name, where it is known."""
    return str(network.config.get("activation", "")) if isinstance(network, ScaledNetwork) else ""


def _order(spec: ArgumentSpec) -> int:
    return 2 if spec.kind == "laplacian" else sum(spec.index) if spec.kind == "derivative" else 1


def _fields(network: nn.Module, problem: Problem, name: str, rows: Tensor) -> Fields:
    try:
        return TaylorFields(network, problem, rows, problem.basis([name]))
    except (UnsupportedOperationError, DependentPointsError):
        return AutogradFields(network, problem, rows)


def _value(fields: Fields, problem: Problem, spec: ArgumentSpec) -> Tensor:
    if spec.kind == "laplacian":
        return fields.laplacian(spec.field, problem.domain.space)
    return fields.derivative(spec.field, spec.index)
