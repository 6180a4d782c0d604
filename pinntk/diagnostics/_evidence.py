"""The keys of a finding's evidence, and what each number is: one table for machines and people.

A label says of which kind a number is: a mean square or a root mean square, a share or a ratio, estimated or true.
"""

from __future__ import annotations

from types import MappingProxyType

# Keys are stable: diagnosis.json has them. Those marked with / come once per condition, as in "rate/walls".
EVIDENCE = MappingProxyType(
    {
        # Any finding.
        "estimated_error": "estimated relative L2 error of the solution",
        "true_error": "true relative L2 error, by the known solution",
        "unreachable_share": "share of the squared errors, each condition with one vote, that no small step removes",
        "kernel_rank": "rank of the kernel on fresh points",
        # Sizes.
        "field_size/": "root mean square of the field, by the conditions",
        "field_shift/": "mean of the field, by the conditions",
        "field_scale/": "standard deviation of the field, by the conditions",
        "coefficient_size/": "size of the coefficient, by the conditions",
        "coefficient_value/": "value of the coefficient as it stands",
        # Inputs, step, layers.
        "input_mean_max": "largest mean of an input, in absolute value",
        "input_deviation_max": "largest standard deviation of an input",
        "input_deviation_min": "smallest standard deviation of an input",
        "steps": "steps of the training",
        "learning_rate": "learning rate, the first",
        "natural_step": "natural step (along the signs of the gradient; 1 / lambda_max for gradient descent)",
        "step_ratio": "learning rate over natural step",
        "loss_rise": "weighted loss, last over least",
        "loss_noise": "standard deviation of the change of log10 loss from logged step to step, last half",
        "parameter_drift": "norm of the change of the parameters over that of the parameters",
        "loss_fall": "weighted loss, last over first",
        "unlearned_share": "share of the loss in modes that hardly change in this time",
        "saturated_share": "share of saturated units, worst layer",
        "saturated_share_at_start": "share of saturated units at the start, worst layer",
        "dead_share": "share of dead units, worst layer",
        "unmoved_error/": "root mean square error of the condition, which no parameter changes",
        "gradient_ratio": "norm of the gradient over that of the weight, first layer over the last",
        "parameters": "number of trained parameters",
        "loss_slope": "power of time with which the weighted loss changes, last half (negative: it falls)",
        "late_loss_fall": "weighted loss, last over that at half of the steps",
        "late_fall_share": "share of the fall of log loss in the second half of the steps",
        # Points.
        "gap_ratio": "radius of the widest hole over that of even points",
        "spacing_ratio": "median distance to the nearest point over that of even points",
        "duplicate_points": "duplicate points",
        "points": "fresh points that the kernel was computed on",
        "training_points": "training points",
        "training_mean_square": "mean squared error on training points",
        "fresh_mean_square": "mean squared error on fresh points",
        "fresh_over_training_error": "mean squared error, fresh over training points",
        # Conditions.
        "imbalance": "fastest over slowest rate",
        "rate/": "rate (2 weight Tr K / n)",
        "alignment": "alignment of the conditions' loss gradients (1: one direction, -1: they cancel)",
        "cosine": "cosine between the loss gradients of the fastest and the slowest condition",
        "slow_share": "share of the slow conditions in the estimated error (norms of all conditions' parts)",
        "wave_share": "share of the condition with short waves in the estimated error (norms of all conditions' parts)",
        "unreachable_share_alone": "share of the condition's squared error that no small step removes, were it alone",
        "dominant_waves": "waves per domain length of the condition's errors, the strongest",
        "mean_waves": "waves per domain length of the condition's errors, mean by power",
        "late_over_early_error": "estimated error, last quarter of time over the first",
        "late_over_early_true_error": "true error, last quarter of time over the first",
        "estimated_error_early": "estimated root mean square error over that of the estimated solution, first quarter of time",
        "estimated_error_late": "estimated root mean square error over that of the estimated solution, last quarter of time",
        "true_error_early": "true root mean square error over that of the solution, first quarter of time",
        "true_error_late": "true root mean square error over that of the solution, last quarter of time",
        "time_order": "rank correlation of estimated error and time (1: growing)",
        "true_time_order": "rank correlation of true error and time (1: growing)",
        "disorder": "share of pairs of times whose earlier mean squared residual is larger",
        "early_over_late_residual": "mean squared residual, first half of time over the last (geometric means of eighths)",
        # The problem and precision.
        "spread_ratio": "standard deviation of the field, over that of the solution or the root mean square of its data",
        "field_mean": "mean of the field",
        "field_spread": "standard deviation of the field",
        "exact_error/": "change that mends the known solution's error, over that solution",
        "error_at_zero/": "root mean square error where all fields are zero",
        "contradiction": "root mean square error that no function removes, over that of constants",
        "contradiction_alone": "the largest part of it that one condition has alone (root mean squares)",
        "contradiction_share/": "share of the squared errors that no function removes",
        "corner_gap": "gap of two prescribed values over the range of all that both conditions prescribe",
        "corner_value/": "value that the condition prescribes in the corner",
        "least_response": "least root mean square error of a function of root mean square 1",
        "response_fall": "that least error over the least one of functions of half the degree",
        "lacking_derivatives": "derivatives that are zero for this network",
        "rounding_ratio": "rounding over error, all conditions as weighted (root mean squares)",
        "rounding_ratio/": "rounding over error on the training points (root mean squares)",
    }
)


def label(key: str) -> str:
    """What people read in place of a key, with the condition's name at the end; a key that the table lacks, in words.

    >>> label("rate/walls"), label("step_ratio"), label("my_number")
    ('rate (2 weight Tr K / n), walls', 'learning rate over natural step', 'my number')
    """
    if key in EVIDENCE:
        return EVIDENCE[key]
    base, slash, name = key.partition("/")
    text = EVIDENCE.get(base + slash, base.replace("_", " "))
    return f"{text}, {name}" if name else text
