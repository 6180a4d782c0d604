"""The diffusivity of u_t = D u_xx + f from readings of u: an unknown number trained with the network."""

import numpy as np
import torch
import torch.nn as nn

READINGS = 200
N = 1000
STEPS = 4000

torch.manual_seed(11)
rng = np.random.default_rng(11)

layers = [2, 24, 24, 24, 1]
net = nn.Sequential()
for i, (m, n) in enumerate(zip(layers[:-1], layers[1:])):
    net.add_module(f"linear{i}", nn.Linear(m, n))
    if n != 1:
        net.add_module(f"tanh{i}", nn.Tanh())
log_D = nn.Parameter(torch.tensor(-2.0))

xt = torch.from_numpy(rng.random((READINGS, 2))).float()
seen = torch.exp(-xt[:, 1:]) * torch.sin(np.pi * xt[:, :1]) + 0.01 * torch.from_numpy(rng.normal(size=(READINGS, 1))).float()

x = torch.from_numpy(rng.random((N, 1))).float().requires_grad_(True)
t = torch.from_numpy(rng.random((N, 1))).float().requires_grad_(True)


def d(y, z):
    return torch.autograd.grad(y.sum(), z, create_graph=True)[0]


def pde(x, t):
    u = net(torch.cat((x, t), 1))
    f = torch.exp(-t) * torch.sin(np.pi * x) * (0.2 * np.pi**2 - 1)
    return d(u, t) - torch.exp(log_D) * d(d(u, x), x) - f


optimizer = torch.optim.Adam([{"params": net.parameters(), "lr": 1e-3}, {"params": [log_D], "lr": 1e-2}])
for step in range(STEPS):
    optimizer.zero_grad()
    mse_data = nn.functional.mse_loss(net(xt), seen)
    mse_pde = nn.functional.mse_loss(pde(x, t), torch.zeros(N, 1))
    loss = 10.0 * mse_data + mse_pde
    loss.backward()
    optimizer.step()
