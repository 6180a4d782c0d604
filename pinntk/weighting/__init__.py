"""Schemes that set the loss weights lambda_i, one per file, each a `Weighting`; `Causal` weighs times inside the residuals,
beside any of them; `SelfAdaptive` weighs every point instead.
"""

from pinntk.weighting._causal import Causal
from pinntk.weighting._fixed import Fixed
from pinntk.weighting._gradient_norm import GradientNorm
from pinntk.weighting._ntk import NTK
from pinntk.weighting._self_adaptive import SelfAdaptive
from pinntk.weighting._weighting import Weighting

SCHEMES = {"fixed": Fixed, "ntk": NTK, "gradient-norm": GradientNorm, "self-adaptive": SelfAdaptive}

__all__ = ["NTK", "SCHEMES", "Causal", "Fixed", "GradientNorm", "SelfAdaptive", "Weighting"]


def __dir__() -> list[str]:
    return __all__
