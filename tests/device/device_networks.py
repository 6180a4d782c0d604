"""Networks on a device: the same numbers as on the CPU."""

from __future__ import annotations

import pytest
import torch

import pinntk
from tests.device.on_device import F64, NAME, covers, on_device, same
from tests.device.trainings import diffusion


def _networks(problem, device):
    place = {"device": device, **F64}
    yield pinntk.nn.MLP(problem, width=5, depth=2, periodic={"x": 2}, fourier=(3, 0.5), **place)
    yield pinntk.nn.MLP(problem, width=5, depth=2, parametrization="ntk", activation="srelu", normalize=False, **place)
    yield pinntk.nn.MLP(problem, width=5, depth=1, fourier=features(), **place)
    yield pinntk.nn.MultiscaleFourier(problem, sigmas=(0.5, 2.0), features=3, width=5, **place)
    yield pinntk.nn.MscaleDNN(problem, scales=pinntk.nn.octaves(2), version=1, width=6, depth=2, **place)
    yield pinntk.nn.MscaleDNN(problem, scales=pinntk.nn.linear_scales(2), width=6, depth=2, **place)
    yield pinntk.nn.SeparableMLP(problem, rank=3, width=5, depth=2, **place)
    yield pinntk.nn.ModifiedMLP(problem, width=5, depth=2, factorized=True, adaptive_slopes=2, hard="auto", **place)
    yield pinntk.nn.PirateNet(problem, width=5, depth=1, fourier=(3, 0.5), **place)
    yield pinntk.nn.Siren(problem, width=5, depth=2, periodic="x", **place)
    yield pinntk.nn.DeepONet(problem, sensors=("t",), rank=3, width=5, depth=1, **place)
    inner = pinntk.nn.MLP(problem, width=5, depth=1, **place)
    yield pinntk.nn.HardConstraint(problem, inner, offset=lambda t, x: torch.sin(x) + t, factor=lambda x: x * (1 - x))
    yield pinntk.nn.HardConstraint(problem, inner, offset=0.5, factor=2.0)
    yield pinntk.nn.hard_constraint(problem, inner)
    yield pinntk.nn.MLP(problem, width=5, depth=2, hard="auto", **place)


def features():
    return {"frequencies": [[0.5, 0.25], [1.0, 0.5]], "amplitudes": [1.0, 0.5]}


@covers(pinntk.nn.MLP, pinntk.nn.MultiscaleFourier, pinntk.nn.MscaleDNN, pinntk.nn.HardConstraint)
@covers(pinntk.nn.ModifiedMLP, pinntk.nn.PirateNet, pinntk.nn.Siren, pinntk.nn.DeepONet)
@covers(pinntk.nn.SeparableMLP, pinntk.nn.octaves, pinntk.nn.linear_scales, pinntk.nn.hard_constraint)
def test_networks_are_drawn_alike_and_built_on_the_device():
    problem = diffusion()
    x = torch.rand(5, 2, **F64)
    for found, expected in zip(_networks(problem, NAME), _networks(problem, "cpu"), strict=True):
        assert on_device(found.state_dict())
        same(found.state_dict(), expected.state_dict())
        assert on_device(found(x.to(NAME)))
        same(found(x.to(NAME)), expected(x))
        for network, rows in ((found, x.to(NAME)), (expected, x)):
            network(rows).square().sum().backward()
        same(*([p.grad for p in network.parameters()] for network in (found, expected)))


@covers(pinntk.nn.SeparableMLP, pinntk.nn.DeepONet)
def test_networks_on_grids():
    for kind, options in ((pinntk.nn.SeparableMLP, {}), (pinntk.nn.DeepONet, {"sensors": 1})):
        found, expected = (
            kind(inputs=2, outputs=1, width=5, depth=1, device=place, **options, **F64) for place in (NAME, "cpu")
        )
        a, b = torch.rand(3, **F64), torch.rand(4, **F64)
        axes = (a, b) if kind is pinntk.nn.SeparableMLP else (a[:, None], b[:, None])
        output = found.on_grid(*(values.to(NAME) for values in axes))
        assert on_device(output)
        same(output, expected.on_grid(*axes))


@covers(pinntk.nn.widened)
@pytest.mark.parametrize("options", [{"hard": "auto"}, {"parametrization": "ntk", "factorized": True}])
def test_a_wider_network_of_the_same_function(options):
    problem, x = diffusion(), torch.rand(5, 2, **F64)
    small = [pinntk.nn.MLP(problem, width=5, depth=2, device=place, **options, **F64) for place in (NAME, "cpu")]
    found, expected = (pinntk.nn.widened(network, 8) for network in small)
    assert on_device(found.state_dict())
    same(found.state_dict(), expected.state_dict())
    same(found(x.to(NAME)), small[1](x))


@covers(pinntk.nn.power_law)
def test_a_power_law_of_frequencies():
    problem = pinntk.load("poisson1d", k=1)
    fourier = pinntk.nn.power_law(3, 1.0)
    found, expected = (
        pinntk.nn.MLP(problem, width=5, depth=1, fourier=fourier, device=place, **F64) for place in (NAME, "cpu")
    )
    assert on_device(found.state_dict())
    same(found.state_dict(), expected.state_dict())


@covers(pinntk.nn.FNO1d, pinntk.nn.MscaleFNO)
@pytest.mark.parametrize("kind", [pinntk.nn.FNO1d, pinntk.nn.MscaleFNO])
def test_operator_networks(kind):
    settings = {"modes": 3, "width": 4, "depth": 2, "hidden": 5, **F64}
    found, expected = (kind(device=place, **settings) for place in (NAME, "cpu"))
    assert on_device(found.state_dict())
    same(found.state_dict(), expected.state_dict())
    a = torch.rand(2, 16, 1, **F64)
    outputs = [network(rows) for network, rows in ((found, a.to(NAME)), (expected, a))]
    assert on_device(outputs[0])
    same(*outputs)
    for output in outputs:
        output.square().sum().backward()
    same(*([p.grad for p in network.parameters()] for network in (found, expected)))
