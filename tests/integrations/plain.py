"""The scripts of plain_scripts/, run small: as they are, and with the two lines that give them NTK weights.

    python -m tests.integrations.plain [NAME ...]

measures at their own sizes what the weights cost: processor time of an update and of a step, medians.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import torch

import pinntk

FOLDER = Path(__file__).parent / "plain_scripts"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


class Script(NamedTuple):
    """A script's name for NTKWeights' parameters, the line after which they are made, and the line that is replaced.

    small: constants for a test, by name; trained: what it has trained, from its variables
    """

    made: str
    after: str
    loss: tuple[str, str]
    small: Mapping[str, int]
    trained: Callable[[dict[str, Any]], Any]


SCRIPTS = {
    "advection_marching": Script(
        "ntk = pinntk.NTKWeights(net.parameters(), every=EVERY)",
        "optimizer = torch.optim.NAdam(net.parameters(), lr=1e-3)",
        ("loss = loss_pde + loss_ic", 'loss = ntk({"pde": loss_pde, "start": loss_ic})'),
        {"N": 12, "STEPS": 3, "WINDOWS": 2},
        lambda s: s["nets"],
    ),
    "allen_cahn_resnet": Script(
        "ntk = pinntk.NTKWeights(model.parameters(), every=EVERY)",
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)",
        ("loss = sum(losses.values())", "loss = ntk(losses)"),
        {"POINTS": 60, "ITERATIONS": 3},
        lambda s: [s["model"]],
    ),
    "burgers_class": Script(
        "self.ntk = pinntk.NTKWeights(self.dnn.parameters(), every=EVERY)",
        "self.optimizer_adam = torch.optim.Adam(self.dnn.parameters())",
        ("loss = loss_u + loss_f", 'loss = self.ntk({"u": loss_u, "f": loss_f})'),
        {"N_U": 12, "N_F": 14, "ADAM": 4, "LBFGS": 3},
        lambda s: [s["model"].dnn],
    ),
    "darcy_two_networks": Script(
        "ntk = pinntk.NTKWeights([velocity, pressure], every=EVERY)",
        "opt_p = torch.optim.Adam(pressure.parameters(), lr=5e-4)",
        (
            "loss = momentum_loss + mass_loss + pressure_loss + wall_loss",
            'loss = ntk({"darcy": momentum_loss, "mass": mass_loss, "pressure": pressure_loss, "walls": wall_loss})',
        ),
        {"N_COL": 9, "N_BND": 5, "EPOCHS": 3},
        lambda s: [s["velocity"], s["pressure"]],
    ),
    "heat_minibatches": Script(
        "ntk = pinntk.NTKWeights(net.parameters(), every=EVERY)",
        "optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)",
        ("loss = loss_r + loss_0 + loss_b", 'loss = ntk({"heat": loss_r, "start": loss_0, "walls": loss_b})'),
        {"N": 64, "BATCH": 32, "EPOCHS": 2},
        lambda s: [s["net"]],
    ),
    "helmholtz_fourier": Script(
        "ntk = pinntk.NTKWeights(pinn.parameters(), every=EVERY)",
        "sched = torch.optim.lr_scheduler.ExponentialLR(optim, gamma=0.9997)",
        ("total = domain_loss + edge_loss", 'total = ntk({"domain": domain_loss, "edge": edge_loss})'),
        {"N": 20, "STEPS": 3},
        lambda s: [s["pinn"]],
    ),
    "inverse_diffusion": Script(
        "ntk = pinntk.NTKWeights([net, log_D], every=EVERY)",
        'optimizer = torch.optim.Adam([{"params": net.parameters(), "lr": 1e-3}, {"params": [log_D], "lr": 1e-2}])',
        ("loss = 10.0 * mse_data + mse_pde", 'loss = ntk({"data": 10.0 * mse_data, "pde": mse_pde})'),
        {"READINGS": 9, "N": 11, "STEPS": 3},
        lambda s: [s["net"], s["log_D"]],
    ),
    "navier_stokes_trainer": Script(
        "self.ntk = pinntk.NTKWeights(self.model, every=EVERY)",
        "self.validation = []",
        ("return sum(losses.values())", "return self.ntk(losses)"),
        {"points": 8, "steps": 3, "validate_every": 2},
        lambda s: [s["trainer"].model],
    ),
    "oscillator_hard": Script(
        "ntk = pinntk.NTKWeights(theta, every=EVERY)",
        "theta = [W1, b1, W2, b2, W3]",
        ("loss = (e**2).mean() + (seen**2).mean()", 'loss = ntk({"equation": e, "seen": seen})'),
        {"POINTS": 15, "STEPS": 3},
        lambda s: s["theta"],
    ),
    "poisson_lbfgs": Script(
        "ntk = pinntk.NTKWeights(model.parameters(), every=EVERY)",
        "optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20, history_size=20)",
        ("loss = loss_pde + 100 * loss_bc", 'loss = ntk({"pde": loss_pde, "walls": 100 * loss_bc})'),
        {"N": 15, "M": 3, "CALLS": 3},
        lambda s: [s["model"]],
    ),
    "schrodinger": Script(
        "ntk = pinntk.NTKWeights(net.parameters(), every=EVERY)",
        "optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)",
        ("loss = loss_0 + loss_b + loss_f", 'loss = ntk({"start": loss_0, "periodic": loss_b, "equation": loss_f})'),
        {"N0": 7, "NB": 5, "NF": 9, "STEPS": 3},
        lambda s: [s["net"]],
    ),
    "wave_functional": Script(
        "ntk = pinntk.NTKWeights(params, every=EVERY)",
        "optimizer = torch.optim.AdamW(params.values(), lr=2e-3, weight_decay=0.0)",
        (
            "loss = r.pow(2).mean() + u0.pow(2).mean() + v0.pow(2).mean() + ub.pow(2).mean()",
            'loss = ntk({"wave": r, "start": u0, "velocity": v0, "walls": ub})',
        ),
        {"N": 16, "STEPS": 3},
        lambda s: [s["model"]],
    ),
}


LOOPS = {"STEPS": 24, "ITERATIONS": 24, "EPOCHS": 24, "ADAM": 24, "LBFGS": 1, "CALLS": 2, "WINDOWS": 1, "steps": 12}


def source(name: str, two_lines: bool = False, constants: Mapping[str, int] | None = None) -> str:
    """A script's text, with those constants, small unless given; with the two lines or as it is."""
    script, text = SCRIPTS[name], (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for constant, value in (script.small if constants is None else constants).items():
        text, count = re.subn(rf"^( *{constant}(?:: int)?) = \d+$", rf"\1 = {value}", text, flags=re.MULTILINE)
        assert count == 1, constant
    if two_lines:
        for line in (script.after, script.loss[0]):
            assert len(re.findall(rf"^ *{re.escape(line)}$", text, re.MULTILINE)) == 1, line
        text = re.sub(rf"^( *){re.escape(script.after)}$", rf"\g<0>\n\1{script.made}", text, flags=re.MULTILINE)
        text = text.replace(script.loss[0], script.loss[1])
    return text


def run(
    name: str,
    dtype: torch.dtype = torch.float64,
    two_lines: bool = False,
    constants: Mapping[str, int] | None = None,
    **variables: Any,
) -> dict[str, Any]:
    """The variables that a script leaves behind, with those that it has from the start."""
    text = source(name, two_lines, constants).replace("float32", str(dtype).removeprefix("torch."))
    text = text.replace(".float()", f".to(torch.{str(dtype).removeprefix('torch.')})")
    found = {"__name__": "__main__", **variables}
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        exec(compile(text, str(FOLDER / f"{name}.py"), "exec"), found)
    finally:
        torch.set_default_dtype(before)
    return found


def parameters(name: str, variables: dict[str, Any]) -> torch.Tensor:
    """All that a script has trained, as one vector."""
    parts = SCRIPTS[name].trained(variables)
    tensors = [p for part in parts for p in (part.parameters() if isinstance(part, torch.nn.Module) else [part])]
    return torch.cat([p.detach().flatten() for p in tensors])


class Timed(pinntk.NTKWeights):
    """Takes down the processor time of calls with an update, and of steps without one."""

    updates: list[float] = []
    steps_without: list[float] = []
    before = 0.0

    def __call__(self, losses, update=None):
        start, updates = process_time(), len(self.history)
        total = super().__call__(losses, update)
        end = process_time()
        if len(self.history) == updates:
            Timed.steps_without.append(end - Timed.before)
        elif updates:  # the first finds out how to read the graphs
            Timed.updates.append(end - start)
        Timed.before = end
        return total


def main(names: list[str]) -> None:
    print(f"{'script':24s} {'step':>9s} {'update':>9s}   of the time, every=100")
    for name in names or NAMES:
        Timed.updates, Timed.steps_without = [], []
        loops = {constant: LOOPS[constant] for constant in SCRIPTS[name].small if constant in LOOPS}
        loops |= {"EPOCHS": 1} if name == "heat_minibatches" else {}
        run(
            name,
            torch.float32,
            True,
            loops,
            pinntk=types.SimpleNamespace(NTKWeights=Timed),
            EVERY=4 if name != "poisson_lbfgs" else 1,
        )
        step, update = median(Timed.steps_without), median(Timed.updates)
        print(f"{name:24s} {1e3 * step:6.1f} ms {1e3 * update:6.1f} ms   {update / (100 * step):.1%}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
