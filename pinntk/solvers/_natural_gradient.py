"""Energy natural gradient in kernel space, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.factorization import cholesky
from pinntk._util.memory import require
from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk import trained_parameters
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network
from pinntk.residuals._values import check_real_parameters
from pinntk.solvers._damped import check_form, chosen_form, normal_matrix
from pinntk.solvers._jacobian import ScaledJacobian, check_start, loss_weights, losses_by_condition, scaled_errors
from pinntk.solvers._phase import EXPLORE
from pinntk.solvers._solver import StepReport
from pinntk.solvers._vector import assign, dot, flatten, norm, units_of

_STEPS = tuple(2.0**-k for k in range(16))
_SHORT, _LONG = 2.0**-8, 0.25  # steps below and from which the damping rises and falls
_LARGEST_JITTER = -4  # decimal exponent, of the mean diagonal
_COPIES = 4  # of the matrix at once: the whole, its other triangle, with mu on the diagonal, its factor
_ROWS = 1024  # of A at once, where A^T A is formed


class NaturalGradient:
    r"""theta <- theta - eta phi with phi = m phi_prev + A^T (A A^T + mu I)^-1 (r - m A phi_prev).

    A is the scaled Jacobian, with rows sqrt(lambda_i / n_i) J_i, and r the errors scaled alike, so that the loss
    L = sum_i lambda_i mean(e_i^2) is |r|^2. A A^T, (n, n), comes from the kernel engine and A is never formed; with fewer
    parameters than points the same phi is (A^T A + mu I)^-1 A^T r, (p, p). Of the steps
    eta = 1, 1/2, ..., 2^-15 the one with the least true loss on the points is taken; where none lowers the loss the
    parameters stay, phi is forgotten, and the report has a note. mu rises tenfold after a step below 2^-8 or refused, and falls
    again after one of at least 1/4: with one mu for all steps a network just drawn may never take the first.

    network, problem: changed in place, the network's parameters and the problem's coefficients
    weights: loss weights lambda_i by condition, one for each; None takes NTK weights from the exact traces at the first step,
        with sum 1, and keeps them
    damping: the least mu, over the mean diagonal of A A^T, above 0
    momentum: m, in [0, 1); 0 is the energy natural gradient, without memory
    form: "kernel" (n x n), "parameters" (p x p), or "auto", the smaller
    coefficient_scales: {coefficient: s}, s a power of 2: it is moved as s times a number of size 1; 1 for the others

    Under torchrun every process makes it and gives it the same points, of which each takes its share; steps are those of one
    process, to rounding.

    Raises ValueError for settings out of range, and as `pinntk.kernel` does for points or a network that do not fit.

    Müller & Zeinhofer 2023 (ICML, arXiv 2302.13163); in kernel space Guzmán-Cordero et al. 2025 (arXiv 2505.12149, "ENGD-W");
    momentum from Goldshlager, Abrahamsen & Lin 2024 (J. Comput. Phys. 516:113351, arXiv 2401.10190, "SPRING").
    """

    phase = EXPLORE  # always: fresh points are best for it

    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        *,
        weights: Mapping[str, float] | None = None,
        damping: float = 1e-10,
        momentum: float = 0.0,
        form: str = "auto",
        coefficient_scales: Mapping[str, float] = MappingProxyType({}),
    ):
        if not 0 < damping < inf:
            raise ValueError(f"damping={damping!r}: a finite number above 0, a fraction of the mean diagonal of A A^T")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum!r}: at least 0 and below 1")
        check_form(form)
        self.network, self.problem, self.form = network, problem, form
        self.damping, self.momentum = damping, momentum
        self.weights: Mapping[str, float] | None = None if weights is None else dict(weights)
        self.coefficient_scales = dict(coefficient_scales)
        self._parameters = trained_parameters(network, problem)
        check_real_parameters(self._parameters, "NaturalGradient")
        distributed.same_everywhere(p.detach() for p in self._parameters.values())
        self._phi: Tensor | None = None
        self._raised = 1.0
        self._checked = False

    @property
    def size(self) -> int:
        """p, the number of parameters."""
        return sum(parameter.numel() for parameter in self._parameters.values())

    def explore(self) -> None:
        """Nothing changes."""

    def converge(self) -> None:
        """Nothing changes."""

    @without_autocast
    @with_threads_for(lambda self, points: of_step(self.network, self.problem, points))
    def step(self, points: Points, point_weights: Points | None = None) -> StepReport:
        """One step on these points, {condition: (n, d)}, which may be others at every call.

        point_weights: g (n,) of some conditions, for the loss lambda_i mean(g e_i^2); 1 for the others

        Raises NonFiniteError, naming condition and points, where the errors or their gradients are NaN or infinite, and
        MemoryError beforehand where the matrices of the form do not fit.
        """
        points = self.problem.check(points)
        if not self._checked:
            check_network(self.network, self.problem, points)
            self._checked = True
        self.weights, weights = loss_weights(self.weights, self.network, self.problem, points, point_weights)
        r = scaled_errors(self.network, self.problem, points, weights)
        check_start(self.network, self.problem, points, r)
        spread = chosen_form(self.form, len(r), self.size) == "parameters"
        self._require_memory(self.size if spread else len(r), r)
        losses = losses_by_condition(self.network, self.problem, points, r, self.weights, point_weights)
        loss = dot(r, r)
        A = ScaledJacobian(self.network, self.problem, points, weights, self.coefficient_scales, spread)
        phi, mu = self._direction(A, r, spread)
        parameters = list(self._parameters.values())
        units = units_of(self._parameters, self.coefficient_scales)
        start = flatten(parameters, r.device, units)
        best, eta = loss, 0.0
        for trial in _STEPS:
            assign(parameters, start - trial * phi, units)
            after = scaled_errors(self.network, self.problem, points, weights)
            found = dot(after, after)
            if found < best:
                best, eta = found, trial
        assign(parameters, start - eta * phi, units)
        self._adapt(eta)
        if eta:
            self._phi = phi
            return StepReport(loss, best, losses, eta * norm(phi), mu, True)
        self._phi = None
        note = f"no step from 1 to 2^-15 lowers the loss of {loss:.3e}; the damping rises tenfold"
        return StepReport(loss, loss, losses, 0.0, mu, False, note)

    def _adapt(self, eta: float) -> None:
        """A short step means that the linear model does not hold that far."""
        if eta < _SHORT:
            self._raised *= 10
        elif eta >= _LONG:
            self._raised = max(1.0, self._raised / 10)

    def state_dict(self) -> dict[str, Any]:
        """phi and the weights: with the parameters, all that the next step depends on."""
        phi = None if self._phi is None else self._phi.clone()
        state = {"phi": phi, "weights": self.weights, "raised": self._raised}
        return state | {"coefficient_scales": self.coefficient_scales}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        like = next(iter(self._parameters.values()))
        self._phi = None if state["phi"] is None else state["phi"].to(like.device, torch.float64, copy=True)
        self.weights = None if state["weights"] is None else dict(state["weights"])
        self._raised = state["raised"]
        self.coefficient_scales = dict(state["coefficient_scales"])

    def _require_memory(self, side: int, r: Tensor) -> None:
        with distributed.together(MemoryError):
            require(
                _COPIES * 8 * side**2,
                f"{_COPIES} times the matrix of {side} x {side} numbers for {len(r)} errors and {self.size} parameters",
                "give fewer points, or a smaller network",
                r.device,
            )

    def _direction(self, A: ScaledJacobian, r: Tensor, by_parameters: bool) -> tuple[Tensor, float]:
        """phi (p,), and mu."""
        carried = None
        if self.momentum and self._phi is not None:
            carried = self.momentum * self._phi
            r = r - A.matvec(carried)
        M = normal_matrix(A, A.row_blocks(_ROWS), r) if by_parameters else A.kernel()
        right, damping = A.rmatvec(r) if by_parameters else r, self.damping * self._raised
        size = M.diagonal().sum() / A.n  # the mean of the diagonal of A A^T

        def solve() -> list[Tensor]:
            factor, jitter = cholesky(
                M,
                "A^T A + mu I" if by_parameters else "A A^T + mu I",
                unit=size,
                damping=damping,
                largest=_LARGEST_JITTER,
                advice="raise the damping",
            )
            solved = torch.cholesky_solve(right.unsqueeze(1), factor).squeeze(1)
            return [solved, size.new_tensor((damping + jitter) * float(size))]

        found = distributed.tensors_of_first(solve, r)
        assert found is not None
        phi = found[0] if by_parameters else A.rmatvec(found[0])
        phi = phi if carried is None else phi + carried
        distributed.same_everywhere([phi])
        return phi, float(found[1])
