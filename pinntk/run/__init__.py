"""A run folder: configuration, checkpoint, history, kernel snapshots."""

from pinntk.run._early_stopping import EarlyStopping
from pinntk.run._folder import BusyFolderError
from pinntk.run._history import MonitorReport, Run
from pinntk.run._recorder import Recorder
from pinntk.run._trust import UntrustedFileError, check_trust

__all__ = ["BusyFolderError", "EarlyStopping", "MonitorReport", "Recorder", "Run", "UntrustedFileError", "check_trust"]


def __dir__() -> list[str]:
    return __all__
