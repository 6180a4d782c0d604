"""`widened`: the same function with more units, and what that does to J."""

import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

import pinntk
from pinntk.nn import MLP, MscaleDNN, widened
from pinntk.nn._layers import ACTIVATIONS
from pinntk.run._network import build_network, describe_network
from tests.support import reference

SMALL = {"width": 5, "depth": 3, "dtype": torch.float64, "seed": 3}
OPTIONS = {
    "plain": ("burgers", {}),
    "one layer": ("burgers", {"depth": 1}),
    "periodic": ("convection", {"periodic": {"x": 2}}),
    "hard": ("wave1d", {"hard": "auto"}),
    "hard and periodic": ("convection", {"hard": "auto"}),
    "output scales": ("burgers", {"output_scales": {"u": (300.0, 20.0)}}),
    "Fourier features": ("burgers", {"fourier": (4, 1.0)}),
    "several fields": ("kovasznay", {"initialization": "kaiming"}),
    "biases": ("burgers", {"initialization": "normal", "gain": 2.0}),
    "lecun": ("burgers", {"initialization": "lecun"}),
    "ntk": ("burgers", {"parametrization": "ntk"}),
    "ntk, beta": ("burgers", {"parametrization": "ntk", "beta": 0.3, "gain": 1.5, "hard": "auto"}),
    "raw": ("burgers", {"normalize": False}),
}


def built(name, options):
    """A network away from its initialization, and points."""
    problem = pinntk.load(name)
    network = MLP(problem, **{**SMALL, **options})
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return problem, network, problem.sample(residual=6, boundary=3, initial=3, periodic=3, seed=1, dtype=torch.float64)


@pytest.mark.parametrize("case", OPTIONS)
def test_function_and_derivatives_stay(case):
    problem, network, points = built(*OPTIONS[case])
    wider = widened(network, 9)
    x = torch.cat([rows[:, : problem.domain.dimension] for rows in points.values()])
    assert reference.relative(wider(x), network(x)) < 1e-14
    for name, e in reference.errors(network, problem, points).items():
        assert reference.relative(reference.errors(wider, problem, points)[name], e) < 1e-13 or float(e.abs().max()) < 1e-13


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_activation_in_both_precisions(activation, dtype):
    network = MLP(inputs=2, outputs=2, activation=activation, **{**SMALL, "dtype": dtype})
    x = torch.rand(50, 2, dtype=dtype)
    wider = widened(network, 8)
    assert {p.dtype for p in wider.parameters()} == {dtype}
    assert reference.relative(wider(x), network(x)) < (1e-14 if dtype == torch.float64 else 1e-6)


def jacobian(network, problem, points):
    """{parameter: (n, size)} of all errors, one after the other."""
    e = torch.cat(list(reference.errors(network, problem, points).values()))
    rows = [torch.autograd.grad(entry, list(network.parameters()), retain_graph=True) for entry in e]
    names = [name for name, _ in network.named_parameters()]
    return {name: torch.stack([row[i] for row in rows]) for i, name in enumerate(names)}


@pytest.mark.parametrize("case", ["plain", "hard", "ntk, beta"])
def test_columns_of_old_parameters_stay_and_those_out_of_new_units_are_not_zero(case):
    problem, network, points = built(*OPTIONS[case])
    wider = widened(network, 9)
    J, K = jacobian(network, problem, points), jacobian(wider, problem, points)
    for name, old in J.items():
        here = tuple(slice(size) for size in old.shape[1:])
        ratio = 1.0
        if case.startswith("ntk") and name.startswith("dense.weights") and name != "dense.weights.0":
            ratio = (5 / 9) ** 0.5
        assert reference.relative(K[name][(slice(None), *here)], ratio * old) < 1e-12
        if "weights" in name and name != "dense.weights.0":
            assert (K[name][:, : old.shape[1], old.shape[2] :].abs().amax(0) > 1e-6).all()  # from new units to old ones
        if old.shape[1] == 5:
            assert not K[name][:, 5:].any()  # into new units


def test_duplicated_units_would_add_no_direction():
    """What new units with random weights are for."""
    network = MLP(inputs=2, outputs=1, width=3, depth=1, dtype=torch.float64)
    twice = MLP(inputs=2, outputs=1, width=6, depth=1, dtype=torch.float64)
    with torch.no_grad():
        for i in (0, 1):
            twice.dense.biases[i].copy_(network.dense.biases[i].repeat(2) if i == 0 else network.dense.biases[i])
        twice.dense.weights[0].copy_(network.dense.weights[0].repeat(2, 1))
        twice.dense.weights[1].copy_(network.dense.weights[1].repeat(1, 2) / 2)
    x = 6 * torch.rand(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3

    def rank(network):
        rows = [torch.autograd.grad(value, list(network.parameters())) for value in map(network, x[:, None, :])]
        return int(torch.linalg.matrix_rank(torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])))

    assert torch.allclose(twice(x), network(x), atol=1e-15)
    assert rank(twice) == rank(network)
    assert rank(widened(network, 6)) == rank(network) + 3


def test_new_weights_are_drawn_as_at_initialization():
    network = MLP(inputs=2, outputs=1, width=4, depth=2, gain=3.0, initialization="normal", dtype=torch.float64)
    wider = widened(network, 400)
    first, second, last = wider.dense.weights
    assert float(first[4:].detach().std()) == pytest.approx(3 / 2**0.5, rel=0.1)
    assert float(second[4:].detach().std()) == pytest.approx(3 / 20, rel=0.02)
    assert float(wider.dense.biases[1][4:].detach().std()) == pytest.approx(1, rel=0.15)
    assert not second[:4, 4:].any() and not last[:, 4:].any()


def test_the_network_itself_stays_and_the_wider_one_is_its_own():
    network = MLP(inputs=2, outputs=1, **SMALL)
    network.dense.biases[1].requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wider = widened(network, 7)
    assert [p.requires_grad for p in wider.parameters()] == [p.requires_grad for p in network.parameters()]
    with torch.no_grad():
        for p in wider.parameters():
            p.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert (network.config["width"], wider.config["width"]) == (5, 7)


def test_the_seed_and_the_width_say_what_is_drawn():
    network = MLP(inputs=2, outputs=1, **SMALL)

    def drawn(network, width, **seed):
        return widened(network, width, **seed).dense.weights[0][5:7]

    assert torch.equal(drawn(network, 9), drawn(network, 9))
    assert not torch.equal(drawn(network, 9), drawn(network, 10))
    assert not torch.equal(drawn(network, 9), drawn(network, 9, seed=1))
    twice = widened(widened(network, 7), 9)
    assert not torch.equal(twice.dense.weights[0][7:9], twice.dense.weights[0][5:7])


@pytest.mark.parametrize("case", ["plain", "hard and periodic", "output scales", "Fourier features", "ntk, beta"])
def test_config_json_builds_it_again(case):
    problem, network, points = built(*OPTIONS[case])
    wider = widened(network, 9)
    described = json.loads(json.dumps({"network": describe_network(wider)}))
    assert described["network"]["arguments"]["width"] == 9
    assert described["network"]["parameters"] == sum(p.numel() for p in wider.parameters())
    again = build_network(described, problem)
    again.load_state_dict(wider.state_dict())
    x = points[problem.names[0]]
    assert torch.equal(again(x), wider(x))


def test_what_cannot_be_widened_is_refused():
    network = MLP(inputs=2, outputs=1, **SMALL)
    with pytest.raises(ValueError, match="width=5: the hidden layers have 5 units already; give more"):
        widened(network, 5)
    with pytest.raises(ValueError, match=r"width=6\.5: a whole number"):
        widened(network, 6.5)
    own = nn.Sequential(OrderedDict(a=nn.Linear(1, 2), b=nn.Tanh()))
    with pytest.raises(TypeError, match=r"torch.nn.modules.container.Sequential cannot be widened: only a pinntk.nn.MLP can"):
        widened(own, 8)
    with pytest.raises(TypeError, match=r"MscaleDNN cannot be widened: only a pinntk.nn.MLP can"):
        widened(MscaleDNN(pinntk.load("poisson1d"), width=12), 18)
    network.dense.weights[1] = nn.Parameter(torch.zeros(5, 4))
    with pytest.raises(ValueError, match="the MLP cannot be widened: its weights are"):
        widened(network, 8)
