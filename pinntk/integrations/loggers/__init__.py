"""Loggers as functions of a run, for `on_log=` of `pinntk.train`, `pinntk.Recorder` and the callbacks of other packages."""

from pinntk.integrations.loggers._loggers import tensorboard, wandb

__all__ = ["tensorboard", "wandb"]


def __dir__() -> list[str]:
    return __all__
