"""NTK weights for a training loop of anybody's own, in plain PyTorch: `NTKWeights`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pinntk._util import distributed
from pinntk._util.precision import autocast_off
from pinntk._util.warn import warn_user
from pinntk.integrations._steps import StepCounter
from pinntk.integrations._traces import TraceReader, fades, over_processes
from pinntk.residuals import NonFiniteError
from pinntk.weighting import NTK
from pinntk.weighting._balance import moving_average

Parameters = nn.Module | Tensor | Mapping[str, Tensor] | Iterable[nn.Module | Tensor]
_ROUNDING = 10.0  # times eps^2, of the sum of sizes: sin(pi x) at x = 1 in place of zero, squared
_DOUBT = 1e4  # times eps, squared: what sin(pi x / L) far from zero, and equations with small factors, make of it
_DOUBTS = (
    "A network that meets it by construction leaves rounding of this size: leave this loss out then. If its errors are in "
    "small units, multiply them by a number that makes them as large as the others"
)
_SMALL = 1e-11  # of the sum of sizes, whatever the precision: points from float32 are off by its rounding


class NTKWeights:
    """Loss weights from exact kernel traces (Wang, Yu & Perdikaris 2022) in a training loop of your own.

    parameters: all that is trained: a module, `model.parameters()`, or several of both, `[net_u, net_p, kappa]`. Traces are
        taken of those with requires_grad=True at the time. Unknown coefficients belong to them, as in `pinntk.train`; one that
        is left out is trained all the same, and does not count in the traces
    every: steps between updates; the first is at the first call
    momentum: weight of the old value in a moving average, in [0, 1)
    normalization: "mean": every loss gets the same rate, lambda_i = sum_j Tr K~_jj / Tr K~_ii with K~_ii the kernel of loss i
        as it is minimized, K_ii / n_i for mean(e_i^2); "sum": K_ii in its place (`pinntk.weighting.NTK`)

    A call takes all losses of the step by name and returns their weighted sum, to call backward() on. Each is one number that
    is a sum of mean squares (`pinntk.errors_of_loss`), or the errors themselves, (n,) or (n, k), whose loss is the mean of
    their squares. Weights multiply the losses as they are given: a factor in front of one cancels, and of several terms
    sum_t f_t mean(e_t^2) the kernel is sum_t f_t K_t / n_t. Where a kernel is so small that it may be rounding, as of
    a condition that the network meets by construction, a warning says so.

    A step is counted by the first call after a parameter has changed: several optimizers, accumulated gradients, skipped steps
    of a gradient scaler and several calls count as one step, and weights stay the same within `optimizer.step(closure)`.
    L-BFGS keeps the curvature of the old loss over an update: use line_search_fn="strong_wolfe", whose steps lower the new one.
    Under torch.no_grad, and with update=False, nothing is counted or updated. In a process group (DDP) traces are summed over
    processes.

    Raises, each in one line: LossError for a loss that is no sum of mean squares; ValueError for one without a graph or that
    reaches none of the parameters, in half precision, squared twice, and for names that differ from those of the first call;
    NonFiniteError for NaN.

    >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> ntk = NTKWeights(model.parameters(), every=100)
    >>> x = torch.linspace(0, 1, 20).reshape(-1, 1)
    >>> loss = ntk({"inside": 3 * (10 * model(x)).square().mean(), "walls": model(x[[0, -1]])})
    >>> loss.backward()
    >>> sum(ntk.traces[name] / ntk.counts[name] * weight for name, weight in ntk.weights.items()) / 2 == sum(
    ...     ntk.traces[name] / ntk.counts[name] for name in ntk.weights
    ... )
    True
    """

    def __init__(self, parameters: Parameters, every: int = 100, momentum: float = 0.9, normalization: str = "mean"):
        self._scheme = NTK(every, momentum, normalization)
        self._given = _given(parameters)
        self._parameters: dict[str, Tensor] = {}
        self._counter, self._reader = StepCounter(), TraceReader()
        self._updated: int | None = None
        self._weights: dict[str, float] = {}
        self._traces: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._history: list[dict[str, float]] = []
        self._doubted: set[str] = set()  # of whose small kernels has been told

    def __getattr__(self, name: str) -> Any:
        if name in ("set_model", "state_key"):  # as DeepXDE and Lightning ask of a callback
            raise TypeError(
                "NTKWeights is called in a training loop of your own; in DeepXDE and PINA use the NTKWeighting of "
                "pinntk.integrations.deepxde and pinntk.integrations.pina"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, losses: Mapping[str, Tensor], update: bool | None = None) -> Tensor:
        """The sum of weight times loss, one number with its graph. losses: {name: loss or errors}.

        update: True: now; False: not in this call, as for validation with gradients; None: when it is due
        """
        _check(losses)
        if update and not torch.is_grad_enabled():
            raise ValueError("update=True under torch.no_grad, where losses have no graph; call it with gradients enabled")
        training = update is not False and torch.is_grad_enabled()
        self._check_names(losses, training)
        if training:
            self._parameters = self._parameters or _trained_parameters(self._given)
            self._counter.call(list(self._parameters.values()))
            if update or self._updated is None or self.steps - self._updated >= self._scheme.every:
                self._update(losses)
        parts = [self._weights.get(name, 1.0) * _mean_square(value) for name, value in losses.items()]
        return sum(parts[1:], parts[0])

    @property
    def weights(self) -> dict[str, float]:
        """{name: lambda}; empty before the first update, when every loss counts once."""
        return dict(self._weights)

    @property
    def traces(self) -> dict[str, float]:
        """{name: Tr K_ii} at the last update, for losses mean(e_i^2); n_i sum_t f_t / n_t Tr K_t for those of several terms."""
        return dict(self._traces)

    @property
    def counts(self) -> dict[str, int]:
        """{name: n_i}, the number of errors in each loss at the last update."""
        return dict(self._counts)

    @property
    def steps(self) -> int:
        """Steps that are over: 0 in the first."""
        return self._counter.count

    @property
    def history(self) -> list[dict[str, float]]:
        """A row for each update, with "step", "weight/NAME" and "trace/NAME" as in `pinntk.Run.history`."""
        return [dict(row) for row in self._history]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: plain numbers and tensors, by which weights and updates go on as if never interrupted."""
        sample = self._counter.sample
        return {
            "steps": self.steps,
            "updated": self._updated,
            "weights": self.weights,
            "traces": self.traces,
            "counts": self.counts,
            "history": self.history,
            "sample": None if sample is None else [part.cpu() for part in sample],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`. Raises ValueError where it is not one."""
        if not isinstance(state, Mapping) or set(state) != set(self.state_dict()):
            got = sorted(state) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(f"state is {got}; give what NTKWeights.state_dict() returned, {sorted(self.state_dict())}")
        self._updated = state["updated"]
        self._weights, self._traces, self._counts = (dict(state[part]) for part in ("weights", "traces", "counts"))
        self._history = [dict(row) for row in state["history"]]
        self._counter.restart(state["steps"], state["sample"])

    def _check_names(self, losses: Mapping[str, Tensor], training: bool) -> None:
        known, given = set(self._weights), set(losses)
        if known and (given != known if training else not given <= known):
            raise ValueError(
                f"losses are {sorted(given)}, and were {sorted(known)} in the calls before; weights balance all losses of a "
                "step against each other: give the same names in every call, or make another NTKWeights"
            )

    def _update(self, losses: Mapping[str, Tensor]) -> None:
        self._parameters = _trained_parameters(self._given)
        found = {}
        with autocast_off():
            for name in sorted(losses):  # in one order in all processes
                try:
                    found[name] = self._reader.of(name, losses[name], self._parameters)
                except RuntimeError as error:
                    raise _explained(error, name) from error
        sizes, counts = over_processes(found, next(iter(self._parameters.values())).device)
        for name, size in sizes.items():
            if not isfinite(size):
                raise NonFiniteError(
                    f"the kernel trace of {name} is {size}: its errors, or their derivatives in the parameters, are not finite"
                )
        self._weights = self._fresh_weights(losses, sizes, counts)
        self._counts, self._traces = counts, {name: counts[name] * size for name, size in sizes.items()}
        self._updated = self.steps
        weights = {f"weight/{name}": value for name, value in self._weights.items()}
        traces = {f"trace/{name}": value for name, value in self._traces.items()}
        self._history.append({"step": float(self.steps), **weights, **traces})

    def _fresh_weights(
        self, losses: Mapping[str, Tensor], sizes: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """sizes: {name: trace / n}. Points are not known here, so they cannot be moved to tell rounding from a small kernel."""
        device = next(iter(self._parameters.values())).device
        eps = max(torch.finfo(p.dtype).eps for p in self._parameters.values())
        shares = {name: size / total for name, size in sizes.items()} if (total := sum(sizes.values())) else dict(sizes)
        doubtful = [name for name, share in sorted(shares.items()) if 0 < share <= max((_DOUBT * eps) ** 2, _SMALL)]
        fading = [float(fades(losses[name], self._parameters)) for name in doubtful]
        faded = distributed.all_sum_numbers(fading, device) if doubtful else []
        none = {
            name
            for name, processes in zip(doubtful, faded, strict=True)
            if processes == distributed.world() or shares[name] <= _ROUNDING * eps**2
        }
        old = self._weights or None
        weights = self._scheme.update(
            old, {name: counts[name] * size for name, size in sizes.items() if name not in none}, counts
        )
        weights |= moving_average(old, dict.fromkeys(none, 1.0), self._scheme.momentum)
        for name in doubtful:
            if name not in self._doubted:
                self._doubted.add(name)
                given = "its weight stays 1" if name in none else f"its weight is {weights[name]:.1e}"
                warn_user(f"{name}: its kernel is {shares[name]:.1e} of the sum, and {given}. {_DOUBTS}")
        return {name: weights[name] for name in sizes}


def _mean_square(value: Tensor) -> Tensor:
    return value if value.ndim == 0 else value.square().mean()


def _check(losses: Mapping[str, Tensor]) -> None:
    if not isinstance(losses, Mapping) or not losses:
        got = "empty" if isinstance(losses, Mapping) else f"a {type(losses).__name__}"
        raise TypeError(f'losses is {got}; give {{name: loss}}, as in {{"pde": loss_pde, "walls": loss_walls}}')
    for name, value in losses.items():
        if not isinstance(name, str):
            raise TypeError(f"losses has the key {name!r}; give names, as in {{'pde': loss_pde}}")
        if not isinstance(value, Tensor):
            raise TypeError(
                f"losses[{name!r}] is a {type(value).__name__}; give a torch tensor with its graph, without .item()"
            )
        if not value.is_floating_point():
            raise ValueError(f"{name} is {value.dtype}; losses are real: give real and imaginary part of errors as columns")
        if not value.numel():
            raise ValueError(f"{name} has shape {tuple(value.shape)}, no errors; every call needs points of every condition")


def _given(parameters: Parameters) -> list[tuple[str, nn.Module | Tensor]]:
    if isinstance(parameters, Optimizer):
        raise TypeError(f"parameters is a {type(parameters).__name__}; give what it trains, such as model.parameters()")
    if isinstance(parameters, nn.Module | Tensor):
        parameters = [parameters]
    try:
        pairs = list(parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters))
    except TypeError:
        pairs = [("", parameters)]
    for _, part in pairs:
        if not isinstance(part, nn.Module | Tensor):
            raise TypeError(f"parameters holds a {type(part).__name__}; give modules and tensors, such as model.parameters()")
    if not pairs:
        raise ValueError("parameters is empty; model.parameters() can be used once: give list(model.parameters()), or model")
    return [(str(name), part) for name, part in pairs]


def _trained_parameters(given: Iterable[tuple[str, nn.Module | Tensor]]) -> dict[str, Tensor]:
    """{name: leaf tensor}, each once, of those that require gradients now."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, part in given:
        inside = part.named_parameters() if isinstance(part, nn.Module) else [("", part)]
        for key, p in inside:
            if p.requires_grad:
                found.setdefault(id(p), (f"{name}.{key}".rstrip("."), p))
    for name, p in found.values():
        if not p.is_leaf or not (p.is_floating_point() or p.is_complex()):
            raise ValueError(f"parameter {name} is computed from others; give leaf tensors, those that the optimizer trains")
    if not found:
        raise ValueError(
            "none of the parameters has requires_grad=True, so there is nothing to train; give model.parameters() (a "
            "state_dict holds copies that are not trained)"
        )
    return dict(found.values())


def _explained(error: RuntimeError, name: str) -> Exception:
    """What the user did, where torch says what it met."""
    if "graph a second time" in str(error) or "can no longer be read" in str(error):
        return ValueError(f"{name}: its graph was freed by a backward pass; call NTKWeights before backward()")
    if "modified by an inplace operation" in str(error):
        return ValueError(
            f"{name}: a parameter has changed in place since it was computed; call NTKWeights before optimizer.step()"
        )
    if "donated" in str(error):
        return ValueError(
            f"{name} comes from torch.compile, which keeps nothing for a second backward pass; compute it with the network "
            "itself (compiled._orig_mod), or set torch._functorch.config.donated_buffer = False before the compilation"
        )
    return error
