"""Wide networks train as their linearizations (Lee et al. 2019, theorem 2.1).

f_lin(x, t) = f(x, 0) + the first-order change in the parameters; its gradient descent is known in closed form from the kernel
at the start. The theorem bounds, for a width n, the largest difference |f - f_lin| over the training, the parameters' way
|theta_t - theta_0| / sqrt(n) and the change of the kernel by O(n^-1/2). The set-up is our own: 20 points drawn from N(0, 1) in
the plane, target x_1 x_2, tanh networks with 3 hidden layers in the NTK parametrization, 300 steps of lr 1.0 on
1/2 mean (f - y)^2; tests on the unit circle.

    python scripts/linearized_network.py            1 minute on one core
    python scripts/linearized_network.py --quick    seconds, for a look
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import _reproduction as reproduction
import circle_regression
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, GREEN, RED, VIOLET, Check, tidy
from circle_regression import WEIGHTS
from matplotlib.figure import Figure
from torch import Tensor

import pinntk
from pinntk._util.progress import over
from pinntk.diagnostics import drift, dynamics, parameter_drift

LR = 1.0


@dataclass(frozen=True)
class Trained:
    """One network beside its linearization, at the steps 0, every, 2 every, ...

    outputs, linearized: (moments, m) at the test points
    kernel: norm_F(K_T - K_0) / norm_F(K_0) on the training points
    parameters: norm(theta_T - theta_0) / sqrt(width)
    """

    steps: np.ndarray
    outputs: np.ndarray
    linearized: np.ndarray
    kernel: float
    parameters: float

    @property
    def difference(self) -> float:
        """sup over the steps of the root mean square of f - f_lin, in units of that of the change of f_lin."""
        size = np.sqrt(np.mean((self.linearized[-1] - self.linearized[0]) ** 2))
        return float(np.sqrt(np.mean((self.outputs - self.linearized) ** 2, 1)).max() / size)


def trained(width: int, seed: int, x: Tensor, test: Tensor, steps: int, every: int) -> Trained:
    network, problem, y = (
        circle_regression.network(width, seed, torch.float64, activation="tanh"),
        circle_regression.task(),
        circle_regression.product(x),
    )
    initial, points = copy.deepcopy(network), circle_regression.rows(x, y)
    K = pinntk.kernel(network, problem, points)
    cross = pinntk.cross_kernel(network, problem, circle_regression.rows(test), points)
    moments = np.arange(0, steps + 1, every)
    with torch.no_grad():
        outputs = [network(test)[:, 0].numpy()]
        predicted = dynamics(K, pinntk.errors(network, problem, points), WEIGHTS)
        for _ in moments[1:]:
            circle_regression.descend(network, x, y, every, LR)
            outputs.append(network(test)[:, 0].numpy())
    linearized = outputs[0] + predicted.changes_after(cross, moments, LR)["fit"]
    size = sqrt(sum(float(p.detach().square().sum()) for p in initial.parameters()) / width)
    change = drift(K, pinntk.kernel(network, problem, points)).kernel
    return Trained(moments, np.array(outputs), linearized, change, size * parameter_drift(initial, network))


def slope(widths: Sequence[int], values: np.ndarray) -> tuple[float, float]:
    """Power of the width, fitted seed by seed to (widths, seeds): mean and standard error."""
    slopes = np.polyfit(np.log(widths), np.log(values), 1)[0]
    return float(slopes.mean()), float(slopes.std(ddof=1) / sqrt(len(slopes)))


def measured(runs: Mapping[int, Sequence[Trained]]) -> dict[str, np.ndarray]:
    """{what: (widths, seeds)}."""
    return {
        what: np.array([[getattr(run, what) for run in row] for row in runs.values()])
        for what in ("difference", "kernel", "parameters")
    }


def checks(widths: Sequence[int], values: Mapping[str, np.ndarray]) -> list[Check]:
    def check(what: str, claim: str, exact: bool) -> Check:
        power, error = slope(widths, values[what])
        tight = abs(power + 0.5) <= 0.1
        bounded = power <= -0.4
        first, last = values[what].mean(1)[[0, -1]]
        faster = " (faster than the bound)" if power < -0.6 else ""
        return Check(
            claim,
            "O(n^-1/2)",
            f"power of the width {power:.2f} +- {error:.2f}{faster}; "
            f"mean {first:.2g} at width {widths[0]}, {last:.2g} at {widths[-1]}",
            AGREES if (tight if exact else bounded) else DIFFERS,
            "power within 0.1 of -1/2" if exact else "power at most -0.4, since the theorem is a bound",
        )

    return [
        check("difference", "The outputs of a network and of its linearization stay close throughout training.", False),
        check("parameters", "Parameters move by |theta_t - theta_0| = O(1), which is O(n^-1/2) over sqrt(n).", True),
        check("kernel", "The kernel hardly changes in training.", False),
    ]


def figure(widths: Sequence[int], runs: Mapping[int, Sequence[Trained]], values: Mapping[str, np.ndarray]) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    panels = drawn.subplots(1, 3)
    for ax, width in zip(panels, (widths[0], widths[-1]), strict=False):
        run = runs[width][0]
        shown = np.linspace(0, run.outputs.shape[1], 4, endpoint=False).astype(int)
        for i, (point, color) in enumerate(zip(shown, (BLUE, RED, GREEN, VIOLET), strict=True)):
            ax.plot(run.steps, run.outputs[:, point], color=color, lw=1.3, label="network" if i == 0 else None)
            ax.plot(run.steps, run.linearized[:, point], "k--", lw=1, label="linearized" if i == 0 else None)
        ax.set(title=f"width {width}: 4 test points", xlabel="step of lr 1.0", ylabel="output")
    labels = {
        "difference": "|f - f_lin|, relative",
        "parameters": r"$|\theta_T - \theta_0| / \sqrt{n}$",
        "kernel": "change of K, relative",
    }
    for (what, label), color in zip(labels.items(), (BLUE, GREEN, RED), strict=True):
        found, error = slope(widths, values[what])
        panels[2].loglog(np.repeat(widths, values[what].shape[1]), values[what].ravel(), ".", color=color, ms=3)
        panels[2].loglog(widths, values[what].mean(1), "o-", ms=4, color=color, label=f"{label}: {found:.2f} ± {error:.2f}")
    start = 2 * values["difference"].max()
    panels[2].loglog(widths, start * (np.array(widths) / widths[0]) ** -0.5, "--", color=GRAY, lw=1, label="slope -1/2")
    panels[2].set(title="over the width: fitted power", xlabel="width", ylabel="difference or change")
    tidy(panels)
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, help="networks of each width, 8 unless given")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    widths, steps, every = ((16, 32, 64, 128), 60, 10) if quick else ((32, 64, 128, 256, 512, 1024), 300, 5)
    seeds = arguments.seeds or (3 if quick else 8)
    if seeds < 2:
        parser.error("--seeds: at least 2, for a standard error")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8 if quick else 20, 2, generator=generator, dtype=torch.float64)
    test = circle_regression.circle(np.linspace(-np.pi, np.pi, 16 if quick else 40, endpoint=False))
    runs: dict[int, list[Trained]] = {width: [] for width in widths}
    for seed in over(range(seeds), "seeds"):
        for width in widths:
            runs[width].append(trained(width, seed, x, test, steps, every))
    values = measured(runs)
    numbers = {
        "points": len(x),
        "test_points": len(test),
        "widths": widths,
        "seeds": seeds,
        "steps": steps,
        "lr": LR,
        **{what: found.tolist() for what, found in values.items()},
        "slopes": {what: slope(widths, found) for what, found in values.items()},
    }
    return reproduction.finish(__file__, arguments.out, figure(widths, runs, values), numbers, checks(widths, values))


if __name__ == "__main__":
    main()
