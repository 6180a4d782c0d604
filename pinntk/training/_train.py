"""`pinntk.train`: minimizes L = sum_i lambda_i mean(e_i^2), logged and resumable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pinntk._util.interrupt import deferred_interrupt
from pinntk._util.precision import without_autocast
from pinntk._util.randomness import fork
from pinntk._util.version import __version__
from pinntk.problem import Problem
from pinntk.problem import _registry as registry
from pinntk.run import Run
from pinntk.run._callbacks import Callback, as_callbacks
from pinntk.run._configuration import FORMAT
from pinntk.run._network import build_network, describe_network, network_class
from pinntk.run._slabs import problem_named
from pinntk.run._source import describe_problem
from pinntk.training._alike import placed
from pinntk.training._config import TrainConfig
from pinntk.training._given import Settings, check_names
from pinntk.training._loop import Training

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SERIES = {  # by its section: what it is, and the arguments of its own function by their names there
    "slabs": ("time slabs", {"edges": "slabs", "fresh": "fresh"}),
    "curriculum": ("a curriculum", {"values": "curriculum"}),
    "ensemble": ("several seeds", {"seeds": "seeds"}),
}


@without_autocast
def train(
    problem: Problem,
    network: nn.Module,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    on_step: Callback | Iterable[Callback] | None = None,
    on_log: Callback | Iterable[Callback] | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Trains `network` in place, and the problem's coefficients with it.

    config, settings: what to do, a `pinntk.TrainConfig`, or its settings by name, as in train(problem, network, steps=2000,
        weighting="ntk"); settings beside a config override it. `pinntk.TrainConfig` explains them all
    out: the run folder, made if need be; must not hold a run already unless `resume` or `overwrite`, which removes it
    resume: continue the run in `out` from its checkpoint; with the same arguments the result equals that of a run that was
        never stopped, on CPU to the last bit. `steps` may grow
    device, dtype: move the network there first; the problem's coefficients follow it to its device, and keep their dtype
    progress: say on standard error how far it is: at a terminal in one line, elsewhere in a line every few seconds
    on_step, on_log: a function of the `Run`, or several: called after each step, and after each row of `run.history`, of which
        `run.history[-1]` is then the new one. One that returns True, or a reason as a text, ends the training as if its steps
        were done (`Run.stop_reason`), such as `pinntk.EarlyStopping`. Of several processes each calls them. They are not part
        of the configuration: give them again with `resume`

    Raises ValueError or TypeError for settings, points or a network that do not fit; NonFiniteLossError, naming the step, the
    condition and the last good checkpoint; Interrupted on Ctrl-C, after a checkpoint.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> train(problem, pinntk.nn.MLP(problem, width=8, depth=1), steps=5, weighting="ntk", progress=False).step
    5
    """
    if not isinstance(problem, Problem) or not isinstance(network, nn.Module):
        got = f"train({type(problem).__name__}, {type(network).__name__})"
        raise TypeError(f"{got}: give a pinntk.Problem, as from pinntk.load, and a torch.nn.Module, in this order")
    config = as_config(config, settings)
    followers = as_callbacks("on_step", on_step), as_callbacks("on_log", on_log)
    training = set_up(problem, network, config, out, device, dtype, *followers)
    opened = training.checkpoint.open(resume, overwrite)
    with opened, fork(training.like.device), deferred_interrupt() as interrupted:
        training.checkpoint.seed_generators(config.seed)
        with training.saying_where():
            training.loop(interrupted, progress)
    return training.run


def set_up(
    problem: Problem,
    network: nn.Module,
    config: TrainConfig,
    out: str | os.PathLike | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    on_step: Sequence[Callback] = (),
    on_log: Sequence[Callback] = (),
) -> Training:
    """A training before its first step; nothing is written yet."""
    _move(network, problem, device, dtype)
    _check_dtype(network)
    described = describe_run(config, problem, network)
    run = Run(problem, network, described, folder=None if out is None else Path(out))
    training = Training(config, problem, network, run, on_step, on_log)
    if problem.has_solution:
        problem.relative_error(network)  # a wrong `exact` fails here, before anything is written
    return training


def as_config(config: TrainConfig | None, settings: Mapping[str, Any]) -> TrainConfig:
    """A configuration, or a new one, with settings beside it that override it."""
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(f"config={type(config).__name__}: a pinntk.TrainConfig; of a config.json, train_as(config)")
    check_names(settings)
    return TrainConfig(**settings) if config is None else config.replace(**settings) if settings else config


def train_as(
    config: Mapping[str, Any],
    *,
    problem: Problem | None = None,
    network: nn.Module | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    trust: bool = False,
    on_step: Callback | Iterable[Callback] | None = None,
    on_log: Callback | Iterable[Callback] | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Trains as a config.json says: the same problem, network and settings, from the start.

    On CPU to the last bit, but for a network that `train(dtype=...)` converted: this one starts with weights that were never
    rounded.

    config: `Run.config`, or what `pinntk.training.apply_changes` made of it
    problem, network, settings: in the place of what config says; settings are those of `pinntk.TrainConfig`
    out, resume, overwrite, device, dtype, progress, on_step, on_log: as in `train`
    trust: run the problem file that config names although you have not run it on this machine before

    Raises ValueError, naming it, for what a text cannot hold and was not given: a network of one's own, points given as
    tensors, a problem without a file, an optimizer or a schedule given as a function; and for the configuration of a series of
    runs: time slabs, a curriculum or several seeds.
    """
    for section, (what, arguments) in _SERIES.items():
        if entries := config.get(section):
            own = [f"{name}=config[{section!r}][{key!r}]" for key, name in arguments.items() if key in entries]
            raise ValueError(
                f"the configuration is one of {what}; use train_{section}(problem, network, TrainConfig.from_json(config), "
                f"{', '.join(own)})"
            )
    problem = problem_of(config, trust=trust) if problem is None else problem
    network = network_of(config, problem) if network is None else network
    given = TrainConfig.from_json(config, **settings)
    return train(
        problem,
        network,
        given,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        dtype=dtype,
        progress=progress,
        on_step=on_step,
        on_log=on_log,
    )


def describe_run(config: TrainConfig, problem: Problem, network: nn.Module) -> dict[str, Any]:
    """config.json."""
    return {
        "format": FORMAT,
        "problem": describe_problem(problem),
        "network": describe_network(network),
        **config.describe(problem),
        "versions": {"pinntk": __version__, "torch": torch.__version__},
    }


def problem_of(config: Mapping[str, Any], where: str = "the configuration", trust: bool = False) -> Problem:
    """The problem that a config.json names, built afresh. Raises UntrustedFileError for a file of somebody else's."""
    source = config["problem"]["source"]
    if source not in registry.available() and not str(source).endswith(".py"):
        raise ValueError(
            f"the run's problem {source!r} was built in Python, in no file; give it: train_as(config, problem=...)"
        )
    return problem_named(config["problem"], where, trust)


def network_of(config: Mapping[str, Any], problem: Problem) -> nn.Module:
    """The network that a config.json describes, with its initial weights."""
    if network_class(config) is None:
        raise ValueError(
            f"the run's network is {config['network']['class']}, which pinntk cannot build; give a new one: "
            "train_as(config, network=...)"
        )
    return build_network(config, problem)


def _check_dtype(network: nn.Module) -> None:
    for name, p in network.named_parameters():
        if p.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(f"parameter {name!r} is {p.dtype}, which leaves nothing of derivatives; give network.float()")


def _move(network: nn.Module, problem: Problem, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
    placed(network, device, dtype)
    for like in network.parameters():
        problem.coefficients.to(like.device)  # beside the network: an optimizer may put gradients into one vector
        break
