"""`pinntk.train_ensemble`: the same training from several seeds, with mean and spread of what they find."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.precision import without_autocast
from pinntk._util.randomness import fork
from pinntk._util.warn import warn_user
from pinntk.problem import Problem
from pinntk.run import Run
from pinntk.training._alike import alike, can_be_alike, made_by, of_one_form, placed
from pinntk.training._config import TrainConfig
from pinntk.training._given import Settings
from pinntk.training._series import Series, series
from pinntk.training._step import Step
from pinntk.training._together import Together, gradient_of, lockstep, may_go_together
from pinntk.training._train import as_config, describe_run, set_up

if TYPE_CHECKING:
    from typing_extensions import Unpack


class MeanNetwork(nn.Module):
    """The mean of the outputs of several networks of the same inputs and fields."""

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, points: Any) -> Any:  # (n, d) or a jet of them -> (n, fields)
        first, *others = (network(points) for network in self.networks)
        return sum(others, first) / len(self.networks)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What `train_ensemble` leaves behind.

    problem: as it was given; each run has coefficients of its own
    seeds, runs: one a member, in order
    folder: with a run folder for each member, member_00, member_01, ...; or None
    """

    problem: Problem
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    folder: Path | None

    @cached_property
    def network(self) -> MeanNetwork:
        """The mean of the members' fields."""
        return MeanNetwork([run.network for run in self.runs])

    @property
    def relative_errors(self) -> tuple[float, ...]:
        """Relative L2 of each member; empty where no solution is known."""
        return tuple(run.relative_error for run in self.runs if run.relative_error is not None)

    @cached_property
    def relative_error(self) -> float | None:
        """Relative L2 of the mean; None where no solution is known."""
        return self.problem.relative_error(self.network) if self.problem.has_solution else None

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of the fields, each (n, fields), at (n, d) points: the spread is the standard deviation over members,
        with their number less one below.
        """
        fields = np.stack([self.problem.predict(run.network, points) for run in self.runs])  # (members, n, fields)
        return fields.mean(0), fields.std(0, ddof=1)

    def coefficients(self) -> dict[str, tuple[float, float]]:
        """Mean and spread of each unknown coefficient."""
        found = {
            name: [float(run.problem.coefficients[name].detach()) for run in self.runs] for name in self.problem.coefficients
        }
        return {name: (float(np.mean(values)), float(np.std(values, ddof=1))) for name, values in found.items()}

    def __repr__(self) -> str:
        relative = (
            "" if self.relative_error is None else f", relative error of the mean {self.relative_error:.2e}{self.problem.up_to}"
        )
        return f"Ensemble({self.problem.name}, {len(self.runs)} seeds{relative}, folder={self.folder})"


@without_autocast
def train_ensemble(
    problem: Problem,
    network: nn.Module | Callable[[int], nn.Module],
    config: TrainConfig | None = None,
    *,
    seeds: int | Sequence[int] = 5,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Ensemble:
    """Trains the same from several seeds; the spread of what they find says how much is the seed's.

    The spread is no error bar: what all members have in common, a wrong sign or too few points, it does not show.

    Where points are few, the gradients of all members are computed at once (`torch.func.vmap`): 2 to 4 times faster for 5
    members of 3 x 20 units on 64 points a condition, on one core. A member is then the training alone to rounding. Members go
    one after the other, and are that training to the last bit, with solvers, line searches, combined gradients, `compile`,
    `seconds`, early stopping or a monitor.

    network: one of `pinntk.nn`, built again with each seed; or a function from a seed to a network
    seeds: how many, from the settings' `seed` on; or which, at least two. A seed is that of the network and of the training:
        a member is `pinntk.train` with them
    config, settings: of each training, as for `pinntk.train`, but for the seed
    out: a folder, with a run folder for each member in it
    resume: go on in `out`, from the checkpoint of the member in progress; on CPU to the last bit as if never stopped
    overwrite, device, dtype, progress: as for `pinntk.train`

    Raises what `pinntk.train` raises, and ValueError for several processes.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d", k=1)
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> found = train_ensemble(problem, network, seeds=3, steps=2, points={"residual": 9}, progress=False)
    >>> mean, spread = found.predict(np.array([[0.25], [0.5]]))
    >>> mean.shape, bool((spread > 0).all())
    ((2, 1), True)
    """
    if distributed.world() > 1:
        raise ValueError("an ensemble is trained in one process, as members, not points, go side by side: leave torchrun out")
    config = as_config(config, settings)
    chosen = _seeds(seeds, config.seed)
    if problem.foreign and len(problem.coefficients):
        raise ValueError(
            f"{problem.name}: its foreign conditions share its coefficients, which each member would need for itself"
        )
    members = [(*_member(problem, network, seed, device, dtype), config.replace(seed=seed)) for seed in chosen]
    first, first_network, first_config = members[0]
    described = {
        **describe_run(first_config, first, first_network),
        "ensemble": {"seeds": list(chosen), "stop_reasons": []},
    }
    folder = None if out is None else Path(out)
    runs: list[Run] = []
    options: dict[str, Any] = {"device": device, "dtype": dtype, "progress": progress}
    with series(folder, described, "ensemble", resume, overwrite, problem) as trained:
        done = len(trained.done)
        runs += [trained.run(number, *members[number], **options) for number in range(done)]
        beside = _side_by_side(trained, members, runs, progress) if may_go_together(config) else None
        if beside is None:
            runs += [trained.run(number, *members[number], **options) for number in range(done, len(members))]
        else:
            runs += beside
    return Ensemble(problem, chosen, tuple(runs), folder)


def _side_by_side(
    trained: Series, members: Sequence[tuple[Problem, nn.Module, TrainConfig]], done: Sequence[Run], progress: bool
) -> list[Run] | None:
    """The runs that are not done, trained step by step together; None, before anything is written, where that would not pay, or
    with a warning would not be right.
    """
    folders = [trained.run_folder(number) for number in range(len(members))]
    trainings = {number: set_up(*members[number], folders[number], None, None) for number in range(len(done), len(members))}
    if not trainings:
        return []
    first, *_ = trainings.values()
    if first.searching:  # by an optimizer that a factory made
        return None
    steps = [Step(run.network, run.problem) for run in done] + [gradient_of(training) for training in trainings.values()]
    together, batches = Together(steps), [first.batch] * len(done) + [training.batch for training in trainings.values()]
    if not together.pays(batches):
        return None
    if reason := together.reason_against(batches):
        warn_user(f"the members are trained one after the other: {reason}")
        return None
    with ExitStack() as held, trained.saying_how_to_go_on():
        for number, training in trainings.items():
            held.enter_context(training.checkpoint.open(trained.may_resume(number), overwrite=False))
        held.enter_context(fork(first.like.device))
        first.checkpoint.seed_generators(first.config.seed)
        lockstep(trainings, Together(steps), trained.interrupted, progress)
    for training in trainings.values():
        trained.note(training.run)
    return [training.run for training in trainings.values()]


def _seeds(given: int | Sequence[int], first: int) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool):
        found = tuple(range(first, first + given))
    elif isinstance(given, (str, bool)) or not hasattr(given, "__iter__"):
        raise TypeError(f"seeds={given!r}: how many, or which, as in seeds=[0, 1, 2]")
    else:
        found = tuple(map(operator.index, given))
    if len(found) < 2 or len(set(found)) < len(found):
        raise ValueError(f"seeds={given!r}: at least two, all different")
    return found


def _member(
    problem: Problem,
    network: nn.Module | Callable[[int], nn.Module],
    seed: int,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> tuple[Problem, nn.Module]:
    """A problem with coefficients of its own, and its network."""
    own = replace(problem, coefficients=deepcopy(problem.coefficients)) if len(problem.coefficients) else problem
    if not isinstance(network, nn.Module):
        made = made_by(network, seed, "seed")
    elif not can_be_alike(network):
        raise ValueError(
            f"network={type(network).__name__}: pinntk cannot build it again from another seed; give a function from a seed to "
            "a network"
        )
    else:
        made = alike(network, own, seed=seed)
        if not of_one_form(network, made):
            raise ValueError(
                "network: its parameters are not those that it was built with, and from another seed it would be another one; "
                "give a function from a seed to a network"
            )
    return own, placed(made, device, dtype)
