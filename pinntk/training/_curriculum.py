"""`pinntk.train_curriculum`: from an easy problem to a hard one, by the values of its parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pinntk._util import distributed
from pinntk.nn._constraint import met_by
from pinntk.problem import Problem
from pinntk.problem import _registry as registry
from pinntk.run import Run
from pinntk.training._alike import alike, can_be_alike, carry, made_by, placed
from pinntk.training._checks import check_fits
from pinntk.training._config import TrainConfig
from pinntk.training._given import Settings
from pinntk.training._series import series
from pinntk.training._train import as_config, describe_run

if TYPE_CHECKING:
    from typing_extensions import Unpack

Network = nn.Module | Callable[[Problem], nn.Module]


@dataclass(frozen=True, eq=False)
class Curriculum:
    """What `train_curriculum` leaves behind.

    values: of the parameters, stage by stage
    runs: one a stage, in order, each with its own problem and network
    folder: with a run folder for each stage, stage_00, stage_01, ...; or None
    """

    values: Mapping[str, tuple[Any, ...]]
    runs: tuple[Run, ...]
    folder: Path | None

    @property
    def run(self) -> Run:
        """Of the last stage, which is of the problem that was meant."""
        return self.runs[-1]

    @property
    def network(self) -> nn.Module:
        """Of the last stage."""
        return self.run.network

    @property
    def relative_error(self) -> float | None:
        """Relative L2 of the last stage; None where no solution is known."""
        return self.run.relative_error

    def __repr__(self) -> str:
        stages = ", ".join(f"{name}={list(values)}" for name, values in self.values.items())
        relative = "" if self.relative_error is None else f", relative error {self.relative_error:.2e}{self.run.problem.up_to}"
        return f"Curriculum({self.run.problem.name}, {stages}{relative}, folder={self.folder})"


def train_curriculum(
    problem: Problem | Callable[..., Problem],
    network: Network,
    config: TrainConfig | None = None,
    *,
    curriculum: Mapping[str, Sequence[Any]],
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Curriculum:
    """Trains on one problem after the other, each with other values of its parameters, from the network of the one before.

    For problems that a network finds only from the solution of an easier one (Krishnapriyan et al. 2021, curriculum
    regularization: convection with beta from 1 to 30).

    problem: from `pinntk.load`; its file is loaded anew for each stage, with the other parameters that it has. One of your own
        is a function from the parameters of the curriculum to a problem
    network: what each stage's network is like; it is not trained itself. One of `pinntk.nn` is built for each stage's problem;
        one of your own is copied, unless it meets conditions of its problem by construction; a function from a stage's problem
        to a network makes what it likes. All but the first begin with the trained parameters of the stage before
    curriculum: {parameter: its values}, as in {"beta": [1, 10, 20, 30]}; several go along together. A value may be repeated
    config, settings: of each stage's training, as for `pinntk.train`; steps and seconds are those of one stage. Unknown
        coefficients go on from stage to stage; each stage's optimizer begins anew
    out: a folder, with a run folder for each stage in it
    resume: go on in `out`, from the checkpoint of the stage in progress; on CPU to the last bit as if never stopped. `steps`
        may grow, for the stages that are not done
    overwrite, device, dtype, progress: as for `pinntk.train`

    Raises what `pinntk.train` raises, ValueError for values that the problem does not take, before anything is trained, and for
    several processes.

    >>> import pinntk
    >>> problem = pinntk.load("convection")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> found = train_curriculum(problem, network, curriculum={"beta": [1, 5]}, steps=2, points={"residual": 9}, progress=False)
    >>> [run.problem.parameters["beta"] for run in found.runs]
    [1, 5]
    """
    if distributed.world() > 1:
        raise ValueError(
            "a curriculum is trained in one process, since each stage begins as the one before ended: leave torchrun out"
        )
    values = check_curriculum(curriculum)
    config, stages = as_config(config, settings), stages_of(values)
    problems = [_at(problem, stage) for stage in stages]
    _check_each(config, problems)
    first = _make(network, problems[0], None, device, dtype)
    entries = {"values": {name: list(given) for name, given in values.items()}, "stop_reasons": []}
    described = {**describe_run(config, problems[-1], first), "curriculum": entries}
    folder = None if out is None else Path(out)
    runs: list[Run] = []
    options: dict[str, Any] = {"device": device, "dtype": dtype, "progress": progress}
    with series(folder, described, "curriculum", resume, overwrite, problems[-1]) as trained:
        for number, part in enumerate(problems):
            here = _make(network, part, runs[-1], device, dtype) if runs else first
            runs.append(trained.run(number, part, here, config, **options))
    return Curriculum(values, tuple(runs), folder)


def check_curriculum(given: Any) -> dict[str, tuple[Any, ...]]:
    """Raises ValueError or TypeError for what is no curriculum."""
    form = "give the values of parameters, as in curriculum={'beta': [1, 10, 20, 30]}"
    if not isinstance(given, Mapping) or not given:
        raise TypeError(f"curriculum={given!r}: {form}")
    found = {}
    for name, values in given.items():
        if isinstance(values, str) or not hasattr(values, "__iter__") or not (listed := tuple(values)):
            raise TypeError(f"curriculum={given!r}: {name!r} has no list of values; {form}")
        found[str(name)] = tuple(value.item() if hasattr(value, "item") else value for value in listed)
    if len(lengths := {len(values) for values in found.values()}) > 1:
        raise ValueError(
            f"curriculum={given!r}: {sorted(lengths)} values; give every parameter as many, since they go together"
        )
    return found


def stages_of(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The parameters of each stage."""
    return [dict(zip(values, stage, strict=True)) for stage in zip(*values.values(), strict=True)]


def _at(problem: Problem | Callable[..., Problem], stage: Mapping[str, Any]) -> Problem:
    if isinstance(problem, Problem):
        if not problem.source:
            raise ValueError(
                f"the problem {problem.name!r} was built in Python, in no file that another stage could load; give a function "
                f"that builds it: train_curriculum(lambda {', '.join(stage)}: ..., ...)"
            )
        return registry.load(problem.source, **{**problem.parameters, **stage})
    if not callable(problem):
        raise TypeError(f"train_curriculum({type(problem).__name__}, ...): a problem, or a function that builds one")
    made = problem(**stage)
    if not isinstance(made, Problem):
        raise TypeError(f"problem({', '.join(stage)}) returned {type(made).__name__}; it must return a pinntk.Problem")
    return made


def _check_each(config: TrainConfig, problems: Sequence[Problem]) -> None:
    """What does not fit a later stage is refused before the first is trained."""
    for here in problems:
        if here.names != problems[0].names or here.coordinates != problems[0].coordinates or here.fields != problems[0].fields:
            raise ValueError(
                f"{here.settings() or here.name}: its conditions, coordinates or fields are not those of the first stage"
            )
        check_fits(config, here)


def _make(
    given: Network, problem: Problem, before: Run | None, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """A stage's network, and the problem's coefficients, with what the run before left."""
    made = _like(given, problem) if isinstance(given, nn.Module) else made_by(given, problem, "problem")
    placed(made, device, dtype)
    if before is not None:
        _carry(before.network, made)
        _carry(before.problem.coefficients, problem.coefficients)
    return made


def _like(given: nn.Module, problem: Problem) -> nn.Module:
    """The given network made for a stage: a `pinntk.nn` one built for its problem, with the given parameters."""
    if can_be_alike(given):
        made = alike(given, problem)
        _carry(given, made)
        return made
    if met := met_by(given):
        raise ValueError(
            f"network: a copy of it would meet {', '.join(map(repr, met))} of the problem that it was made for, and not of "
            "each stage's; give a function that makes each stage's network, as in lambda problem: "
            "pinntk.nn.hard_constraint(problem, ...)"
        )
    return deepcopy(given)


def _carry(before: nn.Module, into: nn.Module) -> None:
    if not carry(before, into):
        raise ValueError("network: it has other parameters than in the stage before; make the same one for every stage")
