"""Self-scaled quasi-Newton methods of the Broyden class, with a dense inverse Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pinntk._util.memory import require
from pinntk._util.warn import warn_user
from pinntk.residuals import NonFiniteError
from pinntk.residuals._values import check_real_parameters
from pinntk.solvers._line_search import Number, Trial, strong_wolfe
from pinntk.solvers._vector import assign, flatten

VARIANTS = ("ssbroyden", "ssbfgs", "bfgs")

_MOST_PARAMETERS = 20_000  # H takes 3.2 GB there
_STRIP = 128  # rows of H updated and mirrored at a time


class SelfScaledBroyden(Optimizer):
    r"""theta <- theta - alpha H g, with H the inverse Hessian of the self-scaled Broyden class and a strong Wolfe line search.

    params: one group, at most 20,000 parameters in all: H is (p, p) in float64, on the device of the first
    variant: "ssbroyden" (of the three, the most accurate for PINNs), "ssbfgs" (Al-Baali's scaling of BFGS) or "bfgs";
        see `update`
    iterations: quasi-Newton iterations in one call of `step`. Each call evaluates the closure once more, where it starts

    The closure evaluates the loss and leaves its gradient, as for `torch.optim.LBFGS`. The line search sets the length of
    every step, so there is no learning rate, and a schedule changes nothing. It is that of torch's L-BFGS, its first trial
    that of scipy's BFGS. A loss or gradient that is not finite counts as a step too long; where a step begins with one, it
    raises NonFiniteError, naming the parameter.

    Where no step along -H g lowers the loss, H becomes a multiple of the identity; where -g does not help either, the
    parameters stay, `stalled` is True and a warning is given. Steps go on once the loss is another (fresh points, for example).

    Raises ValueError for several groups, too many or complex parameters, or an unknown variant; MemoryError where H does not
    fit.

    Urban, Stefanou & Pons 2025 (JCP 523:113656, arXiv 2405.04230) and Kiyani et al. 2025 (CMAME 446:118308,
    arXiv 2501.16371), after Al-Baali 1998 (Comput. Optim. Appl. 9:191).

    >>> x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    >>> optimizer = SelfScaledBroyden([x], iterations=50)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    ...     loss.backward()
    ...     return loss
    >>> start = optimizer.step(closure)
    >>> bool((x - 1).abs().max() < 1e-10)
    True
    """

    def __init__(self, params: Iterable[Tensor], *, variant: str = "ssbroyden", iterations: int = 1):
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r} is unknown; use one of {', '.join(VARIANTS)}")
        if not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"iterations={iterations!r}: a whole number of at least 1")
        # Schedules and the trainer's log want an "lr".
        super().__init__(params, {"lr": 1.0, "variant": variant, "iterations": iterations})
        if len(self.param_groups) != 1:
            raise ValueError(
                f"{len(self.param_groups)} parameter groups; SelfScaledBroyden needs exactly one, for its H couples them all"
            )
        check_real_parameters({str(i): p for i, p in enumerate(self._parameters)}, "SelfScaledBroyden")
        p = sum(parameter.numel() for parameter in self._parameters)
        if p > _MOST_PARAMETERS:
            raise ValueError(
                f"{p} parameters need an inverse Hessian of {8 * p * p / 2**30:.0f} GiB, {p} x {p}; use LBFGS above "
                f"{_MOST_PARAMETERS} parameters"
            )
        require(8 * p * p, f"the inverse Hessian of {p} parameters", "use LBFGS", self._parameters[0].device)

    @property
    def stalled(self) -> bool:
        """Whether the last step found no lower loss."""
        return self._memory.get("stalled_at") is not None

    @property
    def inverse_hessian(self) -> Tensor | None:
        """H, (p, p), None before the first step."""
        return self._memory.get("H")

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]  # there is no step without a closure
        """Returns the loss before the step."""
        closure = torch.enable_grad()(closure)
        before = closure()
        f, g = float(before), self._gradient()
        self._check_finite(f)
        for _ in range(self.param_groups[0]["iterations"]):
            if self._memory.get("stalled_at") == f:
                break
            f, g = self._iterate(closure, f, g)
        return before

    def _check_finite(self, loss: float) -> None:
        if not isfinite(loss):
            raise NonFiniteError(
                f"the loss that SelfScaledBroyden starts from is {loss}; look for a logarithm, root or division, and at the "
                "parameters"
            )
        for i, parameter in enumerate(self._parameters):
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                raise NonFiniteError(
                    f"the gradient that SelfScaledBroyden starts from is NaN or infinite in parameter {i}, of shape "
                    f"{tuple(parameter.shape)}, while the loss is {loss:.3g}; look for a root or a norm at 0, or for a "
                    "torch.where whose other branch is not finite"
                )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As for any optimizer; H stays in float64 whatever the parameters' dtype."""
        super().load_state_dict(dict(state_dict))
        for saved in state_dict["state"].values():
            self._memory["H"] = saved["H"].to(self._parameters[0].device, torch.float64, copy=True)

    def _iterate(self, closure: Callable[[], Tensor], f: float, g: Tensor) -> tuple[float, Tensor]:
        """One step and update of H; returns the loss and gradient after it."""
        memory = self._memory
        if not memory:
            H = torch.eye(len(g), dtype=torch.float64, device=g.device)
            # As if the loss had fallen by |g| / 2: the first step then has length 1 at most, as in scipy's BFGS.
            memory.update(H=H, is_identity=True, scale=None, stalled_at=None, previous_loss=f + float(g.norm()) / 2)
        x = self._position()
        while True:
            d = -(memory["H"] @ g)
            start = Trial(0.0, f, g, g.dot(d))
            if start.slope < 0:
                guess = 2.02 * (f - memory["previous_loss"]) / float(start.slope)
                found = self._search(closure, x, d, start, min(1.0, guess) if guess > 0 else 1.0)
                if found.loss < f:
                    break
            if memory["is_identity"]:
                return self._stall(x, f, g)
            memory["H"].zero_().fill_diagonal_(memory["scale"])
            memory["is_identity"] = True
        assign(self._parameters, x + found.length * d)
        s, y, alpha = self._position() - x, found.gradient - g, float(found.length)
        sy, yy, sBs = float(s.dot(y)), float(y.dot(y)), -alpha * float(s.dot(g))  # B s = -alpha g, as s = -alpha H g
        limits = torch.finfo(torch.float64)
        if min(sBs, yy) > limits.tiny and sy > max(limits.eps * float(s.norm() * y.norm()), limits.tiny):
            memory["scale"] = sy / yy
            update(memory["H"], s, y, sBs / sy, self.param_groups[0]["variant"])
            memory["is_identity"] = False
        memory["previous_loss"], memory["stalled_at"] = f, None
        return found.loss, found.gradient

    def _search(self, closure: Callable[[], Tensor], x: Tensor, d: Tensor, start: Trial, first: float) -> Trial:
        def evaluate(t: Number) -> tuple[float, Tensor]:
            assign(self._parameters, x + t * d)
            loss, gradient = float(closure()), self._gradient()
            if isfinite(loss) and bool(torch.isfinite(gradient).all()):
                return loss, gradient
            # A parabola from here whose minimum is at t / 4, where the search looks next.
            return start.loss - float(t * start.slope), d * (-3 * start.slope / d.dot(d))

        nothing = torch.finfo(self._parameters[0].dtype).eps * float(x.abs().max())
        return strong_wolfe(evaluate, d, start, first, smallest=nothing)

    def _stall(self, x: Tensor, f: float, g: Tensor) -> tuple[float, Tensor]:
        assign(self._parameters, x)
        if not self.stalled and g.any():
            warn_user(
                f"SelfScaledBroyden: no step lowers the loss of {f:.3e}, not even along the gradient; it is at rounding, or "
                "the closure gives another loss at each call. The parameters stay"
            )
        self._memory["stalled_at"] = f
        return f, g

    # The parameters as one vector in float64.

    @property
    def _parameters(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    @property
    def _memory(self) -> dict[str, Any]:
        return self.state[self._parameters[0]]

    def _position(self) -> Tensor:
        return flatten(self._parameters, self._parameters[0].device)

    def _gradient(self) -> Tensor:
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        return flatten(gradients, self._parameters[0].device)


def update(H: Tensor, s: Tensor, y: Tensor, b: float, variant: str) -> None:
    r"""The next inverse Hessian, in place, symmetric to the last bit:

        H+ = (H - H y y^T H / y^T H y + phi v v^T) / tau + s s^T / y^T s,  v = sqrt(y^T H y) (s / y^T s - H y / y^T H y)

    H: (p, p), symmetric positive definite, and so is H+ where y^T s > 0
    s, y: (p,), the step and the change of the gradient; H+ y = s
    b: s^T B s / y^T s with B = H^-1
    """
    Hy = H @ y
    ys, yHy = float(y.dot(s)), float(y.dot(Hy))
    h = yHy / ys
    tau, phi = scaling(b, h, len(H), variant)
    # The three rank-one terms in s and H y, gathered: U M U^T.
    U = torch.stack([s, Hy], 1)
    M = H.new_tensor([[(tau + phi * h) / ys, -phi / ys], [-phi / ys, (phi - 1) / yHy]]) / tau
    UM = U @ M
    # Rounding's asymmetry would grow by 1 / tau in every step, so only the lower triangle is computed, and mirrored.
    for start in range(0, len(H), _STRIP):
        rows = slice(start, start + _STRIP)
        stop = start + len(UM[rows])
        H[rows, :stop].addmm_(UM[rows], U[:stop].T, beta=1 / tau)
        H[:start, rows] = H[rows, :start].T
        block = H[rows, rows]
        block.copy_(block.tril() + block.tril(-1).T)


def scaling(b: float, h: float, p: int, variant: str) -> tuple[float, float]:
    """tau and phi from b = s^T B s / y^T s and h = y^T H y / y^T s, for p parameters.

    tau <= 1 enlarges H where its steps were too short; phi = 1 is BFGS, phi = 0 is DFP.
    "ssbroyden" takes theta (1 is DFP, 0 is BFGS) as close to (1 - b) / b as Al-Baali's interval [theta^-, theta^+] allows.
    """
    if variant == "bfgs":
        return 1.0, 1.0
    rho = min(1.0, 1 / b)
    if variant == "ssbfgs":
        return rho, 1.0
    a = max(h * b - 1, 0.0)  # by Cauchy and Schwarz, but for rounding
    c = sqrt(a / (1 + a))
    rho_minus = min(1.0, h / ((1 + a) * (1 + c)))  # h (1 - c), without cancellation
    theta_minus = (rho_minus - 1) / a if a > 0 else -inf
    theta = max(theta_minus, min(1 / rho_minus, (1 - b) / b))
    sigma = max(1 + theta * a, rho_minus)  # no less, by theta >= theta^-
    root = sigma ** (-1 / max(p - 1, 1))
    tau = min(rho * root, sigma) if theta <= 0 else rho * min(root, 1 / theta)
    return tau, (1 - theta) / sigma
