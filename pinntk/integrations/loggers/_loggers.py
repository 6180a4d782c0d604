"""Rows of a history, as TensorBoard and Weights & Biases take them. Neither is imported: the user's own object is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pinntk._util import distributed
from pinntk.run import Run

Logger = Callable[[Run], None]


def tensorboard(writer: Any) -> Logger:
    """A function that writes each row to TensorBoard: `train(..., on_log=tensorboard(SummaryWriter("runs/mine")))`.

    writer: a `torch.utils.tensorboard.SummaryWriter`, or anything with its `add_scalar`, `add_text` and `flush`; yours to close

    Every column is a scalar of its own name, "loss/NAME" beside its like, by step; the configuration is a text. Of several
    processes the first writes. Raises TypeError for a writer that has no such methods.

    >>> import pinntk
    >>> class Writer:
    ...     def add_scalar(self, name, value, step): print(name, step) if name == "learning_rate" else None
    ...     def add_text(self, name, text): print(name)
    ...     def flush(self): pass
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=4, depth=1)
    >>> settings = {"points": {"residual": 5}, "log_every": 1, "eval_every": 0, "progress": False}
    >>> run = pinntk.train(problem, network, steps=1, on_log=tensorboard(Writer()), **settings)
    config
    learning_rate 0
    learning_rate 1
    """
    _require(writer, "writer", ("add_scalar", "add_text", "flush"), "a torch.utils.tensorboard.SummaryWriter")

    def begin(config: dict[str, Any]) -> None:
        writer.add_text("config", "\n".join(f"    {line}" for line in json.dumps(config, indent=2).splitlines()))

    def log(row: dict[str, float]) -> None:
        step = int(row["step"])
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, step)
        writer.flush()

    return _logger(begin, log)


def wandb(run: Any) -> Logger:
    """A function that logs each row to Weights & Biases: `train(..., on_log=wandb(wandb.init(project="mine")))`.

    run: what `wandb.init` returned, or anything with its `log` and its `config.update`; yours to finish

    Every column is a number of its own name, by step; the configuration goes into the run's. Of several processes the first
    logs. Raises TypeError for a run that has no such methods.

    >>> class Stand:
    ...     class config:
    ...         update = staticmethod(lambda values, allow_val_change: print(sorted(values)[0]))
    ...     def log(self, values, step): print(sorted(values)[:2], step)
    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=4, depth=1)
    >>> recorder = pinntk.Recorder(problem, network, problem.sample(residual=5, boundary=2), on_log=wandb(Stand()))
    >>> stop = recorder.log(10)
    format
    ['drift', 'loss'] 10
    """
    _require(run, "run", ("log",), "what wandb.init(...) returned")
    _require(getattr(run, "config", None), "run.config", ("update",), "that of what wandb.init(...) returned")

    def begin(config: dict[str, Any]) -> None:
        run.config.update(config, allow_val_change=True)

    def log(row: dict[str, float]) -> None:
        run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    return _logger(begin, log)


def _require(given: Any, what: str, methods: tuple[str, ...], expected: str) -> None:
    missing = [name for name in methods if not callable(getattr(given, name, None))]
    if missing:
        raise TypeError(f"{what} is a {type(given).__name__} without {', '.join(missing)}; give {expected}")


def _logger(begin: Callable[[dict[str, Any]], None], log: Callable[[dict[str, float]], None]) -> Logger:
    """begin: called once, with what config.json has, but for the copy of the problem's file"""
    begun = False

    def follow(run: Run) -> None:
        nonlocal begun
        if distributed.rank():
            return
        if not begun:
            problem = {name: value for name, value in run.config["problem"].items() if name != "text"}
            begin(json.loads(json.dumps({**run.config, "problem": problem}, default=str)))
            begun = True
        log(run.history[-1])

    return follow
