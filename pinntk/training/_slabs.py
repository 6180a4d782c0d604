"""`pinntk.train_slabs`: a long evolution in time slabs, each by a training of its own from the end of the one before."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.warn import warn_user
from pinntk.nn import SlabNetwork
from pinntk.nn._constraint import met_by
from pinntk.problem import Integral, Measurements, Problem
from pinntk.problem._slabs import points_within, restricted, slab_edges, slab_name
from pinntk.problem._time import time_axis
from pinntk.residuals._slabs import slab
from pinntk.run import Run
from pinntk.run._slabs import problem_examined, read_slabs
from pinntk.training._alike import alike, can_be_alike, carry, made_by, placed
from pinntk.training._checks import check_fits
from pinntk.training._config import TrainConfig
from pinntk.training._given import Settings
from pinntk.training._series import series
from pinntk.training._train import as_config, describe_run
from pinntk.weighting import Composite, Fixed
from pinntk.weighting._composite import part

if TYPE_CHECKING:
    from typing_extensions import Unpack

Network = nn.Module | Callable[[Problem], nn.Module]


@dataclass(frozen=True, eq=False)
class Slabs:
    """What `train_slabs` leaves behind.

    problem: the whole one
    edges: the times between which the slabs lie
    runs: one a slab, in order; fewer than slabs where `load_slabs` finds a training that was stopped
    network: over all of the time, a `pinntk.nn.SlabNetwork` of the runs' networks
    relative_error: relative L2 over all of the time; None where no solution is known, or slabs are missing
    folder: with a run folder for each slab, slab_00, slab_01, ...; or None
    """

    problem: Problem
    edges: tuple[float, ...]
    runs: tuple[Run, ...]
    network: SlabNetwork
    relative_error: float | None
    folder: Path | None

    def __repr__(self) -> str:
        relative = "" if self.relative_error is None else f", relative error {self.relative_error:.2e}{self.problem.up_to}"
        return f"Slabs({self.problem.name}, {len(self.runs)} of {len(self.edges) - 1} slabs{relative}, folder={self.folder})"


def train_slabs(
    problem: Problem,
    network: Network,
    config: TrainConfig | None = None,
    *,
    slabs: int | Sequence[float] = 8,
    fresh: bool = False,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Slabs:
    """Trains in time slabs, one after the other, each of them from the end values of the one before (`pinntk.slab`).

    For evolutions that one network cannot follow: long, chaotic or fast ones (Krishnapriyan et al. 2021, sequence to sequence).

    network: what each slab's network is like; it is not trained itself. One of `pinntk.nn` is built for each slab, so that it
        normalizes the slab's own time; one of your own is copied as it is; a function from a slab's problem to a network makes
        what it likes. Initial conditions are met by construction (`hard`) in the first slab only: in others they are trained
    slabs: how many, of equal length; or their edges, from the problem's start to its end
    fresh: each network begins with the weights of `network`, or those that the function gives it, and not with the trained
        parameters of the slab before
    config, settings: of each slab's training, as for `pinntk.train`; steps and seconds are those of one slab. Of counts of
        measured data a slab takes as many as it has; points given as tensors are shared out by their times, and initial ones
        moved to each slab's start
    out: a folder, with a run folder for each slab in it
    resume: go on in `out`, from the checkpoint of the slab in progress; on CPU to the last bit as if never stopped. `steps`
        may grow, for the slabs that are not done
    overwrite, device, dtype, progress: as for `pinntk.train`

    Raises what `pinntk.slab` and `pinntk.train` raise, ValueError for a network that is periodic in time, and for several
    processes.

    >>> import pinntk
    >>> problem = pinntk.load("convection", beta=1.0)
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> found = train_slabs(problem, network, slabs=2, steps=2, points={"residual": 10}, progress=False)
    >>> [run.problem.domain.bounds[0] for run in found.runs]
    [(0.0, 0.5), (0.5, 1.0)]
    """
    if not isinstance(problem, Problem) or not callable(network):
        raise TypeError(f"train_slabs({type(problem).__name__}, {type(network).__name__}): the order is problem, network")
    return train_slabs_while(
        lambda run: True,
        problem,
        network,
        as_config(config, settings),
        slabs=slabs,
        fresh=fresh,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        dtype=dtype,
        progress=progress,
    )


def train_slabs_while(
    going_on: Callable[[Run], bool],
    problem: Problem,
    network: Network,
    config: TrainConfig,
    *,
    slabs: int | Sequence[float],
    fresh: bool = False,
    out: str | os.PathLike | None,
    resume: bool,
    overwrite: bool,
    device: torch.device | str | None,
    dtype: torch.dtype | None = None,
    progress: bool,
) -> Slabs:
    """`train_slabs`, as long as `going_on(run)`, which is asked after each slab; those after a False are missing."""
    if distributed.world() > 1:
        raise ValueError("time slabs are trained in one process, since each begins as the one before ended: leave torchrun out")
    edges = slab_edges(problem, slabs)
    _check_each(config, problem, edges)
    first = _make(network, slab(problem, 0, edges), None, fresh, device, dtype)
    described = {
        **describe_run(config, problem, first),
        "slabs": {"edges": list(edges), "fresh": bool(fresh), "stop_reasons": []},
    }
    folder = None if out is None else Path(out)
    runs: list[Run] = []
    options: dict[str, Any] = {"device": device, "dtype": dtype, "progress": progress}
    with series(folder, described, "slabs", resume, overwrite, problem) as trained:
        for number in range(len(edges) - 1):
            part = _problem(problem, number, edges, runs)
            here = _make(network, part, runs[-1].network, fresh, device, dtype) if runs else first
            runs.append(trained.run(number, part, here, _of_slab(config, problem, number, edges), **options))
            if not going_on(runs[-1]):
                break
    return _result(problem, edges, runs, folder)


def load_slabs(
    folder: str | os.PathLike, network: Network | None = None, *, problem: Problem | None = None, trust: bool = False
) -> Slabs:
    """What `train_slabs` left in a folder.

    network: as it was given to `train_slabs`, where it was one of your own; those of `pinntk.nn` are rebuilt
    problem: in the place of the one that the folder names, as for `pinntk.Run.load`
    trust: run the problem file that the folder names although you have not run it on this machine before

    Warns where slabs are missing, because the training was stopped, and where the problem's file has changed since. Raises as
    `pinntk.Run.load` does.
    """
    folder = Path(folder)
    described = read_slabs(folder)
    problem = problem_examined(described["problem"], folder, problem, trust)
    edges, reasons = slab_edges(problem, described["slabs"]["edges"]), described["slabs"]["stop_reasons"]
    if not reasons:
        raise FileNotFoundError(f"{folder}: no slab is done yet; resume the training")
    dtype = getattr(torch, described["network"]["dtype"])
    runs: list[Run] = []
    for number, reason in enumerate(reasons):
        part = _problem(problem, number, edges, runs)
        here = None if network is None else _make(network, part, None, dtype=dtype)
        runs.append(Run.load(folder / slab_name(number), here, problem=part))
        runs[-1].stop_reason = reason
    if missing := len(edges) - 1 - len(runs):
        warn_user(f"{folder}: the last {missing} of {len(edges) - 1} slabs are missing; resume the training")
    return _result(problem, edges, runs, folder)


def _result(problem: Problem, edges: tuple[float, ...], runs: Sequence[Run], folder: Path | None) -> Slabs:
    axis, _ = time_axis(problem)
    assert axis is not None
    network = SlabNetwork([run.network for run in runs], edges[: len(runs) + 1], axis)
    whole = problem.has_solution and len(runs) == len(edges) - 1
    return Slabs(problem, edges, tuple(runs), network, problem.relative_error(network) if whole else None, folder)


# Of one slab.


def _problem(problem: Problem, number: int, edges: Sequence[float], runs: Sequence[Run]) -> Problem:
    if number == 0:
        return slab(problem, 0, edges)
    before = runs[number - 1]
    found = slab(problem, number, edges, before.network)
    where = None if before.folder is None else str(before.folder.resolve())
    return replace(found, slab={**found.slab, "previous": where})


def _make(
    given: Network,
    problem: Problem,
    before: nn.Module | None,
    fresh: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """A slab's network, with the parameters that it begins with."""
    made = _like(given, problem) if isinstance(given, nn.Module) else made_by(given, problem, "problem")
    periodic = vars(made)["config"].get("periodic") if can_be_alike(made) else None
    axis, _ = time_axis(problem)
    if axis is not None and problem.coordinates[axis] in (periodic or ()):
        raise ValueError(
            f"periodic={periodic!r}: the network repeats in time with the length of a slab, which is not the problem's period; "
            "leave the time out"
        )
    placed(made, device, dtype)
    if not (before is None or fresh or carry(before, made)):
        raise ValueError(
            f"{problem.name}: its network has other parameters than that of the slab before, with whose parameters it is to "
            "begin; make the same network for every slab, or use fresh=True"
        )
    return made


def _like(given: nn.Module, problem: Problem) -> nn.Module:
    """The given network made for a slab: a `pinntk.nn` one built for its domain, with the given parameters."""
    initial = {c.name for c in problem.conditions if c.kind == "initial"}
    if can_be_alike(given):
        hard = vars(given)["config"].get("hard")
        dropped = initial if problem.slab["number"] else ()
        kept = {"hard": [name for name in hard if name in problem.names and name not in dropped]} if hard else {}
        made = alike(given, problem, **kept)
        if carry(given, made):
            return made
    if built_in := initial & set(met_by(given)):
        raise ValueError(
            f"network: a copy of it would meet {min(built_in)!r} where the whole time starts, not where a slab does; give a "
            "function that makes each slab's network, as in lambda part: pinntk.nn.hard_constraint(part, ...)"
        )
    return deepcopy(given)


def _of_slab(config: TrainConfig, problem: Problem, number: int, edges: Sequence[float]) -> TrainConfig:
    """The settings as they fit a slab: its own points, and no more measured rows, than it has."""
    here = restricted(problem, number, edges)
    changes: dict[str, Any] = {}
    gone = set(problem.names) - set(here.names)
    if config.fixed_points:
        changes["points"] = points_within(problem, number, edges, config.points)
    else:
        counts = {name: n for name, n in config.points.items() if name not in gone}
        for condition in here.conditions:
            n = counts.get(condition.name, counts.get(condition.kind))
            if isinstance(condition.region, (Measurements, Integral)) and n is not None:
                counts[condition.name] = min(n, len(condition.region.rows))
        if counts != dict(config.points):
            changes["points"] = counts
    fixed = part(config.weighting, "conditions")
    if isinstance(fixed, Fixed) and gone & set(fixed.weights):
        beside = config.weighting.beside if isinstance(config.weighting, Composite) else ()
        changes["weighting"] = [Fixed(**{name: w for name, w in fixed.weights.items() if name not in gone}), *beside]
    return config.replace(**changes) if changes else config


def _check_each(config: TrainConfig, problem: Problem, edges: Sequence[float]) -> None:
    """What does not fit a later slab is refused before the first is trained."""
    for number in range(len(edges) - 1):
        check_fits(_of_slab(config, problem, number, edges), restricted(problem, number, edges))
