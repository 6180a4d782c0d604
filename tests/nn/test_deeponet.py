"""DeepONet: its formula, on rows and on grids; its kernels as a network of a family of problems and of sampled functions."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.nn import DeepONet
from pinntk.ntk import function_kernel
from tests.support import reference

F64 = {"dtype": torch.float64}


def test_it_is_a_sum_of_products_of_branch_and_trunk():
    network = DeepONet(inputs=5, outputs=2, sensors=3, rank=4, width=6, depth=1, initialization="normal", **F64)
    with torch.no_grad():
        network.bias.copy_(torch.tensor([0.3, -0.2], **F64))
    x = torch.rand(6, 5, **F64)

    def dense(part, values):
        (W, W_last), (b, b_last) = part.weights, part.biases
        return torch.tanh(values @ W.T + b) @ W_last.T + b_last

    B, T = dense(network.branch, x[:, 2:]), torch.tanh(dense(network.trunk, x[:, :2]))
    expected = torch.stack([(B * T[:, :4]).sum(1) + 0.3, (B * T[:, 4:]).sum(1) - 0.2], 1)
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-14)


def test_on_a_grid_and_in_rows_it_is_the_same():
    problem = pinntk.load("poisson_family")
    network = DeepONet(problem, rank=4, width=5, depth=1, output_scales={"u": (1.0, 3.0)}, **F64)
    assert (network.branch_axes, network.trunk_axes) == ([1, 2, 3], [0])
    a, y = 2 * torch.rand(3, 3, **F64) - 1, torch.rand(4, 1, **F64)
    rows = network.rows(a, y)
    assert torch.equal(rows[5], torch.cat([y[1], a[1]]))
    torch.testing.assert_close(network.on_grid(a, y).flatten(0, 1), network(rows), rtol=1e-13, atol=1e-13)


def test_the_kernel_of_a_family_of_problems_is_that_of_the_oracle():
    problem = pinntk.load("poisson_family")
    network = DeepONet(problem, rank=4, width=5, depth=1, **F64)
    points = problem.sample(residual=5, boundary=3, **F64)
    K = pinntk.kernel(network, problem, points)
    assert {origin.path for origin in K.origins.values()} == {"taylor"}
    assert reference.relative(K.values, reference.kernel(network, problem, points)) < 1e-12


def test_the_kernel_on_sampled_functions_is_that_of_explicit_jacobians():
    network = DeepONet(inputs=1 + 6, outputs=1, sensors=6, rank=3, width=5, depth=1, **F64)
    a, y = torch.randn(3, 6, **F64), torch.linspace(0, 1, 4, **F64)[:, None]
    K = function_kernel(network, network.rows(a, y))
    outputs = network.on_grid(a, y).flatten()
    J = [
        torch.cat([g.flatten() for g in torch.autograd.grad(u, list(network.parameters()), retain_graph=True)]) for u in outputs
    ]
    J = torch.stack(J)
    assert K.shape == (12, 12)
    torch.testing.assert_close(K, J @ J.T, rtol=1e-12, atol=1e-12)


def test_one_gauss_newton_training_solves_every_problem_of_a_family():
    problem = pinntk.load("poisson_family", modes=2)
    network = DeepONet(problem, rank=4, width=6, depth=1, activation="sin", **F64)
    settings = {"points": {"residual": 90, "boundary": 12}, "optimizer": "gauss-newton", "steps": 15, "progress": False}
    assert pinntk.train(problem, network, **settings).relative_error < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepONet(inputs=3, outputs=1), "sensors=None: a whole number"),
        (lambda: DeepONet(inputs=3, outputs=1, sensors=3), "sensors=3 of 3 columns: some go to the branch and at least one"),
        (
            lambda: DeepONet(pinntk.load("poisson1d")),
            r"sensors=None of coordinates \('x',\): .* as in Box\(x=",
        ),
        (lambda: DeepONet(pinntk.load("burgers"), sensors=("z",)), r"sensors=\('z',\): names of coordinates; the domain has"),
        (lambda: DeepONet(pinntk.load("burgers"), sensors=1), "sensors=1: names of coordinates"),
        (lambda: DeepONet(inputs=3, outputs=1, sensors=2).rows(torch.rand(4, 3), torch.rand(2, 1)), r"a of shape \(4, 3\)"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
