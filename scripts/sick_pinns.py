"""PINNs with a known illness, and healthy ones: what a diagnosis is tried on.

    python scripts/sick_pinns.py                                  every case as it is and cured, 3 seeds
    python scripts/sick_pinns.py years two-scales --seeds 1       some cases, one seed

Each case trains for 2 to 20 seconds on one core and carries one cause, from the literature or from users' reports. `cure` is
what a person who knows the cause would change; a diagnosis must find its own prescription and never reads it.
Thresholds may be set on the "tuning" cases only; "held-out" ones were for the verdict, until they were looked at; then came
the "fresh" ones.
Figures of seed 0: sick/measured.csv.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

import pinntk
from pinntk.files import replacing

HERE = Path(__file__).resolve().parent
SCHEMES = {"fixed": pinntk.weighting.Fixed, "ntk": pinntk.weighting.NTK}
NTK = {"name": "ntk", "every": 100}


@dataclass(frozen=True)
class Case:
    """A training that goes wrong for one known reason, or a healthy one.

    name: its short name
    cause: the code of its finding ("imbalance", ...); "" if healthy
    problem, parameters: what `pinntk.load` takes; a name with ".py" is a file of scripts/sick
    network: arguments of `pinntk.nn.MLP`, dtype as text ("float64")
    training: arguments of `pinntk.train`, points as counts
    weighting: as in config.json: {"name": "ntk", "every": 100}
    crowded: {coordinate: (low, high)}: the part of the domain, in [0, 1], into which all residual points are pressed
    source: where the illness was reported
    cure: what a person would change, as `Prescription.changes`, within as many steps; empty where no setting helps
    set: "tuning", "held-out", or "fresh": of FRESH
    """

    name: str
    cause: str
    problem: str
    source: str
    set: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    weighting: Mapping[str, Any] = field(default_factory=lambda: {"name": "fixed"})
    crowded: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cure: Mapping[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.cause

    def load(self) -> pinntk.Problem:
        """The problem, built afresh."""
        return pinntk.load(HERE / "sick" / self.problem if self.problem.endswith(".py") else self.problem, **self.parameters)


_SMALL = {"width": 32, "depth": 2}  # what the networks are that are not ill themselves
_LINE = {"poisson": 100, "ends": 2}
_SQUARE = {"poisson": 300, "walls": 80}
_ROD = {"heat": 300, "start": 60, "walls": 60}
_CONVECTION = {"convection": 300, "start": 60, "wrap": 60}

SICK = (
    Case(
        "heavy-residual",
        "imbalance",
        "poisson1d",
        parameters={"k": 4},
        network={"width": 100, "depth": 1, "initialization": "normal"},
        training={"steps": 3000, "lr": 1e-3, "points": _LINE},
        cure={"weighting": NTK},
        source="Wang, Yu & Perdikaris 2022, section 7.1: unweighted",
        set="tuning",
    ),
    Case(
        "heavy-residual-2d",
        "imbalance",
        "poisson2d",
        parameters={"k": 2},
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"poisson": 400, "walls": 100}},
        cure={"weighting": NTK},
        source="Wang, Teng & Perdikaris 2021; deepxde issues 118, 241 and 908: boundary losses that stagnate",
        set="held-out",
    ),
    Case(
        "two-scales",
        "spectral-bias",
        "ripples.py",
        parameters={"a": 0.5, "k": 20},
        network=_SMALL,
        training={"steps": 3000, "lr": 1e-2, "resample": 1, "points": {"slope": 300, "end": 1}},
        weighting=NTK,
        cure={"network.arguments.fourier": [32, 1.5]},
        source="Wang, Wang & Perdikaris 2021; Rahaman et al. 2019",
        set="tuning",
    ),
    Case(
        "short-waves",
        "spectral-bias",
        "helmholtz2d",
        parameters={"a1": 3, "a2": 3},
        network=_SMALL,
        training={"steps": 3000, "lr": 1e-2, "resample": 1, "points": {"helmholtz": 400, "walls": 100}},
        weighting=NTK,
        cure={"network.arguments.fourier": [32, 0.4]},
        source="deepxde issues 492 and 578: high frequencies",
        set="held-out",
    ),
    Case(
        "slow-transport",
        "causality",
        "convection",
        parameters={"beta": 10.0},
        network=_SMALL,
        training={"steps": 2000, "lr": 3e-3, "points": {"convection": 500, "start": 100, "wrap": 100}},
        cure={
            "network.arguments.periodic": {"x": 1},
            "network.arguments.activation": "sin",
            "training.lr": 1e-2,
            "weighting": {"name": "fixed", "start": 10.0},
        },
        source="Krishnapriyan et al. 2021; Daw et al. 2023, propagation failures",
        set="tuning",
    ),
    Case(
        "fast-transport",
        "causality",
        "convection",
        parameters={"beta": 30.0},
        network=_SMALL,
        training={"steps": 2500, "lr": 1e-2, "points": {"convection": 500, "start": 100, "wrap": 100}},
        cure={  # fewer steps than before, each dearer: 17 seconds for 12
            "training.optimizer": "gauss-newton",
            "training.lr": None,
            "training.schedule": None,
            "training.steps": 150,
            "training.resample": 1,
            "network.dtype": "float64",
            "network.arguments.periodic": {"x": 1},
            "weighting": {"name": "ntk", "every": 25},
        },
        source="Krishnapriyan et al. 2021: relative error .897 at beta = 30",
        set="held-out",
    ),
    Case(
        "long-rod",
        "unnormalized-inputs",
        "rod.py",
        parameters={"length": 1000.0},
        network={**_SMALL, "normalize": False},
        training={"steps": 1500, "lr": 5e-3, "points": _ROD},
        cure={"network.arguments.normalize": True},
        source="deepxde issue 794: right on [0, 1], wrong on [0, 100]",
        set="tuning",
    ),
    Case(
        "years",
        "unnormalized-inputs",
        "calendar_years.py",
        network={"width": 32, "depth": 3, "normalize": False},
        training={"steps": 3000, "lr": 2e-3, "points": {"decay": 100, "start": 1}},
        weighting=NTK,
        cure={"network.arguments.normalize": True},
        source="Wang, Sankaran, Wang & Perdikaris 2023 (expert's guide): scale the inputs; deepxde issue 257",
        set="held-out",
    ),
    Case(
        "hasty",
        "step-too-large",
        "poisson2d",
        network={"width": 32, "depth": 3},
        training={"steps": 2000, "lr": 0.1, "schedule": "constant", "points": _SQUARE},
        weighting=NTK,
        cure={"training.lr": 2e-3, "training.schedule": "cosine"},
        source="SA-PINNs issue 5: a loss that grows; look at the schedule of the rate",
        set="tuning",
    ),
    Case(
        "hasty-convection",
        "step-too-large",
        "convection",
        parameters={"beta": 1.0},
        network=_SMALL,
        training={"steps": 1500, "lr": 0.1, "schedule": "constant", "points": _CONVECTION},
        weighting=NTK,
        cure={"training.lr": 5e-3, "training.schedule": "cosine"},
        source="the stability bound of gradient descent, eta < 2 / lambda_max, as Adam passes it",
        set="held-out",
    ),
    Case(
        "timid",
        "step-too-small",
        "convection",
        parameters={"beta": 1.0},
        network=_SMALL,
        training={"steps": 1500, "optimizer": "gradient-descent", "lr": 1e-6, "points": _CONVECTION},
        cure={"training.optimizer": "adam", "training.lr": 5e-3},
        source="Wang, Yu & Perdikaris 2022, section 5: error modes decay as exp(-lambda_k t)",
        set="tuning",
    ),
    Case(
        "timid-adam",
        "step-too-small",
        "poisson1d",
        parameters={"k": 1},
        network={"width": 32, "depth": 3},
        training={"steps": 3000, "lr": 1e-6, "points": _LINE},
        weighting=NTK,
        cure={"training.lr": 1e-3},
        source="deepxde issue 733: a loss that does not change",
        set="held-out",
    ),
    Case(
        "tiny",
        "network-too-small",
        "poisson1d",
        network={"width": 3, "depth": 1},
        training={"steps": 2000, "lr": 1e-2, "points": _LINE},
        weighting=NTK,
        cure={"network.arguments.width": 32, "network.arguments.depth": 2},
        source="deepxde issue 85: good once the network is larger",
        set="tuning",
    ),
    Case(
        "few-points",
        "too-few-points",
        "poisson1d",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"poisson": 6, "ends": 2}},
        weighting=NTK,
        cure={"training.points.poisson": 100},
        source="deepxde issue 505: ten points for a beam",
        set="tuning",
    ),
    Case(
        "few-points-2d",
        "too-few-points",
        "helmholtz2d",
        parameters={"a1": 1, "a2": 2},
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"helmholtz": 25, "walls": 60}},
        weighting=NTK,
        cure={"training.points.helmholtz": 400},
        source="deepxde issues 85 and 1584: a small loss on the points and a wrong answer between them",
        set="held-out",
    ),
    Case(
        "corner-points",
        "clustered-points",
        "poisson2d",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": _SQUARE},
        weighting=NTK,
        crowded={"x": (0, 0.3), "y": (0, 0.3)},
        cure={"training.points": _SQUARE},
        source="Wu et al. 2023 (residual-based sampling): where points lie decides",
        set="tuning",
    ),
    Case(
        "early-points",
        "clustered-points",
        "rod.py",
        parameters={"length": 1.0},
        network=_SMALL,
        training={"steps": 1500, "lr": 5e-3, "points": _ROD},
        weighting=NTK,
        crowded={"t": (0, 0.1)},
        cure={"training.points": _ROD},
        source="Daw et al. 2023 (propagation failures): no points late in time",
        set="held-out",
    ),
    Case(
        "saturated",
        "saturation",
        "poisson1d",
        parameters={"k": 2},
        network={**_SMALL, "gain": 20.0},
        training={"steps": 2000, "lr": 2e-3, "points": _LINE},
        weighting=NTK,
        cure={"network.arguments.gain": 1.0},
        source="Glorot & Bengio 2010: tanh units that start saturated; deepxde issue 305: large first losses",
        set="tuning",
    ),
    Case(
        "saturated-rod",
        "saturation",
        "rod.py",
        parameters={"length": 1.0},
        network={**_SMALL, "gain": 10.0},
        training={"steps": 1500, "lr": 5e-3, "points": _ROD},
        weighting=NTK,
        cure={"network.arguments.gain": 1.0},
        source="Glorot & Bengio 2010: tanh units that start saturated",
        set="held-out",
    ),
    Case(
        "single-beam",
        "float32-floor",
        "beam.py",
        network={"width": 20, "depth": 2},
        training={"steps": 200, "optimizer": "gauss-newton", "points": {"bending": 100, "supports": 2, "moments": 2}},
        weighting={"name": "ntk", "every": 25},
        cure={"network.dtype": "float64"},
        source="docs/SOLVERS.md: a solver reaches the rounding of single precision; deepxde issue 28",
        set="tuning",
    ),
    Case(
        "single-poisson",
        "float32-floor",
        "poisson1d",
        network={"width": 20, "depth": 2},
        training={"steps": 200, "optimizer": "gauss-newton", "points": {"poisson": 200, "ends": 2}},
        weighting={"name": "ntk", "every": 25},
        cure={"network.dtype": "float64"},
        source="docs/SOLVERS.md: a solver reaches the rounding of single precision",
        set="held-out",
    ),
    Case(
        "wrong-sign",
        "wrong-problem",
        "wrong_sign.py",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"helmholtz": 300, "walls": 80}},
        weighting=NTK,
        source="deepxde issue 1584: a small loss, and an equation that was coded wrongly",
        set="tuning",
    ),
    Case(
        "missing-wall",
        "wrong-problem",
        "missing_wall.py",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"poisson": 300, "left": 40, "floor_and_ceiling": 60}},
        weighting=NTK,
        source="deepxde issue 1728: boundary conditions that were not right",
        set="held-out",
    ),
    Case(
        "shifted-sensors",
        "conflict",
        "shifted_sensors.py",
        network=_SMALL,
        training={"steps": 2000, "lr": 2e-3, "points": _LINE},
        weighting=NTK,
        cure={"weighting": {"name": "fixed", "ends": 100.0, "readings": 0.0}},
        source="measurements with an offset, against the equation",
        set="tuning",
    ),
    Case(
        "two-conditions",
        "conflict",
        "two_conditions.py",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {**_SQUARE, "insulation": 80}},
        weighting=NTK,
        cure={"weighting": {"name": "fixed", "walls": 100.0, "insulation": 0.0}},
        source="deepxde issue 564: boundary conditions in conflict",
        set="held-out",
    ),
)

HEALTHY = (
    Case(
        "well-poisson",
        "",
        "poisson1d",
        parameters={"k": 1},
        network=_SMALL,
        training={"steps": 2000, "lr": 2e-3, "points": _LINE},
        weighting=NTK,
        source="as timid-adam, with a fitting step",
        set="tuning",
    ),
    Case(
        "well-weighted",
        "",
        "poisson1d",
        parameters={"k": 4},
        network={"width": 64, "depth": 2},
        training={"steps": 3000, "lr": 1e-2, "points": _LINE},
        weighting=NTK,
        source="as heavy-residual, weighted and with a second layer",
        set="held-out",
    ),
    Case(
        "well-heat",
        "",
        "rod.py",
        parameters={"length": 1.0},
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": _ROD},
        weighting=NTK,
        source="as early-points, with points everywhere",
        set="tuning",
    ),
    Case(
        "well-measured",
        "",
        "heat_inverse",
        network=_SMALL,
        training={"steps": 2500, "lr": 1e-2, "points": _ROD},
        weighting={"name": "fixed", "start": 10.0, "walls": 10.0, "readings": 10.0},
        source="an inverse problem with noisy data and an unknown coefficient",
        set="held-out",
    ),
    Case(
        "well-square",
        "",
        "poisson2d",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": _SQUARE},
        weighting=NTK,
        source="as corner-points, with points everywhere",
        set="tuning",
    ),
    Case(
        "well-burgers",
        "",
        "burgers",
        parameters={"nu": 0.1},
        network={"width": 20, "depth": 2, "dtype": "float64"},
        training={"steps": 60, "optimizer": "gauss-newton", "points": {"burgers": 400, "start": 80, "walls": 60}},
        weighting={"name": "ntk", "every": 25},
        source="Raissi, Perdikaris & Karniadakis 2019, with more viscosity",
        set="held-out",
    ),
    Case(
        "well-flow",
        "",
        "kovasznay",
        parameters={"re": 20.0},
        network={"width": 20, "depth": 2, "dtype": "float64"},
        training={"steps": 60, "optimizer": "gauss-newton", "points": {"residual": 300, "boundary": 80}},
        weighting={"name": "ntk", "every": 25},
        source="three fields, six conditions",
        set="tuning",
    ),
    Case(
        "well-solved",
        "",
        "poisson2d",
        network={"width": 20, "depth": 2, "dtype": "float64"},
        training={"steps": 40, "optimizer": "gauss-newton", "points": {"poisson": 400, "walls": 100}},
        weighting={"name": "ntk", "every": 25},
        source="docs/SOLVERS.md",
        set="held-out",
    ),
)

_WAVES = {"helmholtz": 400, "walls": 100}
_BURGERS = {"burgers": 500, "start": 80, "walls": 60}

FRESH = (  # written after the rules, of which none has been changed since
    Case(
        "stiff-convection",
        "causality",
        "convection",
        parameters={"beta": 15.0},
        network=_SMALL,
        training={"steps": 2000, "lr": 3e-3, "points": _CONVECTION},
        cure={
            "training.optimizer": "gauss-newton",
            "training.lr": None,
            "training.steps": 100,
            "training.resample": 1,
            "weighting": {"name": "ntk", "every": 25},
        },
        source="Krishnapriyan et al. 2021, with another beta",
        set="fresh",
    ),
    Case(
        "warm-rod",
        "unnormalized-inputs",
        "rod.py",
        parameters={"length": 200.0},
        network={**_SMALL, "normalize": False},
        training={"steps": 2000, "lr": 5e-3, "points": _ROD},
        weighting=NTK,
        cure={"network.arguments.normalize": True},
        source="as long-rod, of another length",
        set="fresh",
    ),
    Case(
        "hasty-flow",
        "step-too-large",
        "kovasznay",
        parameters={"re": 20.0},
        network=_SMALL,
        training={"steps": 1500, "lr": 0.2, "schedule": "constant", "points": {"residual": 300, "boundary": 80}},
        weighting=NTK,
        cure={"training.lr": 5e-3, "training.schedule": "cosine"},
        source="deepxde issues: losses that jump",
        set="fresh",
    ),
    Case(
        "timid-burgers",
        "step-too-small",
        "burgers",
        parameters={"nu": 0.1},
        network=_SMALL,
        training={"steps": 2000, "lr": 3e-6, "points": _BURGERS},
        weighting=NTK,
        cure={"training.lr": 5e-3},
        source="deepxde issue 84: a loss that does not move",
        set="fresh",
    ),
    Case(
        "loud-waves",
        "saturation",
        "helmholtz2d",
        parameters={"a1": 1, "a2": 1},
        network={**_SMALL, "gain": 15.0},
        training={"steps": 2500, "lr": 5e-3, "points": _WAVES},
        weighting=NTK,
        cure={"network.arguments.gain": 1.0},
        source="Glorot & Bengio 2010",
        set="fresh",
    ),
    Case(
        "few-points-burgers",
        "too-few-points",
        "burgers",
        parameters={"nu": 0.05},
        network=_SMALL,
        training={"steps": 2500, "lr": 5e-3, "points": {**_BURGERS, "burgers": 8}},
        weighting=NTK,
        cure={"training.points": _BURGERS},
        source="deepxde issues 321 and 356: a tiny loss and a wrong answer",
        set="fresh",
    ),
    Case(
        "late-points",
        "clustered-points",
        "convection",
        parameters={"beta": 1.0},
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": _CONVECTION},
        crowded={"t": (0.9, 1.0)},
        weighting=NTK,
        cure={"training.points": _CONVECTION},
        source="Wu et al. 2023, on where points are",
        set="fresh",
    ),
    Case(
        "narrow",
        "network-too-small",
        "helmholtz2d",
        parameters={"a1": 1, "a2": 1},
        network={"width": 3, "depth": 1},
        training={"steps": 2500, "lr": 1e-2, "points": _WAVES},
        weighting=NTK,
        cure={"network.arguments.width": 32, "network.arguments.depth": 2},
        source="as tiny, in two dimensions",
        set="fresh",
    ),
    Case(
        "single-waves",
        "float32-floor",
        "helmholtz2d",
        parameters={"a1": 1, "a2": 1},
        network={"width": 20, "depth": 2},
        training={"steps": 100, "optimizer": "gauss-newton", "points": _WAVES},
        weighting={"name": "ntk", "every": 25},
        cure={"network.dtype": "float64"},
        source="as single-poisson",
        set="fresh",
    ),
    Case(
        "forgotten-velocity",
        "wrong-problem",
        "forgotten_velocity.py",
        network=_SMALL,
        training={"steps": 2000, "lr": 5e-3, "points": {"wave": 400, "start": 80, "walls": 60}},
        weighting=NTK,
        source="deepxde issue 1584: a tiny loss and a wrong answer",
        set="fresh",
    ),
    Case(
        "well-waved",
        "",
        "helmholtz2d",
        parameters={"a1": 1, "a2": 1},
        network={"width": 20, "depth": 2, "dtype": "float64"},
        training={"steps": 60, "optimizer": "gauss-newton", "points": _WAVES},
        weighting={"name": "ntk", "every": 25},
        source="as loud-waves, solved",
        set="fresh",
    ),
    Case(
        "well-viscous",
        "",
        "burgers",
        parameters={"nu": 0.1},
        network=_SMALL,
        training={"steps": 3000, "lr": 5e-3, "points": _BURGERS},
        weighting=NTK,
        source="as timid-burgers, with a larger step",
        set="fresh",
    ),
    Case(
        "well-grown",
        "",
        "reaction_diffusion",
        network={"width": 20, "depth": 2, "dtype": "float64"},
        training={"steps": 60, "optimizer": "gauss-newton", "points": {"residual": 400, "initial": 80, "periodic": 60}},
        weighting={"name": "ntk", "every": 25},
        source="Krishnapriyan et al. 2021",
        set="fresh",
    ),
)

CASES = MappingProxyType({case.name: case for case in (*SICK, *HEALTHY, *FRESH)})


def settings(case: Case, changes: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The case's settings in the sections of config.json, with `changes` made. Raises ValueError for an unknown section."""
    arguments = dict(case.network)
    found = {
        "network": {"dtype": arguments.pop("dtype", "float32"), "arguments": arguments},
        "training": {"eval_every": max(10, case.training["steps"] // 20), **deepcopy(dict(case.training))},
        "weighting": dict(case.weighting),
    }
    for place, value in changes.items():
        *levels, last = place.split(".")
        at: Any = found
        for level in levels:
            if level not in at:
                raise ValueError(f"change {place!r}: no {level!r} in the settings of {case.name}; they have {sorted(at)}")
            at = at[level]
        at[last] = deepcopy(value)
    if set(found) != {"network", "training", "weighting"}:
        raise ValueError(f"changes {sorted(changes)}: they begin with network, training or weighting")
    return found


def train(
    case: Case, seed: int = 0, changes: Mapping[str, Any] = MappingProxyType({}), out: str | os.PathLike | None = None
) -> pinntk.Run:
    """Trains a case, with `changes` of its settings (`Prescription.changes`); `out` is the run folder."""
    plan = settings(case, changes)
    problem = case.load()
    network = pinntk.nn.MLP(problem, seed=seed, dtype=getattr(torch, plan["network"]["dtype"]), **plan["network"]["arguments"])
    training = plan["training"]
    if case.crowded and "training.points" not in changes:
        training["points"] = crowded_points(case, problem, training["points"], seed)
    described = dict(plan["weighting"])
    weighting = SCHEMES[described.pop("name")](**described)
    return pinntk.train(problem, network, weighting=weighting, seed=seed, out=out, progress=False, **training)


def crowded_points(case: Case, problem: pinntk.Problem, counts: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    """Uniform points, those of residuals pressed into the part of the domain that `case.crowded` names."""
    points = problem.sample(seed=seed, dtype=torch.float64, **counts)
    for condition in problem.conditions:
        if condition.kind == "residual":
            rows = points[condition.name] = points[condition.name].clone()
            for name, (low, high) in case.crowded.items():
                axis = problem.domain.axis(name)
                first, last = problem.domain.bounds[axis]
                rows[:, axis] = first + (last - first) * low + (high - low) * (rows[:, axis] - first)
    return points


def measure(case: Case, seeds: int) -> dict[str, Any]:
    """Relative L2 errors and seconds, as it is and cured, with the same number of steps."""
    row: dict[str, Any] = {"name": case.name, "cause": case.cause, "set": case.set, "cure": dict(case.cure)}
    for label, changes in {"before": {}, **({"cured": case.cure} if case.cure else {})}.items():
        start = perf_counter()
        runs = [train(case, seed, changes) for seed in range(seeds)]
        row[label] = [run.error for run in runs]
        row[f"seconds {label}"] = (perf_counter() - start) / seeds
        row[f"losses {label}"] = {name: runs[0].history[-1][f"loss/{name}"] for name in runs[0].problem.names}
    return row


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/sick_pinns"))
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; they are {', '.join(CASES)}")
    rows = []
    print("median relative L2 error, and seconds of one training")
    print(f"{'case':<22} {'cause':<20} {'set':<9} {'before':>8} {'cured':>8} {'seconds':>7} {'cured':>7}  cure")
    for name in arguments.cases or CASES:
        row = measure(CASES[name], arguments.seeds)
        rows.append(row)
        cured = f"{median(row['cured']):>8.1e}" if row["cure"] else f"{'-':>8}"
        took = f"{row['seconds cured']:>7.1f}" if row["cure"] else f"{'-':>7}"
        print(
            f"{name:<22} {row['cause'] or 'healthy':<20} {row['set']:<9} {median(row['before']):>8.1e} {cured} "
            f"{row['seconds before']:>7.1f} {took}  {json.dumps(row['cure'])}",
            flush=True,
        )
        with replacing(arguments.out / "result.json") as temporary:
            temporary.write_text(json.dumps(rows, indent=1))
    return rows


if __name__ == "__main__":
    main()
