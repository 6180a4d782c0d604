"""The command line."""

from pinntk.cli._main import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return __all__
