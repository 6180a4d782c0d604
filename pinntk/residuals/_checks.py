"""Checks of a network and its problem, once before a kernel or a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from pinntk._util.registry import WeakRegistry
from pinntk._util.warn import warn_user
from pinntk.problem import ForeignCondition, Points, Problem
from pinntk.problem._coordinates import check_coordinates
from pinntk.problem._output import check_output
from pinntk.residuals._agreement import check_derivatives
from pinntk.residuals._conditions import condition_errors
from pinntk.residuals._evaluate import errors
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._gradients import compare_operator
from pinntk.residuals._linear import linearize
from pinntk.residuals._points import to_network
from pinntk.residuals._probe import preserve, random_state, rows_of, same, select_probe
from pinntk.taylor import DependentPointsError

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)
_PAIRS = ((1, 0), (3, 2), (2, 0), (3, 1))  # of the probe's rows: each of them once with, and once without, every other
_REPEATS = 16  # copies of the probe on which a network that draws random numbers must still give one answer
_FAR = 1e3  # roundings between two evaluations, beyond which they are not the same

_checked, _warned = WeakRegistry(), WeakRegistry()


def check_network(network: nn.Module, problem: Problem, points: Points) -> None:
    """Raises an error that says what to change if the network does not fit the problem, mixes points, is random or changes.

    ValueError: wrong number of inputs or outputs, a network that changes at every forward, a device without float64;
    DependentPointsError: batch normalization or dropout in training mode, random numbers, a network or an operator that mixes
    points. The network, its buffers and the random state are left as they were.

    Warns, once for a network and its problem, of errors that depend on no parameter, of coordinates that the network's dtype
    cannot tell apart, and of derivatives that are not those of the network's values.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"network is a {type(network).__name__}; expected a torch.nn.Module that maps (n, d) to (n, fields)")
    if any(parameter.device.type == "mps" for parameter in network.parameters()):
        raise ValueError("the network is on 'mps', which has no float64, and kernels are summed in it; call network.cpu()")
    if torch.is_inference_mode_enabled():
        raise ValueError("kernels and training need gradients, which torch.inference_mode() rules out; use torch.no_grad()")
    check_modules(network)
    d = problem.domain.dimension
    probe = to_network(network, select_probe(points))
    first = next(iter(probe.values()))[:, :d]
    for name, rows in points.items():
        check_coordinates(problem.domain, name, rows, first.dtype)
    with preserve(network, first.device) as buffers:
        _check_output(network, problem, first)
        state = (tuple(problem[name] for name in points), first.dtype, *_modes(network))
        new = _checked.first(network, state)
        if new:
            _check_repeatable(network, first, buffers)
        _check_independence(
            network, problem, probe, lambda part: errors(network, problem, rows_of(probe, part)), _PAIRS if new else _PAIRS[:2]
        )
        if new:
            _check_dependence(network, problem, probe)
            check_derivatives(network, problem, probe)


def check_operators(network: nn.Module, problem: Problem, points: Points) -> None:
    """What `check_network` asks of conditions that are not foreign and of their points, with a network that is known to fit."""
    probe = to_network(network, select_probe(points))
    first = next(iter(probe.values()))
    for name, rows in points.items():
        check_coordinates(problem.domain, name, rows, first.dtype)
    with preserve(network, first.device):
        known = {name: _KeptErrors(network, problem, name, rows) for name, rows in probe.items()}

        def evaluate(part: tuple[int, ...]) -> dict[str, Tensor]:
            return {name: one.at(few) for name, one in known.items() if (few := [i for i in part if i < len(probe[name])])}

        _check_independence(network, problem, probe, evaluate, _PAIRS)
        for name, rows in probe.items():
            compare_operator(problem, name, rows)


def check_modules(network: nn.Module) -> None:
    """Raises an error, naming it, for a module that is random, mixes points or changes at every forward."""
    for path, module in network.named_modules():
        if isinstance(module, _DROPOUTS) and module.training and module.p > 0:
            raise DependentPointsError(
                f"module {path!r} is dropout in training mode, so errors are random; call network.eval()"
            )
        if isinstance(module, _BATCH_NORMS) and (module.training or module.running_mean is None):
            raise DependentPointsError(
                f"module {path!r} is batch normalization with batch statistics, so the error at one point depends on the "
                "others and the kernel is undefined; call network.eval() or remove it"
            )
        if module.training and _is_spectral_norm(module):
            raise ValueError(
                f"module {path!r} is spectral_norm in training mode: its power iteration changes the weights at every forward, "
                "so the kernel belongs to no fixed function; call network.eval()"
            )


def random_in_training(network: nn.Module) -> str:
    """The class of a module by which, in training mode, errors are random or depend on other points; or nothing."""
    kinds = (type(module).__name__ for module in network.modules() if isinstance(module, _DROPOUTS + _BATCH_NORMS))
    return next(kinds, "")


def _is_spectral_norm(module: nn.Module) -> bool:
    hooks = module._forward_pre_hooks.values()
    return (isinstance(module, _SpectralNorm) and hasattr(module, "_u")) or any(isinstance(h, SpectralNorm) for h in hooks)


def _modes(network: nn.Module) -> tuple:
    return tuple(m.training for m in network.modules()), tuple(p.requires_grad for p in network.parameters())


# What a network must be.


def _check_output(network: nn.Module, problem: Problem, first: Tensor) -> None:
    try:
        with torch.no_grad():
            output = network(first.clone())
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise ValueError(
            f"the network does not accept {problem.domain.dimension} inputs, coordinates {problem.coordinates}, in one tensor: "
            f"it failed on shape {tuple(first.shape)} and dtype {first.dtype} with: {error}"
        ) from error
    check_output(output, problem.fields, len(first))


def _check_repeatable(network: nn.Module, first: Tensor, buffers: dict[str, Tensor]) -> None:
    """Two evaluations on the same points must give the same values."""
    state = random_state(first.device)
    outputs = [_values(network, first) for _ in range(2)]
    random = not torch.equal(state, random_state(first.device))
    if random and torch.equal(*outputs):  # perhaps by luck: a dropout that hits seldom
        outputs = [_values(network, first.repeat(_REPEATS, 1)) for _ in range(2)]
    moved = [name for name, b in network.named_buffers() if not is_lazy(b) and not (name in buffers and same(b, buffers[name]))]
    apart = (outputs[0] - outputs[1]).abs().max()
    rounding = _FAR * torch.finfo(outputs[0].dtype).eps * outputs[0].abs().max()
    if random and apart > 0:
        raise DependentPointsError(
            f"{_random_module(network, first)} draws random numbers in its forward, so errors are random; switch that off, by "
            "network.eval() where it heeds it"
        )
    if moved and apart > 0:
        path, _, key = moved[0].rpartition(".")
        raise ValueError(
            f"the network changes at every forward: buffer {key!r} of module {path!r} moves, and its outputs by {apart:.2g} "
            "with it, so the kernel belongs to no fixed function; call network.eval(), or keep that buffer as it is"
        )
    if apart > rounding:
        raise ValueError(
            f"two evaluations of the network on the same points differ by {apart:.2g}: something in its forward changes or is "
            "random, and the kernel belongs to no fixed function; call network.eval(), or keep its state as it is"
        )


def _values(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x.clone())


def _random_module(network: nn.Module, x: Tensor) -> str:
    """The innermost module in whose forward the random state moves."""
    found: list[str] = []
    states: dict[nn.Module, Tensor] = {}

    def before(module: nn.Module, _: tuple) -> None:
        states[module] = random_state(x.device)

    def after(path: str, module: nn.Module) -> None:
        if module in states and not torch.equal(states[module], random_state(x.device)):
            found.append(f"module {path!r} ({type(module).__name__})" if path else "the network")

    hooks = []
    try:
        for path, module in network.named_modules():
            hooks.append(module.register_forward_pre_hook(before))
            hooks.append(module.register_forward_hook(lambda module, *_, path=path: after(path, module)))
        _values(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "the network"


# What errors must be.


def _check_independence(
    network: nn.Module,
    problem: Problem,
    probe: Points,
    evaluate: Callable[[tuple[int, ...]], dict[str, Tensor]],
    pairs: tuple[tuple[int, int], ...],
) -> None:
    """The error at a point must not change when other points leave the batch, or change places.

    evaluate: the errors at rows of the probe by their numbers, of conditions that have such rows
    """
    everything = tuple(range(max(map(len, probe.values()))))
    together = evaluate(everything)
    for pair in pairs:
        for name, apart in evaluate(pair).items():
            both = together[name][[i for i in pair if i < len(together[name])]]
            scale = both.abs().max() + apart.abs().max() + 1
            limit, change = torch.finfo(both.dtype).eps ** 0.5, (both - apart).abs().max()
            if change > limit * scale and change > limit * _size_of_terms(network, problem, name, probe[name]):
                _refuse_dependent(name, together[name], evaluate(everything)[name])


class _KeptErrors:
    """The errors of one condition, first at all of its rows (n, columns), then at any of them, with what a network has there,
    which is computed once.
    """

    def __init__(self, network: nn.Module, problem: Problem, name: str, rows: Tensor):
        self._network, self._problem, self._name, self._rows = network, problem, name, rows
        self._basis, self._fields = problem.basis([name]), list[Fields]()

    def at(self, chosen: Sequence[int]) -> Tensor:
        """(k,), at rows of these k numbers."""
        places = count()

        def fields(points: Tensor) -> Fields:
            place, many = next(places), len(points) // len(chosen)  # an integral has several for a row
            if place == len(self._fields):
                self._fields.append(TaylorFields(self._network, self._problem, points, self._basis))
            return _Some(self._fields[place], [many * i + k for i in chosen for k in range(many)])

        def coefficient(name: str, points: Tensor) -> Tensor:
            return self._problem.coefficients[name].to(points)

        rows = self._rows[list(chosen)]
        return condition_errors(self._problem, [self._name], rows, fields, coefficient)[self._name]


class _Some:
    """What fields are at some of their points."""

    def __init__(self, fields: Fields, chosen: list[int]):
        self._fields, self._chosen = fields, chosen

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self._fields.derivative(field, index)[self._chosen]

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self._fields.laplacian(field, axes)[self._chosen]


def _size_of_terms(network: nn.Module, problem: Problem, name: str, rows: Tensor) -> float:
    """The largest of what an error is made of, such as E u_xx beside other terms that it cancels with: its rounding is a
    fraction of that, and not of the error.
    """
    if isinstance(problem[name], ForeignCondition):
        with torch.enable_grad():
            return size_by_parameters(errors(network, problem, {name: rows})[name], _parameters(network, problem))
    coefficients = {key: float(value.detach()) for key, value in problem.coefficients.items()}
    try:
        found = linearize(problem, name, rows, lambda points: AutogradFields(network, problem, points), coefficients)
    except RuntimeError:  # what cannot be differentiated has no terms to look at
        return 0.0
    return max((float((term.slope * term.value).abs().max()) for term in found.terms), default=0.0)


def size_by_parameters(e: Tensor, parameters: Sequence[Tensor]) -> float:
    """The same by what is known of any errors: the largest sum over parameters of |theta de / dtheta|."""
    if not parameters or not e.requires_grad:
        return 0.0
    sizes = [0.0]
    for one in e.flatten():
        slopes = torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)
        pairs = zip(parameters, slopes, strict=True)
        sizes.append(sum(float((p.detach() * g).abs().sum()) for p, g in pairs if g is not None))
    return max(size for size in sizes if isfinite(size))


def reaches(e: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether errors depend on any of these."""
    if not parameters or not e.requires_grad:
        return False
    return any(g is not None for g in torch.autograd.grad(e.sum(), parameters, retain_graph=True, allow_unused=True))


def _parameters(network: nn.Module, problem: Problem) -> list[Tensor]:
    """All that is trained."""
    return [p for p in (*network.parameters(), *problem.coefficients.values()) if p.requires_grad]


def _refuse_dependent(name: str, before: Tensor, again: Tensor) -> None:
    if not torch.equal(before, again):
        raise DependentPointsError(
            f"condition {name!r}: its error is another at every evaluation on the same points, so it is random; take the "
            "random numbers out of the operator"
        )
    raise DependentPointsError(
        f"condition {name!r}: the error at a point changes when another point leaves the batch. The network or "
        "the operator mixes points (a mean over the batch, say); write it point by point"
    )


def _check_dependence(network: nn.Module, problem: Problem, probe: Points) -> None:
    """Warns of conditions whose error no trained parameter reaches. One that a constraint makes zero is reached."""
    parameters = _parameters(network, problem)
    if not parameters:
        return
    with torch.enable_grad():
        found = errors(network, problem, probe)
    for name, error in found.items():
        if not reaches(error, parameters) and _warned.first(network, problem[name]):
            warn_user(
                f"condition {name!r}: its error depends on no trained parameter and no trained coefficient, so its part of the "
                "kernel is zero and training cannot change it. Look for a detach(), numpy() or no_grad(), for a field that the "
                "operator does not use, or for a derivative that is zero for this network"
            )
