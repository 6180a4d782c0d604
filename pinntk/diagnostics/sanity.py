"""Whether network, problem and precision can work at all: layers, scales, trivial output, rounding, missing conditions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pinntk.diagnostics.sampling import checked, quotient, squared_errors, whole_number
from pinntk.evaluate import check_network, errors, to_network
from pinntk.ntk.assemble import kernel
from pinntk.posterior import value_condition
from pinntk.problem import Points, Problem
from pinntk.sampling import generator

_SATURATED = 0.1  # of the activation's steepest slope; a unit is saturated at a point where its slope is below that,
_MOST = 0.9  # and saturated altogether if it is so at more than that share of the points
_LAYER_POINTS = 4096
_FINER = 1e-2  # of the tolerance, at which `unseen` looks again
_LINEAR = {  # where the weight stands among the arguments
    **dict.fromkeys((F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm), 1),
    torch.addmm: 2,
}
_ACTIVATIONS = {  # their steepest slopes
    **dict.fromkeys((torch.tanh, Tensor.tanh, F.tanh, torch.sin, Tensor.sin, torch.cos, Tensor.cos), 1.0),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid), 0.25),
    **dict.fromkeys((torch.erf, Tensor.erf), 2 / sqrt(torch.pi)),
    **dict.fromkeys((torch.relu, Tensor.relu, F.relu, F.leaky_relu, F.elu, F.celu, F.softplus, F.logsigmoid), 1.0),
    **dict.fromkeys((torch.atan, Tensor.atan, F.softsign, F.hardtanh, F.relu6), 1.0),
    **dict.fromkeys((F.silu, F.gelu, F.mish, F.selu), 1.1),
}


# Layers.


@dataclass(frozen=True)
class LayerHealth:
    """One weight at work.

    name: the weight's, among the network's parameters; "weight K" (use K in the forward pass, from 0) if it is computed
    units: outputs of the layer
    activation: the function that follows; "" for none (the last layer) or one that is not known
    mean, std: over points and units, of the pre-activations; of the layer's outputs where no activation follows
    saturated: share of units whose slope is below a tenth of the activation's steepest at more than 90 % of the points;
        None without an activation
    dead: share of units whose output (after the activation) is the same at all points, to rounding
    gradient: norm of dL/dW over norm of W, with L = sum_i mean(e_i^2); None for a weight that is computed or frozen
    """

    name: str
    units: int
    activation: str
    mean: float
    std: float
    saturated: float | None
    dead: float
    gradient: float | None


@dataclass
class _Use:
    """A layer on the way through the network: inputs (n, in), pre-activations and outputs (n, out), and the activation's
    slope (n, out), relative to its steepest."""

    weight: Tensor
    inputs: Tensor
    received: Tensor
    output: Tensor
    activation: str = ""
    slope: Tensor | None = None


class _Watch(TorchFunctionMode):
    """Records weights at work and the activations after them, whether a module or plain code calls the function.

    An activation belongs to the layer whose output it receives, or else (a bias, a scale or a norm came in between) to the
    last layer if that has none yet. Maps by fixed buffers, such as Fourier features, are no layers.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self._parameters = {id(parameter) for parameter in network.parameters()}
        self._results: list[Tensor] = []  # of the layers, as the next function receives them
        self.uses: list[_Use] = []

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _ACTIVATIONS and args and self.uses:
            self._activated(func, args, kwargs)
        result = func(*args, **kwargs)
        if func in _LINEAR:
            self._applied(_LINEAR[func], args, kwargs, result)
        return result

    def _applied(self, place: int, args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> None:
        weight = args[place] if len(args) > place else kwargs.get("weight")
        # A weight may be computed from parameters, as in weight normalisation, and then requires a gradient like them.
        known = isinstance(weight, Tensor) and (id(weight) in self._parameters or weight.requires_grad)
        if known and len(args) >= place and weight.ndim == result.ndim == 2:
            self._results.append(result)
            self.uses.append(_Use(weight, args[place - 1].detach(), result.detach(), result.detach()))

    def _activated(self, func: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
        direct = [use for use, result in zip(self.uses, self._results, strict=True) if result is args[0]]
        last = self.uses[-1]
        if not direct and (last.slope is not None or last.output.shape != args[0].shape):
            return
        with torch.enable_grad():
            z = args[0].detach().clone().requires_grad_()
            values = func(z.clone(), *args[1:], **kwargs)  # of a clone, since it may work in place
            (slope,) = torch.autograd.grad(values.sum(), z)
        use = direct[-1] if direct else last
        use.received, use.output = z.detach(), values.detach()
        use.activation, use.slope = func.__name__, slope.abs() / _ACTIVATIONS[func]


def _uses(network: nn.Module, rows: Tensor) -> list[_Use]:
    with torch.enable_grad(), _Watch(network) as watch:
        network(rows.clone())
    return watch.uses


def layers(network: nn.Module, problem: Problem, points: Points) -> list[LayerHealth]:
    """The health of every layer with a weight, in the order of use, on the points of all conditions.

    points: {condition: (n, d)}; of more than 4096 in all, as many at equal steps

    Linear maps and activations are seen as torch functions, so this works for any nn.Module that maps (n, d) tensors; a network
    without such layers has an empty list. Raises as `pinntk.kernel` does. Saturation and gradients, layer by layer: Glorot &
    Bengio 2010 (AISTATS).
    """
    points = checked(network, problem, points)
    rows = torch.cat([part[:, : problem.domain.dimension] for part in points.values()])
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), _LAYER_POINTS)).round().long()]
    gradients = _gradients(network, problem, points)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [_health(use, names.get(id(use.weight), f"weight {i}"), gradients) for i, use in enumerate(_uses(network, rows))]


def _gradients(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """dL/dW of every parameter that is trained."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    with torch.enable_grad():
        loss = sum(e.square().mean() for e in errors(network, problem, points).values())
    if not trained or not loss.requires_grad:
        return {}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(trained, found, strict=True))


def _health(use: _Use, name: str, gradients: Mapping[str, Tensor]) -> LayerHealth:
    received, output = use.received.double(), use.output.double()
    saturated = None
    if use.slope is not None:
        saturated = float(((use.slope < _SATURATED).double().mean(0) > _MOST).double().mean())
    rounding = 16 * torch.finfo(use.output.dtype).eps * output.abs().amax()
    dead = float((output.amax(0) - output.amin(0) <= rounding).double().mean())
    gradient = None
    if name in gradients:
        gradient = quotient(float(gradients[name].double().norm()), float(use.weight.detach().double().norm()))
    mean, std = float(received.mean()), float(received.std(correction=0))
    return LayerHealth(name, received.shape[1], use.activation, mean, std, saturated, dead, gradient)


# Scales.


@dataclass(frozen=True, eq=False)
class InputScale:
    """What the first layer with a weight receives over the domain.

    mean, std, low, high: (f,) of its f input features
    offset: the largest |mean|; 0 for normalised inputs
    largest, smallest: of the standard deviations; 1 for normalised inputs
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    offset: float
    largest: float
    smallest: float


def input_scale(network: nn.Module, problem: Problem, *, samples: int = 1024, seed: int = 0) -> InputScale | None:
    """The first weight layer's inputs over the domain, after the network's own normalisation and embedding; None for a
    network without such a layer.

    samples, seed: Sobol points of the domain

    Initialisations are made for inputs of mean 0 and variance 1 (LeCun, Bottou, Orr & Mueller 1998, Efficient BackProp,
    section 4.3); coordinates on [0, 1000] saturate the first layer. Raises ValueError for fewer than 2 samples, and as
    `pinntk.kernel` does.
    """
    uses = _uses(network, _domain_points(network, problem, samples, seed))
    if not uses:
        return None
    features = uses[0].inputs.double().cpu().numpy()
    mean, std, low, high = features.mean(0), features.std(0), features.min(0), features.max(0)
    return InputScale(mean, std, low, high, float(np.abs(mean).max()), float(std.max()), float(std.min()))


def _domain_points(network: nn.Module, problem: Problem, samples: int, seed: int) -> Tensor:
    """Sobol points (samples, d) of the domain in the network's dtype, after a check of the network."""
    whole_number("samples", samples, 2)
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem)")
    check_network(network, problem, problem.sample(seed=seed))
    rows = torch.as_tensor(problem.domain.sample(samples, "sobol", generator(seed, "sanity")))
    return to_network(network, {"domain": rows})["domain"]


@dataclass(frozen=True)
class OutputScale:
    """Sizes of fields and errors.

    network: {field: rms of the network's output over the domain}
    solution: {field: rms of the known solution}; None where none is known
    data: {condition: rms error of the zero function}, the size of the condition's inhomogeneity
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

    An initialised network has fields of size 1: a solution of size 1000 or 0.001 needs other units. Raises as `input_scale` and
    `pinntk.kernel` do. Nondimensional problems: Wang, Sankaran, Wang & Perdikaris 2023 (arXiv 2308.08468), section 3.
    """
    values = problem.predict(network, _domain_points(network, problem, samples, seed).double().cpu().numpy())
    points = checked(network, problem, points)
    size = {name: _rms(square) for name, square in squared_errors(network, problem, points).items()}
    data = _data_size(problem, points)
    least = {name: 64 * torch.finfo(rows.dtype).eps for name, rows in points.items()}
    relative = {name: size[name] / data[name] if data[name] > least[name] else float("nan") for name in size}
    solution = None
    if problem.has_solution:
        solution = _by_field(problem, np.sqrt(np.square(problem.solution.values).reshape(-1, values.shape[1]).mean(0)))
    return OutputScale(_by_field(problem, np.sqrt(np.square(values).mean(0))), solution, data, size, relative)


class _Zero(nn.Module):
    """u = 0, as a function of its input."""

    def __init__(self, fields: int):
        super().__init__()
        self.fields = fields

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x[:, [0] * self.fields]


def _data_size(problem: Problem, points: Points) -> dict[str, float]:
    """rms error of the zero function, {condition: float}, at checked points."""
    return {name: _rms(square) for name, square in squared_errors(_Zero(len(problem.fields)), problem, points).items()}


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
    values = problem.predict(network, _domain_points(network, problem, samples, seed).double().cpu().numpy())
    if problem.has_solution:
        scales = problem.solution.values.reshape(-1, len(problem.fields)).std(0).tolist()
    else:
        data = _data_size(problem, checked(network, problem, points))
        by_field = [_value_conditions(problem, field) for field in range(len(problem.fields))]
        scales = [max((data[name] for name in names if name in data), default=None) for names in by_field]
    found = {}
    for field, mean, std, scale in zip(problem.fields, values.mean(0), values.std(0), scales, strict=True):
        found[field] = Triviality(float(mean), float(std), scale, None if scale is None else quotient(float(std), scale))
    return found


def _value_conditions(problem: Problem, field: int) -> list[str]:
    """Conditions other than residuals whose only need of the network is this field's value."""
    return [
        condition.name
        for condition in problem.conditions
        if condition.kind in ("boundary", "initial", "data") and _fields_asked(problem, condition.name) == {(field, 0)}
    ]


def _fields_asked(problem: Problem, name: str) -> set[tuple[int, int]]:
    """(field, order of its derivative), of all that a condition asks of the network."""
    needs = [need for need in problem.needs[name] if need.field >= 0]
    return {(need.field, sum(need.index) if need.kind == "derivative" else 1) for need in needs}


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


def precision_floor(network: nn.Module, problem: Problem, points: Points) -> dict[str, Precision]:
    """The rounding noise of every condition's error, {condition: Precision}.

    points: {condition: (n, d)}

    Noise is the difference to a float64 copy of the network, with the same parameters at the same points. For a float64
    network it is estimated: that of a float32 copy, times 2^-29, the ratio of the two roundings. The network itself is left
    alone. Raises as `pinntk.kernel` does.
    """
    points = checked(network, problem, points)
    error = {name: _rms(square) for name, square in squared_errors(network, problem, points).items()}
    dtype = next(network.parameters(), next(iter(points.values()))).dtype
    eps = torch.finfo(dtype).eps
    low = torch.float32 if dtype == torch.float64 else dtype
    coarse = deepcopy(network).to(low)
    fine = deepcopy(coarse).double()
    rounded = {name: rows.to(low) for name, rows in points.items()}
    with torch.no_grad(), warnings.catch_warnings():  # what the copies have to say, the network has said above
        warnings.simplefilter("ignore", UserWarning)
        there = errors(fine, problem, {name: rows.double() for name, rows in rounded.items()})
        here = errors(coarse, problem, rounded)
    scale = eps / torch.finfo(low).eps
    noise = {name: scale * _rms((here[name].double() - there[name]).square()) for name in points}
    return {name: Precision(noise[name], error[name], quotient(noise[name], error[name])) for name in points}


# Conditions that are missing.


@dataclass(frozen=True, eq=False)
class Unseen:
    """What all conditions together leave open of one field, at m points of the domain.

    points: (m, d)
    deviation: (m,) posterior over prior standard deviation of the field at every point
    share: rms posterior over rms prior standard deviation: near 0 where the conditions determine the field, up to 1
    rate: by which power of the tolerance `share` falls: 1 where errors of the field are in proportion to errors of the
        conditions (well-posed), 0 where the field is open however small the errors
    free: (m,) the least determined function, the first eigenvector of the posterior covariance, with largest value 1
    """

    points: Tensor
    deviation: Tensor
    share: float
    rate: float
    free: Tensor


def unseen(
    network: nn.Module,
    problem: Problem,
    points: Points,
    *,
    tolerance: float = 1e-3,
    samples: int = 200,
    most: int = 500,
    seed: int = 0,
) -> dict[str, Unseen]:
    r"""How far the conditions determine each field, {field: Unseen}: directions of the parameters that change u on the domain
    and no error.

    The linearised posterior of u, whose prior covariance is its kernel K_uu = J_u J_u^T (parameters with unit variance), given
    that all errors vanish up to `tolerance` times their own prior standard deviation s_i = sqrt(Tr K_ii / n_i):

        C = K_uu - K_ue (K_ee + tolerance^2 diag(s^2))^-1 K_eu

    points: {condition: (n, d)}; of each condition at most `most` rows, chosen at random by `seed`
    tolerance: from 1e-4 to 0.1; the rate is taken between it and a hundredth of it
    samples: m Sobol points of the domain

    Two causes look alike. A missing condition leaves a smooth function free, whatever the points; too few points for a network
    that can vary between them leave rough ones. Measure again on many more points: only a missing condition stays. Coefficients
    count as parameters with unit variance. Raises ValueError as `pinntk.kernel` does, and where K is not finite.
    Source: the Laplace approximation of `pinntk.posterior`, in function space (Khan, Immer, Abedi & Korzepa 2019, NeurIPS).
    """
    whole_number("samples", samples, 2)
    whole_number("most", most)
    if not 1e-4 <= tolerance <= 0.1:
        raise ValueError(f"tolerance={tolerance!r}: from 1e-4 (below, rounding of K is all there is) to 0.1")
    points = _thinned(checked(network, problem, points), most, seed)
    values = [value_condition(problem, field) for field in problem.fields]
    both = Problem(problem.domain, [*problem.conditions, *values], problem.fields, coefficients=problem.coefficients)
    where = _domain_points(network, problem, samples, seed)
    K = kernel(network, both, points | {value.name: where for value in values})
    if not K.values.isfinite().all():
        raise ValueError("the kernel holds NaN or infinity; the network has blown up, so measure an earlier state of it")
    scale = torch.cat([K.diagonal(name).mean().sqrt().expand(len(points[name])) for name in points])
    n, seen = len(scale), (scale > 0).nonzero()[:, 0]  # a condition met by construction has K_ii = 0, and says nothing
    root = 1 / scale[seen]
    K_ee = K.values[seen][:, seen] * root[:, None] * root
    K_eu = K.values[seen][:, n:] * root[:, None]
    prior = K.values[n:, n:]
    posterior = [_conditioned(K_ee, K_eu, prior, part) for part in (tolerance, _FINER * tolerance)]
    found = {}
    for i, field in enumerate(problem.fields):
        block = slice(i * samples, (i + 1) * samples)
        before, after, finer = (C[block, block] for C in (prior, *posterior))
        variance = after.diagonal().clamp_min(0)
        share, least = (float((C.diagonal().clamp_min(0).sum() / before.trace()).sqrt()) for C in (after, finer))
        rate = log(share / least) / -log(_FINER) if share > 0 and least > 0 else float("nan")
        free = torch.linalg.eigh(after)[1][:, -1]
        free = free / free[free.abs().argmax()]
        found[field] = Unseen(where, (variance / before.diagonal()).sqrt(), share, rate, free)
    return found


def _conditioned(K_ee: Tensor, K_eu: Tensor, K_uu: Tensor, tolerance: float) -> Tensor:
    """K_uu - K_ue (K_ee + tolerance^2)^-1 K_eu, (m, m)."""
    L = torch.linalg.cholesky(K_ee + tolerance**2 * torch.eye(len(K_ee)).to(K_ee))
    X = torch.linalg.solve_triangular(L, K_eu, upper=False)
    return K_uu - X.T @ X


def _thinned(points: Points, most: int, seed: int) -> dict[str, Tensor]:
    """At most `most` rows of every condition; a tensor shared by conditions stays shared."""
    kept: dict[int, Tensor] = {}
    for rows in points.values():
        if id(rows) not in kept:
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].sort().values
            kept[id(rows)] = rows[order.to(rows.device)] if len(rows) > most else rows
    return {name: kept[id(rows)] for name, rows in points.items()}
