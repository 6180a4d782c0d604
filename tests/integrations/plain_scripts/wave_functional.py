"""The wave equation by torch.func: derivatives of one point's output, for all points by vmap."""

import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev, vmap

N = 2000
STEPS = 3000
C = 2.0

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 1))
params = dict(model.named_parameters())
optimizer = torch.optim.AdamW(params.values(), lr=2e-3, weight_decay=0.0)


def u(params, z):
    return functional_call(model, params, (z,)).squeeze()


def residual(params, z):
    H = hessian(u, argnums=1)(params, z)
    return H[1, 1] - C**2 * H[0, 0]


def velocity(params, z):
    return jacrev(u, argnums=1)(params, z)[1]


for step in range(STEPS):
    z = torch.rand(N, 2)  # x, t
    start = torch.cat([torch.rand(N // 4, 1), torch.zeros(N // 4, 1)], 1)
    walls = torch.cat([torch.randint(0, 2, (N // 4, 1)), torch.rand(N // 4, 1)], 1)

    r = vmap(residual, (None, 0))(params, z)
    u0 = vmap(u, (None, 0))(params, start) - torch.sin(torch.pi * start[:, 0])
    v0 = vmap(velocity, (None, 0))(params, start)
    ub = vmap(u, (None, 0))(params, walls)
    loss = r.pow(2).mean() + u0.pow(2).mean() + v0.pow(2).mean() + ub.pow(2).mean()

    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
