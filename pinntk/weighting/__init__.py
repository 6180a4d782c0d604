"""Schemes of weights, one per file, each a `Weighting`: of conditions, their loss weights lambda_i, of points, or of gradients
that are combined; `Composite` is several at once. `Causal` weighs times inside the residuals, beside schemes of loss weights.
`compare` says what they would give a network now.
"""

from pinntk.weighting._causal import Causal
from pinntk.weighting._combiner import Combiner
from pinntk.weighting._compare import WeightComparison, compare
from pinntk.weighting._composite import Composite
from pinntk.weighting._config import ConFIG
from pinntk.weighting._fixed import Fixed
from pinntk.weighting._gradient_norm import GradientNorm
from pinntk.weighting._ntk import NTK
from pinntk.weighting._pcgrad import PCGrad
from pinntk.weighting._rba import RBA
from pinntk.weighting._relobralo import ReLoBRaLo
from pinntk.weighting._remaining_time import RemainingTime
from pinntk.weighting._self_adaptive import SelfAdaptive
from pinntk.weighting._softadapt import SoftAdapt
from pinntk.weighting._upgrad import UPGrad
from pinntk.weighting._vrba import VRBA
from pinntk.weighting._weighting import Weighting

SCHEMES: dict[str, type[Weighting]] = {
    "fixed": Fixed,
    "ntk": NTK,
    "gradient-norm": GradientNorm,
    "relobralo": ReLoBRaLo,
    "softadapt": SoftAdapt,
    "self-adaptive": SelfAdaptive,
    "rba": RBA,
    "vrba": VRBA,
    "remaining-time": RemainingTime,
    "config": ConFIG,
    "pcgrad": PCGrad,
    "upgrad": UPGrad,
}

__all__ = [
    "NTK",
    "RBA",
    "SCHEMES",
    "VRBA",
    "Causal",
    "Combiner",
    "Composite",
    "ConFIG",
    "Fixed",
    "GradientNorm",
    "PCGrad",
    "ReLoBRaLo",
    "RemainingTime",
    "SelfAdaptive",
    "SoftAdapt",
    "UPGrad",
    "WeightComparison",
    "Weighting",
    "compare",
]


def __dir__() -> list[str]:
    return __all__
