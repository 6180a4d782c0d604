"""The error vectors of conditions, by Taylor jets or by nested autograd, and the checks of networks and values."""

from pinntk.residuals._checks import check_network
from pinntk.residuals._conditions import OperatorError
from pinntk.residuals._evaluate import errors
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._slabs import slab
from pinntk.residuals._values import NonFiniteError

__all__ = ["AutogradFields", "Fields", "NonFiniteError", "OperatorError", "TaylorFields", "check_network", "errors", "slab"]
