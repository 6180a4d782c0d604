"""Which of DeepXDE's models have a kernel, and how one is looked at without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import deepxde as dde
from deepxde import backend, gradients
from torch import Tensor, nn

from pinntk.residuals import _probe
from pinntk.residuals._checks import random_in_training


def require_backend(what: str) -> None:
    """Raises ValueError unless DeepXDE runs on PyTorch, in float32 or float64.

    what: whose demand it is, in the message
    """
    if backend.backend_name != "pytorch":
        raise ValueError(
            f"{what} needs DeepXDE's PyTorch backend, and this is {backend.backend_name}; start with DDE_BACKEND=pytorch"
        )
    if dde.config.mixed or dde.config.real.precision < 32:
        got = "mixed" if dde.config.mixed else dde.config.default_float()
        raise ValueError(
            f"{what} needs errors in float32 or float64, and DeepXDE is set to {got}: kernels in float16 are noise; "
            "use dde.config.set_default_float('float32')"
        )


def require_model(model: Any, what: str) -> None:
    """Raises ValueError for a model that is not one of per-point errors of a PDE, or is not compiled yet."""
    require_backend(what)
    if not isinstance(model, dde.Model):
        raise ValueError(f"{what} works on a dde.Model, and this is a {type(model).__name__}")
    if not isinstance(model.net, nn.Module):
        raise ValueError(f"{what} works on PyTorch networks, and model.net is a {type(model.net).__name__}; use dde.nn.pytorch")
    if not isinstance(model.data, dde.data.PDE):
        raise ValueError(
            f"{what} works on dde.data.PDE and TimePDE, whose losses are mean squares over points, and model.data is a "
            f"{type(model.data).__name__}"
        )
    if model.opt is None:
        raise ValueError(f"{what} needs a compiled model; call model.compile first")
    mixing = random_in_training(model.net)
    if mixing:
        raise ValueError(
            f"{what}: the network has a {mixing}, which DeepXDE trains in training mode, so that errors are "
            "random or depend on the other points; remove it"
        )


def trained_parameters(model: Any) -> dict[str, Tensor]:
    """{name: what the optimizer changes}: the network's parameters, and external variables as variable_1, variable_2, ..."""
    steps = {id(p) for group in model.opt.param_groups for p in group["params"]}
    named = dict(model.net.named_parameters())
    variables = model.external_trainable_variables
    named |= {f"variable_{number}": v for number, v in enumerate(variables, start=1)}
    return {name: p for name, p in named.items() if p.requires_grad and id(p) in steps}


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """What is computed inside leaves no trace in the training: neither in random states nor in modes, buffers, auxiliary
    variables, loss weights or DeepXDE's cached derivatives.
    """
    net = model.net
    auxiliary, weights = getattr(net, "auxiliary_vars", None), model.loss_weights
    gradients.clear()
    try:
        with _probe.untouched(net, training=None):
            yield
    finally:
        gradients.clear()
        model.loss_weights = weights
        net.auxiliary_vars = auxiliary
