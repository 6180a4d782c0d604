"""The point weights that a training is asked for."""

from __future__ import annotations

from torch import nn

from pinntk.problem import Problem
from pinntk.training._attention import AttentionWeights
from pinntk.training._config import TrainConfig
from pinntk.training._error_values import ErrorValues
from pinntk.training._point_weights import CausalWeights, PointWeights, SelfAdaptiveWeights
from pinntk.training._points import TrainingPoints
from pinntk.weighting import RBA, SelfAdaptive
from pinntk.weighting._point_scheme import keeps_points


def make_point_weights(
    config: TrainConfig, network: nn.Module, problem: Problem, points: TrainingPoints
) -> PointWeights | None:
    """What has to be computed anew in every step; what follows from where points are is with the points."""
    scheme, causal = config.point_scheme, config.causal
    if causal is None and not keeps_points(scheme):
        return None
    errors = ErrorValues(network, problem, config.compile)
    if causal is not None:
        return CausalWeights(causal, errors, problem, points.all, points.share)
    if isinstance(scheme, SelfAdaptive):
        return SelfAdaptiveWeights(scheme, errors, problem, points.all, config.seed)
    assert isinstance(scheme, RBA)
    return AttentionWeights(scheme, errors, problem, points.all)
