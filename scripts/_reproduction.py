"""What the reproduction scripts share: arguments, checks of claims, and the files that they write.

A reproduction states claims; each becomes a `Check` whose verdict follows from numbers by a criterion that it states.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinntk._util.files import replacing

SCRIPTS: tuple[str, ...] = (  # all of them, which the tests run with --quick
    "circle_kernel",
    "trained_ensemble",
    "random_functions",
    "principal_components",
    "linearized_network",
    "poisson_spectra",
    "infinite_width",
    "kernel_drift",
    "poisson_weights",
    "boundary_weight_sweep",
    "wave_weights",
    "kernel_similarity",
    "nonlinear_operator",
    "pointwise_weights",
    "fourier_features",
    "multiscale_features",
    "multiscale_networks",
    "multigrid_fno",
)

AGREES, IN_KIND, DIFFERS = "agrees", "agrees in kind", "differs"
BLUE, RED, GREEN, VIOLET, GRAY = "#1a56c4", "#c2410c", "#0f766e", "#7c3aed", "#5f6368"


@dataclass(frozen=True)
class Check:
    """One claim against the computation.

    claim: what the paper says, in a sentence
    published: the number or statement there
    ours: what was found
    verdict: `AGREES`; `IN_KIND` where the direction holds and the number does not, or none was published; `DIFFERS`
    criterion: what the verdict was decided by
    """

    claim: str
    published: str
    ours: str
    verdict: str
    criterion: str

    def __post_init__(self):
        if self.verdict not in (AGREES, IN_KIND, DIFFERS):
            raise ValueError(f"verdict={self.verdict!r}: one of {(AGREES, IN_KIND, DIFFERS)}")


def parser(script: str, description: str) -> argparse.ArgumentParser:
    """--quick and --out, which every reproduction has. script: its __file__; description: its docstring."""
    name = Path(script).stem
    made = argparse.ArgumentParser(prog=f"{name}.py", description=description.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="seconds, for a look: too small to decide a claim")
    made.add_argument("-o", "--out", type=Path, default=Path("runs") / name, help="folder of the figure and of result.json")
    return made


def finish(script: str, out: Path, drawn: Figure, numbers: Mapping[str, Any], checks: Sequence[Check]) -> dict[str, Any]:
    """Writes `<script>.png` and `result.json` into `out`, prints the checks at 80 columns, returns what result.json holds."""
    name = Path(script).stem
    result = {"script": name, **numbers, "checks": [asdict(check) for check in checks]}
    with replacing(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    with replacing(out / f"{name}.png") as temporary:
        drawn.savefig(temporary, format="png", dpi=130)
    for check in checks:
        print(textwrap.fill(check.claim, 78))
        for label, text in (("published", check.published), ("found", check.ours), ("verdict", check.verdict)):
            print(textwrap.fill(f"{label:<10} {text}", 78, initial_indent="  ", subsequent_indent=13 * " "))
    print(f"written to {out}: result.json, {name}.png")
    return result


def tidy(axes: Sequence[Axes], legends: bool = True) -> None:
    """The look of all reproductions: light grid, no box, small legends."""
    for ax in axes:
        if legends and ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
