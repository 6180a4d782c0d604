"""u_xx + u_yy = f on the unit square with global tensors: L-BFGS alone, in several calls of its step."""

import torch
from torch import pi, sin

N = 2500
M = 50
CALLS = 20

torch.manual_seed(0)

model = torch.nn.Sequential(
    torch.nn.Linear(2, 50),
    torch.nn.Tanh(),
    torch.nn.Linear(50, 50),
    torch.nn.Tanh(),
    torch.nn.Linear(50, 1),
)

X = torch.rand(N, 2)
X.requires_grad = True
s, zero = torch.rand(M), torch.zeros(M)
X_b = torch.cat(
    [torch.stack(side, 1) for side in ((s, zero), (s, zero + 1), (zero, s), (zero + 1, s))],
)
f = -2 * pi**2 * sin(pi * X[:, 0]) * sin(pi * X[:, 1])
criterion = torch.nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20, history_size=20)


def pde(X):
    u = model(X)
    du = torch.autograd.grad(u.sum(), X, create_graph=True)[0]
    u_xx = torch.autograd.grad(du[:, 0].sum(), X, create_graph=True)[0][:, 0]
    u_yy = torch.autograd.grad(du[:, 1].sum(), X, create_graph=True)[0][:, 1]
    return u_xx + u_yy


def closure():
    optimizer.zero_grad()
    loss_pde = criterion(pde(X), f.detach())
    loss_bc = criterion(model(X_b), torch.zeros(4 * M, 1))
    loss = loss_pde + 100 * loss_bc
    loss.backward()
    return loss


for _ in range(CALLS):
    optimizer.step(closure)
