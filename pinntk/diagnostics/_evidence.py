"""The keys of a finding's evidence, and what each number is: one table for machines and people."""

from __future__ import annotations

from types import MappingProxyType

# Keys are stable: diagnosis.json has them. Those marked with / come once per condition, as in "rate/walls".
EVIDENCE = MappingProxyType(
    {
        # Any finding.
        "estimated_error": "estimated relative L2 error of the solution",
        "unreachable_share": "share of the squared errors that no small step removes",
        "kernel_rank": "rank of the kernel",
        # Sizes.
        "field_size/": "size of the field, by the conditions",
        "field_shift/": "its mean",
        "field_scale/": "its spread",
        "coefficient_size/": "size of the coefficient, by the conditions",
        "coefficient_value/": "value of the coefficient",
        # Inputs, step, layers.
        "input_mean_max": "largest mean of an input",
        "input_deviation_max": "largest standard deviation of an input",
        "input_deviation_min": "smallest standard deviation of an input",
        "learning_rate": "learning rate",
        "natural_step": "natural step",
        "step_ratio": "learning rate over natural step",
        "loss_rise": "last loss over the least",
        "loss_noise": "jumps of log10 loss between logged steps",
        "parameter_drift": "relative change of the parameters",
        "loss_fall": "last loss over the first",
        "unlearned_share": "share of the loss out of reach in this time",
        "saturated_share": "share of saturated units, worst layer",
        "saturated_share_at_start": "share of saturated units at the start, worst layer",
        "dead_share": "share of dead units, worst layer",
        "unmoved_error/": "rms error that no parameter changes",
        "gradient_ratio": "gradient over weight, first layer over the last",
        "parameters": "number of trained parameters",
        "loss_slope": "power of time with which the loss falls",
        "late_loss_fall": "last loss over that at half of the steps",
        "late_fall_share": "share of the fall of log loss in the second half of the steps",
        # Points.
        "gap_ratio": "widest hole over that of even points",
        "spacing_ratio": "spacing over that of even points",
        "duplicate_points": "duplicate points",
        "points": "points that the kernel was computed on",
        "training_points": "training points",
        "training_mean_square": "mean squared error on training points",
        "fresh_mean_square": "mean squared error on fresh points",
        "fresh_over_training_error": "mean squared error, fresh over training points",
        # Conditions.
        "imbalance": "fastest over slowest rate",
        "rate/": "rate",
        "alignment": "alignment of the conditions' loss gradients (1: one direction, -1: they cancel)",
        "cosine": "cosine between the loss gradients of the fastest and the slowest condition",
        "slow_share": "share of the estimated error from slow conditions",
        "unreachable_share_alone": "the same share, with one condition alone",
        "dominant_waves": "waves per domain length",
        "mean_waves": "waves per domain length, mean",
        "late_over_early_error": "estimated error, last quarter of time over the first",
        "time_order": "rank correlation of error and time (1: growing)",
        "disorder": "share of pairs of times whose earlier residual is larger",
        "early_over_late_residual": "squared residual, first half of time over the last",
        # The problem and precision.
        "spread_ratio": "spread of the field over that of its data",
        "field_mean": "mean of the field",
        "field_spread": "standard deviation of the field",
        "exact_error/": "change that mends the known solution's error, over that solution",
        "error_at_zero/": "error where all fields are zero",
        "contradiction": "error that no function removes, over that of constants",
        "contradiction_alone": "share of it that one condition has alone",
        "contradiction_share/": "share of the squares of that error",
        "corner_gap": "gap of two prescribed values over the spread of both",
        "least_response": "least error of a function of size 1",
        "response_fall": "the same over that for functions of half the degree",
        "lacking_derivatives": "derivatives that are zero for this network",
        "rounding_ratio": "rounding over error, all conditions",
        "rounding_ratio/": "rounding over error",
    }
)


def label(key: str) -> str:
    """What people read in place of a key: "rate, walls" for "rate/walls"; a key that the table lacks, in words.

    >>> label("rate/walls"), label("step_ratio"), label("my_number")
    ('rate, walls', 'learning rate over natural step', 'my number')
    """
    if key in EVIDENCE:
        return EVIDENCE[key]
    base, slash, name = key.partition("/")
    text = EVIDENCE.get(base + slash, base.replace("_", " "))
    return f"{text}, {name}" if name else text
