"""One training of a comparison, and how it is run."""

from __future__ import annotations

import json
import re
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from operator import sub
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from pinntk._util.files import replacing
from pinntk.comparison._summary import Row
from pinntk.problem import Problem
from pinntk.run import Run
from pinntk.run._configuration import read_config
from pinntk.run._folder import CHECKPOINT
from pinntk.solvers import is_solver
from pinntk.training import TrainConfig, train_as
from pinntk.training._checks import check_fits
from pinntk.training._compiled import trainings_alike
from pinntk.training._train import describe_run

_RUN, _ERROR, _WARNINGS = "run", "error.txt", "warnings.txt"
_PACED = 12  # steps by which it is known how many there will be, about
_LOOKS, _LOOKING = 20, 0.05  # how often the error is measured, at most: in this share of the time
_MANY = 1_000_000  # steps that no time suffices for


@dataclass(frozen=True)
class Cell:
    """A training of a comparison.

    labels: {axis: value}, as in {"problem": "wave1d", "weighting": "ntk"}; what is alike but for the seed is one combination
    seed: of network and points
    config: of the training, as in config.json, with the seed and, at equal time, the seconds
    timed: whether it is the time that ends it, and not a number of steps
    """

    labels: Mapping[str, str]
    seed: int
    config: Mapping[str, Any]
    timed: bool = False

    @classmethod
    def of(cls, labels: Mapping[str, str], problem: Problem, network: nn.Module, config: TrainConfig, *, timed: bool) -> Cell:
        """Of a training by `pinntk.train(problem, network, config)`.

        Raises ValueError or TypeError, naming it, for what config.json cannot hold, a network or an optimizer of one's own, and
        for weights or points that the problem cannot have.
        """
        check_fits(config, problem)
        described = json.loads(json.dumps(describe_run(config, problem, network)))
        cell = cls(dict(labels), config.seed, described, timed)
        if described["network"]["arguments"] is None or config.fixed_points:
            raise ValueError("the network of a cell is one of pinntk's and its points are counts, for another process to make")
        TrainConfig.from_json(described)
        return cell

    @property
    def name(self) -> str:
        """Of its folder."""
        words = [re.sub(r"[^\w.+=-]+", "_", value) for value in self.labels.values()]
        return "-".join([*filter(None, words), f"seed{self.seed}"])

    def as_json(self) -> dict[str, Any]:
        return {"labels": dict(self.labels), "seed": self.seed, "timed": self.timed, "config": dict(self.config)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Cell:
        return cls(found["labels"], found["seed"], found["config"], found["timed"])

    def run(
        self, folder: Path, *, device: torch.device | str = "cpu", trust: bool = False, on_log: Callable | None = None
    ) -> Row:
        """Trains it, or goes on with it, in `folder`/run. A training that fails is a row that says why, and what it warns of is
        in its row.

        Raises OSError where the folder cannot be written, Interrupted on Ctrl-C, and nothing else.
        """
        told = folder / _WARNINGS
        if not (folder / _RUN / CHECKPOINT).exists():
            told.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.showwarning = partial(_note, told)
            row = self._ended(folder, device, trust, on_log)
        lines = told.read_text("utf-8").splitlines() if told.exists() else []
        return replace(row, warnings=list(dict.fromkeys(lines)))

    def _ended(self, folder: Path, device: torch.device | str, trust: bool, on_log: Callable | None) -> Row:
        try:
            with trainings_alike():
                return self._row(self._train(folder, device, trust, on_log))
        except OSError:
            raise
        except Exception as error:
            with replacing(folder / _ERROR) as temporary:
                temporary.write_text(traceback.format_exc())
            return Row(dict(self.labels), self.seed, failed=str(error).splitlines()[0] if str(error) else type(error).__name__)

    def _train(self, folder: Path, device: torch.device | str, trust: bool, on_log: Callable | None) -> Run:
        out = folder / _RUN
        resume = (out / CHECKPOINT).exists()
        solver = is_solver(self.config["training"]["optimizer"])  # which has no schedule to fit
        if resume:
            begun = read_config(out)["training"]
            habits = {name: begun[name] for name in ("steps", *_habits(1))}
        else:
            steps = _MANY if self.timed else self.config["training"]["steps"]
            about = self._pace(device, trust) if self.timed and not solver else (steps, _LOOKS)
            habits = {"steps": steps, **_habits(*about, solver)}
        options: dict[str, Any] = {"device": device, "trust": trust, "progress": False, "on_log": on_log}
        return train_as(self.config, out=out, resume=resume, overwrite=not resume, **options, **habits)

    def _pace(self, device: torch.device | str, trust: bool) -> tuple[int, int]:
        """About how many steps fill the time, by the time of a few, and how often to measure the error in it."""
        seconds, taken, looked = self.config["training"]["seconds"], [], _PACED // 2
        quiet: dict[str, Any] = {"progress": False, **dict.fromkeys(("log_every", "checkpoint_every", "snapshot_every"), 0)}

        def note(run: Run) -> None:
            taken.append(run.seconds)

        train_as(self.config, steps=_PACED, seconds=None, device=device, trust=trust, on_step=note, eval_every=looked, **quiet)
        gaps = list(map(sub, taken[1:], taken))  # of the steps from the second one on
        each = max(median(gaps), 1e-9)
        look = max(0.0, gaps[looked - 1] - each)
        looks = _LOOKS if look * _LOOKS <= _LOOKING * seconds else max(1, int(_LOOKING * seconds / look))
        return max(1, int(seconds / each)), looks

    def _row(self, run: Run) -> Row:
        last = run.history[-1]
        loss = sum(value for key, value in last.items() if key.startswith("loss/"))
        measured = "averaged/relative_error" if self.config["training"].get("average") else "relative_error"
        curve = [[row["seconds"], row[measured]] for row in run.history if measured in row]
        error = curve[-1][1] if curve else None
        if not isfinite(loss) or (error is not None and not isfinite(error)):
            return Row(dict(self.labels), self.seed, failed="its losses or its error are not finite")
        reason = "" if run.stop_reason.startswith("the time is up") else run.stop_reason
        return Row(dict(self.labels), self.seed, error, loss, run.step, round(run.seconds, 3), reason, curve=curve)


def _note(path: Path, message: Warning | str, *_: Any) -> None:
    """A warning as a line of a file, which is there also where the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(" ".join(str(message).split()) + "\n")


def _habits(steps: int, looks: int = _LOOKS, solver: bool = False) -> dict[str, int]:
    """How often a cell writes and measures: rarely, since it counts as time."""
    if solver:
        return {"log_every": 1, "eval_every": 10, "checkpoint_every": 20, "snapshot_every": 0}
    return {
        "log_every": max(1, steps // 100),
        "eval_every": max(1, steps // looks),
        "checkpoint_every": max(1, steps // 5),
        "snapshot_every": 0,
    }
