"""The command line."""

from pinntk.cli._main import main, parser

__all__ = ["main", "parser"]


def __dir__() -> list[str]:
    return __all__
