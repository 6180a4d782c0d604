"""`factors`: J of every condition by the fastest path that is right, and certified: Taylor jets with a tape, the autograd
graph of the error vector, or reverse mode row by row.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from time import perf_counter
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk._util.randomness import fork
from pinntk._util.registry import WeakRegistry, weak_key
from pinntk._util.threads import of_step, with_threads_for
from pinntk._util.warn import warn_user
from pinntk.ntk._certificate import Certificate, certificate, gross_deviation, tolerance
from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk._taylor_factors import taylor_factors
from pinntk.ntk.graph import FEW, OWNERS, UnstructuredError, certified_rows, read_by, size_of
from pinntk.problem import Condition, ForeignCondition, Integral, Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._conditions import autograd_errors, taylor_errors
from pinntk.residuals._fallback import check_mixing, has_factors, warn_no_factors
from pinntk.residuals._points import groups, to_network
from pinntk.taylor import DependentPointsError, UnsupportedOperationError

_ROWS_CHUNK = 16  # points whose rows come from one graph, in reverse mode: its size counts twice

# How a network's conditions passed their certificates, by `_key`.
_certified: WeakKeyDictionary[nn.Module, dict[Hashable, str]] = WeakKeyDictionary()
_said = WeakRegistry()  # why a network's rows come one by one


def coefficient_key(name: str) -> str:
    """The name of a problem's coefficient among the trained parameters; no module of a network can have it."""
    return f"coefficients[{name}]"


def trained_parameters(network: nn.Module, problem: Problem) -> dict[str, Tensor]:
    """What K differentiates in: the network's parameters that require gradients, then the problem's coefficients.

    A parameter of the network that is a coefficient as well comes once, as that. Raises ValueError if there are none.
    """
    own = {id(p) for p in problem.coefficients.values()}
    named: dict[str, Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad and id(p) not in own}
    named |= {coefficient_key(name): p for name, p in problem.coefficients.items() if p.requires_grad}
    if not named:
        raise ValueError("the network has no parameter with requires_grad=True, so its kernel is zero")
    return named


@without_autocast
@with_threads_for(of_step)
def factors(network: nn.Module, problem: Problem, points: Points) -> dict[str, Factors]:
    """J of every condition in `points`, factored: {name: Factors}.

    One Taylor pass and one backward pass for each condition. Where the network uses an operation without a Taylor rule, or a
    parameter in a way that does not factor, J is read from the autograd graph of the errors, with a warning; and where that
    cannot be, it comes row by row, with another. `Factors.origin` has how each was obtained, and its certificate.
    Raises as `pinntk.kernel` does.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> J = pinntk.factors(network, problem, points)["poisson"]
    >>> J.matrix().shape, sum(p.numel() for p in network.parameters())
    (torch.Size([5, 25]), 25)
    """
    points = problem.check(points)
    check_network(network, problem, points)
    return compute_factors(network, problem, points)


def compute_factors(network: nn.Module, problem: Problem, points: Points) -> dict[str, Factors]:
    """`factors` for points and a network that were checked before."""
    points = to_network(network, points)
    parameters = trained_parameters(network, problem)
    foreign = {name: rows for name, rows in points.items() if name in problem.foreign}
    own = {name: rows for name, rows in points.items() if name not in foreign}
    found: dict[str, Factors] = {}
    if own and has_factors(network):
        try:
            found = {part.name: part for part in _by_taylor(network, problem, own, parameters)}
        except UnsupportedOperationError as error:
            warn_no_factors(network, error)
    others = foreign if found else points
    found |= {part.name: part for part in _by_graph(network, problem, others, parameters)}
    return {name: found[name] for name in points}


def _by_taylor(network: nn.Module, problem: Problem, points: Points, parameters: Mapping[str, Tensor]) -> Iterator[Factors]:
    """Raises UnsupportedOperationError where jets or the tape cannot follow, or a certificate fails."""
    for names in groups(problem, points):
        started, rows = perf_counter(), points[names[0]]
        try:
            found = list(taylor_factors(network, problem, names, rows, parameters))
        except DependentPointsError as error:
            raise check_mixing(network, problem, names, rows, error) from error
        passed = _certified.setdefault(network, {})
        keys = {part.name: _key(problem, part.name, rows, parameters) for part in found}
        new = [part for part in found if passed.get(keys[part.name]) != "taylor"]
        certificates = _certificates(network, problem, names, rows, parameters, new) if new else {}
        for part in new:
            deviation, passes = certificates[part.name]
            if not passes and isfinite(deviation):
                raise UnsupportedOperationError(
                    f"condition {part.name!r}", f"fails its certificate in the Taylor engine ({deviation:.1e})"
                )
            if passes:  # what is not finite is left to those who name it
                passed[keys[part.name]] = "taylor"
        seconds = (perf_counter() - started) / len(found)
        for part in found:
            known = certificates.get(part.name)
            yield replace(part, origin=Origin("taylor", None if known is None else known.deviation, seconds))


def _key(problem: Problem, name: str, rows: Tensor, parameters: Mapping[str, Tensor]) -> Hashable:
    """Under which a certificate is remembered."""
    hooks = tuple(len(p._backward_hooks or ()) for p in parameters.values())  # which only autograd runs
    condition = problem[name]
    code = condition.operator if isinstance(condition, Condition) else condition.errors
    return weak_key((name, code, len(rows), rows.dtype, tuple(parameters), hooks))


def _certificates(
    network: nn.Module,
    problem: Problem,
    names: list[str],
    rows: Tensor,
    parameters: Mapping[str, Tensor],
    found: list[Factors],
) -> dict[str, Certificate]:
    """J^T z of each condition by its factors against ordinary autograd through jets, which knows no tape and no points."""
    with torch.enable_grad(), fork(rows.device):  # a check must not change what is drawn next
        errors = taylor_errors(network, problem, names, rows)
    return {
        part.name: certificate(part, errors[part.name], parameters)
        if errors[part.name].requires_grad
        else Certificate(0.0, True)
        for part in found
    }


def _by_graph(network: nn.Module, problem: Problem, points: Points, parameters: Mapping[str, Tensor]) -> Iterator[Factors]:
    for names in groups(problem, points):
        rows = points[names[0]]
        errors = autograd_errors(network, problem, names, rows)
        for name, e in errors.items():
            if not e.requires_grad:
                sizes = {key: size_of(p) for key, p in parameters.items()}
                yield Factors(name, len(e), sizes, {}, {}, e.device, Origin("graph", 0.0, 0.0, "nothing trained reaches it"))
                continue
            owners = _owners(problem[name], rows)
            part = _read_again(network, _key(problem, name, rows, parameters), e, parameters, name, owners)
            if isinstance(part, UnstructuredError):
                part = _row_by_row(network, problem, name, rows, parameters, e, str(part))
            yield part


def _owners(condition: Condition | ForeignCondition, rows: Tensor) -> Tensor | None:
    """Which error each row of the batch belongs to, where that is known."""
    if isinstance(condition.region, Integral):
        return condition.region.owners(rows)
    if not isinstance(condition, ForeignCondition) or condition.owners is None:
        return None
    return condition.owners(rows)


def _read_again(
    network: nn.Module,
    key: Hashable,
    e: Tensor,
    parameters: Mapping[str, Tensor],
    name: str,
    given: Tensor | None = None,
) -> Factors | UnstructuredError:
    """The factors of e, first in the way that passed the certificate for such a graph before; else the first one that does.

    given: which error each row of the batch belongs to, where that is known
    """
    passed = _certified.setdefault(network, {})
    known = passed.get(key)
    if known == "rows":
        return UnstructuredError("its graph could not be read")
    reasons = []
    if given is not None:
        try:
            return read_by(given, e, parameters, name=name)
        except UnstructuredError as error:
            reasons.append(str(error))
    for owners in sorted(OWNERS, key=lambda owners: owners != known):
        try:
            part = read_by(owners, e, parameters, name=name)
        except UnstructuredError as error:
            reasons.append(str(error))
        else:
            passed[key] = owners
            return part
    passed[key] = "rows"
    return UnstructuredError("; ".join(dict.fromkeys(reasons)))


def _row_by_row(
    network: nn.Module,
    problem: Problem,
    name: str,
    rows: Tensor,
    parameters: Mapping[str, Tensor],
    whole: Tensor,
    reason: str,
) -> Factors:
    """Reverse mode, a few points at a time; checked against the graph of all points, which differs where points mix."""
    started = perf_counter()
    chunk = min(_ROWS_CHUNK, max(1, len(rows) // 2))
    values, parts = [], []
    for piece in rows.split(chunk):
        e = autograd_errors(network, problem, [name], piece)[name]
        values.append(e.detach())
        parts.append(certified_rows(e, parameters, name))
    joined = {key: torch.cat([part.rows[key] for part in parts]) for key in parameters}
    found = Factors(name, len(rows), parts[0].sizes, {}, joined, whole.device)
    worst, limit = certificate(found, whole, parameters).deviation, gross_deviation(whole.dtype)
    coarsest = max(gross_deviation(torch.empty(0, dtype=p.dtype).real.dtype) for p in parameters.values())  # a coefficient's
    off = _apart(torch.cat(values), whole.detach(), found, parameters)
    if off > limit or worst > max(limit, coarsest):
        raise DependentPointsError(
            f"condition {name!r}: errors depend on which other points are in the batch ({reason}). The network or the operator "
            "mixes points (a mean over the batch, say); write it point by point"
        )
    message = f"{reason}; rows of J for condition {name!r} come one by one, exact, but {len(rows)} backward passes"
    if len(rows) > FEW and _said.first(network, message):
        warn_user(message)
    return replace(found, origin=Origin("rows", worst, perf_counter() - started, reason))


def _apart(values: Tensor, whole: Tensor, found: Factors, parameters: Mapping[str, Tensor]) -> float:
    """How far errors in pieces are from those in one batch, relative to them, or to what rounding may do to sums of terms as
    large as J theta: errors that training has made small are their rounding.
    """
    theta = float(torch.stack([p.detach().double().norm().cpu() for p in parameters.values()]).norm())
    rounding = tolerance(whole.dtype) / gross_deviation(whole.dtype) * theta * float(found.diagonal.sum().sqrt())
    scale = max(float(whole.norm()), rounding, torch.finfo(whole.dtype).tiny)
    return float((values - whole).norm()) / scale
