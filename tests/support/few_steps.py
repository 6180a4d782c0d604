"""A training too short to solve anything."""

import torch

import pinntk


def losses_of_a_few_steps(problem):
    """Mean squared errors, summed, over 15 steps of Adam on a few points."""
    network = pinntk.nn.MLP(problem, width=10, depth=2)
    counts = {"residual": 30, "boundary": 20, "initial": 20, "periodic": 10, "data": 7}
    points = problem.sample({kind: n for kind, n in counts.items() if kind in {c.kind for c in problem.conditions}})
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(15):
        loss = sum(e.square().mean() for e in pinntk.errors(network, problem, points).values())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses
