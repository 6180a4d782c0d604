"""The command line."""

from pinntk.cli._main import main

__all__ = ["main"]
