"""Networks, one idea a file. `NETWORKS` are those that a run is rebuilt with, by their names on the command line; the
operator networks map functions to functions and train on no problem.
"""

from pinntk.nn._constraint import HardConstraint, hard_constraint
from pinntk.nn._deeponet import DeepONet
from pinntk.nn._embeddings import power_law
from pinntk.nn._fno import FNO1d, MscaleFNO
from pinntk.nn._mlp import MLP
from pinntk.nn._modified import ModifiedMLP
from pinntk.nn._multiscale import MscaleDNN, MultiscaleFourier, linear_scales, octaves
from pinntk.nn._pirate import PirateNet
from pinntk.nn._separable import SeparableMLP
from pinntk.nn._siren import Siren
from pinntk.nn._slabs import SlabNetwork
from pinntk.nn._widened import widened

NETWORKS = {
    "mlp": MLP,
    "modified-mlp": ModifiedMLP,
    "piratenet": PirateNet,
    "siren": Siren,
    "multiscale-fourier": MultiscaleFourier,
    "mscale-dnn": MscaleDNN,
    "separable": SeparableMLP,
    "deeponet": DeepONet,
}

__all__ = [
    "MLP",
    "NETWORKS",
    "DeepONet",
    "FNO1d",
    "HardConstraint",
    "ModifiedMLP",
    "MscaleDNN",
    "MscaleFNO",
    "MultiscaleFourier",
    "PirateNet",
    "SeparableMLP",
    "Siren",
    "SlabNetwork",
    "hard_constraint",
    "linear_scales",
    "octaves",
    "power_law",
    "widened",
]


def __dir__() -> list[str]:
    return __all__
