"""Rules about the layers of a network: units that are saturated or dead, and gradients that vanish."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from pinntk._util.numbers import number
from pinntk.diagnostics._architecture import lacking
from pinntk.diagnostics._curvature import without_curvature
from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import dead_conditions, failing, severity
from pinntk.diagnostics._layers import LayerHealth
from pinntk.diagnostics._prescriptions import adam_rate, chained
from pinntk.diagnostics._thresholds import SURER, above, below, clearly
from pinntk.diagnostics._wording import capital, joined, percent

_NO_GRADIENT = 0.99  # confidence where the kernel itself is zero


def saturation(x: Examination) -> Finding | None:
    """Units of a layer are saturated or dead, or the gradient vanishes on the way to the first layer; or no parameter changes
    the error of a condition at all, whatever the layers say.
    """
    if not failing(x):
        return None
    unmoved = dead_conditions(x)
    dead = _by_layers(x, unmoved)
    if unmoved and not dead:
        return None  # conditions that ask for derivatives which are not there: no matter of the units' slopes
    evidence, arrays = _measured(x)
    why, confidence = _reason(x, evidence)
    if not why and not dead:
        return None
    sentence = f"{capital(why)}."
    if dead:
        rms = {name: float(x.estimate.errors[name].square().mean().sqrt()) for name in dead}
        errors = joined([f"{name} ({number(value)})" for name, value in rms.items()])
        why = why or _without_weights(x)
        sentence = f"No parameter changes the error of {errors}, so that no step lowers it{f': {why}' if why else ''}."
        evidence = evidence | {f"unmoved_error/{name}": value for name, value in rms.items()}
        confidence = _NO_GRADIENT
    return Finding(
        code="saturation",
        severity="critical" if dead else severity(x),
        sentence=sentence,
        evidence=evidence,
        arrays=arrays,
        confidence=min(0.99, confidence),
        prescriptions=_healthier_layers(x),
    )


def _by_layers(x: Examination, unmoved: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the unmoved conditions that the network could feel in another state."""
    if not unmoved:
        return ()
    missing = {*lacking(x.network, x.problem, unmoved), *without_curvature(x.network, x.problem)[1]}
    return tuple(name for name in unmoved if name not in missing)


def _measured(x: Examination) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The evidence, and its arrays by layer."""
    shares, at_start = (
        np.array([nan if layer.saturated is None else layer.saturated for layer in layers])
        for layers in (x.layers, x.initial_layers)
    )
    dead = np.array([layer.dead for layer in x.layers])
    evidence = {
        "saturated_share": float(np.nanmax(shares)) if np.isfinite(shares).any() else 0.0,
        "saturated_share_at_start": max((layer.saturated or 0.0 for layer in x.initial_layers), default=nan),
        "dead_share": float(dead[:-1].max()) if len(dead) > 1 else 0.0,
        "gradient_ratio": _vanishing(x),
    }
    return evidence, {"saturated": shares, "saturated_at_start": at_start, "dead": dead}


def _vanishing(x: Examination) -> float:
    """The gradient over weight of the first layer over that of the last. Not a number where a layer has weights of zero, or a
    gate is zero (those of a PirateNet at its start), which let no gradient pass until their first step.
    """
    gradients = [layer.gradient for layer in x.layers if layer.gradient is not None]
    closed = any(p.ndim == 0 and not bool(p) for p in x.network.parameters())
    if len(gradients) < 2 or not gradients[-1] > 0 or closed or _zero_layers(x):
        return nan
    return gradients[0] / gradients[-1]


def _reason(x: Examination, evidence: dict[str, float]) -> tuple[str, float]:
    """What is wrong with the layers, in words, and how sure that is; "" for nothing."""
    largest, start = evidence["saturated_share"], evidence["saturated_share_at_start"]
    dead, vanishing = evidence["dead_share"], evidence["gradient_ratio"]
    if above("saturated", start) and start > largest:
        why = f"{percent(start)} of the units of a layer were saturated at the start: their slope was about zero"
        return why, clearly("saturated", start) + SURER["saturation"]
    if above("saturated", largest):
        worst = max(x.layers, key=lambda layer: layer.saturated or 0.0)
        units = f"{percent(largest)} of the units of layer {worst.name} ({worst.activation})"
        why = f"{units} are saturated: their slope is about zero"
        return why, clearly("saturated", largest) + SURER["saturation"]
    if above("dead", dead):
        worst = max(x.layers[:-1], key=lambda layer: layer.dead)
        why = f"{percent(dead)} of the units of layer {worst.name} give the same value at all points: they are dead"
        return why, clearly("dead", dead)
    if below("vanishing", vanishing):
        why = (
            f"the gradient vanishes: over the weights (norms) it is in the first layer {number(vanishing)} of that in the last"
        )
        return why, clearly("vanishing", vanishing)
    return "", 0.0


def _without_weights(x: Examination) -> str:
    """That weights are zero in more than one layer, in words."""
    zero = _zero_layers(x)
    return f"the weights of {joined([layer.name for layer in zero])} are zero" if len(zero) > 1 else ""


def _zero_layers(x: Examination) -> list[LayerHealth]:
    weights = dict(x.network.named_parameters())
    return [layer for layer in x.layers if layer.name in weights and not bool(weights[layer.name].any())]


def _healthier_layers(x: Examination) -> tuple[Prescription, ...]:
    if not x.settings:
        return (Prescription("start from smaller weights (Glorot's), and normalize the inputs"),)
    changes: dict[str, Any] = {}
    words = []
    if x.settings.get("gain", 1.0) > 1:
        changes["network.arguments.gain"] = 1.0
        words.append("give the weights a gain of 1")
    if x.settings.get("initialization", "xavier") != "xavier" or x.settings.get("beta", 1.0) > 1:
        changes |= {"network.arguments.initialization": "xavier", "network.arguments.beta": 1.0}
        words.append("start from Glorot's weights, and biases no larger than 1")
    if x.settings.get("activation") in ("relu", "sigmoid"):
        changes["network.arguments.activation"] = "tanh"
        words.append("use tanh units")
    if not x.settings["normalize"]:
        changes["network.arguments.normalize"] = True
        words.append("let the network map every coordinate to mean 0 and standard deviation 1")
    found = [Prescription(joined(words), changes)] if changes else []
    if x.progress is not None and not x.progress.solving:
        rate = adam_rate(x)
        by_adam = {"training.optimizer": "adam"} if chained(x.run) else {}
        words.append(f"train {'by Adam alone, ' if by_adam else ''}at a learning rate of {number(rate)}")
        found.append(Prescription(joined(words), {**changes, **by_adam, "training.lr": rate}))
    return tuple(found) or (Prescription("start anew, from other weights (another seed)"),)
