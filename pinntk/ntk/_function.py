"""The kernel of a network's outputs themselves, without a problem: of operator networks, of plain regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from pinntk._util.memory import parse_bytes
from pinntk._util.precision import without_autocast
from pinntk._util.stand_in import call_with
from pinntk.ntk._blocks import require_kernel
from pinntk.ntk._certificate import certificate
from pinntk.ntk._factored import Factors
from pinntk.ntk.graph import certified_rows

Jacobian = Callable[[Tensor], dict[str, Tensor]]
_VECTORIZED = 64  # rows of J in one backward pass


@without_autocast
def function_kernel(
    network: nn.Module, inputs: Tensor, others: Tensor | None = None, *, max_memory: int | str = "2GiB"
) -> Tensor:
    """K = J(inputs) J(others)^T with J = d network(input) / d theta, from explicit Jacobians: (n m, n' m) in float64.

    network: any module that maps (n, ...) to (n, ...), sample by sample; m is the number of outputs for one sample, such as
        the grid points of an operator network. theta is every parameter with requires_grad=True
    inputs, others: (n, ...) and (n', ...); others=None is the symmetric kernel of `inputs` with itself
    max_memory: for rows of J; those that do not fit are computed again for each block that needs them

    Rows are in order of the samples, the outputs of one sample together: K.reshape(n, m, n', m) has them apart. J is computed
    in the network's own dtype, products are added up in float64. Raises ValueError for an empty batch or a network without
    parameters, RuntimeError from torch.func for one that it cannot transform (batch normalization in training mode, say).

    >>> K = function_kernel(nn.Linear(1, 2), torch.tensor([[1.0], [3.0]]))
    >>> K[0].tolist()
    [2.0, 0.0, 4.0, 0.0]
    """
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not parameters:
        raise ValueError("the network has no parameter with requires_grad=True, so its kernel is zero")
    like = next(iter(parameters.values()))
    batches = [
        batch.to(like.device, like.dtype if batch.is_complex() else like.real.dtype)
        for batch in (inputs, inputs if others is None else others)
    ]
    if not all(map(len, batches)):
        raise ValueError(f"inputs of shape {tuple(inputs.shape)}: give at least one sample (and one of others)")
    left, right = batches
    with torch.no_grad():
        m = network(left[:1]).numel()
    row = m * sum(p.numel() for p in parameters.values()) * like.element_size()
    chunk = max(1, parse_bytes(max_memory) // (2 * row))
    require_kernel(len(left) * m, len(right) * m, device=like.device)
    K = torch.empty(len(left) * m, len(right) * m, dtype=torch.float64, device=like.device)
    jacobian = _jacobian(network, parameters, left[:1])
    for start, rows in _chunks(jacobian, left, chunk):
        here = _rows(start, rows, m)
        if others is None:
            block = _product(rows, rows)
            K[here, here] = block.tril() + block.tril(-1).T  # symmetric to the last bit, whatever the BLAS
        for other, columns in _chunks(jacobian, left[:start] if others is None else right, chunk):
            there = _rows(other, columns, m)
            K[here, there] = _product(rows, columns)
            if others is None:
                K[there, here] = K[here, there].T
    return K


def _jacobian(network: nn.Module, parameters: dict[str, Tensor], sample: Tensor) -> Jacobian:
    """Samples -> {parameter: (samples, m, size)}: by torch.func where that passes the certificate J^T z on the given sample,
    else in reverse mode, sample by sample.
    """
    state = {name: t for name, t in (*network.named_parameters(), *network.named_buffers()) if name not in parameters}

    def outputs(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return call_with(network, {**state, **parameters}, sample.unsqueeze(0)).flatten()

    def by_torch_func(part: Tensor) -> dict[str, Tensor]:
        rows = vmap(jacrev(outputs, chunk_size=_VECTORIZED), (None, 0), chunk_size=1)(parameters, part)
        return {name: found.reshape(*found.shape[:2], -1) for name, found in rows.items()}

    def by_reverse_mode(part: Tensor) -> dict[str, Tensor]:
        own = {name: p for name, p in network.named_parameters() if name in parameters}
        with torch.enable_grad():
            found = [certified_rows(network(sample.unsqueeze(0)).flatten(), own).rows for sample in part]
        return {name: torch.stack([rows[name] for rows in found]) for name in parameters}

    return by_torch_func if _holds(network, parameters, sample, by_torch_func) else by_reverse_mode


def _chunks(jacobian: Jacobian, batch: Tensor, chunk: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """First sample and rows of J, `chunk` samples at a time."""
    for start in range(0, len(batch), chunk):
        yield start, jacobian(batch[start : start + chunk])


def _holds(network: nn.Module, parameters: dict[str, Tensor], sample: Tensor, jacobian: Jacobian) -> bool:
    """Whether J of one sample passes its certificate."""
    if any(p.is_complex() for p in parameters.values()):
        return False
    own = {name: p for name, p in network.named_parameters() if name in parameters}
    rows = {name: found.flatten(0, 1) for name, found in jacobian(sample).items()}
    with torch.enable_grad():
        e = network(sample).flatten()
    found = Factors("outputs", len(e), {name: p.numel() for name, p in own.items()}, {}, rows)
    return certificate(found, e, own).passes


def _rows(start: int, part: dict[str, Tensor], m: int) -> slice:
    """Where the rows of samples from `start` on lie in K."""
    return slice(start * m, (start + len(next(iter(part.values())))) * m)


def _product(rows: dict[str, Tensor], columns: dict[str, Tensor]) -> Tensor:
    """(n m, n' m), the sum over parameters of (n, m, size) times (n', m, size)."""
    first, *others = (rows[name].flatten(0, 1).double() @ columns[name].flatten(0, 1).double().T for name in rows)
    return sum(others, first)
