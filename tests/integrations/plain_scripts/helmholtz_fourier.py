"""Helmholtz' equation with random Fourier features; fresh points in every step, sums of squares as losses."""

import torch
import torch.nn.functional as F
from torch import nn

N = 1024
STEPS = 5000
SIGMA = 1.0
A1, A2 = 1, 4

torch.manual_seed(7)


class FourierPINN(nn.Module):
    def __init__(self, features=64, width=64):
        super().__init__()
        self.register_buffer("B", SIGMA * torch.randn(2, features))
        self.fc1 = nn.Linear(2 * features, width)
        self.fc2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 1, bias=False)

    def forward(self, x):
        z = x @ self.B
        z = torch.cat([torch.sin(z), torch.cos(z)], -1)
        z = F.gelu(self.fc1(z))
        z = F.gelu(self.fc2(z)) + z
        return self.out(z)


pinn = FourierPINN()
optim = torch.optim.Adam(pinn.parameters(), lr=1e-3)
sched = torch.optim.lr_scheduler.ExponentialLR(optim, gamma=0.9997)


def laplacian(u, x):
    (g,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
    total = 0
    for i in range(x.shape[1]):
        (gg,) = torch.autograd.grad(g[:, i : i + 1], x, torch.ones_like(u), create_graph=True)
        total = total + gg[:, i : i + 1]
    return total


def source(x):
    s = torch.sin(A1 * torch.pi * x[:, :1]) * torch.sin(A2 * torch.pi * x[:, 1:])
    return (1 - torch.pi**2 * (A1**2 + A2**2)) * s


def batch():
    inside = (2 * torch.rand(N, 2) - 1).requires_grad_()
    edge = 2 * torch.rand(N // 4, 2) - 1
    side = torch.randint(0, 4, (N // 4,))
    edge[side < 2, 0] = 2.0 * side[side < 2].to(edge) - 1
    edge[side >= 2, 1] = 2.0 * side[side >= 2].to(edge) - 5
    return inside, edge


for it in range(STEPS):
    inside, edge = batch()
    u = pinn(inside)
    residual = laplacian(u, inside) + u - source(inside.detach())
    domain_loss = residual.square().sum() / N
    edge_loss = pinn(edge).square().sum() / len(edge)
    total = domain_loss + edge_loss
    optim.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(pinn.parameters(), 1e3)
    optim.step()
    sched.step()
