"""The nonlinear Schrodinger equation, i h_t + h_xx / 2 + |h|^2 h = 0: real and imaginary part, periodic walls."""

import numpy as np
import torch
from torch import nn

N0 = 50
NB = 50
NF = 20000
STEPS = 5000

torch.manual_seed(1)
np.random.seed(1)


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for m, n in zip(sizes[:-1], sizes[1:]):
            self.weights.append(nn.Parameter(torch.randn(m, n) * np.sqrt(2 / (m + n))))
            self.biases.append(nn.Parameter(torch.zeros(1, n)))

    def forward(self, H):
        for W, b in zip(self.weights[:-1], self.biases[:-1]):
            H = torch.tanh(torch.add(torch.matmul(H, W), b))
        return torch.matmul(H, self.weights[-1]) + self.biases[-1]


net = MLP([2, 40, 40, 2])


def net_uv(x, t):
    X = torch.cat([x / 5.0, 4.0 * t / np.pi - 1.0], 1)
    uv = net(X)
    u, v = uv[:, 0:1], uv[:, 1:2]
    u_x = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]
    v_x = torch.autograd.grad(v, x, torch.ones_like(v), create_graph=True)[0]
    return u, v, u_x, v_x


def net_f_uv(x, t):
    u, v, u_x, v_x = net_uv(x, t)
    u_t = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
    v_t = torch.autograd.grad(v, t, torch.ones_like(v), create_graph=True)[0]
    u_xx = torch.autograd.grad(u_x, x, torch.ones_like(u_x), create_graph=True)[0]
    v_xx = torch.autograd.grad(v_x, x, torch.ones_like(v_x), create_graph=True)[0]
    f_u = u_t + 0.5 * v_xx + (u**2 + v**2) * v
    f_v = v_t - 0.5 * u_xx - (u**2 + v**2) * u
    return f_u, f_v


def column(a):
    return torch.tensor(a, dtype=torch.float32).reshape(-1, 1).requires_grad_(True)


x0, t0 = column(np.random.uniform(-5, 5, N0)), column(np.zeros(N0))
u0, v0 = (2 / torch.cosh(x0)).detach(), torch.zeros_like(x0)
tb = column(np.random.uniform(0, np.pi / 2, NB))
x_lb, x_ub = column(-5 * np.ones(NB)), column(5 * np.ones(NB))
xf, tf = column(np.random.uniform(-5, 5, NF)), column(np.random.uniform(0, np.pi / 2, NF))

optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(STEPS):
    u0_pred, v0_pred, _, _ = net_uv(x0, t0)
    u_lb, v_lb, u_x_lb, v_x_lb = net_uv(x_lb, tb)
    u_ub, v_ub, u_x_ub, v_x_ub = net_uv(x_ub, tb)
    f_u_pred, f_v_pred = net_f_uv(xf, tf)
    loss_0 = torch.mean((u0 - u0_pred) ** 2) + torch.mean((v0 - v0_pred) ** 2)
    loss_b = (
        torch.mean((u_lb - u_ub) ** 2)
        + torch.mean((v_lb - v_ub) ** 2)
        + torch.mean((u_x_lb - u_x_ub) ** 2)
        + torch.mean((v_x_lb - v_x_ub) ** 2)
    )
    loss_f = torch.mean(f_u_pred**2) + torch.mean(f_v_pred**2)
    loss = loss_0 + loss_b + loss_f
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
