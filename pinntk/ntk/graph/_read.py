"""`graph_factors`: the factored Jacobian of any error vector, read from its autograd graph and certified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor, nn

from pinntk._util.warn import warn_user
from pinntk.ntk._certificate import certificate, gross_deviation
from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk.graph._points import captured_gradients, spread_by_owners, spread_by_passes, spread_in_order
from pinntk.ntk.graph._reverse import reverse_rows, size_of
from pinntk.ntk.graph._uses import Uses
from pinntk.ntk.graph._walk import Graph, UnstructuredError
from pinntk.taylor import DependentPointsError

OWNERS = ("in order", "found")  # rows of the batch are the errors, in order; or whose they are is found out
FEW = 3  # errors whose rows are one backward pass each sooner than the graph is read


def graph_factors(
    e: Tensor,
    parameters: nn.Module | Mapping[str, Tensor] | Iterable[Tensor],
    rows: Tensor | None = None,
    *,
    name: str = "e",
) -> Factors:
    """J = d e / d theta of any error vector, factored, from its autograd graph alone.

    It needs no Problem, and nothing of the code that computed e has to change.

    e: (n,) or (n, 1), with its graph (computed without torch.no_grad, before any backward pass that frees it)
    parameters: theta: a module (all its parameters with requires_grad=True), {name: tensor}, or tensors
    rows: (m,) whole numbers: which error each row of a batch of m points belongs to, -1 for none; for e that is not computed
        row by row from one batch. Found by two more backward passes where it is needed and not given
    name: of the result, in messages

    One backward pass gives the gradient of every operation's output; where a parameter enters, the operation has saved its
    other operand, and the row of J is their product. Operations that are not understood cost a vector-Jacobian product of
    that one operation for each error. A second backward pass certifies the result: J^T z for a random z finds uses of
    parameters that were missed, rows that depend on each other and rows in a wrong order. What cannot be read, or fails its
    certificate, comes row by row in reverse mode: exact, and as slow as n backward passes; a warning names the operation.
    `Factors.origin` says which it was.

    J is that of the computation as torch differentiates it: the third derivatives of torch 2.13's layer_norm and
    instance_norm are wrong, and so is then a J that holds them. `pinntk.kernel` uses their formulas.

    Raises ValueError for an e of another shape, complex or without a graph, or for parameters that are not leaves;
    DependentPointsError for batch normalization with batch statistics.

    >>> layer = nn.Linear(1, 1)
    >>> layer.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
    <All keys matched successfully>
    >>> u = layer(torch.tensor([[1.0], [3.0]])).squeeze(1)
    >>> graph_factors(u**2 / 2 - u**2 / 2 + u, layer).matrix().tolist()
    [[1.0, 1.0], [3.0, 1.0]]
    """
    if torch.is_inference_mode_enabled():
        raise ValueError(f"{name} has no graph under torch.inference_mode(); leave it, or use torch.no_grad() there")
    theta = leaf_parameters(parameters)
    with torch.enable_grad():
        try:
            e = _check_errors(e, name)
            found = read(e, theta, None if rows is None else _check_owners(rows, e), name=name)
        except RuntimeError as error:
            raise _explain(error, name) from error
    if not found.outers and not found.rows:
        warn_user(f"{name} depends on none of these parameters, so J is zero; look for a detach() or numpy between them")
    return found


def _explain(error: RuntimeError, name: str) -> Exception:
    """What the user did, where torch says what it met."""
    if "graph a second time" in str(error):
        return ValueError(
            f"{name}: its graph was freed by a backward pass; call graph_factors before, or backward(retain_graph=True)"
        )
    if "modified by an inplace operation" in str(error):
        return ValueError(
            f"{name}: a parameter, or what was computed from one, has changed in place since (an optimizer's step?); call "
            "graph_factors before, or compute it anew"
        )
    return error


def leaf_parameters(parameters: nn.Module | Mapping[str, Tensor] | Iterable[Tensor]) -> dict[str, Tensor]:
    """{name: trained leaf tensor}. Raises ValueError for what is not a trained leaf, or if there are none."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    found: dict[str, Tensor]
    if isinstance(parameters, nn.Module):
        found = {name: p for name, p in parameters.named_parameters() if p.requires_grad}
    elif isinstance(parameters, Mapping):
        found = dict(parameters)
    else:
        found = {str(number): p for number, p in enumerate(parameters)}
    for name, p in found.items():
        if not isinstance(p, Tensor) or not (p.requires_grad and p.is_leaf):
            got = f"a tensor with requires_grad={p.requires_grad}" if isinstance(p, Tensor) else f"a {type(p).__name__}"
            raise ValueError(f"parameter {name!r} is {got}; give trained leaf tensors, such as module.parameters()")
        if p.layout != torch.strided:
            raise ValueError(f"parameter {name!r} is {p.layout}; give dense ones")
    first: dict[int, str] = {}
    for name, p in found.items():
        if first.setdefault(id(p), name) != name:
            raise ValueError(f"parameters {first[id(p)]!r} and {name!r} are one tensor; give it once")
    if not found:
        raise ValueError("there are no trained parameters (requires_grad=True), so J has no columns")
    return found


def _check_errors(e: Tensor, name: str) -> Tensor:
    if not isinstance(e, Tensor):
        raise ValueError(f"{name} is a {type(e).__name__}; give a tensor of shape (n,), one error per row")
    if e.ndim == 2 and e.shape[1] == 1:
        e = e.squeeze(1)
    if e.ndim != 1 or not len(e):
        raise ValueError(
            f"{name} has shape {tuple(e.shape)}; give (n,) with n > 0, one error per row, and each column by itself"
        )
    if not e.is_floating_point():
        raise ValueError(f"{name} is {e.dtype}; errors are real: give real and imaginary part by themselves")
    e = e.clone() if e.is_leaf and e.requires_grad else e
    if e.grad_fn is None:
        raise ValueError(f"{name} has no autograd graph: it was detached, or computed under torch.no_grad or by numpy")
    return e.as_subclass(Tensor)


def _check_owners(rows: Tensor, e: Tensor) -> Tensor:
    try:
        rows = torch.as_tensor(rows, device=e.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"rows is a {type(rows).__name__}; give (m,) whole numbers, one per row of the batch") from error
    if rows.ndim != 1 or rows.dtype == torch.bool or rows.is_floating_point() or rows.is_complex() or not len(rows):
        raise ValueError(
            f"rows has shape {tuple(rows.shape)} and dtype {rows.dtype}; give (m,) whole numbers, one per row of the batch"
        )
    if rows.max() >= len(e) or rows.min() < -1:
        raise ValueError(f"rows holds {int(rows.min())} to {int(rows.max())}; the errors are 0 to {len(e) - 1}, -1 is none")
    return rows.long()


def read(e: Tensor, parameters: Mapping[str, Tensor], rows: Tensor | None = None, *, name: str = "e") -> Factors:
    """`graph_factors` of checked arguments, with gradients enabled; falls to rows by reverse mode with a warning."""
    started, reasons = perf_counter(), []
    for owners in OWNERS if rows is None else (rows,):
        try:
            return read_by(owners, e, parameters, name=name)
        except UnstructuredError as error:
            reasons.append(str(error))
    reason = "; ".join(dict.fromkeys(reasons))
    found = certified_rows(e, parameters, name)
    assert found.origin is not None and found.origin.certificate is not None
    if found.origin.certificate > gross_deviation(e.dtype):
        warn_user(
            f"{name}: a backward pass in its graph is not linear in its seed, so a Jacobian by reverse mode depends on the seed"
        )
    elif len(e) > FEW:
        warn_user(f"{name}: {reason}; J is computed row by row, exact, but {len(e)} backward passes")
    return replace(found, origin=replace(found.origin, seconds=perf_counter() - started, reason=reason))


def read_by(
    owners: str | Tensor,
    e: Tensor,
    parameters: Mapping[str, Tensor],
    *,
    name: str = "e",
    pieces: Sequence[int] = (),
    certify: bool = True,
    whole: Graph | None = None,
) -> Factors:
    """The factors of e by one belief of which errors the rows of the batch belong to: one of OWNERS, or given (m,).

    pieces: the lengths of the vectors that e is joined of, beside owners that are given
    certify: False for an e whose like, of the same code and the same number of points, has passed its certificate
    whole: as for `Graph`

    Raises UnstructuredError where the graph cannot be read so, or the factors fail their certificate.
    """
    started = perf_counter()
    if len(e) <= FEW:
        raise UnstructuredError(f"{len(e)} errors")
    if coarse := [str(t.dtype) for t in (e, *parameters.values()) if torch.finfo(t.dtype).bits < 32]:
        raise UnstructuredError(f"{coarse[0]} is too coarse to certify what is read from a graph")
    graph = Graph(e, parameters, whole)
    if graph.batch_statistics:
        raise DependentPointsError(
            f"'{graph.batch_statistics}' uses the statistics of the batch, so every error depends on all points; call "
            "network.eval()"
        )
    in_order = not isinstance(owners, Tensor) and owners == OWNERS[0]
    sizes = {graph.n, len(owners), *pieces} if isinstance(owners, Tensor) else None if in_order else graph.batch_sizes
    entries = graph.entries(sizes)
    captured = captured_gradients(graph, entries, torch.ones_like(e))
    if isinstance(owners, Tensor):
        spread = spread_by_owners(graph, owners)
    elif in_order:
        spread = spread_in_order(graph)
    else:
        spread = spread_by_passes(graph, entries, captured)
    uses = Uses(graph, captured, spread)
    for entry in entries:
        uses.add(entry)
    columns = {key: size_of(p) for key, p in parameters.items()}
    outers, by_rows = uses.result()
    found = Factors(name, graph.n, columns, outers, _move(by_rows, e.device), e.device)
    checked = certificate(found, e, parameters, pieces) if certify else None
    if checked is not None and not checked.passes:
        order = owners if isinstance(owners, str) else "as given"
        raise UnstructuredError(f"what is read from the graph, rows {order}, fails its certificate ({checked.deviation:.1e})")
    deviation = None if checked is None else checked.deviation
    reason = f"'{uses.one_by_one[0]}' by one product for each point" if uses.one_by_one else ""
    return replace(found, origin=Origin("graph", deviation, perf_counter() - started, reason))


def _move(rows: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A parameter may live elsewhere, as a problem's coefficients do."""
    return {key: part.to(device) for key, part in rows.items()}


def certified_rows(e: Tensor, parameters: Mapping[str, Tensor], name: str = "e") -> Factors:
    """Rows by reverse mode: several in one pass where that gives the same J^T z as autograd, else one by one."""
    started = perf_counter()
    columns = {key: size_of(p) for key, p in parameters.items()}
    for batched in (True, False):
        found = Factors(name, len(e), columns, {}, _move(reverse_rows(e, parameters, batched), e.device), e.device)
        deviation, passes = certificate(found, e, parameters)
        if passes:
            break
    return replace(found, origin=Origin("rows", deviation, perf_counter() - started))
