"""A run folder: configuration, checkpoint, history, kernel snapshots."""

from pinntk.run._folder import BusyFolderError
from pinntk.run._history import Run, Watched
from pinntk.run._trust import UntrustedFileError, check_trust

__all__ = ["BusyFolderError", "Run", "UntrustedFileError", "Watched", "check_trust"]
