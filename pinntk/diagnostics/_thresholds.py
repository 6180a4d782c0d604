"""The numbers on which a diagnosis turns: one table, each entry with its reason.

How a quantity is measured (on how many points, in how many slices of time) stands where it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan
from types import MappingProxyType

from pinntk.residuals._scales import LARGE, SMALL


@dataclass(frozen=True)
class Threshold:
    """name: by which a rule asks for it; value; reason: why this number and no other."""

    name: str
    value: float
    reason: str


_TABLE = (
    # Whether a run is failing.
    Threshold(
        "error",
        0.02,
        "estimated relative L2 error: healthy trainings 8e-5 to 2e-3, failing ones 0.12 and more; 2 % can be seen",
    ),
    Threshold("severe", 0.1, "estimated relative L2 error or size of what is unreachable: the first digit is wrong"),
    Threshold(
        "unreachable",
        0.3,
        "share of squared errors beyond any small step: 0.7 to 0.99 where it explains a failure, else below 0.003",
    ),
    Threshold(
        "unreachable-size", 0.02, "size of an error beyond reach: below 1e-3 when healthy, 0.2 when failing; 2 % can be seen"
    ),
    Threshold("doubtful", 0.55, "confidence below which a finding is listed after surer ones of its severity"),
    Threshold(
        "estimate-off",
        0.5,
        "distance of estimated and true error over the true one: up to 0.1 where one step reaches the solution, else from 0.58",
    ),
    # Sizes.
    Threshold(
        "field-large", LARGE, "size of a field: fresh networks give about 1, and 10,000 steps of 0.001 move a bias by 10"
    ),
    Threshold(
        "field-small", SMALL, "the same, too small: 0.004 (Kovasznay's v at Re 1000) is healthy, 2e-4 (meters of steel) fails"
    ),
    Threshold("stretch", 1.0, "size of a field over its change by parameters that move by 1: healthy 0.1 to 0.3, kelvin 40"),
    Threshold("shrink", 1e-4, "the same, too small: displacements of steel, in meters, 2e-5"),
    Threshold("coefficient", 10.0, "size of a coefficient over its value, or else: a start that is off by 10 is a usual guess"),
    # Inputs, step, layers.
    Threshold("input-offset", 10.0, "mean of a first-layer input: 0 if normalized, 0.5 on [0, 1], 500 in the failing case"),
    Threshold(
        "input-spread", 10.0, "standard deviation of a first-layer input: 1 if normalized, 0.3 on [0, 1], 289 when failing"
    ),
    Threshold("input-narrow", 0.01, "the same, too small: a coordinate on [0, 0.03] is a constant to the first layer"),
    Threshold("rise", 30.0, "last loss over the least one, in today's weights: 1 to 1.2 otherwise, 4,000 after a blow-up"),
    Threshold(
        "noise", 0.15, "spread of log10 loss between logged steps, last half: below 0.03 otherwise, 0.25 to 0.41 when failing"
    ),
    Threshold(
        "shaking", 0.15, "the same in the worst quarter but the first, for schedules that end quietly: 0.04, failing 0.34"
    ),
    Threshold("step-large", 5.0, "learning rate over the natural one: healthy up to 1.6, failing 19"),
    Threshold("step-small", 0.02, "learning rate over the natural one: healthy from 0.12, failing below 0.001"),
    Threshold("descent-small", 0.01, "learning rate over 2 / lambda_max, gradient descent: the best is near 1, failing 5e-5"),
    Threshold("unmoved", 0.03, "relative change of the parameters: a small step moves them by 0.001, healthy trainings by 0.5"),
    Threshold("few-steps", 100.0, "steps of a gradient optimizer below which nothing is trained: others take thousands"),
    Threshold("falling", -0.3, "d log loss / d log time in the last half: 0 to -0.05 where it stagnates, -2 where it goes on"),
    Threshold(
        "fallen",
        0.85,
        "last loss over that at half of the steps: 0.9 looks flat; at `falling` 0.81 (constant rate), at -1 0.82 (cosine)",
    ),
    Threshold("fallen-share", 0.15, "share of that in the whole fall of log loss, or else: 0.055 looks flat, 0.3 goes on"),
    Threshold("saturated", 0.27, "saturated units in a layer: healthy at most 0.12, failing from 0.62; the geometric mean"),
    Threshold("dead", 0.8, "share of dead units in a layer: fresh relu networks have 0.2 to 0.5"),
    Threshold("vanishing", 1e-6, "gradient over weight, first layer over the last: 0.01 to 100 in healthy networks"),
    # Points.
    Threshold("missing", 10.0, "mean square on fresh points over that on training points: healthy 0.7 to 3, failing from 1e4"),
    Threshold("missing-some", 3.0, "the same, where points cluster as well"),
    Threshold("gap", 4.0, "fill distance over that of Sobol points: uniform 1.7 in 2D, 3.8 in 1D; failing 14"),
    Threshold("spacing", 0.2, "median neighbor distance over that of Sobol points: uniform 0.46 and more"),
    # Conditions.
    Threshold("imbalance", 30.0, "largest over smallest rate: at most 3 in runs with something else, 300 when failing"),
    Threshold("slow-part", 0.5, "share of the estimated error that comes from the slow conditions"),
    Threshold(
        "alone",
        0.1,
        "share of `unreachable` that a single condition has alone, below which it is conflict: 0 when failing, else 1",
    ),
    Threshold(
        "exhausted", 0.5, "rank of K over parameters: 1 for 10 parameters on 100 points; healthy at most 0.15 (Adam), 0.7"
    ),
    Threshold(
        "alone-worst", 0.5, "share of `unreachable` that the worst condition has alone, from which its waves explain it: half"
    ),
    Threshold("wave-points", 8.0, "points of a condition above which its waves are measured: two waves need 4 each"),
    Threshold("waves", 2.0, "cycles per domain of the remaining error: the slowest waves are learned by any network"),
    Threshold("slow-waves", 0.3, "share of a condition in the estimated error, if waves that train slowly explain it"),
    Threshold("early-late", 5.0, "residual of the first half of time over that of the last: 2 to 3.4 in a healthy decay"),
    Threshold("late", 2.0, "estimated error in the last quarter of time over the first: 1 without causality, 2.2 when failing"),
    Threshold("ordered", 0.7, "rank correlation of estimated error and time: 1 when failing, at random below 0.6"),
    # Problem and precision.
    Threshold(
        "exact", 1e-2, "step of the fields that mends the known solution's error, over that solution: 1e-6 when it is one"
    ),
    Threshold(
        "open-fall",
        0.03,
        "least response to a function of size 1, over that to half the degree: 0.15 to 1 when determined, else below 0.01",
    ),
    Threshold(
        "open-between",
        1e-5,
        "least response to functions of half the degree, where there are measurements: rougher ones fit between these; 1e-9",
    ),
    Threshold(
        "open-elsewhere",
        1.0,
        "errors on other points of the function that is most open, over those of smooth ones: 0.02 or less if open, else 50",
    ),
    Threshold("open-share", 1e-4, "mean square of a field or coefficient in what is open: 0.004 to 1, of others 0 to rounding"),
    Threshold("determined-fall", 0.5, "the same fall on a part of the time, from which nothing is open: 0.9 to 1"),
    Threshold(
        "constant", 0.999, "share of what is open in constants: 1 to ten digits of a pressure, below 0.99 of other functions"
    ),
    Threshold(
        "corner", 0.05, "gap of two prescribed values over the spread of both: rounding where they agree; 5 % can be seen"
    ),
    Threshold(
        "contradiction", 0.02, "errors beyond all trial functions over those of constants: 0.05 to 0.9, noise aside else 1e-3"
    ),
    Threshold(
        "contradiction-stays",
        0.9,
        "the same over that with half the degree: 0.98 to 1 without a solution; 0.77 where a corner jumps, less else",
    ),
    Threshold("beside-corner", 0.5, "share of the solution's squared error within a tenth of the domain of a corner: most"),
    Threshold("contradiction-alone", 0.5, "share of it that one condition has alone: 0, or near 1 for waves too short to see"),
    Threshold(
        "contradiction-smooth", 0.8, "share of it in smooth functions: 0.97 without a solution, 0.03 for waves too short to see"
    ),
    Threshold("undetermined-rate", 0.5, "by which power it falls with the tolerance: 0.9 to 1 in well-posed problems"),
    Threshold("trivial", 0.1, "spread of a field over that of its data"),
    Threshold(
        "floor", 3e-3, "rounding noise over error, in the weighted loss: 9e-3 and more at the floor, at most 5e-4 elsewhere"
    ),
)

# Confidences that are not a distance from a threshold, and what is added to one that is.
CONFIDENCE = MappingProxyType(
    {
        "imbalance": 0.5,  # of a network without a run, whose training may yet make up for it
        "slow-waves": 0.6,  # short waves are there, and a slow training is explained by other things as well
    }
)
SURER = MappingProxyType(
    {
        "network-too-small": 0.1,  # likewise: rank and unreachable errors
        "saturation": 0.15,  # the share is far below 1 where it already stops a training
        "trivial-solution": -0.1,  # a solution may be flat
    }
)

THRESHOLDS = MappingProxyType({entry.name: entry for entry in _TABLE})


def above(name: str, value: float) -> bool:
    """Whether a value is above the threshold of that name; NaN is not."""
    return value > THRESHOLDS[name].value


def below(name: str, value: float) -> bool:
    """Whether a value is below the threshold of that name; NaN is not."""
    return value < THRESHOLDS[name].value


def clearly(name: str, value: float) -> float:
    """How far a value is beyond its threshold, whichever side, as a confidence: 0.5 at the threshold, 0.75 at a factor of 2,
    0.9 at 5 and beyond up to 0.99.
    """
    if isnan(value):
        return 0.5
    ratio = value / THRESHOLDS[name].value
    ratio = max(ratio, 1 / ratio) if ratio > 0 else inf
    return min(0.99, 1 - 0.5 / ratio)
