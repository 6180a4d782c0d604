"""Rules about the network and its training: inputs, step size, precision, size."""

from __future__ import annotations

from math import isfinite, nan, sqrt

import numpy as np
import torch

from pinntk._util.numbers import number
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import (
    dead_conditions,
    error_evidence,
    error_text,
    failing,
    severity,
    solution_error,
    unreachable_alone,
)
from pinntk.diagnostics._layers import LayerHealth
from pinntk.diagnostics._prescriptions import SOLVER_STEPS, adam_rate, chained, gauss_newton, slower, so_many_steps
from pinntk.diagnostics._progress import DESCENT, SEARCHING
from pinntk.diagnostics._thresholds import SURER, above, below, clearly
from pinntk.diagnostics._unjudged import lacking_need
from pinntk.diagnostics._wording import capital, percent, setting
from pinntk.nn._scaled import ScaledNetwork
from pinntk.run import Run
from pinntk.run._recorder import UNKNOWN
from pinntk.solvers._chain import chain_of, names_of

_ENOUGH_STEPS = 5000  # of Adam, to begin with
_ADAM = {"training.optimizer": "adam", "training.optimizer_options": {}}


def unnormalized_inputs(x: Examination) -> Finding | None:
    """The first layer receives coordinates far from mean 0 and standard deviation 1."""
    scale = x.input_scale
    normalized = isinstance(x.network, ScaledNetwork) and x.network.config["normalize"]
    if scale is None or normalized:  # features of normalized coordinates, such as cosines of long waves, are meant to be so
        return None
    if above("input-offset", scale.offset):
        name, value, what = "input-offset", scale.offset, f"a mean that is {number(scale.offset)} away from 0"
    elif above("input-spread", scale.largest):
        name, value, what = "input-spread", scale.largest, f"a standard deviation of {number(scale.largest)}"
    elif below("input-narrow", scale.smallest):
        name, value, what = "input-narrow", scale.smallest, f"a standard deviation of {number(scale.smallest)}"
    else:
        return None
    if not failing(x):
        return None
    if x.settings:
        prescription = Prescription(
            "let the network map every coordinate to mean 0 and standard deviation 1", {"network.arguments.normalize": True}
        )
    else:
        prescription = Prescription("map every coordinate to mean 0 and standard deviation 1 before the first layer")
    return Finding(
        code="unnormalized-inputs",
        severity=severity(x),
        sentence=f"The first layer receives inputs with {what}; its initialization is made for mean 0 and standard deviation "
        "1.",
        evidence={
            "input_mean_max": scale.offset,
            "input_deviation_max": scale.largest,
            "input_deviation_min": scale.smallest,
        },
        arrays={"mean": scale.mean, "std": scale.std, "low": scale.low, "high": scale.high},
        confidence=clearly(name, value),
        prescriptions=(prescription,),
    )


def step_too_large(x: Examination) -> Finding | None:
    """The learning rate is far above what the curvature allows, and the history shows it, or has ended by it."""
    return _too_large_by_losses(x) or _too_large_by_the_end(x)


def _too_large_by_losses(x: Examination) -> Finding | None:
    went = x.progress
    if x.run is None or went is None or went.solving or not isfinite(went.lr) or lacking_need(x, "step-too-large"):
        return None
    natural = _natural(x, went.descending)
    ratio = went.lr / natural
    shaken = above("noise", went.noise) and above("step-large", ratio)  # this run may have been stopped at a lucky moment
    jumps = above("rise", went.rise) or (above("shaking", went.shaking) and above("step-large", ratio))
    # A loss that is small where the points are may jump there: the error is between them.
    blown_up = jumps and failing(x) and not any(above("missing", missed.ratio) for missed in x.missing.values())
    if not (shaken or blown_up or (above("step-large", ratio) and _saturates(x) and failing(x))):
        return None
    lr = float(f"{natural:.1e}") / 2 if went.descending else adam_rate(x)
    return Finding(
        code="step-too-large",
        severity=severity(x) if failing(x) else "note",  # all is well, where it happened to stop
        sentence=f"The learning rate {setting(went.lr)} is {number(ratio)} times the natural step {number(natural)}; the last "
        f"weighted loss is {number(went.rise)} times the least one.",
        evidence={
            "learning_rate": went.lr,
            "natural_step": natural,
            "step_ratio": ratio,
            "loss_rise": went.rise,
            "loss_noise": went.noise,
        },
        arrays={"step": went.steps, "loss": went.loss},
        confidence=max(
            clearly(name, value) for name, value in (("rise", went.rise), ("step-large", ratio)) if above(name, value)
        ),
        prescriptions=(slower(x.run, lr),),
    )


def _too_large_by_the_end(x: Examination) -> Finding | None:
    """Of a training that ended at numbers that are not finite, perhaps after one step, so that no losses show it."""
    if not x.diverged or x.run is None or not x.run.history:
        return None
    lr, optimizers = x.run.history[0].get("learning_rate", nan), names_of(x.run.config["training"]["optimizer"])
    if len(optimizers) > 1 or optimizers[0] in (UNKNOWN, *SEARCHING):  # of a chain, which part it was is not known
        return None
    descending = optimizers[0] in DESCENT
    natural = _natural(x, descending)
    if not above("step-large", lr / natural):
        return None
    lower = float(f"{natural:.1e}") / 2 if descending else adam_rate(x)
    return Finding(
        code="step-too-large",
        severity="critical",
        sentence=f"The learning rate {setting(lr)} is {number(lr / natural)} times the natural step {number(natural)}, and the "
        f"training ended at numbers that are not finite; the last good ones are those after {x.run.step} steps.",
        evidence={"learning_rate": lr, "natural_step": natural, "step_ratio": lr / natural, "steps": x.run.step},
        confidence=clearly("step-large", lr / natural),
        prescriptions=(slower(x.run, lower),),
    )


def _saturates(x: Examination) -> bool:
    """Whether units are saturated that were not so at the start: too large steps have moved them there."""

    def most(found: list[LayerHealth]) -> float:
        return max((layer.saturated or 0.0 for layer in found), default=nan)

    return above("saturated", most(x.layers)) and not above("saturated", most(x.initial_layers)) and bool(x.initial_layers)


def too_few_steps(x: Examination) -> Finding | None:
    """The training was over before it had begun."""
    went = x.progress
    if x.run is None or went is None or went.solving or lacking_need(x, "too-few-steps") or not failing(x):
        return None
    if not below("few-steps", x.run.step):
        return None
    if dead_conditions(x) or x.diverged:
        return None  # which more steps do not wake, nor take
    return Finding(
        code="too-few-steps",
        severity=severity(x),
        sentence=f"The training took {x.run.step} steps, in which the parameters moved by {percent(went.moved)}; "
        "trainings take thousands.",
        evidence={"steps": x.run.step, "parameter_drift": went.moved} | error_evidence(x),
        arrays={"step": went.steps, "loss": went.loss},
        confidence=clearly("few-steps", x.run.step),
        prescriptions=(
            Prescription("train by Gauss-Newton, which needs far fewer steps", gauss_newton(x.run)),
            Prescription(f"take {_ENOUGH_STEPS:,} steps", so_many_steps(x.run, _ENOUGH_STEPS)),
        ),
    )


def step_too_small(x: Examination) -> Finding | None:
    """The learning rate is so small that the parameters have hardly moved."""
    went = x.progress
    if went is None or went.solving or not isfinite(went.lr) or lacking_need(x, "step-too-small"):
        return None
    if not failing(x) or dead_conditions(x):  # by no step
        return None
    natural = _natural(x, went.descending)
    ratio = went.lr / natural
    small = below("descent-small" if went.descending else "step-small", ratio)
    if not small or not below("unmoved", went.moved):
        return None
    lr = adam_rate(x)
    evidence = {
        "learning_rate": went.lr,
        "natural_step": natural,
        "step_ratio": ratio,
        "parameter_drift": went.moved,
        "loss_fall": went.fall,
    }
    if went.descending and went.time[-1] > 0:
        evidence["unlearned_share"] = x.spectrum.unlearned(x.balance.errors, float(went.time[-1]))
    return Finding(
        code="step-too-small",
        severity=severity(x),
        sentence=f"The learning rate {setting(went.lr)} is {number(ratio)} of the natural step {number(natural)}: the "
        f"parameters moved by {percent(went.moved)} of their norm only.",
        evidence=evidence,
        arrays={"step": went.steps, "loss": went.loss},
        confidence=clearly("descent-small" if went.descending else "step-small", ratio),
        prescriptions=(Prescription(f"train by Adam with learning rate {setting(lr)}", {**_ADAM, "training.lr": lr}),),
    )


def _natural(x: Examination, descending: bool) -> float:
    """1 / lambda_max for gradient descent, `natural_step` for the others."""
    return x.spectrum.stable_step / 2 if descending else x.natural_step


def float32_floor(x: Examination) -> Finding | None:
    """Rounding is what is left of the errors."""
    dtype = next(x.network.parameters()).dtype
    if dtype == torch.float64:
        return None
    # On fresh points: errors that are small at few training points only are at the floor there as well.
    square = {name: x.weights[name] * float(e.square().mean()) for name, e in x.estimate.errors.items()}
    noise = {name: x.weights[name] * x.precision[name].noise ** 2 for name in square}
    ratio = sqrt(sum(noise.values()) / sum(square.values())) if sum(square.values()) > 0 else nan
    if not above("floor", ratio):
        return None
    return Finding(
        code="float32-floor",
        severity="warning",
        sentence=f"The root mean square of rounding is {percent(ratio)} of that of the weighted errors: in "
        f"{str(dtype).removeprefix('torch.')} the training cannot lower them much further.",
        evidence={"rounding_ratio": ratio}
        | error_evidence(x)
        | {f"rounding_ratio/{name}": p.ratio for name, p in x.precision.items()},
        arrays={
            "noise": np.array([found.noise for found in x.precision.values()]),
            "error": np.array([found.error for found in x.precision.values()]),
        },
        confidence=clearly("floor", ratio),
        prescriptions=(Prescription("compute in double precision", {"network.dtype": "float64"}),),
    )


def network_too_small(x: Examination) -> Finding | None:
    """The kernel's rank is about the number of parameters, and an error is unreachable."""
    found = x.estimate
    share = found.rank / found.parameters if found.parameters else 1.0
    if not unreachable_alone(x) or not above("exhausted", share):
        return None
    prescriptions: tuple[Prescription, ...] = (Prescription("use a network with many more parameters"),)
    if x.settings:
        width, depth = max(32, 4 * x.settings["width"]), max(2, x.settings["depth"])
        changes = {"network.arguments.width": width, "network.arguments.depth": depth}
        if x.progress is not None and not x.progress.solving and not chained(x.run):
            changes["training.lr"] = 5e-3
        prescriptions = (Prescription(f"use {depth} layers of {width} units", changes),)
    return Finding(
        code="network-too-small",
        severity=severity(x),
        sentence=f"The network has {found.parameters} parameters, of which the kernel uses {found.rank} (its rank), and "
        f"no small step removes {percent(found.unreachable)} of the squared errors.",
        evidence={
            "parameters": found.parameters,
            "kernel_rank": found.rank,
            "unreachable_share": found.unreachable,
            "points": sum(map(len, found.points.values())),
        },
        arrays={"eigenvalues": x.spectrum.values.cpu().numpy()},
        confidence=clearly("exhausted", share) + SURER["network-too-small"],
        prescriptions=prescriptions,
    )


def unfinished(x: Examination) -> Finding | None:
    """The loss still falls at the end, by the learning rates and by the steps. Asked only where no other rule explains a
    large error.
    """
    went = x.progress
    if x.run is None or went is None or went.solving or lacking_need(x, "unfinished") or not failing(x):
        return None
    seen = below("fallen", went.late_fall) or above("fallen-share", went.late_share)
    if not (below("falling", went.slope) and seen):
        return None
    return Finding(
        code="unfinished",
        severity="warning",
        sentence=f"The weighted loss was still falling when the training ended (to {percent(went.late_fall)} in the second "
        f"half of the steps), and {error_text(x)}.",
        evidence={
            "loss_slope": went.slope,
            "late_loss_fall": went.late_fall,
            "late_fall_share": went.late_share,
            "parameter_drift": went.moved,
        }
        | error_evidence(x),
        arrays={"step": went.steps, "loss": went.loss},
        confidence=clearly("falling", went.slope),
        prescriptions=(
            Prescription("train by Gauss-Newton, which needs far fewer steps", gauss_newton(x.run)),
            Prescription("train for four times as long", so_many_steps(x.run, 4 * x.run.step)),
        ),
    )


def _ended(x: Examination) -> str:
    if not x.diverged:
        return ""
    return ", nor why the training ended at numbers that are not finite: look for a logarithm, root or division in an operator"


def unexplained(x: Examination) -> Finding | None:
    """The result is wrong, and no rule says why."""
    if lacking_need(x, "unexplained") or not failing(x):
        return None
    return Finding(
        code="unexplained",
        severity=severity(x),
        sentence=f"{capital(error_text(x))}, and no measurement explains it{_ended(x)}.",
        evidence=error_evidence(x) | {"unreachable_share": x.estimate.unreachable},
        arrays={},
        confidence=clearly("error", solution_error(x)),
        prescriptions=(_by_gauss_newton(x.run),),
    )


def _by_gauss_newton(run: Run | None) -> Prescription:
    """Or more of it, where it was used already."""
    training = {} if run is None else run.config["training"]
    optimizer, changes = training.get("optimizer", ""), gauss_newton(run)
    if "gauss-newton" not in names_of(optimizer):
        return Prescription("try Gauss-Newton, which depends least on weights and step sizes", changes)
    chain = chain_of(optimizer)
    parts = () if chain is None else chain.parts
    taken = sum(part.steps for part in parts if part.optimizer == "gauss-newton") or training["steps"]
    steps = max(2 * taken, SOLVER_STEPS)
    return Prescription(f"take {steps:,} steps of Gauss-Newton in place of {taken:,}", {**changes, "training.steps": steps})
