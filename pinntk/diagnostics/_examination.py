"""All measurements of one network on one problem, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._architecture import fresh
from pinntk.diagnostics._balance import Balance, balance
from pinntk.diagnostics._causality import Causality, causality
from pinntk.diagnostics._coefficients import Coefficient, coefficients
from pinntk.diagnostics._dynamics import Dynamics, dynamics
from pinntk.diagnostics._estimate import Estimate, estimate
from pinntk.diagnostics._layers import InputScale, LayerHealth, input_scale, layers
from pinntk.diagnostics._progress import Progress, natural_step, progress
from pinntk.diagnostics._sampling import (
    Coverage,
    Missing,
    Redundancy,
    coverage,
    redundancy,
    subset,
    where_missing,
)
from pinntk.diagnostics._sanity import OutputScale, Precision, Triviality, output_scale, precision_floor, trivial
from pinntk.diagnostics._spectrum import Spectrum, spectrum
from pinntk.diagnostics._statement import Statement
from pinntk.diagnostics._undetermined import Undetermined, undetermined
from pinntk.nn import NETWORKS
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.ntk import KernelBlocks, kernel
from pinntk.ntk._blocks import check_weights, sizes_text
from pinntk.problem import Points, Problem
from pinntk.residuals import Scales, check_network, errors, scales
from pinntk.residuals._values import check_finite
from pinntk.run import Recorder, Run
from pinntk.run._network import build_network, network_class, with_parameters

_KERNEL_POINTS = 300  # a condition's, at most: an eigenvalue problem of a second or less


@dataclass(frozen=True, eq=False, repr=False)
class Examination:
    """What can be measured of `network` on `points`, {condition: (n, d)}, under the loss weights `weights`.

    run: the training that it comes from, if any; with it a diagnosis also reads the history and the settings
    trained: whether the network has been trained, as that of a run has: what is wrong is then a result, and no forecast
    few: at most 300 of each condition's points and about 4,000 in all, the same at every time, on which the kernel is computed

    What is measured of errors that are NaN or infinite raises NonFiniteError, naming condition and points.
    """

    network: nn.Module
    problem: Problem
    points: Points
    weights: Mapping[str, float]
    run: Run | None = None
    trained: bool = False
    few: Points = field(init=False)

    def __post_init__(self) -> None:
        points = self.problem.check(self.points)
        object.__setattr__(self, "trained", self.trained or self.run is not None)
        check_network(self.network, self.problem, points)
        check_weights(self.weights, tuple(points))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "few", subset(points, _KERNEL_POINTS))

    def __repr__(self) -> str:
        what = type(self.network).__name__ if self.run is None else repr(self.run)
        return (
            f"Examination({what} on {self.problem.name}; {sizes_text(list(self.points), list(map(len, self.points.values())))})"
        )

    @cached_property
    def errors(self) -> dict[str, Tensor]:
        """e_i at all points, (n_i,)."""
        with torch.no_grad():
            found = errors(self.network, self.problem, self.points)
        check_finite(self.network, self.problem, self.points, found)
        return found

    @cached_property
    def kernel(self) -> KernelBlocks:
        """K on the few points."""
        return kernel(self.network, self.problem, self.few)

    @cached_property
    def balance(self) -> Balance:
        return balance(self.network, self.problem, self.few, self.weights, kernel=self.kernel)

    @cached_property
    def spectrum(self) -> Spectrum:
        return spectrum(self.kernel, self.weights)

    @cached_property
    def dynamics(self) -> Dynamics:
        return dynamics(self.kernel, self.balance.errors, self.weights)

    @cached_property
    def estimate(self) -> Estimate:
        """Of the conditions that are trained on: those with a weight above 0."""
        trained = {name: rows for name, rows in self.points.items() if self.weights[name] > 0}
        return estimate(self.network, self.problem, trained or self.points)

    @cached_property
    def redundancy(self) -> dict[str, Redundancy]:
        return redundancy(self.kernel)

    @cached_property
    def coverage(self) -> dict[str, Coverage]:
        return coverage(self.problem, self.points)

    @cached_property
    def missing(self) -> dict[str, Missing]:
        return where_missing(self.network, self.problem, self.points)

    @cached_property
    def causality(self) -> Causality | None:
        return causality(self.network, self.problem, self.points)

    @cached_property
    def layers(self) -> list[LayerHealth]:
        return layers(self.network, self.problem, self.points)

    @cached_property
    def input_scale(self) -> InputScale | None:
        return input_scale(self.network, self.problem)

    @cached_property
    def scales(self) -> Scales:
        """Of the problem; the network has no part in it."""
        return scales(self.problem, device=next((p.device for p in self.network.parameters()), None))

    @cached_property
    def output_scale(self) -> OutputScale:
        return output_scale(self.network, self.problem, self.points)

    @cached_property
    def trivial(self) -> dict[str, Triviality]:
        return trivial(self.network, self.problem, self.points)

    @cached_property
    def precision(self) -> dict[str, Precision]:
        return precision_floor(self.network, self.problem, self.points)

    @cached_property
    def undetermined(self) -> dict[str, Undetermined]:
        return undetermined(self.network, self.problem, self.points)

    @cached_property
    def statement(self) -> Statement:
        """What the conditions with a weight above 0 say by themselves, whatever the network."""
        return Statement(self.problem, [name for name in self.points if self.weights[name] > 0] or None)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The network's arguments as config.json has them, where they are those of an MLP or much the same; else empty."""
        network = self.network
        return dict(network.config) if isinstance(network, EmbeddedNetwork) and type(network) in NETWORKS.values() else {}

    @cached_property
    def initial(self) -> nn.Module | None:
        """The network as the training began; None without a run, or where it is not known."""
        if self.run is None:
            return None
        if not self.run.config.get("recorded") and network_class(self.run.config) is not None:
            return build_network(self.run.config, self.problem).to(next(self.network.parameters()).device)
        return with_parameters(self.network, self.run.initial)

    @cached_property
    def progress(self) -> Progress | None:
        """How the training went; None without a run."""
        return None if self.run is None else progress(self.run)

    @property
    def diverged(self) -> bool:
        """Whether the training ended at numbers that are not finite; the network is then the last good one."""
        return self.run is not None and self.run.diverged

    @cached_property
    def natural_step(self) -> float:
        """Of the initial network, or where that is not known of this one with fresh parameters: a trained one has hardly a
        gradient.
        """
        return natural_step(self.initial or fresh(self.network), self.problem, self.few, self.weights)

    @cached_property
    def initial_layers(self) -> list[LayerHealth]:
        return [] if self.initial is None else layers(self.initial, self.problem, self.points)

    @cached_property
    def coefficients(self) -> dict[str, Coefficient]:
        """Of every unknown coefficient, by all measurements, and of other conditions by `few`."""
        measured = {name: x for name, x in self.points.items() if self.problem[name].kind == "data"}
        return coefficients(self.network, self.problem, {**self.few, **measured}, self.run)

    @cached_property
    def relative_error(self) -> float | None:
        """Relative L2 error against the known solution, if there is one; of fields that are free by a constant, without it."""
        return self.problem.relative_error(self.network) if self.problem.has_solution else None


@without_autocast
def examine(
    network: nn.Module | Run,
    problem: Problem | None = None,
    points: Points | None = None,
    weights: Mapping[str, float] | None = None,
    *,
    trained: bool = False,
) -> Examination:
    """All measurements of a run, or of a network on a problem, each made when it is asked for.

    Of a run, `examine(run)`; or of any network, `examine(network, problem, points)`, with the loss weights that it is trained
    with, all ones if None.

    trained: whether such a network has been trained

    Raises TypeError and ValueError for arguments that do not fit.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> measured = pinntk.examine(network, problem, points)
    >>> sorted(measured.balance.rate)
    ['ends', 'poisson']
    """
    if isinstance(network, Recorder):
        raise TypeError("that is a Recorder; give what it has recorded, its run, as in diagnose(recorder.run)")
    if isinstance(network, Run):
        if problem is not None or points is not None or weights is not None:
            raise TypeError("examine(run) knows its problem, points and weights; give the run alone")
        run = network
        return Examination(run.network, run.problem, run.points, run.weights, run)
    if not isinstance(problem, Problem) or points is None:
        given = ", ".join(type(one).__name__ for one in (network, problem, points) if one is not None)
        raise TypeError(f"got ({given}): give a run, as from pinntk.Run.load(FOLDER), or a network, its problem and points")
    if weights is None:
        weights = dict.fromkeys(points, 1.0)
    return Examination(network, problem, points, weights, trained=trained)
