"""What a person types in Python to make a prescribed change, where no command can: of a network or a loop of their own."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from pinntk.diagnostics import Examination
from pinntk.nn import NETWORKS
from pinntk.training._changes import arguments_of, keeps_points, source, weighting_source
from pinntk.training._optimizers import is_known

_WIDTH = 74  # of a line, so that it fits a terminal with its indent
_LOOPS = {  # by the package that evaluates the conditions: its model as a problem, and how its loop gets NTK weights
    "deepxde": ("from_model(model)", "in DeepXDE's own training: callbacks=[NTKWeighting(every={every})]"),
    "pina": ("from_solver(solver)", "in PINA's own training: weighting=NTKWeighting(every={every})"),
}
_PLAIN = "in a loop of your own: ntk = pinntk.NTKWeights(model, every={every}), and loss = ntk(losses)"


def call_of(x: Examination, changes: Mapping[str, Any], place: int) -> str:
    """The lines that make such changes.

    place: of the prescription, from 1, among those of all findings that change something

    A run of `pinntk.train` is rescued. What another loop trained is trained by `pinntk.train`, with the run's own steps,
    optimizer, learning rate, points and weights as far as they are known and nothing else is prescribed; where loss weights
    are all that changes, a comment says how the loop itself gets them.
    """
    if x.run is not None and not x.run.config.get("recorded"):
        return f"pinntk.rescue(run{f', prescription={place}' if place > 1 else ''})"
    arguments = {key.rpartition(".")[2]: value for key, value in changes.items() if key.startswith("network.arguments.")}
    made, weighted = _LOOPS.get(_package(x), ("", _PLAIN))
    lines = [f"network, problem, points = {made}"] if made else []
    if arguments:
        kind = type(x.network).__name__ if type(x.network) in NETWORKS.values() else "MLP"
        lines.append(f"network = pinntk.nn.{kind}(problem, **{{**network.config, **{source(arguments)}}})")
    slabs = "slabs.edges" in changes
    settings = ["problem", "network", *(f"{name}={text}" for name, text in _settings(x, changes).items())]
    lines += _wrapped("pinntk.train_slabs" if slabs else "pinntk.train", settings)
    if set(changes) == {"weighting"} and changes["weighting"].get("name") == "ntk":
        own = weighted.format(every=changes["weighting"].get("every", 100))
        lines += [f"# or {line}" if k == 0 else f"# {line}" for k, line in enumerate(wrap(own, _WIDTH - 5))]
    return "\n".join(lines)


def _settings(x: Examination, changes: Mapping[str, Any]) -> dict[str, str]:
    """Arguments of `train` by name, as source; those of the run before, and over them those that are prescribed."""
    slabs = {"slabs": source(changes["slabs.edges"])} if "slabs.edges" in changes else {}
    return {**_before(x, changes), **arguments_of(changes), **slabs}


def _before(x: Examination, changes: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the training as it was, and stays."""
    found = {}
    training = {} if x.run is None else x.run.config["training"]
    optimizer = str(training.get("optimizer", ""))
    chain = ":" in optimizer
    if training and not chain:  # whose parts have their steps
        found["steps"] = source(training["steps"])
    if "training.optimizer" not in changes:
        if chain or (optimizer != "adam" and is_known(optimizer)):
            found["optimizer"] = source(optimizer)
        if training.get("lr") is not None:
            found["lr"] = f"{training['lr']:.4g}"
    if keeps_points(changes):
        found["points"] = "points"
    if any(weight != 1 for weight in x.weights.values()):
        found["weighting"] = weighting_source({"name": "fixed", **{name: float(f"{v:.4g}") for name, v in x.weights.items()}})
    return found


def _package(x: Examination) -> str:
    """That evaluates the conditions: "deepxde", "pina", or "" for none of these."""
    modules = [getattr(x.problem[name].errors, "__module__", "") for name in x.problem.foreign]  # type: ignore[union-attr]
    return next((name for name in _LOOPS if any(name in module.split(".") for module in modules)), "")


def _wrapped(function: str, arguments: list[str]) -> list[str]:
    """A call, on a line of its own or with a line for what fits into one."""
    whole = f"{function}({', '.join(arguments)})"
    if len(whole) <= _WIDTH:
        return [whole]
    lines, line = [f"{function}("], ""
    for argument in arguments:
        if line and len(line) + len(argument) + 7 > _WIDTH:
            lines.append(f"    {line}")
            line = ""
        line += f"{' ' if line else ''}{argument},"
    return [*lines, f"    {line}", ")"]
