"""The error vectors of conditions, by Taylor jets or by nested autograd; checks of networks and values; sizes."""

from pinntk.residuals._checks import check_network
from pinntk.residuals._conditions import OperatorError
from pinntk.residuals._evaluate import errors
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._foreign import ForeignError
from pinntk.residuals._scales import Scales, scales
from pinntk.residuals._slabs import slab
from pinntk.residuals._values import NonFiniteError

__all__ = [
    "AutogradFields",
    "Fields",
    "ForeignError",
    "NonFiniteError",
    "OperatorError",
    "Scales",
    "TaylorFields",
    "check_network",
    "errors",
    "scales",
    "slab",
]


def __dir__() -> list[str]:
    return __all__
