"""PINA (`pip install "pinntk[pina]"`): true NTK weights in its solvers."""

from importlib.util import find_spec

if find_spec("pina") is None or find_spec("lightning") is None:
    raise ImportError('pinntk.integrations.pina works with PINA, which is not installed: pip install "pinntk[pina]"')
else:  # an import below a statement would not be at the top of the module
    from pinntk.integrations.pina._weighting import NTKWeighting

__all__ = ["NTKWeighting"]
