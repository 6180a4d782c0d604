"""Error vectors as people write them in plain PyTorch: every style builds its network and points and returns (e, parameters).

`n` is the number of points; every style must work for any.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, jvp, vmap
from torch.nn import functional as F


def mlp(inputs: int = 2, outputs: int = 1, width: int = 16) -> nn.Sequential:
    layers = [nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)]
    return nn.Sequential(*layers).double()


def points(n: int, d: int = 2) -> Tensor:
    return torch.rand(n, d, dtype=torch.float64)


def slope(u: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]


def of(*owners: nn.Module | Tensor | dict) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, owner in enumerate(owners):
        if isinstance(owner, nn.Module):
            found |= {f"{number}.{name}": p for name, p in owner.named_parameters() if p.requires_grad}
        else:
            found[f"extra {number}"] = owner
    return found


def values(n):
    net = mlp()
    return net(points(n)) - 1.0, of(net)


def one_tensor_of_points(n):
    net, x = mlp(), points(n).requires_grad_()
    u = net(x)
    du = slope(u, x)
    return du[:, 0] + u[:, 0] * du[:, 1] - 0.1 * slope(du[:, 1], x)[:, 1], of(net)


def separate_columns_and_cat(n):
    net = mlp()
    t, x = (column.unsqueeze(1).requires_grad_() for column in points(n).unbind(1))
    u = net(torch.cat([t, x], 1))
    u_x = slope(u, x)
    return slope(u, t) + u * u_x - 0.1 * slope(u_x, x), of(net)


def slices_before_the_model(n):
    net, X = mlp(), points(n).requires_grad_()
    x, y = X[:, 0:1], X[:, 1:2]
    u = net(torch.hstack((x, y)))
    return slope(slope(u, x), x) + slope(slope(u, y), y) - torch.sin(x), of(net)


def sums_as_seeds(n):
    net, x = mlp(), points(n).requires_grad_()
    u = net(x)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return sum(torch.autograd.grad(du[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)), of(net)


def tuple_of_inputs(n):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, t, x):
            return self.net(torch.stack([t, x], -1)).squeeze(-1)

    net = Two()
    t, x = (column.clone().requires_grad_() for column in points(n).unbind(1))
    u = net(t, x)
    return slope(u, t) - slope(slope(u, x), x), of(net)


def hard_constraint(n):
    net, x = mlp(1), points(n, 1).requires_grad_()
    u = x * (1 - x) * net(x) + torch.sin(x)
    return slope(slope(u, x), x) + u, of(net)


def hard_constraint_with_a_slice(n):
    net, X = mlp(), points(n).requires_grad_()
    x = X[:, :1]
    u = x * net(X)
    return slope(u, X)[:, 0] * u[:, 0], of(net)


def periodic_pair_in_one_forward(n):
    net, x = mlp(), points(n)
    left, right = torch.cat([x[:, :1], 0 * x[:, 1:]], 1), torch.cat([x[:, :1], 1 + 0 * x[:, 1:]], 1)
    u = net(torch.cat([left, right]))
    return u[:n] - u[n:], of(net)


def periodic_slopes_in_one_forward(n):
    net = mlp()
    x = torch.cat([points(n), points(n) + 1]).requires_grad_()
    du = slope(net(x), x)[:, 1]
    return du[:n] - du[n:], of(net)


def rows_by_index(n):
    net, x = mlp(), points(3 * n).requires_grad_()
    u = net(x)
    chosen = torch.randperm(3 * n)[:n]
    return (slope(u, x)[:, 0] * u[:, 0])[chosen], of(net)


def first_rows(n):
    net = mlp()
    return net(points(2 * n + 1))[:n, 0] - 0.5, of(net)


def rows_by_mask(n):
    net, x = mlp(), points(2 * n)
    keep = torch.arange(2 * n) % 2 == 0
    return net(x)[keep, 0], of(net)


def masked_values(n):
    net, x = mlp(), points(n).requires_grad_()
    u = net(x)
    return torch.where(x[:, 0] > 0.5, slope(u, x)[:, 0], u[:, 0] - 1), of(net)


def stream_function(n):
    net, X = mlp(2, 2), points(n).requires_grad_()
    psi, p = net(X).split(1, 1)
    velocity = slope(psi, X)
    u, v = velocity[:, 1:], -velocity[:, :1]
    du, d2u = slope(u, X), slope(slope(u, X)[:, :1], X)[:, :1]
    return u * du[:, :1] + v * du[:, 1:] + slope(p, X)[:, :1] - 0.01 * d2u, of(net)


def fourth_order(n):
    net, x = mlp(1), points(n, 1).requires_grad_()
    u = net(x)
    for _ in range(4):
        u = slope(u, x)
    return u - 1, of(net)


def vmap_of_jacrev(n):
    net, x = mlp(), points(n)
    parameters = dict(net.named_parameters())

    def u(point):
        return functional_call(net, parameters, (point,)).squeeze()

    return vmap(jacrev(u))(x)[:, 0] * vmap(u)(x), of(net)


def vmap_of_hessian(n):
    net, x = mlp(), points(n)

    def u(point):
        return net(point).squeeze()

    return vmap(hessian(u))(x).diagonal(dim1=1, dim2=2).sum(1) - x[:, 0], of(net)


def forward_mode(n):
    net, x = mlp(1), points(n, 1)

    def along(f):
        return lambda z: jvp(f, (z,), (torch.ones_like(z),))[1]

    return along(along(net))(x)[:, 0] + x[:, 0], of(net)


def double_vjp(n):
    """Forward-mode derivatives by differentiating a vector-Jacobian product with respect to its seed."""
    net, x = mlp(1, 3), points(n, 1).requires_grad_()
    u = net(x)
    seed = torch.ones_like(u, requires_grad=True)
    (g,) = torch.autograd.grad(u, x, seed, create_graph=True)
    (u_x,) = torch.autograd.grad(g, seed, torch.ones_like(g), create_graph=True)
    return (u_x * u).sum(1), of(net)


def scalar_coefficient(n):
    net, x = mlp(), points(n).requires_grad_()
    nu = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    u = net(x)
    return slope(u, x)[:, 0] - nu * u[:, 0] ** 2, of(net, nu)


def coefficient_of_one_entry(n):
    net, x = mlp(), points(n).requires_grad_()
    nu = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    u = net(x)
    return slope(u, x)[:, :1] / nu + nu, of(net, nu)


def exponential_of_a_coefficient(n):
    net, x = mlp(), points(n).requires_grad_()
    log_nu = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    u = net(x)
    du = slope(u, x)
    return du[:, 0] - torch.exp(log_nu) * slope(du[:, 1], x)[:, 1], of(net, log_nu)


def coefficient_as_exponent(n):
    net, x = mlp(), points(n)
    gamma = torch.tensor(1.4, dtype=torch.float64, requires_grad=True)
    return (net(x)[:, 0] ** 2 + 1) ** gamma, of(net, gamma)


def several_coefficients(n):
    net, x = mlp(), points(n).requires_grad_()
    c = torch.tensor([0.3, -0.2, 0.7], dtype=torch.float64, requires_grad=True)
    u = net(x)
    return c[0] * slope(u, x)[:, 0] + c[1] * u[:, 0] + c[2] * c[0], of(net, c)


def weight_of_each_point(n):
    net, x = mlp(), points(n)
    w = torch.rand(n, dtype=torch.float64).requires_grad_()
    return w * net(x)[:, 0], of(net, w)


def detached_factor(n):
    net, x = mlp(), points(n).requires_grad_()
    u = net(x)
    return u.detach()[:, 0] * slope(u, x)[:, 1], of(net)


def two_networks(n):
    u, k, x = mlp(), mlp(width=8), points(n).requires_grad_()
    flux = torch.nn.functional.softplus(k(x)) * slope(u(x), x)[:, :1]
    return slope(flux, x)[:, :1] + 1, of(u, k)


def network_of_a_network(n):
    inner, outer, x = mlp(), mlp(1), points(n).requires_grad_()
    return slope(outer(inner(x)), x)[:, 0], of(inner, outer)


def columns_as_points(n):
    """Points along the last axis, as in W x + b."""
    W1, b1 = torch.randn(9, 2, dtype=torch.float64).requires_grad_(), torch.randn(9, 1, dtype=torch.float64).requires_grad_()
    W2 = torch.randn(1, 9, dtype=torch.float64).requires_grad_()
    x = points(n).T.clone().requires_grad_()
    u = W2 @ torch.tanh(W1 @ x + b1)
    return slope(u, x)[1] + u[0], of(W1, b1, W2)


def einsum_weights(n):
    W1 = torch.randn(2, 9, dtype=torch.float64).requires_grad_()
    W2 = torch.randn(1, 9, dtype=torch.float64).requires_grad_()
    x = points(n).requires_grad_()
    u = torch.einsum("nk,ok->no", torch.sin(torch.einsum("ni,ij->nj", x, W1)), W2)
    return slope(u, x)[:, 0] + u[:, 0], of(W1, W2)


def several_quadrature_points(n):
    """Each error is a sum over five points, as in variational residuals."""
    net, x = mlp(), points(5 * n).requires_grad_()
    du = slope(net(x), x)
    return (du[:, 0] * torch.sin(x[:, 1])).view(n, 5).sum(1), of(net)


def conditions_side_by_side(n):
    """One batch for all conditions; this one has the rows in the middle."""
    net, x = mlp(), points(2 * n + 7).requires_grad_()
    u = net(x)
    du = slope(u, x)
    return du[7 : 7 + n, 0] + u[7 : 7 + n, 0], of(net)


def two_batches_in_one_vector(n):
    net = mlp()
    half = n // 2
    return torch.cat([net(points(half)), 2 * net(points(n - half))]), of(net)


def scaled_inputs_and_outputs(n):
    net, x = mlp(), points(n).requires_grad_()
    low, high = torch.tensor([0.0, 0.0]).double(), torch.tensor([2.0, 3.0]).double()
    u = 3.0 * net(2 * (x - low) / (high - low) - 1) + 0.5
    return slope(u, x)[:, 1] - u[:, 0] ** 3, of(net)


def batch_of_shape_one(n):
    """Points as (n, 1, d), as vectorized code has them."""
    net, x = mlp(), points(n).unsqueeze(1).requires_grad_()
    u = net(x)
    return slope(u, x)[:, 0, 1] * u[:, 0, 0], of(net)


def random_weight_of_a_functional_layer(n):
    W = torch.randn(6, 2, dtype=torch.float64).requires_grad_()
    b = torch.randn(6, dtype=torch.float64).requires_grad_()
    s = torch.randn(6, dtype=torch.float64).requires_grad_()
    x = points(n).requires_grad_()
    u = torch.sin(F.linear(x, torch.exp(s)[:, None] * W, b)).sum(1, keepdim=True)
    return slope(u, x)[:, 0], of(W, b, s)


STYLES = [
    values,
    one_tensor_of_points,
    separate_columns_and_cat,
    slices_before_the_model,
    sums_as_seeds,
    tuple_of_inputs,
    hard_constraint,
    hard_constraint_with_a_slice,
    periodic_pair_in_one_forward,
    periodic_slopes_in_one_forward,
    rows_by_index,
    first_rows,
    rows_by_mask,
    masked_values,
    stream_function,
    fourth_order,
    vmap_of_jacrev,
    vmap_of_hessian,
    forward_mode,
    double_vjp,
    scalar_coefficient,
    coefficient_of_one_entry,
    exponential_of_a_coefficient,
    coefficient_as_exponent,
    several_coefficients,
    weight_of_each_point,
    detached_factor,
    two_networks,
    network_of_a_network,
    columns_as_points,
    einsum_weights,
    several_quadrature_points,
    conditions_side_by_side,
    two_batches_in_one_vector,
    scaled_inputs_and_outputs,
    batch_of_shape_one,
    random_weight_of_a_functional_layer,
]
