"""Allen-Cahn with residual blocks, a trained slope of every activation, weight normalization, and a cosine schedule."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

POINTS = 2000
ITERATIONS = 3000

torch.manual_seed(42)
device = torch.device("cpu")


class AdaptiveTanh(nn.Module):
    def __init__(self, n=10.0):
        super().__init__()
        self.n, self.a = n, nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        return torch.tanh(self.n * self.a * x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            weight_norm(nn.Linear(width, width)), AdaptiveTanh(), weight_norm(nn.Linear(width, width)), AdaptiveTanh()
        )

    def forward(self, x):
        return x + self.body(x)


class ResPINN(nn.Module):
    """Periodic in x by construction."""

    def __init__(self, width=32, blocks=2):
        super().__init__()
        self.lift = nn.Linear(3, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.head = nn.Linear(width, 1)

    def forward(self, t, x):
        z = self.lift(torch.hstack((t, torch.cos(torch.pi * x), torch.sin(torch.pi * x))))
        for block in self.blocks:
            z = block(z)
        return self.head(z)


model = ResPINN().to(device)
optimizer = torch.optim.RAdam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
t_f = torch.rand(POINTS, 1, device=device, requires_grad=True)
x_f = (2 * torch.rand(POINTS, 1, device=device) - 1).requires_grad_()
x_i = torch.linspace(-1, 1, POINTS // 10, device=device).view(-1, 1)
u_i = x_i**2 * torch.cos(torch.pi * x_i)


def grad(outputs, inputs):
    return torch.autograd.grad(outputs, inputs, grad_outputs=torch.ones_like(outputs), create_graph=True, only_inputs=True)[0]


def residual(t, x):
    u = model(t, x)
    return grad(u, t) - 1e-4 * grad(grad(u, x), x) + 5 * u**3 - 5 * u


for i in range(ITERATIONS):
    optimizer.zero_grad()
    f = residual(t_f, x_f)
    i_pred = model(torch.zeros_like(x_i), x_i)
    losses = {"residual": torch.mean(f**2), "initial": torch.mean((i_pred - u_i) ** 2)}
    loss = sum(losses.values())
    loss.backward()
    optimizer.step()
    scheduler.step()
