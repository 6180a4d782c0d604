"""Figures of runs, measurements and findings. The only package that imports matplotlib."""

from pinntk.plot.panel import Panel, alone, arranged, svg
from pinntk.plot.training import (
    drift,
    drift_panels,
    figures,
    first_and_last,
    loss_panels,
    losses,
    save,
    solution,
    solution_panels,
    spectra,
    spectrum_panels,
)

__all__ = [
    "Panel",
    "alone",
    "arranged",
    "drift",
    "drift_panels",
    "figures",
    "first_and_last",
    "loss_panels",
    "losses",
    "save",
    "solution",
    "solution_panels",
    "spectra",
    "spectrum_panels",
    "svg",
]
