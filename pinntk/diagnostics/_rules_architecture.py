"""A rule about a network before it is trained: what it cannot be whatever its parameters."""

from __future__ import annotations

from torch import nn

from pinntk.diagnostics._architecture import activation_of, lacking
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.problem import Problem


def without_derivatives(problem: Problem, network: nn.Module) -> list[Finding]:
    """A condition asks for derivatives that are zero for this network."""
    found = lacking(network, problem, problem.names)
    if not found:
        return []
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
