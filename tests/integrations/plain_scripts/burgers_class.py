"""Burgers' equation, u_t + u u_x = nu u_xx: a class with the data as columns, first Adam, then L-BFGS."""

import numpy as np
import torch
import torch.nn as nn

N_U = 100
N_F = 10000
ADAM = 2000
LBFGS = 500

torch.manual_seed(1234)
np.random.seed(1234)


class DNN(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.depth = len(layers) - 1
        self.activation = nn.Tanh
        stack = []
        for i in range(self.depth - 1):
            stack.append((f"layer_{i}", nn.Linear(layers[i], layers[i + 1])))
            stack.append((f"activation_{i}", self.activation()))
        stack.append((f"layer_{self.depth - 1}", nn.Linear(layers[-2], layers[-1])))
        self.layers = nn.Sequential(*[layer for _, layer in stack])

    def forward(self, x):
        return self.layers(x)


class PhysicsInformedNN:
    def __init__(self, X_u, u, X_f, layers, lb, ub, nu):
        self.lb = torch.tensor(lb, dtype=torch.float32)
        self.ub = torch.tensor(ub, dtype=torch.float32)
        self.x_u = torch.tensor(X_u[:, 0:1], dtype=torch.float32, requires_grad=True)
        self.t_u = torch.tensor(X_u[:, 1:2], dtype=torch.float32, requires_grad=True)
        self.x_f = torch.tensor(X_f[:, 0:1], dtype=torch.float32, requires_grad=True)
        self.t_f = torch.tensor(X_f[:, 1:2], dtype=torch.float32, requires_grad=True)
        self.u = torch.tensor(u, dtype=torch.float32)
        self.nu = nu
        self.dnn = DNN(layers)
        self.optimizer = torch.optim.LBFGS(
            self.dnn.parameters(), lr=1.0, max_iter=LBFGS, history_size=50, line_search_fn="strong_wolfe"
        )
        self.optimizer_adam = torch.optim.Adam(self.dnn.parameters())
        self.iter = 0

    def net_u(self, x, t):
        X = torch.cat([x, t], dim=1)
        return self.dnn(2.0 * (X - self.lb) / (self.ub - self.lb) - 1.0)

    def net_f(self, x, t):
        u = self.net_u(x, t)
        u_t = torch.autograd.grad(u, t, grad_outputs=torch.ones_like(u), retain_graph=True, create_graph=True)[0]
        u_x = torch.autograd.grad(u, x, grad_outputs=torch.ones_like(u), retain_graph=True, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x, x, grad_outputs=torch.ones_like(u_x), retain_graph=True, create_graph=True)[0]
        return u_t + u * u_x - self.nu * u_xx

    def loss_func(self):
        self.optimizer.zero_grad()
        u_pred = self.net_u(self.x_u, self.t_u)
        f_pred = self.net_f(self.x_f, self.t_f)
        loss_u = torch.mean((self.u - u_pred) ** 2)
        loss_f = torch.mean(f_pred**2)
        loss = loss_u + loss_f
        loss.backward()
        self.iter += 1
        return loss

    def train(self):
        self.dnn.train()
        for _ in range(ADAM):
            self.loss_func()
            self.optimizer_adam.step()
        self.optimizer.step(self.loss_func)


lb, ub = np.array([-1.0, 0.0]), np.array([1.0, 1.0])
start = np.random.rand(N_U // 2, 1) * 2 - 1
X_start, u_start = np.hstack([start, 0 * start]), -np.sin(np.pi * start)
walls = np.random.rand(N_U - N_U // 2, 1)
X_walls, u_walls = np.hstack([np.where(np.arange(len(walls))[:, None] % 2, 1.0, -1.0), walls]), 0 * walls
X_u, u_train = np.vstack([X_start, X_walls]), np.vstack([u_start, u_walls])
X_f = lb + (ub - lb) * np.random.rand(N_F, 2)

model = PhysicsInformedNN(X_u, u_train, X_f, [2, 20, 20, 20, 1], lb, ub, 0.01 / np.pi)
model.train()
