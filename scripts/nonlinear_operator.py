"""Wide networks do not make a nonlinear PINN lazy (Bonfanti, Bruno & Cipriani 2024, arXiv 2402.03864).

For a linear operator the kernel K(0) tends to a fixed one as the width grows, training no longer changes it, and the Hessian
of an error vanishes, all at least as width^-1/2, but for logarithms. For a nonlinear operator the error's derivatives hold u
itself: K(0) stays random, K changes in training, the Hessian does not vanish. Here for u_x + u = f and u u_x + u = f, both
with the solution 1 + sin(2 pi x) / 2, u given at x = 0. One hidden layer of erf units (like tanh, but the limit is known in
closed form) in the NTK parametrization; gradient descent on the sum of both mean squares, with one learning rate for all
widths. What stays random is u alone: with u and u_x of the network put into the infinite-width kernel, the rest vanishes as
width^-1/2 here too.

    python scripts/nonlinear_operator.py            3 minutes on 2 cores
    python scripts/nonlinear_operator.py --quick    seconds, for a look
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

import pinntk

OPERATORS = ("linear", "nonlinear")
QUANTITIES = {
    "spread": "spread of K(0) over seeds",
    "drift": "change of K in training",
    "hessian": "norm of the Hessian of r(1/2)",
    "from_limit": "K(0) from its limit for given u",
}
TOLERANCE = 0.15  # of the exponents -1/2 and 0


def problem(operator: str) -> pinntk.Problem:
    domain = pinntk.Box(x=(0, 1))

    def exact(x):
        return 1 + 0.5 * torch.sin(2 * pi * x)

    @pinntk.residual(domain)
    def linear(u, u_x, x):
        return u_x + u - pi * torch.cos(2 * pi * x) - exact(x)

    @pinntk.residual(domain)
    def nonlinear(u, u_x, x):
        return u * u_x + u - exact(x) * (1 + pi * torch.cos(2 * pi * x))

    @pinntk.boundary(domain.at(x=0))
    def start(u, x):
        return u - exact(x)

    return pinntk.Problem(domain, [{"linear": linear, "nonlinear": nonlinear}[operator], start], exact=exact, name=operator)


def drawn_network(of: pinntk.Problem, width: int, seed: int) -> pinntk.nn.MLP:
    return pinntk.nn.MLP(of, width=width, depth=1, activation="erf", parametrization="ntk", seed=seed, dtype=torch.float64)


def measured(operator: str, width: int, seeds: int, trained: int, steps: int) -> dict[str, float | list[float]]:
    """What QUANTITIES says, at one width: drift, Hessian and distance from the limit as medians; and the trained errors."""
    of = problem(operator)
    points = of.sample(method="grid", residual=40, boundary=1, dtype=torch.float64)
    exact = pinntk.infinite_kernel(drawn_network(of, 1, 0), of, points, at="exact")
    lr = 0.5 / float(exact.eigvalsh(dict.fromkeys(of.names, 1.0))[-1])
    kernels, distances, hessians, drifts, errors = [], [], [], [], []
    for seed in range(seeds):
        network = drawn_network(of, width, seed)
        K = pinntk.kernel(network, of, points)
        limit = pinntk.infinite_kernel(network, of, points, at=network).values
        kernels.append(K.values)
        distances.append(float((K.values - limit).norm() / limit.norm()))
        hessians.append(hessian_norm(network, of))
        if seed >= trained:
            continue
        run = pinntk.train(
            of,
            network,
            steps=steps,
            optimizer="gradient-descent",
            lr=lr,
            schedule="constant",
            points=points,
            eval_every=0,
            snapshot_every=0,
            progress=False,
        )
        drifts.append(float((pinntk.kernel(network, of, points).values - K.values).norm() / K.values.norm()))
        errors.append(run.relative_error)
    kernels = torch.stack(kernels)
    spread = kernels.var(0).sum().sqrt() / kernels.mean(0).norm()
    return {
        "spread": float(spread),
        "drift": float(np.median(drifts)),
        "hessian": float(np.median(hessians)),
        "from_limit": float(np.median(distances)),
        "drifts": drifts,
        "errors": errors,
        "lr": lr,
    }


def hessian_norm(network: nn.Module, of: pinntk.Problem, iterations: int = 40) -> float:
    """The spectral norm of the Hessian, in the parameters, of the residual at x = 1/2, by power iteration."""
    point = {of.names[0]: torch.full((1, 1), 0.5, dtype=torch.float64)}
    parameters = list(network.parameters())
    e = pinntk.errors(network, of, point, method="autograd")[of.names[0]][0]
    slopes = _flat(torch.autograd.grad(e, parameters, create_graph=True, materialize_grads=True))
    v = torch.randn(len(slopes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm = v.norm()
    for _ in range(iterations):
        v = _flat(torch.autograd.grad(slopes @ (v / norm), parameters, retain_graph=True, materialize_grads=True))
        norm = v.norm()
    return float(norm)


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def exponent(widths: list[int], values: Sequence[float]) -> float:
    """Of the power law in the width, by least squares in logarithms."""
    return float(np.polyfit(np.log(widths), np.log(values), 1)[0])


def checked(slopes: dict[str, dict[str, float]], curves: dict[str, dict[str, list[float]]]) -> list[reproduction.Check]:
    claims = {
        "spread": ("the kernel at initialization stays random however wide the network", "as width^-1/2"),
        "drift": ("the kernel changes in training however wide the network", "at least as width^-1/2"),
        # A unit's own block of the Hessian, over width^1/2: products of two normal numbers, the largest of all units.
        "hessian": ("the Hessian of the residual does not vanish with the width", "as log(width) width^-1/2"),
    }
    checks = []
    for key, (claim, rate) in claims.items():
        a, b = slopes["linear"]["hessian / log width" if key == "hessian" else key], slopes["nonlinear"][key]
        last = [curves[operator][key][-1] for operator in OPERATORS]
        vanishes = a <= TOLERANCE - 0.5 if key == "drift" else abs(a + 0.5) <= TOLERANCE
        without = ", its logarithm divided out," if key == "hessian" else ""
        checks.append(
            reproduction.Check(
                f"For u u_x + u = f {claim}; for u_x + u = f this vanishes.",
                "limits of infinite width: not 0, and 0",
                f"exponents of the width {b:.2f} and{without} {a:.2f}; at the largest width {last[1]:.2g} and {last[0]:.2g}",
                reproduction.AGREES
                if vanishes and abs(b) <= TOLERANCE
                else reproduction.IN_KIND
                if b > a + 0.25
                else reproduction.DIFFERS,
                f"exponents within {TOLERANCE} of 0, and falling {rate}; in kind where the first is larger by more than 1/4",
            )
        )
    own = slopes["nonlinear"]["from_limit"]
    checks.append(
        reproduction.Check(
            "What stays random in the nonlinear kernel is u at initialization: given u, it tends to a fixed kernel.",
            "exponent of the width -1/2 (the limit is a function of the Gaussian process u)",
            f"distance from the infinite-width kernel linearized at the network: exponent {own:.2f}",
            reproduction.AGREES if abs(own + 0.5) <= TOLERANCE else reproduction.DIFFERS,
            f"exponent within {TOLERANCE} of -1/2",
        )
    )
    return checks


def figure(widths: list[int], curves: dict[str, dict[str, list[float]]], slopes: dict[str, dict[str, float]]) -> Figure:
    drawn = Figure(figsize=(14, 3.6), layout="constrained")
    axes = drawn.subplots(1, len(QUANTITIES))
    for ax, (key, title) in zip(axes, QUANTITIES.items(), strict=True):
        for operator, color in zip(OPERATORS, (reproduction.BLUE, reproduction.RED), strict=True):
            label = f"{operator}: slope {slopes[operator][key]:.2f}"
            ax.loglog(widths, curves[operator][key], "o-", ms=3.5, lw=1.3, color=color, label=label)
        start = curves["linear"][key][0]
        ax.loglog(widths, start * (np.array(widths) / widths[0]) ** -0.5, ":", color=reproduction.GRAY, label="slope -1/2")
        ax.set(title=title, xlabel="width", ylabel="spectral norm" if key == "hessian" else "relative, Frobenius norm")
        ax.title.set_fontsize(10)
    reproduction.tidy(axes)
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, default=16, help="of the kernels at initialization; a quarter is trained")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args(argv)
    widths, seeds, steps = [50, 150, 400, 1200, 3600], arguments.seeds, arguments.steps
    if arguments.quick:
        widths, seeds, steps = [50, 200], 3, 5
    curves = {operator: {} for operator in OPERATORS}
    jobs = [(operator, width) for operator in OPERATORS for width in widths]
    for operator, width in tqdm(jobs, disable=None, desc="widths"):
        for key, value in measured(operator, width, seeds, max(1, seeds // 4), steps).items():
            curves[operator].setdefault(key, []).append(value)
    slopes = {operator: {key: exponent(widths, curves[operator][key]) for key in QUANTITIES} for operator in OPERATORS}
    slopes["linear"]["hessian / log width"] = exponent(widths, np.array(curves["linear"]["hessian"]) / np.log(widths))
    numbers = {
        "widths": widths,
        "seeds": seeds,
        "trained": max(1, seeds // 4),
        "steps": steps,
        "curves": curves,
        "slopes": slopes,
    }
    return reproduction.finish(__file__, arguments.out, figure(widths, curves, slopes), numbers, checked(slopes, curves))


if __name__ == "__main__":
    main()
