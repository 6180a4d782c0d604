"""Gauss-Newton in function space: the step -A^T (A A^T + mu I)^-1 r on the scaled errors r of all conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, inf, isfinite, log
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk import trained_parameters
from pinntk.ntk._blocks import Weights
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._points import to_network
from pinntk.residuals._values import NonFiniteError, check_real_parameters
from pinntk.solvers._damped import SQUARED, DampedLeastSquares, check_form, chosen_form
from pinntk.solvers._jacobian import ScaledJacobian, check_start, loss_weights, losses_by_condition, scaled_errors
from pinntk.solvers._natural import NaturalSteps
from pinntk.solvers._phase import CONVERGE, EXPLORE, Phase
from pinntk.solvers._solver import StepReport
from pinntk.solvers._vector import assign, dot, flatten, norm, units_of

_WINDOW = 3.0  # between the radius and the least and greatest one that are tried
_START = 1.0  # the first radius
_FINAL = 0.5  # least ratio of true to promised decrease while converging
_SHORTER = 4  # more radii, where none in the window lowers the loss
_CURVED = 0.375  # of the step: a first correction beyond it means nothing (Transtrum & Sethna 2012)
_CONTRACTION = 0.75  # of a correction: the next one must be below it
_ROUNDED = 100  # times the change by the last digits of all parameters: a loss below that has none of its own
_SHORTEST = 1e-12  # radius, of the norm of the parameters: from shorter ones it would not recover on other points
_WORTH = 0.9  # of the loss: what a correction must leave for another one to be tried


class GaussNewton:
    r"""Levenberg-Marquardt in a trust region, with corrections; then Newton steps that need not lower the loss.

    It is on r = (sqrt(lambda_i / n_i) e_i), whose squared norm is the loss. With A = dr / dtheta, of which one factorization
    serves for every mu, a step goes through

        d_1 = -A^T (A A^T + mu I)^-1 r,    d_(j+1) = -A^T (A A^T + mu I)^-1 (r(theta + d_j) - A d_j)

    **Exploring.** Some radii around the length of the last step, each with the mu for which |d_1| is that, are judged by the
    true loss. The step goes as far as its decrease stays above `target` times the one that the linear model promises of d_1
    (Webb, Jerad & Cartis, arXiv 2607.02194).

    **Corrections.** r(theta + d_j) - A d_j are the errors that the straight line through theta + d_j would start from. They
    bend the step along a curved valley, in which straight steps are short. The first is the geodesic acceleration (Transtrum &
    Sethna 2012, arXiv 1201.5885). Each costs an evaluation, a hundredth of a factorization, and is kept if it lowers the loss.

    **Converging.** It begins once mu is small and the loss no longer halves in 20 steps, or by `converge()`. The points are to
    stay the same. When steps that lower the loss no longer halve it in five, they are as long as their first correction
    allows, whatever the loss is after them: `NaturalSteps`. The loss may rise a millionfold before it falls to rounding;
    meanwhile the network has the best parameters that were found, on the way or beside it.

    Use fresh points in every step while it explores, and the same ones when it converges; `phase` is the one of the next step.
    Singular values of A are used down to rounding, or the error would stay at its root.

    weights: loss weights by condition; None takes the NTK weights of the first step's points, normalized to sum 1
    target: least ratio of true to promised decrease while exploring, between 0 and 1
    radii: how many are tried while exploring, at least 2
    corrections: how many there are at most while exploring; 0 for straight steps
    form: "kernel" (n x n), "parameters" (p x p), or "auto", the smaller; see `DampedLeastSquares`
    max_memory: of the dense factorizations
    coefficient_scales: {coefficient: s}, s a power of 2: it is moved as s times a number of size 1; 1 for the others

    The network's parameters and the problem's coefficients are solved for together. Use float64. Under torchrun every process
    makes it and gives it the same points, of which each takes its share; steps are those of one process, to rounding.
    Raises ValueError for arguments that do not fit, and as `pinntk.kernel` does for a network that does not.

    >>> import torch
    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1, dtype=torch.float64)
    >>> report = GaussNewton(network, problem).step(problem.sample(residual=20, boundary=2, seed=0))
    >>> report.loss < report.loss_before
    True
    """

    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        *,
        weights: Mapping[str, float] | None = None,
        target: float = 0.25,
        radii: int = 8,
        corrections: int = 10,
        form: str = "auto",
        max_memory: int | str = "4GiB",
        coefficient_scales: Mapping[str, float] = MappingProxyType({}),
    ):
        if not 0 < target < 1:
            raise ValueError(f"target={target!r}: a ratio between 0 and 1")
        if radii < 2:
            raise ValueError(f"radii={radii!r}: at least 2")
        if corrections < 0:
            raise ValueError(f"corrections={corrections!r}: at least 0")
        check_form(form)
        self.network, self.problem = network, problem
        self.weights: Mapping[str, float] | None = None if weights is None else dict(weights)
        self.target, self.radii, self.corrections = target, radii, corrections
        self.form, self.max_memory = form, max_memory
        self.radius = _START
        self._phase, self._natural = Phase(), NaturalSteps()
        trained = trained_parameters(network, problem)
        check_real_parameters(trained, "GaussNewton")
        self._names, self._parameters = list(trained), list(trained.values())
        distributed.same_everywhere(p.detach() for p in self._parameters)
        self.coefficient_scales = dict(coefficient_scales)
        self._checked = False

    @property
    def phase(self) -> str:
        """Of the next step: "explore" or "converge"."""
        return CONVERGE if self._phase.converging else EXPLORE

    @property
    def size(self) -> int:
        """p, the number of parameters."""
        return sum(parameter.numel() for parameter in self._parameters)

    def explore(self) -> None:
        """Begins to explore anew: other points, or more of them, are to come."""
        self._natural = NaturalSteps()
        damping, self._phase = self._phase.damping, Phase()
        self._phase.damping = damping

    def converge(self) -> None:
        """Converges from the next step on: the same points are to come, or, while it converges, others from now on."""
        self._phase.converge()
        self._natural.begin()

    @without_autocast
    @with_threads_for(lambda self, points: of_step(self.network, self.problem, points))
    def step(self, points: Points, point_weights: Points | None = None) -> StepReport:
        """One step on `points`, {condition: (n, d)}. The network changes only if its loss on them falls.

        point_weights: g (n,) of some conditions, for the loss lambda_i mean(g e_i^2); 1 for the others

        Raises NonFiniteError, naming condition and points, where the errors or their gradients are NaN or infinite.
        """
        if not self._checked:
            points = self.problem.check(points)
            check_network(self.network, self.problem, points)
            self._checked = True
        points = to_network(self.network, points)
        self.weights, weights = loss_weights(self.weights, self.network, self.problem, points, point_weights)
        system = _System(self, points, weights, point_weights)
        try:
            return self._natural_step(system) if self._phase.stalled else self._falling(system)
        except BaseException:  # Ctrl-C included: no trial stays behind
            self._assign(system.start)
            raise

    @property
    def _units(self) -> list[float]:
        return units_of(self._names, self.coefficient_scales)

    def _assign(self, vector: Tensor) -> None:
        assign(self._parameters, vector, self._units)

    def _falling(self, at: _System) -> StepReport:
        """A step that has to lower the loss."""
        A, r, converging = at.jacobian(), at.r, self._phase.converging
        orthogonal = converging or self._phase.damping < SQUARED
        first = min(self._phase.damping, SQUARED)
        system = DampedLeastSquares(A, r, self.form, self.max_memory, orthogonal, first)
        trial = _Trial(system, A, r, at.errors_after, self.corrections)
        self.radius = max(self.radius, _SHORTEST * max(norm(at.start), 1.0))
        before = dot(r, r)
        mu, loss, d = self._longest(trial, _FINAL if converging else self.target)
        relative = mu / system.largest if system.largest else 1.0
        if not loss < before:
            self.radius /= _WINDOW ** (1 + _SHORTER)
            note = self._rounding(at, before)
            self._assign(at.start)
            if converging and not note:
                self._phase.stalled = True
            elif not note:
                note = f"a step of length {norm(d):.1e}, the shortest tried, does not lower the loss"
            return StepReport(before, before, at.losses, 0.0, mu, False, note, relative)
        self.radius = norm(d)
        self._phase.advance(relative, before)
        self._assign(at.start + d)
        return StepReport(before, loss, at.losses, self.radius, mu, True, "", relative)

    def _natural_step(self, at: _System) -> StepReport:
        """A step that need not lower the loss, from where the last one ended."""
        best, natural = dot(at.r, at.r), self._natural
        if natural.since:
            note = self._rounding(at, best) or ("no further steps lower the loss" if natural.exhausted else "")
            if note:
                self._assign(at.start)
                return StepReport(best, best, at.losses, 0.0, 0.0, False, note, natural.damping)
        start, r = at.start, at.r
        if natural.iterate is not None:
            start = natural.iterate
            self._assign(start)
            r = at.errors()
        try:
            A = at.jacobian()
        except NonFiniteError:
            if natural.iterate is None:
                raise
            return self._lost(at)
        system = DampedLeastSquares(A, r, self.form, self.max_memory, True)
        if not system.largest:
            return self._lost(at)

        def errors_after(d: Tensor) -> Tensor:
            self._assign(start + d)
            return at.errors()

        beside, restored = start, inf
        if natural.iterate is not None:
            back, restored = natural.restored(system, r, errors_after)
            beside = start + back
        mu, d, after = natural.step(system, A, errors_after)
        loss = dot(after, after)
        on = natural.took(loss, best, start + d, restored)
        self._assign(start + d if on else beside if restored < best else at.start)
        least = min(best, restored, loss)
        return StepReport(best, least, at.losses, norm(d), mu, least < best, "", natural.damping)

    def _lost(self, at: _System) -> StepReport:
        """Nothing leads on from here: the next step starts from the best parameters."""
        best = dot(at.r, at.r)
        self._natural.took(inf, best, at.start)
        self._assign(at.start)
        return StepReport(best, best, at.losses, 0.0, 0.0, False, "", self._natural.damping)

    def _rounding(self, at: _System, loss: float) -> str:
        """Says so where the loss is near what changing the last digit of every parameter, up and down in turn, makes."""
        units = torch.cat([at.start.new_full((p.numel(),), torch.finfo(p.dtype).eps) for p in self._parameters])
        units[1::2] *= -1
        change = at.errors_after(at.start * units) - at.r
        if loss >= _ROUNDED * dot(change, change):
            return ""
        return "the loss is rounding: the last digits of the parameters change the errors by a tenth or more"

    def _longest(self, trial: _Trial, target: float) -> tuple[float, float, Tensor]:
        """(damping, loss, step) at the radius where the true decrease, over the promised one, comes down to `target`:
        between the first of the radii where it is below and the one before, linearly in their logarithms; at the one before
        where there the loss does not fall, since errors scatter at the end.
        """
        shortest, longest = log(self.radius / _WINDOW), log(self.radius * _WINDOW)
        spacing = (longest - shortest) / (self.radii - 1)
        least, tried = 1.0, None
        for k in range(self.radii):
            at = shortest + k * spacing
            shorter, tried = tried, trial(exp(at))
            ratio = tried[0]
            if ratio < target:
                if shorter is None:
                    return self._shorter(trial, tried, shortest)
                share = (least - target) / (least - ratio)
                tried = trial(exp(at - (1 - share) * spacing))
                tried = tried if tried[0] > 0 else shorter
                break
            least = min(least, ratio)
        assert tried is not None
        return tried[1:]

    def _shorter(self, trial: _Trial, tried: tuple[float, float, float, Tensor], length: float) -> tuple[float, float, Tensor]:
        """The first of shorter radii, each a third of the one before, whose step lowers the loss at all."""
        for k in range(_SHORTER):
            if tried[0] > 0:
                break
            tried = trial(exp(length - (k + 1) * log(_WINDOW)))
        return tried[1:]

    def state_dict(self) -> dict[str, Any]:
        return {
            "radius": self.radius,
            "weights": self.weights,
            "phase": self._phase.state_dict(),
            "natural": self._natural.state_dict(),
            "coefficient_scales": self.coefficient_scales,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.radius = state["radius"]
        self.weights = None if state["weights"] is None else dict(state["weights"])
        self._phase.load_state_dict(state["phase"])
        self._natural.load_state_dict(state["natural"])
        self.coefficient_scales = dict(state["coefficient_scales"])
        if self._natural.iterate is not None:
            self._natural.iterate = self._natural.iterate.to(self._parameters[0].device)


def with_wider_network(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a solver for a wider network that computes the same function: it converges, first by steps that have to
    lower the loss.
    """
    phase = Phase()
    phase.damping = state["phase"]["damping"]
    phase.converge()
    return {**state, "radius": _START, "phase": phase.state_dict(), "natural": NaturalSteps().state_dict()}


class _System:
    """The errors of a network and its problem on some points: r now, and after a step d."""

    def __init__(self, solver: GaussNewton, points: Points, weights: Weights, point_weights: Points | None):
        self._of = solver.network, solver.problem, points, weights
        self._scales, self._assign, self._form = solver.coefficient_scales, solver._assign, solver.form
        self.start = flatten(solver._parameters, solver._parameters[0].device, solver._units)
        self.r = self.errors()
        check_start(solver.network, solver.problem, points, self.r)
        assert solver.weights is not None
        self.losses = losses_by_condition(solver.network, solver.problem, points, self.r, solver.weights, point_weights)

    def errors(self) -> Tensor:
        return scaled_errors(*self._of)

    def errors_after(self, d: Tensor) -> Tensor:
        self._assign(self.start + d)
        return self.errors()

    def jacobian(self) -> ScaledJacobian:
        spread = chosen_form(self._form, len(self.r), len(self.start)) == "parameters"
        return ScaledJacobian(*self._of, self._scales, spread)


class _Trial:
    """Tries the step of a given length: (true decrease over the promised one, damping, loss, step)."""

    def __init__(
        self,
        system: DampedLeastSquares,
        A: ScaledJacobian,
        r: Tensor,
        errors_after: Callable[[Tensor], Tensor],
        corrections: int,
    ):
        self.system, self.A, self.r = system, A, r
        self.errors_after, self.corrections = errors_after, corrections

    def __call__(self, length: float) -> tuple[float, float, float, Tensor]:
        mu = self.system.damping(length)
        d = self.system.step(mu)
        Ad = self.A.matvec(d)
        promised = dot(Ad, Ad) + 2 * mu * dot(d, d)  # |r|^2 - |r + A d|^2
        after = self.errors_after(d)
        loss = dot(after, after)
        limit = _CURVED * norm(d)
        for _ in range(self.corrections if isfinite(loss) else 0):
            corrected = self.system.apply(after - Ad, mu)
            by = norm(corrected - d)
            if not by < limit:
                break
            bent = self.errors_after(corrected)
            found = dot(bent, bent)
            if not found < loss:
                break
            worth = found < _WORTH * loss
            loss, d, after, limit = found, corrected, bent, _CONTRACTION * by
            if not worth:
                break
            Ad = self.A.matvec(d)
        ratio = (dot(self.r, self.r) - loss) / promised if promised > 0 else -1.0
        return ratio if isfinite(ratio) else -1.0, mu, loss, d
