"""What schemes of weights do not go with, said in one line."""

from __future__ import annotations

from pinntk.diagnostics._progress import SEARCHING
from pinntk.weighting import Combiner, Weighting
from pinntk.weighting._composite import named, part
from pinntk.weighting._point_scheme import keeps_points


def check_schemes(weighting: Weighting, optimizer: str, resample: int, causal: bool, solver: bool) -> None:
    """Raises ValueError for a scheme of points or gradients that does not go with another setting.

    optimizer: its name, "" for a factory
    """
    combiner, scheme = part(weighting, "gradients"), part(weighting, "points")
    if isinstance(combiner, Combiner) and optimizer in SEARCHING:
        raise ValueError(not_one_gradient(combiner, optimizer))
    if scheme is None or not keeps_points(scheme):
        return
    for refused, reason in (
        (solver, "change in every step, and a solver compares losses between steps; use a gradient optimizer"),
        (resample, f"belong to points, which resample={resample!r} would replace; leave resample out"),
        (causal, "and causal ones both weigh points; use one or the other"),
        (weighting.points is not None, "are those of the training points; leave points out of the scheme beside them"),
    ):
        if refused:
            raise ValueError(f"{named(scheme)} weights {reason}")


def not_one_gradient(combiner: Combiner, optimizer: str) -> str:
    """Why an optimizer does not go with what combines gradients."""
    return (
        f"{named(combiner)} makes one gradient a step, of no loss, and {optimizer} compares losses along a step; use an "
        "optimizer such as adam"
    )
