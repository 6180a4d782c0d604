"""Products of networks of one coordinate each."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.nn import MLP, SeparableMLP

F64 = {"dtype": torch.float64}


def test_it_is_a_sum_of_products_of_networks_of_one_coordinate():
    problem = pinntk.load("taylor_green")
    network = SeparableMLP(problem, rank=4, width=5, depth=2, activation="sin", initialization="normal", **F64)
    domain = problem.domain
    x = problem.sample(residual=6, seed=0, **F64)[problem.names[0]]
    state = network.state_dict()
    products = torch.ones(6, 4, **F64)
    for j in range(domain.dimension):
        part = MLP(inputs=1, outputs=4, width=5, depth=2, activation="sin", **F64)
        own = f"factors.{j}."
        part.dense.load_state_dict({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})
        products = products * (1 + part(((x[:, j] - network.mean[j]) / network.deviation[j])[:, None]))
    expected = products @ state["last.weights.0"].T + state["last.biases.0"]
    assert expected.shape == (6, len(problem.fields)) and len(problem.fields) > 1
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-13)


def test_on_a_grid_it_is_what_it_is_at_the_points_of_the_grid():
    problem = pinntk.load("taylor_green")
    network = SeparableMLP(problem, rank=4, width=5, depth=1, output_scales={problem.fields[0]: (3.0, 2.0)}, **F64)
    axes = [torch.rand(n, **F64) for n in (3, 4, 2)]
    grid = network.on_grid(*axes)
    assert grid.shape == (3, 4, 2, len(problem.fields))
    torch.testing.assert_close(grid.flatten(0, 2), network(torch.cartesian_prod(*axes)), rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match=r"axes of shapes \[\(3,\)\]: expected 3 of \(n,\)"):
        network.on_grid(axes[0])


def test_outputs_are_as_large_in_ten_coordinates_as_in_two():
    """Products of ten factors neither vanish nor explode at the start, whatever the seed."""
    sizes = {
        d: torch.stack([SeparableMLP(inputs=d, outputs=1, seed=s, **F64)(torch.randn(200, d, **F64)).std() for s in range(5)])
        for d in (2, 10)
    }
    assert 0.1 < sizes[10].median() / sizes[2].median() < 10
