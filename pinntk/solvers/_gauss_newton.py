"""Gauss-Newton in function space: the step -A^T (A A^T + mu I)^-1 r on the scaled errors r of all conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import exp, isfinite, log
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk import trained_parameters
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._points import to_network
from pinntk.residuals._values import check_real_parameters
from pinntk.solvers._damped import SQUARED, DampedLeastSquares, check_form
from pinntk.solvers._jacobian import ScaledJacobian, check_start, loss_weights, losses_by_condition, scaled_errors
from pinntk.solvers._phase import CONVERGE, EXPLORE, Phase
from pinntk.solvers._solver import StepReport
from pinntk.solvers._vector import assign, flatten

_WINDOW = 3.0  # between the radius and the least and greatest one that are tried
_START = 1.0  # the first radius
_CURVED = 0.375  # of the step: a first correction beyond it means nothing (Transtrum & Sethna 2012)
_CONTRACTION = 0.75  # of a correction: the next one must be below it
_ROUNDED = 100  # times the change by the last digits of all parameters: a loss below that has none of its own
_SHORTEST = 1e-12  # radius, of the norm of the parameters: from shorter ones it would not recover on other points
_WORTH = 0.9  # of the loss: what a correction must leave for another one to be tried


class GaussNewton:
    r"""Levenberg-Marquardt in a trust region, with corrections.

    It is on r = (sqrt(lambda_i / n_i) e_i), whose squared norm is the loss. With A = dr / dtheta, of which one factorization
    serves for every mu, a step goes through

        d_1 = -A^T (A A^T + mu I)^-1 r,    d_(j+1) = -A^T (A A^T + mu I)^-1 (r(theta + d_j) - A d_j)

    **Length.** Some radii around the length of the last step, each with the mu for which |d_1| is that, are judged by the true
    loss. The step goes as far as its decrease stays above `target` times the one that the linear model promises of d_1 (Webb,
    Jerad & Cartis, arXiv 2607.02194). Singular values of A are used down to rounding, or the error would stay at its root.

    **Corrections.** r(theta + d_j) - A d_j are the errors that the straight line through theta + d_j would start from. They
    bend the step along a curved valley, in which straight steps are short. The first is the geodesic acceleration (Transtrum &
    Sethna 2012, arXiv 1201.5885). Each costs an evaluation, a hundredth of a factorization, and is kept if it lowers the loss.

    **Phases.** It explores with long steps, until mu is small and the loss no longer halves in 20 steps. Then it converges, by
    steps that keep to `final` of what is promised. Use fresh points in every step while it explores, and the same ones when
    it converges; `phase` is the one of the next step.

    weights: loss weights by condition; None takes the NTK weights of the first step's points, normalized to sum 1
    target, final: least ratio of true to promised decrease while exploring and while converging, between 0 and 1
    radii: how many are tried, at least 2
    corrections: how many there are at most; 0 for straight steps
    form: "kernel" (n x n), "parameters" (p x p), or "auto", the smaller; see `DampedLeastSquares`
    max_memory: of the dense factorizations

    The network's parameters and the problem's coefficients are solved for together. Use float64.
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
        final: float = 0.5,
        radii: int = 8,
        corrections: int = 10,
        form: str = "auto",
        max_memory: int | str = "4GiB",
    ):
        for name, value in {"target": target, "final": final}.items():
            if not 0 < value < 1:
                raise ValueError(f"{name}={value!r}: a ratio between 0 and 1")
        if radii < 2:
            raise ValueError(f"radii={radii!r}: at least 2")
        if corrections < 0:
            raise ValueError(f"corrections={corrections!r}: at least 0")
        check_form(form)
        self.network, self.problem = network, problem
        self.weights: Mapping[str, float] | None = None if weights is None else dict(weights)
        self.target, self.final, self.radii = target, final, radii
        self.corrections, self.form, self.max_memory = corrections, form, max_memory
        self.radius = _START
        self._phase = Phase()
        trained = trained_parameters(network, problem)
        check_real_parameters(trained, "GaussNewton")
        self._parameters = list(trained.values())
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
        damping, self._phase = self._phase.damping, Phase()
        self._phase.damping = damping

    def converge(self) -> None:
        """Converges from the next step on, which is to be on the same points."""
        self._phase.converging = True

    @without_autocast
    @with_threads_for(lambda self, points: of_step(self.network, self.problem, points))
    def step(self, points: Points, point_weights: Points | None = None) -> StepReport:
        """One step on `points`, {condition: (n, d)}. The parameters change only if the loss on them falls.

        point_weights: g (n,) of some conditions, for the loss lambda_i mean(g e_i^2); 1 for the others

        Raises NonFiniteError, naming condition and points, where the errors or their gradients are NaN or infinite.
        """
        if not self._checked:
            points = self.problem.check(points)
            check_network(self.network, self.problem, points)
            self._checked = True
        points = to_network(self.network, points)
        self.weights, weights = loss_weights(self.weights, self.network, self.problem, points, point_weights)
        current_errors = partial(scaled_errors, self.network, self.problem, points, weights)
        r = current_errors()
        check_start(self.network, self.problem, points, r)
        A = ScaledJacobian(self.network, self.problem, points, weights)
        converging = self._phase.converging
        orthogonal = converging or self._phase.damping < SQUARED
        system = DampedLeastSquares(A, r, self.form, self.max_memory, orthogonal)
        start = flatten(self._parameters, self._parameters[0].device)
        losses = losses_by_condition(self.network, self.problem, points, r, self.weights, point_weights)
        trial = _Trial(system, A, r, current_errors, self._parameters, start, self.corrections)
        self.radius = max(self.radius, _SHORTEST * max(float(start.norm()), 1.0))
        before = float(r @ r)
        try:
            mu, loss, d = self._longest(trial, self.final if converging else self.target)
            accepted = loss < before
            noise = 0.0 if accepted else self._rounding(r, current_errors, start)
        finally:  # after Ctrl-C too: no trial stays behind
            assign(self._parameters, start)
        relative = mu / system.largest if system.largest else 1.0
        if not accepted:
            self.radius /= _WINDOW
            note = f"a step of length {float(d.norm()):.1e}, the shortest tried, does not lower the loss"
            if before < _ROUNDED * noise:
                note = "the loss is rounding: the last digits of the parameters change the errors by a tenth or more"
            return StepReport(before, before, losses, 0.0, mu, False, note, relative)
        self.radius = float(d.norm())
        self._phase.advance(relative, before)
        assign(self._parameters, start + d)
        return StepReport(before, loss, losses, self.radius, mu, True, "", relative)

    def _rounding(self, r: Tensor, errors: Callable[[], Tensor], start: Tensor) -> float:
        """|r(theta) - r|^2 with every parameter changed by one unit in its last place, up and down in turn."""
        units = torch.cat([start.new_full((p.numel(),), torch.finfo(p.dtype).eps) for p in self._parameters])
        units[1::2] *= -1
        assign(self._parameters, start * (1 + units))
        change = errors() - r
        return float(change @ change)

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
                if shorter is not None:
                    share = (least - target) / (least - ratio)
                    tried = trial(exp(at - (1 - share) * spacing))
                    tried = tried if tried[0] > 0 else shorter
                break
            least = min(least, ratio)
        assert tried is not None
        return tried[1:]

    def state_dict(self) -> dict[str, Any]:
        return {"radius": self.radius, "weights": self.weights, "phase": self._phase.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.radius = state["radius"]
        self.weights = None if state["weights"] is None else dict(state["weights"])
        self._phase.load_state_dict(state["phase"])


class _Trial:
    """Tries the step of a given length: (true decrease over the promised one, damping, loss, step)."""

    def __init__(
        self,
        system: DampedLeastSquares,
        A: ScaledJacobian,
        r: Tensor,
        errors: Callable[[], Tensor],
        parameters: list[Tensor],
        start: Tensor,
        corrections: int,
    ):
        self.system, self.A, self.r, self.errors = system, A, r, errors
        self.parameters, self.start, self.corrections = parameters, start, corrections

    def __call__(self, length: float) -> tuple[float, float, float, Tensor]:
        mu = self.system.damping(length)
        d = self.system.step(mu)
        Ad = self.A.matvec(d)
        promised = float(Ad @ Ad) + 2 * mu * float(d @ d)  # |r|^2 - |r + A d|^2
        after = self._errors_at(d)
        loss = float(after @ after)
        limit = _CURVED * float(d.norm())
        for _ in range(self.corrections if isfinite(loss) else 0):
            corrected = self.system.apply(after - Ad, mu)
            by = float((corrected - d).norm())
            if not by < limit:
                break
            bent = self._errors_at(corrected)
            found = float(bent @ bent)
            if not found < loss:
                break
            worth = found < _WORTH * loss
            loss, d, after, limit = found, corrected, bent, _CONTRACTION * by
            if not worth:
                break
            Ad = self.A.matvec(d)
        ratio = (float(self.r @ self.r) - loss) / promised if promised > 0 else -1.0
        return ratio if isfinite(ratio) else -1.0, mu, loss, d

    def _errors_at(self, d: Tensor) -> Tensor:
        assign(self.parameters, self.start + d)
        return self.errors()
