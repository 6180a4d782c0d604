"""Darcy's law in mixed form, velocity and pressure by a network each with an optimizer each."""

import torch
from torch import nn

N_COL = 900
N_BND = 120
EPOCHS = 2000

torch.manual_seed(5)


def make(out_features):
    return nn.Sequential(nn.Linear(2, 32), nn.Softplus(10), nn.Linear(32, 32), nn.Softplus(10), nn.Linear(32, out_features))


velocity, pressure = make(2), make(1)
opt_v = torch.optim.Adam(velocity.parameters(), lr=1e-3)
opt_p = torch.optim.Adam(pressure.parameters(), lr=5e-4)


def permeability(xy):
    return 1 + 0.5 * torch.sin(3 * xy[:, 0]) * torch.cos(2 * xy[:, 1])


def jac(y, x):
    return torch.stack([torch.autograd.grad(y[:, i].sum(), x, create_graph=True)[0] for i in range(y.shape[1])], 1)


def darcy(xy):
    """(n, 2): v + k grad p."""
    return velocity(xy) + permeability(xy)[:, None] * jac(pressure(xy), xy)[:, 0]


def mass(xy):
    J = jac(velocity(xy), xy)
    return J[:, 0, 0] + J[:, 1, 1]


side = torch.rand(N_BND, 1)
left, right = torch.cat([0 * side, side], 1), torch.cat([0 * side + 1, side], 1)
floor, ceiling = torch.cat([side, 0 * side], 1), torch.cat([side, 0 * side + 1], 1)

for epoch in range(EPOCHS):
    xy = torch.rand(N_COL, 2, requires_grad=True)
    momentum_loss = (darcy(xy) ** 2).sum(dim=1).mean()
    mass_loss = (mass(xy) ** 2).mean()
    pressure_loss = ((pressure(left) - 1) ** 2).mean() + (pressure(right) ** 2).mean()
    wall_loss = (velocity(floor)[:, 1] ** 2).mean() + (velocity(ceiling)[:, 1] ** 2).mean()
    loss = momentum_loss + mass_loss + pressure_loss + wall_loss
    opt_v.zero_grad()
    opt_p.zero_grad()
    loss.backward()
    opt_v.step()
    opt_p.step()
