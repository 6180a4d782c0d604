"""`from_solver`: what a PINA solver trains as a network, a problem and points."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import torch
from pina import LabelTensor
from pina.condition import DomainEquationCondition, InputTargetCondition
from pina.solver import PhysicsInformedSingleModelSolver
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk._util.warn import warn_user
from pinntk.integrations._forms import MOST_EQUATIONS, column_names
from pinntk.integrations._undeclared import say_undeclared
from pinntk.integrations.pina._regions import box_of, is_surface, kind_of, labeled, region_of
from pinntk.integrations.pina._support import require_physics, unknowns
from pinntk.problem import KINDS, Box, ForeignCondition, ForeignNetworkError, PointSet, Problem, with_parameters_of
from pinntk.residuals import errors
from pinntk.residuals._probe import untouched

_TAKEN = (*KINDS, "seed", "method", "dtype", "device")  # words of `Problem.sample`
_TIME = "t"
_APART = 1e4  # roundings, between PINA's residuals and those of the problem


class PinaNetwork(nn.Module):
    """A model of PINA as a network: from (n, d) points to (n, fields). Its parameters are the model's own.

    inputs: PINA's names of the coordinates, in the order of the columns
    points: (n, d), on which it is tried whether the model asks for labels
    """

    def __init__(self, model: nn.Module, inputs: Sequence[str], points: Tensor) -> None:
        super().__init__()
        self.model, self.inputs, self.labels = model, tuple(inputs), True
        with torch.no_grad():
            values = self(points)
            try:
                self.labels = not torch.equal(model(points), values)
            except Exception:  # whatever a model does with what has no labels
                self.labels = True

    def forward(self, points: Tensor) -> Tensor:
        if not self.labels:
            return self.model(points)
        return self.model(labeled(points, self.inputs)).as_subclass(Tensor)


class _Asker:
    """What a condition of PINA asks of a solver: values of a network, and the unknown parameters."""

    def __init__(self, network: nn.Module, outputs: Sequence[str], inputs: Sequence[str], unknown: Mapping[str, Tensor]):
        self._network, self._outputs, self._inputs = network, outputs, inputs
        self._params = dict(unknown) or None

    def forward(self, x: LabelTensor) -> LabelTensor:
        return labeled(self._network(x.extract(list(self._inputs)).as_subclass(Tensor)), self._outputs)


class Residual:
    """errors(network, points) -> (n, k) of a condition, for `ForeignCondition`. Not for use by itself.

    fields: of the target that rides along in columns after the coordinates; 0 for an equation
    """

    def __init__(self, solver: Any, name: str, home: PinaNetwork, fields: int):
        self._solver, self._name, self._home, self._fields = solver, name, home, fields
        self._unknown = unknowns(solver)
        self._closed = False

    def __call__(self, network: nn.Module, points: Tensor) -> Tensor:
        if isinstance(network, PinaNetwork):
            return with_parameters_of(self._home, network, lambda: self.of(self._home, points))
        if self._closed:
            raise ForeignNetworkError(
                f"condition {self._name!r}: its equation uses the solver's model beside its arguments, so its errors for a "
                f"{type(network).__name__} are not known; give the network of from_solver, or a copy of it"
            )
        return self.of(network, points)

    def of(self, network: nn.Module, points: Tensor) -> Tensor:
        """The condition's residuals with the network's values in them, whatever else its equation closes over."""
        replaced = [name for name, p in unknowns(self._solver).items() if p is not self._unknown[name]]
        if replaced:
            raise ForeignNetworkError(
                f"PINA has replaced the unknown parameter {replaced[0]!r} since from_solver, as a new Trainer does; call "
                "from_solver again"
            )
        problem, inputs = self._solver.problem, self._home.inputs
        d = len(inputs)
        batch = {"input": labeled(points[:, :d].clone(), inputs)}
        if self._fields:
            batch["target"] = points[:, d:]
        asker = _Asker(network, problem.output_variables, inputs, self._unknown)
        condition = problem.conditions[self._name]
        if isinstance(condition, DomainEquationCondition):  # which PINA evaluates when a Trainer is made
            x = batch["input"].requires_grad_()
            e = condition.equation.residual(x, asker.forward(x), asker._params)
        else:
            e = condition.evaluate(batch, asker)
        return e.as_subclass(Tensor).reshape(len(e), -1)

    def close_if_needed(self, points: Tensor) -> None:
        """Finds out whether the equation closes over the model: whether a changed copy alone has other residuals."""
        try:
            other = deepcopy(self._home)
        except (RuntimeError, TypeError, ValueError):
            self._closed = True
            return
        with torch.no_grad():
            for p in other.parameters():
                p.mul_(1.1)
        self._closed = not torch.equal(self(other, points).detach(), self.of(other, points).detach())


class _Part(NamedTuple):
    """A condition of PINA: its points (n, d), and what rides along, (n, k)."""

    points: Tensor
    target: Tensor | None
    domain: Any


@without_autocast
def from_solver(solver: Any, kinds: Mapping[str, str] | None = None) -> tuple[PinaNetwork, Problem, dict[str, Tensor]]:
    """(network, problem, points) of a PINA solver, for everything else in pinntk.

        network, problem, points = from_solver(solver)
        pinntk.kernel(network, problem, points), pinntk.diagnose(network, problem, points)

    The residuals are PINA's own, evaluated at any points and for copies of the network, by automatic differentiation. A
    condition with several residuals, as of a SystemEquation, is several here: "name[0]", "name[1]". Those that PINA names with
    a word of `Problem.sample`, such as "boundary" or "data", are called "boundary_condition" and "data_condition".

    solver: with points: call it after `problem.discretise_domain`, and for an inverse problem after the Trainer is made, which
        replaces the unknown parameters
    kinds: {condition of PINA: kind}, for conditions that their points do not tell: "residual", "boundary", "initial", "data"
    network: its parameters are the model's own, and its coordinates PINA's input variables, time called t
    problem: coefficients are the unknown parameters of an InverseProblem; the solution is PINA's `solution`, if there is one
    points: of the training, {condition: (n, d)}; targets ride along as columns. Fresh ones come from PINA's domains:
        `problem.sample()`

    Of GradientPINN, CausalPINN and RBAPINN it has the residuals alone, without what these add to the loss, and warns of that.
    Raises ValueError for other solvers, conditions on graphs, a solver with a `forward` of its own, and residuals that depend
    on which other points are in the batch.
    """
    _check(solver)
    kinds = dict(kinds or {})
    for name in kinds:
        if name not in solver.problem.conditions:
            raise ValueError(f"kinds has {name!r}; the solver's conditions are {tuple(solver.problem.conditions)}")
    with untouched(solver.model):
        parts = {name: _part(solver, name) for name in solver.problem.conditions}
        like = next(solver.model.parameters())
        network = PinaNetwork(solver.model, solver.problem.input_variables, next(iter(parts.values())).points[:4].to(like))
        names = _coordinates(solver.problem)
        rows = [part.points.double().cpu().numpy() for part in parts.values()]
        box = box_of(solver.problem, names, rows)
        conditions: list[ForeignCondition] = []
        points: dict[str, Tensor] = {}
        for name, part in parts.items():
            made, given = _conditions(solver, network, name, part, box, kinds.get(name))
            conditions += made
            points |= dict.fromkeys((one.name for one in made), given.to(like))
        fields = tuple(solver.problem.output_variables)
        problem = Problem(
            box,
            conditions,
            fields=fields,
            exact=_exact(solver.problem, names, rows[0]),
            coefficients=unknowns(solver),
            name=type(solver.problem).__name__,
        )
        _require_point_by_point(solver, network, problem, points)
        say_undeclared(
            network,
            problem,
            points,
            "Where it is to be trained: as an unknown parameter of an InverseProblem, or as a part of the model",
        )
    return network, problem, points


def training_points(solver: Any, problem: Problem) -> dict[str, Tensor]:
    """The points of `from_solver`, as they are now."""
    like = next(solver.model.parameters())
    found: dict[str, Tensor] = {}
    for name in solver.problem.conditions:
        part = _part(solver, name)
        rows = part.points if part.target is None else torch.cat([part.points, part.target], 1)
        found |= dict.fromkeys(names_of(name, problem.names), rows.to(like))
    return found


def names_of(name: str, names: Sequence[str]) -> list[str]:
    """Which conditions of a problem, by their names, are that of PINA, or its columns."""
    own = known_as(name)
    return [one for one in names if one == own or re.fullmatch(rf"{re.escape(own)}\[\d+\]", one)]


def known_as(name: str) -> str:
    """The name of a condition of PINA in a problem of pinntk."""
    return f"{name}_condition" if name in _TAKEN else name


def _check(solver: Any) -> None:
    require_physics(solver, "from_solver")
    if type(solver).forward is not PhysicsInformedSingleModelSolver.forward:
        raise ValueError(f"{type(solver).__name__} has a forward of its own; put what it does into the model")
    if not isinstance(solver, PhysicsInformedSingleModelSolver):
        warn_user(
            f"from_solver takes the residuals of {type(solver).__name__} alone: what it adds to their mean squares is no part "
            "of the problem"
        )


def _coordinates(problem: Any) -> tuple[str, ...]:
    """PINA's input variables, time by the name that pinntk knows it by."""
    names = list(problem.input_variables)
    times = getattr(problem, "temporal_variables", None) or []
    if len(times) == 1 and _TIME not in names:
        names[names.index(times[0])] = _TIME
    return tuple(names)


def _part(solver: Any, name: str) -> _Part:
    problem = solver.problem
    condition, inputs = problem.conditions[name], list(problem.input_variables)
    key = getattr(condition, "domain", None)
    data = getattr(condition, "data", None)
    target = None
    if data is not None:
        held = getattr(data, "data", {})  # what batches are made of; PINA's refinements change data.input alone
        x = held.get("input", data.input)
        target = data.target if isinstance(condition, InputTargetCondition) else None
    elif key in problem.discretised_domains:
        x = problem.discretised_domains[key]
    else:
        raise ValueError(f"condition {name!r} has no points; call problem.discretise_domain(...) before from_solver")
    if not isinstance(x, LabelTensor) or x.ndim != 2 or not (target is None or isinstance(target, Tensor)):
        raise ValueError(f"condition {name!r} has a {type(x).__name__} as input; from_solver needs a LabelTensor (n, d)")
    used = _trained_rows(solver, name)
    rows = x.extract(inputs).as_subclass(Tensor).detach()
    target = None if target is None else target.as_subclass(Tensor).detach().reshape(len(rows), -1)
    if used is not None:
        rows, target = rows[used], None if target is None else target[used]
    return _Part(rows, target, problem.domains.get(key) if isinstance(key, str) else None)


def _trained_rows(solver: Any, name: str) -> list[int] | None:
    """Which points the trainer trains on, if there is one that leaves some for validation and tests."""
    module = getattr(solver._trainer, "data_module", None)
    if module is None or module.problem is not solver.problem:
        return None
    used = module.split_idxs[name]["train"]
    if not used:
        raise ValueError(f"condition {name!r} has no points to train on; give it more, or the trainer a larger train_size")
    return sorted(used)


def _conditions(
    solver: Any, network: PinaNetwork, name: str, part: _Part, box: Box, kind: str | None
) -> tuple[list[ForeignCondition], Tensor]:
    labels, points = list(network.inputs), part.points.double().cpu().numpy()
    if part.target is not None:
        columns = {f"target {j}": column for j, column in enumerate(part.target.double().cpu().numpy().T)}
        region: Any = PointSet(box, points, columns)
        kind, given = kind or "data", torch.cat([part.points, part.target], 1)
    else:
        region = PointSet(box, points) if part.domain is None else region_of(part.domain, labels, box, points)
        time = box.coordinates.index(_TIME) if _TIME in box.coordinates else None
        surface = part.domain is not None and is_surface(part.domain)
        kind, given = kind or kind_of(region, points, time, surface), part.points
    residual = Residual(solver, name, network, given.shape[1] - len(labels))
    few = given[:4].to(next(network.parameters()))
    k = residual(network, few).shape[1]
    n = len(given)
    if (len(few) > 1 and residual(network, few[1:]).shape[1] != k) or k == n > MOST_EQUATIONS:
        raise ValueError(
            f"condition {name!r} has {n if k < n else k} residuals for each of {n} points: an (n, 1) met an (n,), and "
            "broadcasting made (n, n) of them; make both (n, 1), by target.unsqueeze(1)"
        )
    residual.close_if_needed(few)
    named = enumerate(column_names(known_as(name), k))
    return [ForeignCondition(one, kind, region, residual, column) for column, one in named], given


def _exact(problem: Any, names: tuple[str, ...], points: Any) -> Callable[..., Any] | None:
    """PINA's `solution` as a function of coordinates by name, if there is one that answers."""
    solution = getattr(problem, "solution", None)
    if not callable(solution):
        return None
    labels, fields = list(problem.input_variables), list(problem.output_variables)

    def exact(**coordinates: Tensor) -> Any:
        columns = [torch.as_tensor(coordinates[name]).reshape(-1, 1) for name in names]
        values = solution(labeled(torch.cat(columns, 1), labels)).as_subclass(Tensor)
        parts = tuple(values.reshape(len(values), -1).unbind(1))
        return parts[0] if len(parts) == 1 else parts

    exact.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])  # type: ignore[attr-defined]
    try:
        rows = torch.as_tensor(points[:4])
        tried = exact(**dict(zip(names, rows.unbind(1), strict=True)))
        answers = tried if isinstance(tried, tuple) else (tried,)
        known = len(answers) == len(fields) and all(len(a) == len(rows) and bool(a.isfinite().all()) for a in answers)
        reason = "its values are not finite, or not one for each field"
    except Exception as failure:  # whatever the user's function raises
        known, reason = False, f"{type(failure).__name__}: {failure}"
    if not known:
        warn_user(f"{type(problem).__name__}.solution is not used as the known solution: {reason}")
    return exact if known else None


def _require_point_by_point(solver: Any, network: PinaNetwork, problem: Problem, points: dict[str, Tensor]) -> None:
    """Raises ValueError where residuals by a few points are not those that PINA has of all of them."""
    few = {name: rows[: max(1, len(rows) // 2)] for name, rows in points.items()}
    whole, half = errors(network, problem, points), errors(network, problem, few)
    for name, part in half.items():
        other = whole[name][: len(part)].detach()
        size = float(whole[name].detach().abs().max())
        if float((part.detach() - other).abs().max()) > _APART * torch.finfo(other.dtype).eps * max(size, 1e-30):
            raise ValueError(
                f"the residuals of {name!r} depend on which other points are in the batch; pinntk needs them point by point. "
                "NTKWeighting works on the batch as it is"
            )
