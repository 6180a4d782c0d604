"""Gauss-Newton in function space: the step -A^T (A A^T + mu I)^-1 r on the scaled errors r of all conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any

from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk import trained_parameters
from pinntk.ntk._blocks import Weights
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._points import to_network
from pinntk.residuals._values import check_real_parameters
from pinntk.solvers._damped import DampedLeastSquares, check_form
from pinntk.solvers._jacobian import ScaledJacobian, check_start, loss_weights, losses_by_condition, scaled_errors
from pinntk.solvers._matrix_free import ConjugateGradients, MatrixFreeJacobian
from pinntk.solvers._solver import StepReport
from pinntk.solvers._vector import assign, flatten

Jacobian = ScaledJacobian | MatrixFreeJacobian
System = DampedLeastSquares | ConjugateGradients

_BOLDER, _SAFER = 4.0, 6.0  # factors of the damping from one try to the next
_BOLDEST = 2  # tries that may be taken in one step, so that a step that fits few points too well is soon noticed
_TRIES = 10
_PROBE = 0.1  # of the step: where its curvature is measured
_CURVED = 0.75  # 2 |a| / |d| beyond which the quadratic path means nothing (Transtrum & Sethna 2012)


class GaussNewton:
    r"""Levenberg-Marquardt on r = (sqrt(lambda_i / n_i) e_i), whose squared norm is the loss, with A = dr / dtheta:

        d = -A^T (A A^T + mu I)^-1 r,    a = -1/2 A^T (A A^T + mu I)^-1 r''(d),    theta <- theta + d + a

    a is the geodesic acceleration (Transtrum & Sethna 2012, arXiv 1201.5885): r''(d), the second derivative of the errors
    along d, costs one evaluation and turns the straight step into a parabola. The damping is found by trying: the boldest
    one whose true decrease of the loss is above `target` times the one that the linear model predicts.

    Momentum, in SPRING's form (Goldshlager, Abrahamsen & Lin 2024, arXiv 2401.10190): d minimizes |A d + r|^2 +
    mu |d - momentum d_previous|^2, so that the last step goes on in the directions that these points and this damping say
    little of. A step that it spoils is tried again without.

    weights: loss weights by condition; None takes the NTK weights of the first step's points, normalized to sum 1
    target: least ratio of true to predicted decrease of an accepted step
    acceleration: whether to add a
    momentum: in [0, 1)
    form: "kernel" (n x n), "parameters" (p x p), or "auto", the smaller; see `DampedLeastSquares`
    max_memory: of the dense factorizations; of the factors kept, if matrix_free
    matrix_free: steps by preconditioned conjugate gradients on products with A, for n and p beyond memory

    The network's parameters and the problem's coefficients are solved for together. Use float64, and fresh points in every
    step: on a fixed grid the loss falls to rounding and the error stays at the grid's.
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
        target: float = 0.1,
        acceleration: bool = True,
        momentum: float = 0.7,
        form: str = "auto",
        max_memory: int | str = "4GiB",
        matrix_free: bool = False,
    ):
        if not 0 < target < 1:
            raise ValueError(f"target={target!r}: a ratio between 0 and 1")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum!r}: at least 0 and below 1")
        check_form(form)
        self.network, self.problem = network, problem
        self.weights: Mapping[str, float] | None = None if weights is None else dict(weights)
        self.target, self.acceleration, self.form, self.max_memory = target, acceleration, form, max_memory
        self.matrix_free, self.momentum = matrix_free, momentum
        self.damping: float | None = None
        self._previous: Tensor | None = None  # the last step, if it was taken
        trained = trained_parameters(network, problem)
        check_real_parameters(trained, "GaussNewton")
        self._parameters = list(trained.values())
        self._checked = False

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
        A, system = self._system(points, weights, r)
        before, start = float(r @ r), flatten(self._parameters, self._parameters[0].device)
        losses = losses_by_condition(r, points, self.weights)
        mu = 1e-3 * A.squared_norm if self.damping is None else self.damping
        self.damping = mu = max(mu, 1e-30 * A.squared_norm)
        try:
            best = self._search(mu, system, A, r, current_errors, start)
        except BaseException:  # Ctrl-C included: no trial stays behind
            assign(self._parameters, start)
            raise
        if best is None:
            assign(self._parameters, start)
            self.damping, self._previous = 100 * mu, None
            note = f"no damping from {mu:.1e} to {mu * _SAFER ** (_TRIES - 1):.1e} lowers the loss"
            return StepReport(before, before, losses, 0.0, self.damping, False, note)
        self.damping, loss, d = best
        self._previous = d
        assign(self._parameters, start + d)
        return StepReport(before, loss, losses, float(d.norm()), self.damping, True)

    def _system(self, points: Points, weights: Weights, r: Tensor) -> tuple[Jacobian, System]:
        if self.matrix_free:
            products = MatrixFreeJacobian(self.network, self.problem, points, weights, self.max_memory)
            return products, ConjugateGradients(products, r)
        A = ScaledJacobian(self.network, self.problem, points, weights)
        return A, DampedLeastSquares(A, r, self.form, self.max_memory)

    def _search(
        self, mu: float, system: System, A: Jacobian, r: Tensor, errors: Callable[[], Tensor], start: Tensor
    ) -> tuple[float, float, Tensor] | None:
        """(damping, loss, step) of the boldest step, from damping mu on, whose decrease is as predicted; None if none is."""
        best: tuple[float, float, Tensor] | None = None
        kept = 0
        carried = None if self._previous is None or not self.momentum else self.momentum * self._previous
        for _ in range(_TRIES):
            loss, d, ratio = self._try(mu, carried, system, A, r, errors, start)
            if ratio <= self.target and best is None and carried is not None:
                carried = None
                continue
            if ratio > self.target:
                best, kept = (mu, loss, d), kept + 1
                mu /= _BOLDER
            elif best is None:
                mu *= _SAFER
            if best is not None and (ratio <= self.target or kept == _BOLDEST):
                break
        return best

    def _try(
        self,
        mu: float,
        carried: Tensor | None,
        system: System,
        A: Jacobian,
        r: Tensor,
        errors: Callable[[], Tensor],
        start: Tensor,
    ) -> tuple[float, Tensor, float]:
        """(true loss, step, true decrease over the predicted one) for one damping."""
        solved = system.solve(mu)
        d = solved.step if carried is None else solved.step + carried + solved.apply(A.matvec(carried))
        predicted = system.decrease(d)
        if self.acceleration:
            assign(self._parameters, start + _PROBE * d)
            curvature = 2 / _PROBE * ((errors() - r) / _PROBE - A.matvec(d))
            a = 0.5 * solved.apply(curvature)
            if 2 * a.norm() < _CURVED * d.norm():
                d = d + a
        assign(self._parameters, start + d)
        after = errors()
        loss = float(after @ after)
        ratio = (float(r @ r) - loss) / predicted if predicted > 0 else -1.0
        return loss, d, ratio if isfinite(ratio) else -1.0

    def state_dict(self) -> dict[str, Any]:
        return {"damping": self.damping, "weights": self.weights, "previous": self._previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.damping, previous = state["damping"], state["previous"]
        self._previous = None if previous is None else previous.to(self._parameters[0].device)
        self.weights = None if state["weights"] is None else dict(state["weights"])
