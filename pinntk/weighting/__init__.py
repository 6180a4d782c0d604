"""Schemes that set the loss weights lambda_i, one a file; `Causal` weighs times inside the residuals, beside any of them;
`SelfAdaptive` weighs every point instead.

A scheme has `every` (steps between updates, 0 for never), `measures` ("traces" of K_ii or "gradient norms": what `update` is
handed by condition; traces unless it says), `start(problem)`, `update(weights, measured, counts)` and `describe()`.
"""

from pinntk.weighting._causal import Causal
from pinntk.weighting._fixed import Fixed
from pinntk.weighting._gradient_norm import GradientNorm
from pinntk.weighting._ntk import NTK
from pinntk.weighting._self_adaptive import SelfAdaptive

SCHEMES = {"fixed": Fixed, "ntk": NTK, "gradient-norm": GradientNorm, "self-adaptive": SelfAdaptive}

__all__ = ["NTK", "SCHEMES", "Causal", "Fixed", "GradientNorm", "SelfAdaptive"]
