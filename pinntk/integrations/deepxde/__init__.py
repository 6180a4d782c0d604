"""DeepXDE with its PyTorch backend (`pip install "pinntk[deepxde]"`): NTK weights and diagnoses as its callbacks."""

from importlib.util import find_spec

if find_spec("deepxde") is None:
    raise ImportError('pinntk.integrations.deepxde works with DeepXDE, which is not installed: pip install "pinntk[deepxde]"')
else:  # an import below a statement would not be at the top of the module
    from pinntk.integrations.deepxde._diagnose import Diagnose
    from pinntk.integrations.deepxde._from_model import from_model
    from pinntk.integrations.deepxde._ntk_weighting import NTKWeighting

__all__ = ["Diagnose", "NTKWeighting", "from_model"]


def __dir__() -> list[str]:
    return __all__
