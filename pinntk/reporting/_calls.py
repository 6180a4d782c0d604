"""What a person types in Python to make a prescribed change, where no command can: of a network or a loop of their own."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from pinntk.diagnostics import Examination
from pinntk.solvers import is_solver
from pinntk.training._optimizers import optimizers
from pinntk.weighting import SCHEMES

_WIDTH = 74  # of a line, so that it fits a terminal with its indent
_NESTED = {"causal": "pinntk.weighting.Causal", "adaptive": "pinntk.RAD"}  # settings that are objects
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
        lines.append(f"network = pinntk.nn.MLP(problem, **{{**network.config, **{_source(arguments)}}})")
    slabs = "slabs.edges" in changes
    settings = ["problem", "network", *(f"{name}={text}" for name, text in _settings(x, changes).items())]
    lines += _wrapped("pinntk.train_slabs" if slabs else "pinntk.train", settings)
    if set(changes) == {"weighting"} and changes["weighting"].get("name") == "ntk":
        own = weighted.format(every=changes["weighting"].get("every", 100))
        lines += [f"# or {line}" if k == 0 else f"# {line}" for k, line in enumerate(wrap(own, _WIDTH - 5))]
    return "\n".join(lines)


def _settings(x: Examination, changes: Mapping[str, Any]) -> dict[str, str]:
    """Arguments of `train` by name, as source; those of the run before, and over them those that are prescribed."""
    found = _before(x, changes)
    for key, value in changes.items():
        name = key.rpartition(".")[2]
        if key == "weighting":
            found["weighting"] = _weighting(value)
        elif key == "network.dtype":
            found["dtype"] = f"torch.{value}"
        elif key == "slabs.edges":
            found["slabs"] = _source(value)
        elif key.startswith("training.") and value not in (None, False, {}):
            known = name in _NESTED and isinstance(value, Mapping)
            found[name] = f"{_NESTED[name]}({_keywords(value)})" if known else _source(value)
    return found


def _before(x: Examination, changes: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the training as it was, and stays."""
    found = {}
    training = {} if x.run is None else x.run.config["training"]
    optimizer = str(training.get("optimizer", ""))
    if training:
        found["steps"] = _source(training["steps"])
    if "training.optimizer" not in changes:
        if optimizer != "adam" and (optimizer in optimizers() or is_solver(optimizer)):
            found["optimizer"] = _source(optimizer)
        if training.get("lr") is not None:
            found["lr"] = f"{training['lr']:.4g}"
    if not {"training.points", "training.resample"} & set(changes):
        found["points"] = "points"
    if any(weight != 1 for weight in x.weights.values()):
        found["weighting"] = _weighting({"name": "fixed", **{name: float(f"{v:.4g}") for name, v in x.weights.items()}})
    return found


def _weighting(described: Mapping[str, Any]) -> str:
    options = {name: value for name, value in described.items() if name != "name"}
    return f"pinntk.weighting.{SCHEMES[described['name']].__name__}({_keywords(options)})"


def _keywords(options: Mapping[str, Any]) -> str:
    if all(name.isidentifier() for name in options):
        return ", ".join(f"{name}={_source(value)}" for name, value in options.items())
    return f"**{_source(dict(options))}"  # a condition of several, such as pde[0]


def _source(value: Any) -> str:
    """With double quotes where nothing in it has quotes of its own."""
    written = repr(value)
    return written if '"' in written or "\\" in written else written.replace("'", '"')


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
