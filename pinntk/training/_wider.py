"""A run that goes on with a wider network, in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from pinntk.nn import MLP, widened
from pinntk.run import Run
from pinntk.run._checkpoint import read_checkpoint, write_checkpoint
from pinntk.run._configuration import read_config, write_config
from pinntk.run._folder import CHECKPOINT, CONFIG, is_foreign, lock_folder, write_metrics
from pinntk.run._network import describe_network, network_class, with_parameters
from pinntk.run._slabs import holds_series
from pinntk.run._snapshots import write_snapshot
from pinntk.training._config import TrainConfig
from pinntk.training._solver_update import with_wider_network

_OPTIMIZER = "gauss-newton"


def grow_network(run: Run, width: int, out: str | os.PathLike | None = None, grow: float | None = None) -> Run:
    """A copy of a Gauss-Newton run whose `pinntk.nn.MLP` has so many units a layer and computes the same function.

    For a training that has stopped for want of capacity (`Run.stop_reason`). Resumed, it goes on from the same error with more
    directions; `pinntk.nn.widened` says how. History, loss weights, coefficients and random numbers are the run's. The solver
    converges, as it does when it first holds its points: on new ones, twice as many as parameters where `grow` allows so many.

    run: in a folder, which stays as it is
    width: units in each hidden layer, more than now
    out: the new run folder; by default it lies beside that of the run, RUN-width40
    grow: up to which factor the number of points may grow from now on; the run's own if None

    `seconds` and `steps` count from the run's beginning, so that it takes more of them to go on. config.json has the new
    width, and under "grown" the steps and widths before. Raises TypeError or ValueError for a run that cannot be grown: of
    another network or optimizer, of a time slab, or without a folder; FileExistsError where `out` holds a run already.

    >>> import tempfile, torch, pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    >>> settings = {"optimizer": "gauss-newton", "points": {"residual": 8}, "progress": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = pinntk.train(problem, network, steps=1, out=f"{folder}/run", **settings)
    ...     grown = grow_network(run, 6)
    ...     pinntk.train_as(grown.config, out=grown.folder, resume=True, steps=2, progress=False).step
    2
    """
    folder = _check(run)
    config, state = read_config(folder), read_checkpoint(folder)
    run = Run.load(folder, problem=run.problem)  # as it was saved, on the CPU
    small = _mlp(run.network)
    network = widened(small, width)
    out = folder.with_name(f"{folder.name}-width{width}") if out is None else Path(out)
    _check_free(out)
    parts = {name: part for name, part in state["parts"].items() if name != "monitor"}  # which begins anew
    parts["update"] = with_wider_network(parts["update"])
    if run.averaged is not None:
        parts["averages"] = {**parts["averages"], "network": widened(_mlp(run.averaged), width).state_dict()}
    state |= {
        "stop_reason": "",
        "diverged": False,
        "network": network.state_dict(),
        "initial": _initial(run, width),
        "parts": parts,
    }
    before = {"step": run.step, "width": small.config["width"]}
    if grow is not None:
        config["training"]["grow"] = TrainConfig(optimizer=_OPTIMIZER, grow=grow).grow
    config |= {"network": describe_network(network), "grown": [*config.get("grown", []), before]}
    with lock_folder(out):
        _check_free(out)
        write_config(out, config)
        write_metrics(out, run.history)
        for step, blocks in run.snapshots.items():
            write_snapshot(out, step, blocks)
        write_checkpoint(out, state)  # the last: without it the folder holds no run
    return Run.load(out, problem=run.problem)


def _check(run: Run) -> Path:
    """Its folder. Raises TypeError or ValueError for a run that cannot be grown."""
    if not isinstance(run, Run):
        raise TypeError(f"grow_network({type(run).__name__}): give a run, from pinntk.train or pinntk.Run.load(folder)")
    if run.folder is None:
        raise ValueError("the run has no folder to go on from; train pinntk.nn.widened(run.network, width) instead")
    optimizer = run.config["training"]["optimizer"]
    if optimizer != _OPTIMIZER or run.config.get("recorded"):
        raise ValueError(
            f"{run.folder} was trained with optimizer={optimizer!r}, and only {_OPTIMIZER!r} goes on with a wider network; "
            "train pinntk.nn.widened(run.network, width) instead"
        )
    if run.problem.slab:
        raise ValueError(f"{run.folder} is a time slab: train the slabs anew, with a wider network")
    if network_class(run.config) is not MLP:
        raise ValueError(f"{run.folder}: its network is {run.config['network']['class']}; only a pinntk.nn.MLP can be widened")
    return run.folder.resolve() if run.folder.name in ("", "..") else run.folder


def _check_free(folder: Path) -> None:
    if is_foreign(folder):
        raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder with out=")
    if (folder / CHECKPOINT).exists() or holds_series(folder):
        raise FileExistsError(f"{folder} already holds a run: resume it, or name another folder with out=")


def _initial(run: Run, width: int) -> list[Tensor]:
    """The parameters that the wider network would have begun with."""
    began = with_parameters(run.network, run.initial)
    return [p.detach() for p in widened(_mlp(run.network if began is None else began), width).parameters()]


def _mlp(network: nn.Module) -> MLP:
    assert isinstance(network, MLP)
    return network
