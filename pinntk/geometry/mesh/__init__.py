"""Solids from triangulated surfaces, such as STL files: `pip install "pinntk[mesh]"`."""

from importlib.util import find_spec

if find_spec("trimesh") is None or find_spec("rtree") is None:
    raise ImportError(
        'pinntk.geometry.mesh reads surfaces by trimesh and rtree, which are not installed: pip install "pinntk[mesh]"'
    )
else:  # an import below a statement would not be at the top of the module
    from pinntk.geometry.mesh._mesh import Mesh

__all__ = ["Mesh"]


def __dir__() -> list[str]:
    return __all__
