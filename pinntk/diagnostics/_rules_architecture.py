"""A rule about a network before it is trained: what it cannot be whatever its parameters."""

from __future__ import annotations

from torch import nn

from pinntk.diagnostics._architecture import activation_of, lacking
from pinntk.diagnostics._curvature import without_curvature
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._wording import joined
from pinntk.problem import Problem


def without_derivatives(problem: Problem, network: nn.Module) -> list[Finding]:
    """A condition asks for derivatives that are zero for this network."""
    found = lacking(network, problem, problem.names)
    if not found:
        return _without_curvature(problem, network)
    name, arguments = next(iter(found.items()))
    activation = activation_of(network)
    whose = f"The activation {activation}" if activation else "This network"
    changes = {"network.arguments.activation": "tanh"} if activation else {}
    return [
        Finding(
            code="unsuitable-activation",
            severity="critical",
            sentence=f"{whose} has no {', '.join(arguments)}: it is zero at every point, whatever the parameters, and the "
            f"condition {name} asks for it. No training can meet that condition.",
            evidence={"lacking_derivatives": float(sum(map(len, found.values())))},
            confidence=0.99,
            prescriptions=(Prescription("use an activation that is smooth, such as tanh", changes),),
        )
    ]


def _without_curvature(problem: Problem, network: nn.Module) -> list[Finding]:
    """The same of conditions that other code computes, as far as it can be measured."""
    activation, names = without_curvature(network, problem)
    if not names:
        return []
    asked = f"The condition {names[0]} asks" if len(names) == 1 else f"The conditions {joined(names)} ask"
    changes = {"network.arguments.activation": "tanh"} if activation_of(network) else {}
    return [
        Finding(
            code="unsuitable-activation",
            severity="critical",
            sentence=f"This network has no second derivatives: they are zero at every point, whatever the parameters, since "
            f"its activation {activation} is straight but for kinks. {asked} for them (the errors change where the activation "
            "is given a curvature). Training goes on as if those terms were not there.",
            evidence={"lacking_derivatives": float(len(names))},
            confidence=0.99,
            prescriptions=(Prescription("use an activation that is smooth, such as tanh", changes),),
        )
    ]
