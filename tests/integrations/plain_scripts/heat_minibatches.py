"""The heat equation from minibatches of DataLoaders, each condition with its own."""

import math
from itertools import cycle

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N = 8192
BATCH = 256
EPOCHS = 20

torch.manual_seed(3)


class Net(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.input = nn.Linear(2, hidden)
        self.hidden = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(2)])
        self.output = nn.Linear(hidden, 1)
        for layer in [self.input, *self.hidden, self.output]:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, t):
        h = torch.tanh(self.input(torch.stack([x, t], dim=-1)))
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        return self.output(h).squeeze(-1)


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

interior = DataLoader(TensorDataset(torch.rand(N), torch.rand(N)), batch_size=BATCH, shuffle=True, drop_last=True)
initial = DataLoader(TensorDataset(torch.rand(N // 8)), batch_size=BATCH // 8, shuffle=True)
sides = DataLoader(
    TensorDataset(torch.randint(0, 2, (N // 8,)).to(torch.get_default_dtype()), torch.rand(N // 8)), batch_size=BATCH // 8
)


def gradient(y, x):
    return torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]


def residual(x, t):
    x, t = x.requires_grad_(), t.requires_grad_()
    u = net(x, t)
    return gradient(u, t) - 0.1 * gradient(gradient(u, x), x)


for _ in range(EPOCHS):
    for (x, t), (x0,), (xb, tb) in zip(interior, cycle(initial), cycle(sides)):
        optimizer.zero_grad()
        loss_r = (residual(x, t) ** 2).mean()
        loss_0 = ((net(x0, torch.zeros_like(x0)) - torch.sin(math.pi * x0)) ** 2).mean()
        loss_b = (net(xb, tb) ** 2).mean()
        loss = loss_r + loss_0 + loss_b
        loss.backward()
        optimizer.step()
