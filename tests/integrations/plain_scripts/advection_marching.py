"""Advection in time windows: a network for each, from the end of the one before."""

import copy

import torch
from torch import nn

N = 600
STEPS = 1500
WINDOWS = 4
SPEED = 10.0

torch.manual_seed(0)
first = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))


def features(t, x):
    return torch.cat([t, torch.cos(x), torch.sin(x)], 1)


def initial(x):
    return torch.sin(x)


nets, net = [], first
for window in range(WINDOWS):
    net = copy.deepcopy(net)
    optimizer = torch.optim.NAdam(net.parameters(), lr=1e-3)

    def residual(t, x, net=net):
        u = net(features(t, x))
        u_t, u_x = torch.autograd.grad(u, (t, x), torch.ones_like(u), create_graph=True)
        return u_t + SPEED / WINDOWS * u_x

    x0 = 2 * torch.pi * torch.rand(N // 4, 1)
    with torch.no_grad():
        target = nets[-1](features(torch.ones_like(x0), x0)) if nets else initial(x0)
    for step in range(STEPS):
        t, x = torch.rand(N, 1, requires_grad=True), (2 * torch.pi * torch.rand(N, 1)).requires_grad_()
        loss_pde = residual(t, x).pow(2).mean()
        loss_ic = nn.MSELoss()(net(features(torch.zeros_like(x0), x0)), target)
        loss = loss_pde + loss_ic
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    nets.append(net)
