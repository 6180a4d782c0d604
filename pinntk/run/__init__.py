"""A run folder: configuration, checkpoint, history, kernel snapshots."""

from pinntk.run._run import Run, Watched

__all__ = ["Run", "Watched"]
