"""The error vectors of a DeepXDE model's losses, each with the rows of the batch that it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import deepxde as dde
import numpy as np
import torch
from torch import Tensor

from pinntk._util.precision import without_autocast
from pinntk.integrations._forms import MOST_EQUATIONS
from pinntk.integrations.deepxde._model import trained_parameters
from pinntk.ntk import Factors
from pinntk.ntk._rounding import alike, nudged, suspects
from pinntk.ntk.graph import ErrorVector, joint_factors, post_order

_ROUNDING = 1e-3  # between a loss in float32 and the mean square


@dataclass(frozen=True)
class Block:
    """One of the model's losses, mean(errors^2).

    errors: (n, c) with their graph; c = 1 but for a PointSetBC of several components
    owners: (N,) which of the n each row of the batch belongs to, -1 for none; None where that is not known
    """

    name: str
    errors: Tensor
    owners: Tensor | None

    @property
    def code(self) -> tuple[Any, ...]:
        """Equal for errors that the same operations made, of the same number of points."""
        root = self.errors.grad_fn
        return self.name, tuple(self.errors.shape), () if root is None else tuple(n.name() for n in post_order(root))

    @property
    def loss(self) -> float:
        return float(self.errors.detach().square().mean())


@without_autocast
def evaluate(model: Any, x: Tensor | None = None) -> list[Block]:
    """All losses' errors at the current training points, in DeepXDE's order, from one evaluation of `data.losses_train`.

    To be called, and its graphs to be read, with the model `untouched`.

    x: (N, d) in the place of the training points, as moved a little; values of conditions stay those of the points

    Raises ValueError for losses without points, or with errors of more than two axes.
    """
    data, net = model.data, model.net
    if data.train_x is None:
        data.train_next_batch(model.batch_size)
    with torch.enable_grad():
        inputs = (torch.as_tensor(data.train_x) if x is None else x).requires_grad_()
        net.auxiliary_vars = None if data.train_aux_vars is None else torch.as_tensor(data.train_aux_vars)
        net.train(True)
        targets = None if data.train_y is None else torch.as_tensor(data.train_y)
        aux = [net] if dde.config.autodiff == "forward" else None
        found = data.losses_train(targets, net(inputs), lambda target, value: value - target, inputs, model, aux=aux)
    names = _names(found, data.bcs)
    starts = np.cumsum([0, *data.num_bcs]).tolist()
    whole = len(data.train_x)
    spans = [(starts[-1], whole)] * (len(found) - len(data.bcs)) + list(pairwise(starts))
    return [_block(name, e, span, whole) for name, e, span in zip(names, found, spans, strict=True)]


def _names(found: Sequence[Tensor], conditions: Sequence[Any]) -> list[str]:
    """pde (pde_1, pde_2 of a system), then the conditions' classes, numbered where there are several of one."""
    kinds = ["pde"] * (len(found) - len(conditions)) + [type(bc).__name__ for bc in conditions]
    total, seen = Counter(kinds), Counter[str]()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(kind if total[kind] == 1 else f"{kind}_{seen[kind]}")
    return names


def _block(name: str, e: Tensor, span: tuple[int, int], whole: int) -> Block:
    """span: the rows of the batch that its points have."""
    if e.numel() == 0:
        raise ValueError(f"{name} has no training points, so its loss is NaN; give dde.data more points, or leave it out")
    e = e.unsqueeze(1) if e.ndim == 1 else e
    if e.ndim != 2:
        raise ValueError(f"{name} has errors of shape {tuple(e.shape)}; give (n, 1), one per point")
    if MOST_EQUATIONS < len(e) <= e.shape[1]:
        raise ValueError(
            f"{name} has errors of shape {tuple(e.shape)}: an (n, 1) met an (n,) somewhere; keep columns, y[:, 0:1]"
        )
    n, given = len(e), span[1] - span[0]
    if given not in (n, 2 * n):
        return Block(name, e, None)
    owners = torch.full((whole,), -1, device=e.device)
    owners[span[0] : span[1]] = torch.arange(given, device=e.device) % n  # of a pair of points: one on each side
    return Block(name, e, owners)


def require_mean_squares(model: Any, blocks: Sequence[Block]) -> None:
    """Raises ValueError where a loss that the model trains is not mean(errors^2). One more evaluation of all losses."""
    data = model.data
    model.loss_weights = None  # put back by `untouched`; a weight of 0 would hide its loss
    with torch.enable_grad():
        _, losses = model.outputs_losses_train(data.train_x, data.train_y, data.train_aux_vars)
    for block, loss in zip(blocks, losses.detach().tolist(), strict=False):  # a regularization comes last
        if isfinite(block.loss) and not abs(loss - block.loss) <= _ROUNDING * max(abs(loss), block.loss):
            raise ValueError(
                f"the loss of {block.name} is {loss:.4g}, and the mean square of its errors {block.loss:.4g}; kernels and NTK "
                'weights are of mean squares: model.compile(loss="MSE")'
            )


def factors(model: Any, blocks: Sequence[Block], certify: bool = True) -> dict[str, list[Factors]]:
    """J of every block, {name: one `Factors` for each of its columns}.

    certify: False where blocks of the same sizes have passed their certificates before
    """
    parameters = trained_parameters(model)
    columns = [ErrorVector(block.name, e, block.owners) for block in blocks for e in block.errors.unbind(1)]
    if not any(column.errors.requires_grad for column in columns):
        raise ValueError("no loss depends on the network's parameters; look for numpy, detach() or torch.no_grad in the PDE")
    found: dict[str, list[Factors]] = {block.name: [] for block in blocks}
    for part in joint_factors(columns, parameters, certify):
        found[part.name].append(part)
    return found


def traces(
    model: Any, blocks: Sequence[Block], certify: bool = True, rounding: dict[str, bool] | None = None
) -> dict[str, float]:
    """Tr K_ii of every block, in float64; 0 where it is rounding; NaN for errors that are not finite, and nothing is read.

    certify: as for `factors`
    rounding: {name: whether its kernel is rounding}, where that has been found before; what is found here, by one more
        evaluation of all losses, is added
    """
    if not all(isfinite(block.loss) for block in blocks):
        return {block.name: 0.0 if isfinite(block.loss) else float("nan") for block in blocks}
    found = _traces(model, blocks, certify)
    small = suspects({block.name: found[block.name] / block.errors.numel() for block in blocks})
    known = {} if rounding is None else rounding
    if not known.keys() >= set(small):
        there = _traces(model, evaluate(model, nudged(torch.as_tensor(model.data.train_x))), certify=False)
        known |= {name: not alike(found[name], there[name]) for name in small}
    return {name: 0.0 if name in small and known[name] else trace for name, trace in found.items()}


def _traces(model: Any, blocks: Sequence[Block], certify: bool = True) -> dict[str, float]:
    found = factors(model, blocks, certify)
    return {name: sum(float(part.diagonal.sum()) for part in parts) for name, parts in found.items()}
