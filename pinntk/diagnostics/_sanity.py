"""Whether fields, data and precision fit each other: sizes, trivial output, rounding."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.precision import empty_like, without_autocast
from pinntk.diagnostics._sampling import domain_points, network_points, quotient, squared_errors
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.residuals._fields import Zero

# Scales.


@dataclass(frozen=True)
class OutputScale:
    """Sizes of fields and errors.

    network: {field: rms of the network's output over the domain}
    solution: {field: rms of the known solution}; None where none is known
    data: {condition: rms error of the zero function}, the size of the condition's inhomogeneity; NaN for a foreign one, which
        can be asked of no function but its network
    errors: {condition: rms error of the network}
    relative: {condition: errors / data}; 1 is as bad as u = 0; NaN for a homogeneous condition, whose data are 0 to
        rounding (below 64 eps of the network's dtype: sin(4 pi) is not quite 0)
    """

    network: Mapping[str, float]
    solution: Mapping[str, float] | None
    data: Mapping[str, float]
    errors: Mapping[str, float]
    relative: Mapping[str, float]


def output_scale(network: nn.Module, problem: Problem, points: Points, *, samples: int = 1024, seed: int = 0) -> OutputScale:
    """Sizes of the network's fields and of its errors, beside those of the solution and of the data.

    points: {condition: (n, d)}, at which errors are measured; fields are measured on Sobol points of the domain

    An initialized network has fields of size 1: a solution of size 1000 or 0.001 needs other units. Raises as `input_scale` and
    `pinntk.kernel` do. Nondimensional problems: Wang, Sankaran, Wang & Perdikaris 2023 (arXiv 2308.08468), section 3.
    """
    values = _values(network, problem, samples, seed)
    points = network_points(network, problem, points)
    size = {name: _rms(square) for name, square in squared_errors(network, problem, points).items()}
    data = _data_size(problem, points)
    least = {name: 64 * torch.finfo(rows.dtype).eps for name, rows in points.items()}
    relative = {name: size[name] / data[name] if data[name] > least[name] else float("nan") for name in size}
    solution = None
    if problem.has_solution:
        solution = _by_field(problem, np.sqrt(_mean(problem, np.square(_solution(problem)))))
    return OutputScale(_by_field(problem, np.sqrt(_mean(problem, np.square(values)))), solution, data, size, relative)


def _values(network: nn.Module, problem: Problem, samples: int, seed: int) -> np.ndarray:
    """The network's fields (samples, fields) at points of the domain, NaN where a field does not live."""
    points = domain_points(network, problem, samples, seed).double().cpu().numpy()
    return problem.at_home(points, problem.predict(network, points))


def _solution(problem: Problem) -> np.ndarray:
    """The known solution, likewise."""
    return problem.at_home(problem.solution_points, problem.solution.values.reshape(-1, len(problem.fields)))


def _mean(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Of each field (m, fields), where it lives, (fields,)."""
    return np.asarray((np.nanmean if problem.where else np.mean)(values, 0))


def _spread(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Standard deviations, likewise."""
    return np.asarray((np.nanstd if problem.where else np.std)(values, 0))


def _data_size(problem: Problem, points: Points) -> dict[str, float]:
    """rms error of the zero function, {condition: float}, at checked points; NaN for foreign conditions."""
    own = {name: rows for name, rows in points.items() if name not in problem.foreign}
    found = squared_errors(Zero(len(problem.fields)), problem, own) if own else {}
    return {name: _rms(found[name]) if name in found else float("nan") for name in points}


def _rms(square: Tensor) -> float:
    return float(square.mean().sqrt())


def _by_field(problem: Problem, values: np.ndarray) -> dict[str, float]:
    return dict(zip(problem.fields, values.tolist(), strict=True))


@dataclass(frozen=True)
class Triviality:
    """How constant one field is.

    mean, std: of the network's field over the domain
    scale: standard deviation of the known solution; where there is none, the largest rms among the data of those
        conditions (no residuals) that ask for this field's value and no derivative; None where there are none either
    ratio: std / scale, near 0 for a constant where the data are not; 1 for 0 / 0; None without a scale
    """

    mean: float
    std: float
    scale: float | None
    ratio: float | None


def trivial(
    network: nn.Module, problem: Problem, points: Points, *, samples: int = 1024, seed: int = 0
) -> dict[str, Triviality]:
    """Whether the network's fields are about constant on the domain while the data are not, {field: Triviality}.

    points: {condition: (n, d)}, at which data are measured

    A constant solves most equations but for their data: a failure mode of residuals that outweigh them (Rohrhofer, Posch,
    Goessnitzer & Geiger 2023, arXiv 2203.13648; Leiteritz & Pflueger 2021, arXiv 2112.05620). Raises as `input_scale` and
    `pinntk.kernel` do.
    """
    values = _values(network, problem, samples, seed)
    if problem.has_solution:
        scales = _spread(problem, _solution(problem)).tolist()
    else:
        data = _data_size(problem, network_points(network, problem, points))
        by_field = [_value_conditions(problem, field) for field in range(len(problem.fields))]
        scales = [max((data[name] for name in names if name in data), default=None) for names in by_field]
    found = {}
    for field, mean, std, scale in zip(problem.fields, _mean(problem, values), _spread(problem, values), scales, strict=True):
        found[field] = Triviality(float(mean), float(std), scale, None if scale is None else quotient(float(std), scale))
    return found


def _value_conditions(problem: Problem, field: int) -> list[str]:
    """Conditions other than residuals whose only need of the network is this field's value."""
    return [
        condition.name
        for condition in problem.conditions
        if condition.kind in ("boundary", "initial", "data") and _field_arguments(problem, condition.name) == {(field, 0)}
    ]


def _field_arguments(problem: Problem, name: str) -> set[tuple[int, int]]:
    """(field, order of its derivative), of all that a condition asks of the network."""
    specs = [spec for spec in problem.arguments[name] if spec.field >= 0]
    return {(spec.field, sum(spec.index) if spec.kind == "derivative" else 1) for spec in specs}


# Rounding.


@dataclass(frozen=True)
class Precision:
    """Rounding in one condition's error.

    noise: rms of the error's rounding in the network's dtype
    error: rms of the error
    ratio: noise / error; near 1 where training has reached the floor and lowers the loss no further
    """

    noise: float
    error: float
    ratio: float


@without_autocast
def precision_floor(network: nn.Module, problem: Problem, points: Points) -> dict[str, Precision]:
    """The rounding noise of every condition's error, {condition: Precision}.

    points: {condition: (n, d)}

    Noise is the difference to a float64 copy of the network, with the same parameters at the same points. For a float64
    network it is estimated: that of a float32 copy, times 2^-29, the ratio of the two roundings. The network itself is left
    alone. Raises as `pinntk.kernel` does.
    """
    points = network_points(network, problem, points)
    error = {name: _rms(square) for name, square in squared_errors(network, problem, points).items()}
    like = empty_like(network)
    dtype = next(iter(points.values())).dtype if like is None else like.dtype
    eps = torch.finfo(dtype).eps
    low = torch.float32 if dtype == torch.float64 else dtype
    coarse = deepcopy(network)._apply(lambda t: t.to(low) if t.is_floating_point() else t)  # complex numbers stay
    fine = deepcopy(coarse).double()
    rounded = {name: rows.to(low) for name, rows in points.items()}
    with torch.no_grad(), warnings.catch_warnings():  # what the copies have to say, the network has said above
        warnings.simplefilter("ignore", UserWarning)
        there = errors(fine, problem, {name: rows.double() for name, rows in rounded.items()})
        here = errors(coarse, problem, rounded)
    scale = eps / torch.finfo(low).eps
    noise = {name: scale * _rms((here[name].double() - there[name]).square()) for name in points}
    return {name: Precision(noise[name], error[name], quotient(noise[name], error[name])) for name in points}
