"""Schemes of weights, one per file, each a `Weighting`: of conditions, their loss weights lambda_i, or of points; `Composite` is
several at once. `Causal` weighs times inside the residuals, beside any scheme of loss weights.
"""

from pinntk.weighting._causal import Causal
from pinntk.weighting._composite import Composite
from pinntk.weighting._fixed import Fixed
from pinntk.weighting._gradient_norm import GradientNorm
from pinntk.weighting._ntk import NTK
from pinntk.weighting._rba import RBA
from pinntk.weighting._self_adaptive import SelfAdaptive
from pinntk.weighting._vrba import VRBA
from pinntk.weighting._weighting import Weighting

SCHEMES: dict[str, type[Weighting]] = {
    "fixed": Fixed,
    "ntk": NTK,
    "gradient-norm": GradientNorm,
    "self-adaptive": SelfAdaptive,
    "rba": RBA,
    "vrba": VRBA,
}

__all__ = [
    "NTK",
    "RBA",
    "SCHEMES",
    "VRBA",
    "Causal",
    "Composite",
    "Fixed",
    "GradientNorm",
    "SelfAdaptive",
    "Weighting",
]


def __dir__() -> list[str]:
    return __all__
