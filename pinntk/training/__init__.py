"""`pinntk.train` and what it is made of; the monitor; `pinntk.rescue`."""

from pinntk._util.interrupt import Interrupted
from pinntk.training._attention import AttentionWeights
from pinntk.training._batch import Batch
from pinntk.training._changes import apply_changes
from pinntk.training._config import TrainConfig
from pinntk.training._curriculum import Curriculum, train_curriculum
from pinntk.training._ensemble import Ensemble, train_ensemble
from pinntk.training._error_values import ErrorValues
from pinntk.training._loop import NonFiniteLossError
from pinntk.training._losses import losses
from pinntk.training._monitor import Monitor, TrainingWarning
from pinntk.training._optimizers import make_schedule
from pinntk.training._point_weights import CausalWeights, SelfAdaptiveWeights
from pinntk.training._resampling import RAD
from pinntk.training._rescue import rescue
from pinntk.training._rescued import Rescue, Round
from pinntk.training._retaining import R3
from pinntk.training._slabs import Slabs, load_slabs, train_slabs
from pinntk.training._step import Step
from pinntk.training._train import train, train_as
from pinntk.training._wider import grow_network

__all__ = [
    "R3",
    "RAD",
    "AttentionWeights",
    "Batch",
    "CausalWeights",
    "Curriculum",
    "Ensemble",
    "ErrorValues",
    "Interrupted",
    "Monitor",
    "NonFiniteLossError",
    "Rescue",
    "Round",
    "SelfAdaptiveWeights",
    "Slabs",
    "Step",
    "TrainConfig",
    "TrainingWarning",
    "apply_changes",
    "grow_network",
    "load_slabs",
    "losses",
    "make_schedule",
    "rescue",
    "train",
    "train_as",
    "train_curriculum",
    "train_ensemble",
    "train_slabs",
]


def __dir__() -> list[str]:
    return __all__
