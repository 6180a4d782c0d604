"""The kernel as similarity: how learning at one point of a PINN changes its errors at all others.

A step of gradient descent on one squared error e_j^2 alone changes every error by -2 lr K_ij e_j to first order, so that K_ij
says how far points i and j are one and the same to the network; C_ij = K_ij / sqrt(K_ii K_jj) is a cosine (Charpiat, Girard,
Felardos & Tarabalka 2019, NeurIPS). During training the kernel turns toward what is to be learnt (Kopitkov & Indelman 2020,
ICANN; Baratin et al. 2021, AISTATS). They show it for plain regression; here for the values u and the residuals r of
poisson1d and helmholtz2d: rows of C_uu, C_ur and C_rr at chosen points, before and after training.

    python scripts/kernel_similarity.py            2 minutes on 2 cores
    python scripts/kernel_similarity.py --quick    seconds, for a look
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import pinntk
from pinntk.problem import field_problem

SHARES = (1e-2, 1e-3, 1e-4, 1e-5)  # of the step 1 / (2 K_jj), which would bring e_j to 0 if nothing else changed
VALUE, WHEN = "value of u", ("before training", "after training")
SLOPE = 0.1  # tolerance of the order of the step's remainder


@dataclass(frozen=True)
class Case:
    """A problem, and the points where it learns: the value at `wall`, the residual at `inside`."""

    name: str
    settings: dict
    counts: tuple[int, ...]  # of the grid
    wall: tuple[float, ...]
    inside: tuple[float, ...]
    network: dict
    training: dict


CASES = (
    Case(
        name="poisson1d",
        settings={"k": 4},
        counts=(201,),
        wall=(0.0,),
        inside=(0.3,),
        network={"width": 64, "depth": 2},
        training={"steps": 4000, "weighting": pinntk.weighting.NTK(momentum=0.0), "points": {"residual": 100, "boundary": 100}},
    ),
    Case(
        name="helmholtz2d",
        settings={},
        counts=(33, 33),
        wall=(-1.0, 0.5),
        inside=(0.25, -0.375),
        network={"width": 48, "depth": 3},
        training={"steps": 4000, "weighting": pinntk.weighting.NTK(momentum=0.0), "points": {"residual": 500, "boundary": 100}},
    ),
)


class Similarity:
    """C between the values u and the residuals r of a network on a grid, and e there.

    cosines: {"uu", "ur", "rr": C} of all grid points, (m, m)
    """

    def __init__(self, network: nn.Module, problem: pinntk.Problem, grid: Tensor):
        (equation,) = (condition for condition in problem.conditions if condition.kind == "residual")
        self.problem = pinntk.Problem(problem.domain, [equation, *field_problem(problem).conditions])
        self.network, self.names = network, {"u": VALUE, "r": equation.name}
        self.points = dict.fromkeys(self.problem.names, grid)
        self.kernel = pinntk.kernel(network, self.problem, self.points)
        self.errors = self._errors(network)
        size = {kind: self.kernel.diagonal(name).sqrt() for kind, name in self.names.items()}
        self.cosines = {
            pair: self.kernel[tuple(self.names[kind] for kind in pair)] / (size[pair[0]][:, None] * size[pair[1]])
            for pair in ("uu", "ur", "rr")
        }

    def _errors(self, network: nn.Module) -> Tensor:
        with torch.no_grad():
            found = pinntk.errors(network, self.problem, self.points)
        return torch.cat([found[name] for name in self.problem.names])

    def remainder(self, kind: str, j: int, share: float, off: float) -> float:
        """|change - prediction| / |prediction| over all errors, of one step on the squared error j of that kind.

        off: that error, set by its label; what training has left of it would drown in rounding
        """
        name = self.names[kind]
        row = self.problem.names.index(name) * len(self.points[name]) + j
        lr = share / (2 * float(self.kernel.values[row, row]))
        moved = deepcopy(self.network)
        e_j = pinntk.errors(moved, self.problem, {name: self.points[name][j : j + 1]})[name][0]
        label = e_j.detach() - off
        gradients = torch.autograd.grad((e_j - label) ** 2, list(moved.parameters()), materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(moved.parameters(), gradients, strict=True):
                parameter -= lr * gradient
        predicted = -2 * lr * self.kernel.values[:, row] * off
        return float((self._errors(moved) - self.errors - predicted).norm() / predicted.norm())

    def alignment(self, target: Tensor) -> float:
        """<K_rr, y y^T> / (norm_F(K_rr) |y|^2), 0 to 1."""
        K = self.kernel[self.names["r"]]
        return float(target @ K @ target / (K.norm() * target.square().sum()))


@dataclass(frozen=True, eq=False)
class Found:
    case: Case
    axes: list[np.ndarray]
    at: dict[str, int]  # the grid point where u (at the wall) and r (inside) learn
    when: tuple[Similarity, Similarity]
    relative_error: float
    remainders: dict[str, list[float]]  # of both times, over SHARES
    alignment: tuple[float, float]

    def row(self, time: int, pair: str) -> np.ndarray:
        """How u or r everywhere changes where u or r learns at the chosen point: [*counts]."""
        learnt = self.at[pair[1]]
        return self.when[time].cosines[pair][:, learnt].reshape(self.case.counts).numpy()

    def spread(self, pair: str) -> tuple[float, ...]:
        """Mean |C| over all pairs of points, before and after training: 1 where all points are alike to the network."""
        return tuple(float(state.cosines[pair].abs().mean()) for state in self.when)


def examined(case: Case, quick: bool) -> Found:
    problem = pinntk.load(case.name, **case.settings)
    counts = tuple(1 + (n - 1) // 4 for n in case.counts) if quick else case.counts
    case = Case(**{**vars(case), "counts": counts, "training": {**case.training, **({"steps": 20} if quick else {})}})
    grid = torch.from_numpy(problem.domain.grid(counts))
    at = {kind: int((grid - torch.tensor(p)).norm(dim=1).argmin()) for kind, p in (("u", case.wall), ("r", case.inside))}
    network = pinntk.nn.MLP(problem, **case.network, dtype=torch.float64)
    before = Similarity(deepcopy(network), problem, grid)
    run = pinntk.train(problem, network, lr=2e-3, sampling="uniform", snapshot_every=0, **case.training)
    after = Similarity(network, problem, grid)
    start = dict(zip(before.problem.names, before.errors.split(len(grid)), strict=True))
    target = start[before.names["r"]]
    size = {kind: float(start[name].square().mean().sqrt()) for kind, name in before.names.items()}
    return Found(
        case=case,
        axes=[np.linspace(*bounds, n) for bounds, n in zip(problem.domain.bounds, counts, strict=True)],
        at=at,
        when=(before, after),
        relative_error=run.relative_error,
        remainders={
            f"{kind}, {WHEN[i]}": [state.remainder(kind, j, share, size[kind]) for share in SHARES]
            for i, state in enumerate((before, after))
            for kind, j in at.items()
        },
        alignment=(before.alignment(target), after.alignment(target)),
    )


def checked(found: list[Found]) -> list[reproduction.Check]:
    curves = [curve for part in found for curve in part.remainders.values()]
    slopes = [float(np.polyfit(np.log(SHARES[1:]), np.log(curve[1:]), 1)[0]) for curve in curves]
    smallest = max(curve[-1] for curve in curves)
    first_order = all(abs(slope - 1) <= SLOPE for slope in slopes) and smallest < 1e-2
    largest = max(float(C.abs().max()) for part in found for state in part.when for C in state.cosines.values())
    spread = [(part.case.name, *part.spread("rr")) for part in found]
    alignment = [(part.case.name, *part.alignment) for part in found]
    return [
        reproduction.Check(
            "One gradient step on the single error e_j^2 changes every error e_i by -2 lr K_ij e_j, up to terms of order lr^2.",
            "the remainder falls in proportion to lr",
            f"relative remainder ~ lr^{min(slopes):.2f}..{max(slopes):.2f}; at most {smallest:.1e} at 1e-5 of the step that "
            "would clear e_j",
            reproduction.AGREES if first_order else reproduction.DIFFERS,
            f"all exponents over the three smallest steps within {SLOPE} of 1, and the last remainder below 1e-2",
        ),
        reproduction.Check(
            "C_ij = K_ij / sqrt(K_ii K_jj) is a cosine, also between values and residuals: 1 for points that the network "
            "cannot tell apart.",
            "|C| <= 1",
            f"largest |C| {largest:.12f}",
            reproduction.AGREES if largest <= 1 + 1e-9 else reproduction.DIFFERS,
            "largest |C| at most 1 + 1e-9",
        ),
        reproduction.Check(
            "Training makes residuals at different points less alike: what is learnt of r stays closer to its point.",
            "no number published",
            "; ".join(f"{name}: mean |C_rr| {before:.2f} -> {after:.2f}" for name, before, after in spread),
            reproduction.IN_KIND if all(after < before for _, before, after in spread) else reproduction.DIFFERS,
            "mean |C_rr| over all pairs of points smaller after training, in both problems",
        ),
        reproduction.Check(
            "Training turns the kernel toward what is learnt: its alignment with the initial residual grows.",
            "it grows (plain regression; no number for PINNs)",
            "; ".join(f"{name}: {before:.2f} -> {after:.2f}" for name, before, after in alignment),
            reproduction.IN_KIND if all(after > before for _, before, after in alignment) else reproduction.DIFFERS,
            "alignment of K_rr larger after training, in both problems",
        ),
    ]


def figure(found: list[Found]) -> Figure:
    drawn = Figure(figsize=(15, 11.5), layout="constrained")
    grid = drawn.add_gridspec(4, 4)
    for i, part in enumerate(found):
        for time in (0, 1):
            for j, pair in enumerate(("uu", "ur", "rr")):
                draw_row(drawn, drawn.add_subplot(grid[2 * i + time, j]), part, time, pair)
    step, bars = drawn.add_subplot(grid[:2, 3]), drawn.add_subplot(grid[2:, 3])
    for part, dashes in zip(found, ("-", "--"), strict=True):
        for (label, curve), color in zip(
            part.remainders.items(), (reproduction.BLUE, reproduction.RED, reproduction.GREEN, reproduction.VIOLET), strict=True
        ):
            step.loglog(SHARES, curve, dashes, marker=".", color=color, label=f"{part.case.name}, {label}", lw=1.2)
    step.loglog(SHARES, SHARES, color=reproduction.GRAY, ls=":", label="in proportion to lr")
    step.set(
        title="a single step on $e_j^2$",
        ylim=(1e-11, 0.3),
        xlabel="lr, relative to $1 / (2 K_{jj})$",
        ylabel="relative remainder",
    )
    place = np.arange(len(found))
    for i, color in enumerate((reproduction.GRAY, reproduction.BLUE)):
        bars.bar(place + 0.38 * (i - 0.5), [part.alignment[i] for part in found], 0.36, color=color, label=WHEN[i])
    bars.set_xticks(place, [part.case.name for part in found])
    bars.set(title="alignment of $K_{rr}$ with y", ylabel=r"$y^T K y\;/\;(\|K\|_F\,|y|^2)$")
    reproduction.tidy((step, bars))
    step.legend(frameon=False, fontsize=7, loc="lower right")
    return drawn


def draw_row(drawn: Figure, ax: Axes, part: Found, time: int, pair: str) -> None:
    name, values = part.case.name, part.row(time, pair)
    learnt = part.case.wall if pair[1] == "u" else part.case.inside
    ax.set_title(f"{name}, {WHEN[time]}: {pair[1]} learns, {pair[0]} changes", fontsize=9)
    if len(part.axes) == 1:
        ax.plot(part.axes[0], values, color=reproduction.BLUE, lw=1.4)
        ax.axvline(learnt[0], color=reproduction.RED, ls=":", lw=1.2)
        ax.set(xlabel="x", ylabel=f"$C_{{{pair}}}$", ylim=(-1.05, 1.05))
        reproduction.tidy((ax,))
        return
    image = ax.pcolormesh(*part.axes, values.T, cmap="RdBu_r", vmin=-1, vmax=1, shading="nearest", rasterized=True)
    ax.plot(*learnt, "o", mfc="none", mec="black", ms=7, clip_on=False)
    ax.set(xlabel="x", ylabel="y", aspect="equal")
    drawn.colorbar(image, ax=ax, label=f"$C_{{{pair}}}$")


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    arguments = parser.parse_args(argv)
    found = [examined(case, arguments.quick) for case in CASES]
    numbers = {
        "shares_of_the_step": SHARES,
        "problems": {
            part.case.name: {
                **{key: vars(part.case)[key] for key in ("settings", "counts", "wall", "inside", "network", "training")},
                "relative_l2_after_training": part.relative_error,
                "remainders": part.remainders,
                "mean_absolute_cosine": {pair: part.spread(pair) for pair in ("uu", "ur", "rr")},
                "alignment": part.alignment,
            }
            for part in found
        },
    }
    return reproduction.finish(__file__, arguments.out, figure(found), numbers, checked(found))


if __name__ == "__main__":
    main()
