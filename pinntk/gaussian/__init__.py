"""Gaussian processes from the kernel: the posterior of a trained network, regression at infinite width."""

from pinntk.gaussian._posterior import Posterior, UnidentifiedError, posterior
from pinntk.gaussian._regression import Collocation, InfiniteEnsemble, collocate, infinite_ensemble

__all__ = ["Collocation", "InfiniteEnsemble", "Posterior", "UnidentifiedError", "collocate", "infinite_ensemble", "posterior"]


def __dir__() -> list[str]:
    return __all__
