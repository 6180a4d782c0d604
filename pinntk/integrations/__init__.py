"""PINNs that were written without pinntk: in plain PyTorch, or with a package that has a subpackage here.

Only the subpackages import those packages, which are extras of pinntk: `pip install "pinntk[deepxde]"`.
"""

from pinntk.integrations._ntk_weights import NTKWeights
from pinntk.integrations._wrap import wrap

__all__ = ["NTKWeights", "wrap"]


def __dir__() -> list[str]:
    return __all__
