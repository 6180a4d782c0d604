"""PINA (`pip install "pinntk[pina]"`): exact NTK weights in its solvers, diagnoses, and its problems for the rest of pinntk."""

from importlib.util import find_spec

if find_spec("pina") is None or find_spec("lightning") is None:
    raise ImportError('pinntk.integrations.pina works with PINA, which is not installed: pip install "pinntk[pina]"')
else:  # an import below a statement would not be at the top of the module
    from pinntk.integrations.pina._diagnose import Diagnose
    from pinntk.integrations.pina._solver import from_solver
    from pinntk.integrations.pina._weighting import NTKWeighting

__all__ = ["Diagnose", "NTKWeighting", "from_solver"]


def __dir__() -> list[str]:
    return __all__
