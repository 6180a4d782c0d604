"""Domains of any shape: boxes, disks, polygons, balls, what set operations make of them, and the parts of their boundaries."""

from pinntk.geometry._box import Box
from pinntk.geometry._domain import Domain
from pinntk.geometry._faces import Faces, PeriodicPair
from pinntk.geometry._part import Part, interface
from pinntk.geometry._region import Region
from pinntk.geometry._shapes import Ball, Cylinder, Disk, Ellipse, Polygon

__all__ = [
    "Ball",
    "Box",
    "Cylinder",
    "Disk",
    "Domain",
    "Ellipse",
    "Faces",
    "Part",
    "PeriodicPair",
    "Polygon",
    "Region",
    "interface",
]


def __dir__() -> list[str]:
    return __all__
