"""A training run: its history and its folder (config.json, metrics.csv, checkpoint.pt, kernel snapshots)."""

from __future__ import annotations

import csv
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.files import replacing
from pinntk.nn import NETWORKS
from pinntk.ntk import KernelBlocks
from pinntk.problem import Points, Problem, load

CONFIG, METRICS, CHECKPOINT, SNAPSHOTS, FIGURES = "config.json", "metrics.csv", "checkpoint.pt", "kernel", "figures"
REPORT, COMPARISON, DIAGNOSIS = "report.html", "comparison.html", "diagnosis.json"  # what `pinntk diagnose` adds
_FORMAT = 4


@dataclass(frozen=True)
class Watched:
    """What a `pinntk.Monitor` has to say of a run.

    seconds, share: what it cost, and the share of the training's time
    measurements, diagnoses, skipped: how many of them, and how many measurements were due that its budget had no room for
    horizon: the last step measured until which the first kernel, frozen, foretold every condition's loss within 10 %
    broken: the first step measured at which it did not; None while it does, and where it predicts nothing
    warned: codes of the findings that it has warned of
    """

    seconds: float
    share: float
    measurements: int
    diagnoses: int
    skipped: int
    horizon: int | None
    broken: int | None
    warned: tuple[str, ...]


@dataclass(repr=False)
class Run:
    """What a training left behind.

    history: one row a logged step: step, seconds, loss (what is minimised), learning_rate or damping, loss/NAME (without any
        weight), weight/NAME, with causal weights causal (the smallest of them) and epsilon, with self-adaptive ones
        mean_point_weight/NAME and max_point_weight/NAME, and where measured trace/NAME, coefficient/NAME,
        relative_error (L2), drift (of the parameters)
    snapshots: kernels by step
    weights: the loss weights at the end
    points: the training points at the end, {condition: (n, d)}
    point_weights: the g of the loss's mean(g e^2), {condition: (n,)}, under causal and self-adaptive weights
    step: steps done
    seconds: that they took
    folder: the run folder, or None
    stopped: why training ended before its last step; "" if it did not
    monitor: what a `pinntk.Monitor` has to say, or None

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=5, boundary=2, seed=0)
    >>> run = pinntk.train(problem, network, steps=2, points=points, log_every=1, progress=False)
    >>> steps, losses = run.column("loss")
    >>> steps.tolist()
    [0, 1, 2]
    """

    problem: Problem
    network: nn.Module
    config: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, KernelBlocks] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    points: Points = field(default_factory=dict)
    point_weights: Points = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    folder: Path | None = None
    stopped: str = ""
    monitor: Watched | None = None

    def __repr__(self) -> str:
        relative = "" if self.relative_error is None else f", relative error {self.relative_error:.2e}"
        return f"Run({self.problem.name}, {self.step} steps{relative}, folder={self.folder})"

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one quantity, where it was measured."""
        rows = [(row["step"], row[name]) for row in self.history if name in row]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return np.array(steps), np.array(values)

    @property
    def relative_error(self) -> float | None:
        """The last relative L2 error, or None if the problem has no known solution."""
        _, values = self.column("relative_error")
        return float(values[-1]) if len(values) else None

    def kernel_drift(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps, and norm_F(K(t) - K(0)) / norm_F(K(0)) at the snapshots."""
        steps = sorted(self.snapshots)
        if not steps:
            return np.array([]), np.array([])
        start = self.snapshots[steps[0]].numpy()
        drift = [np.linalg.norm(self.snapshots[step].numpy() - start) / np.linalg.norm(start) for step in steps]
        return np.array(steps), np.array(drift)

    @classmethod
    def load(cls, folder: str | os.PathLike, network: nn.Module | None = None) -> Run:
        """Reads a run folder. A `pinntk.nn` network is rebuilt; one of your own is passed in, and gets the weights.

        Raises FileNotFoundError for a folder without a run, ValueError for a damaged one.
        """
        folder = Path(folder)
        config = read_config(folder)
        state = read_checkpoint(folder)
        problem = load(config["problem"]["source"], **config["problem"]["parameters"])
        check_identity(state, problem, folder)
        network = rebuilt(config, problem) if network is None else network
        load_state(state, network, problem, folder)
        snapshots = {int(path.stem): KernelBlocks.load(path) for path in sorted((folder / SNAPSHOTS).glob("*.npz"))}
        saved = state["parts"].get("monitor")
        return cls(
            problem,
            network,
            config,
            history=state["history"],
            snapshots=snapshots,
            weights=state["weights"],
            points=state["points"],
            point_weights=state["point_weights"],
            step=state["step"],
            seconds=state["seconds"],
            folder=folder,
            monitor=saved and Watched(**{**saved["report"], "warned": tuple(saved["report"]["warned"])}),
        )


def identity(problem: Problem) -> dict[str, Any]:
    """What makes two problems the same to a checkpoint."""
    return {
        "name": problem.name,
        "parameters": json.loads(json.dumps(dict(problem.parameters), default=str)),
        "coordinates": list(problem.coordinates),
        "fields": list(problem.fields),
        "conditions": {c.name: c.kind for c in problem.conditions},
    }


def describe_network(network: nn.Module) -> dict[str, Any]:
    dtype = next((str(p.dtype).removeprefix("torch.") for p in network.parameters()), "float32")
    arguments = dict(network.config) if type(network) in NETWORKS.values() else None
    count = sum(p.numel() for p in network.parameters())
    return {"class": _class_name(type(network)), "arguments": arguments, "dtype": dtype, "parameters": count}


def _class_name(kind: type) -> str:
    """By the door through which users get it."""
    return f"{'pinntk.nn' if kind in NETWORKS.values() else kind.__module__}.{kind.__qualname__}"


def network_class(config: Mapping[str, Any]) -> type[nn.Module] | None:
    """The class of config.json's network, if pinntk can build it from its arguments."""
    known = {_class_name(kind): kind for kind in NETWORKS.values()}
    return None if config["network"]["arguments"] is None else known.get(config["network"]["class"])


def rebuilt(config: Mapping[str, Any], problem: Problem) -> nn.Module:
    """The network that config.json describes, with its initial weights."""
    described, kind = config["network"], network_class(config)
    if kind is None:
        raise ValueError(
            f"the run's network is {described['class']}, which pinntk cannot build; give it to Run.load(folder, network)"
        )
    return kind(problem, dtype=getattr(torch, described.get("dtype", "float32")), **described["arguments"])


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run ({CONFIG} is missing); give the folder that `pinntk train -o` wrote")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or train anew") from error


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")


def foreign(folder: Path) -> bool:
    """Whether the folder's config.json is somebody else's."""
    try:
        return not {"problem", "network", "training"} <= set(json.loads((folder / CONFIG).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, TypeError):
        return True


def remove(folder: Path) -> None:
    """Removes what a run and its diagnosis wrote, and nothing else."""
    diagnosed = (REPORT, COMPARISON, DIAGNOSIS)
    for pattern in (CONFIG, METRICS, CHECKPOINT, *diagnosed, f"{SNAPSHOTS}/*.npz", f"{FIGURES}/*.png"):
        for path in folder.glob(pattern):
            path.unlink()


def write_metrics(folder: Path, history: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in history for key in row))
    with replacing(folder / METRICS) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    with replacing(folder / CHECKPOINT) as temporary:
        torch.save({"format": _FORMAT, **state}, temporary)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError if there is none, ValueError, naming the file, if it is damaged."""
    path = folder / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no checkpoint ({CHECKPOINT} is missing); nothing to resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != _FORMAT:
            raise ValueError(f"written by another version of pinntk (format {state['format']}, this one reads {_FORMAT})")
        return state
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no readable checkpoint ({reason}); restore it from a copy or train anew") from error


def check_identity(state: Mapping[str, Any], problem: Problem, folder: Path) -> None:
    """Raises ValueError if a checkpoint belongs to another problem."""
    theirs, ours = state["identity"], identity(problem)
    if theirs != ours:
        different = [key for key in ours if theirs.get(key) != ours[key]]
        details = "; ".join(f"{key}: {theirs.get(key)} there, {ours[key]} here" for key in different)
        raise ValueError(f"the checkpoint in {folder} is of another problem ({details}); name another folder")


def load_state(state: Mapping[str, Any], network: nn.Module, problem: Problem, folder: Path) -> None:
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise ValueError(f"the checkpoint in {folder} is of another network: {error}") from error
    problem.coefficients.load_state_dict(state["coefficients"])


def all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
