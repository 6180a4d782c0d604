"""What is wrong with a training, in numbers, and in words: measurements, findings, prescriptions."""

from pinntk.diagnostics._balance import Balance, balance, gradient_alignment, weights_by_name
from pinntk.diagnostics._causality import Causality, causality
from pinntk.diagnostics._check import check
from pinntk.diagnostics._coefficients import Coefficient
from pinntk.diagnostics._drift import Drift, Horizon, drift, frozen_prediction, parameter_drift, prediction_horizon
from pinntk.diagnostics._dynamics import Dynamics, dynamics, field_kernel
from pinntk.diagnostics._estimate import Estimate, estimate
from pinntk.diagnostics._evidence import EVIDENCE
from pinntk.diagnostics._examination import Examination, examine
from pinntk.diagnostics._finding import Diagnosis, Finding, Prescription, Unjudged
from pinntk.diagnostics._findings import RULES, diagnose
from pinntk.diagnostics._layers import InputScale, LayerHealth, input_scale, layers
from pinntk.diagnostics._progress import Progress, natural_step, progress
from pinntk.diagnostics._sampling import (
    Coverage,
    Missing,
    Redundancy,
    coverage,
    redundancy,
    where_missing,
)
from pinntk.diagnostics._sanity import OutputScale, Precision, Triviality, output_scale, precision_floor, trivial
from pinntk.diagnostics._spectrum import Frequency, Spectrum, error_frequency, mode_frequency, spectrum
from pinntk.diagnostics._thresholds import THRESHOLDS, Threshold
from pinntk.diagnostics._trial import TrialSpace, trial_space
from pinntk.diagnostics._undetermined import Undetermined, undetermined
from pinntk.residuals import Scales, scales

__all__ = [
    "EVIDENCE",
    "RULES",
    "THRESHOLDS",
    "Balance",
    "Causality",
    "Coefficient",
    "Coverage",
    "Diagnosis",
    "Drift",
    "Dynamics",
    "Estimate",
    "Examination",
    "Finding",
    "Frequency",
    "Horizon",
    "InputScale",
    "LayerHealth",
    "Missing",
    "OutputScale",
    "Precision",
    "Prescription",
    "Progress",
    "Redundancy",
    "Scales",
    "Spectrum",
    "Threshold",
    "TrialSpace",
    "Triviality",
    "Undetermined",
    "Unjudged",
    "balance",
    "causality",
    "check",
    "coverage",
    "diagnose",
    "drift",
    "dynamics",
    "error_frequency",
    "estimate",
    "examine",
    "field_kernel",
    "frozen_prediction",
    "gradient_alignment",
    "input_scale",
    "layers",
    "mode_frequency",
    "natural_step",
    "output_scale",
    "parameter_drift",
    "precision_floor",
    "prediction_horizon",
    "progress",
    "redundancy",
    "scales",
    "spectrum",
    "trial_space",
    "trivial",
    "undetermined",
    "weights_by_name",
    "where_missing",
]


def __dir__() -> list[str]:
    return __all__
