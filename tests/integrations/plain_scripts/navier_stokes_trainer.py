"""Kovasznay flow by a Trainer with a configuration, accumulated gradients, a warm-up, validation and checkpoints."""

import io
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Config:
    points: int = 2048
    steps: int = 3000
    accumulate: int = 2
    lr: float = 1e-3
    warmup: int = 100
    validate_every: int = 200
    layers: list = field(default_factory=lambda: [2, 50, 50, 50, 3])


class Flow(nn.Module):
    def __init__(self, layers, Re=20.0):
        super().__init__()
        self.Re = Re
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(layers[:-1], layers[1:]))
        self.activation = nn.Tanh()

    def forward(self, X: Tensor):
        for linear in self.linears[:-1]:
            X = self.activation(linear(X))
        return self.linears[-1](X)

    def residuals(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        X = X.clone().requires_grad_(True)
        u, v, p = self(X).unbind(-1)

        def d(f):
            return torch.autograd.grad(f, X, torch.ones_like(f), create_graph=True)[0].unbind(-1)

        (u_x, u_y), (v_x, v_y), (p_x, p_y) = d(u), d(v), d(p)
        (u_xx, _), (_, u_yy), (v_xx, _), (_, v_yy) = d(u_x), d(u_y), d(v_x), d(v_y)
        momentum_x = u * u_x + v * u_y + p_x - (u_xx + u_yy) / self.Re
        momentum_y = u * v_x + v * v_y + p_y - (v_xx + v_yy) / self.Re
        return momentum_x, momentum_y, u_x + v_y


def exact(X: Tensor, Re=20.0) -> Tensor:
    k = Re / 2 - (Re**2 / 4 + 4 * torch.pi**2) ** 0.5
    x, y = X.unbind(-1)
    u = 1 - torch.exp(k * x) * torch.cos(2 * torch.pi * y)
    v = k / (2 * torch.pi) * torch.exp(k * x) * torch.sin(2 * torch.pi * y)
    return torch.stack([u, v, (1 - torch.exp(2 * k * x)) / 2], -1)


class Trainer:
    def __init__(self, config: Config):
        torch.manual_seed(0)
        self.config = config
        self.model = Flow(config.layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda s: min(1.0, (s + 1) / config.warmup))
        self.step = 0
        self.validation = []

    def sample(self, n):
        inside = torch.rand(n, 2) * torch.tensor([1.5, 2.0]) - 0.5
        edge = torch.rand(n // 4, 2) * torch.tensor([1.5, 2.0]) - 0.5
        edge[::2, 0], edge[1::2, 1] = -0.5, 1.5
        return inside, edge

    def compute_loss(self, inside, edge):
        mx, my, c = self.model.residuals(inside)
        losses = {"x": mx.square().mean(), "y": my.square().mean(), "mass": c.square().mean()}
        losses["edge"] = nn.functional.mse_loss(self.model(edge), exact(edge))
        return sum(losses.values())

    def fit(self):
        while self.step < self.config.steps:
            for _ in range(self.config.accumulate):
                loss = self.compute_loss(*self.sample(self.config.points)) / self.config.accumulate
                loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.scheduler.step()
            self.step += 1
            if self.step % self.config.validate_every == 0:
                self.validate()

    @torch.no_grad()
    def validate(self):
        X, _ = self.sample(self.config.points)
        self.validation.append(float((self.model(X) - exact(X)).norm() / exact(X).norm()))

    def checkpoint(self):
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, buffer)
        return buffer


if __name__ == "__main__":
    trainer = Trainer(Config())
    trainer.fit()
    saved = trainer.checkpoint()
