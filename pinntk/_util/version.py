"""pinntk's version, as pyproject.toml has it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pinntk")
except PackageNotFoundError:  # imported from a folder, without an installation
    __version__ = "unknown"
