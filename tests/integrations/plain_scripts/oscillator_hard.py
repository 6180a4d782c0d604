"""A damped oscillator with its start built into the network, and one measured value; without modules and optimizers."""

import torch

POINTS = 100
STEPS = 3000
LR = 1e-4
MASS, DAMPING, STIFFNESS = 1.0, 0.4, 4.0

generator = torch.Generator().manual_seed(0)
W1 = torch.randn(1, 32, generator=generator).requires_grad_()
b1 = torch.randn(32, generator=generator).requires_grad_()
W2 = (torch.randn(32, 32, generator=generator) / 32**0.5).requires_grad_()
b2 = torch.zeros(32).requires_grad_()
W3 = (torch.randn(32, 1, generator=generator) / 32**0.5).requires_grad_()
theta = [W1, b1, W2, b2, W3]


def position(t):
    """x(0) = 1 and x'(0) = 0, whatever the parameters are."""
    h = torch.sin(t @ W1 + b1)
    h = torch.sin(h @ W2 + b2)
    return 1 + t**2 * (h @ W3)


def equation(t):
    x = position(t)
    v = torch.autograd.grad(x.sum(), t, create_graph=True)[0]
    a = torch.autograd.grad(v.sum(), t, create_graph=True)[0]
    return MASS * a + DAMPING * v + STIFFNESS * x


t = torch.linspace(0, 3, POINTS).unsqueeze(1).requires_grad_()
t_seen, x_seen = torch.tensor([[1.5]]), torch.tensor([[-0.7]])

for step in range(STEPS):
    e = equation(t)
    seen = position(t_seen) - x_seen
    loss = (e**2).mean() + (seen**2).mean()
    grads = torch.autograd.grad(loss, theta)
    with torch.no_grad():
        for p, g in zip(theta, grads):
            p -= LR * g
