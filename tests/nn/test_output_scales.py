"""u = shift + scale N: by the sizes of the problem where they are far from 1, exactly, and the same after a run is loaded."""

import json

import pytest
import torch

import pinntk
from pinntk.nn import NETWORKS
from pinntk.run._network import build_network, describe_network
from pinntk.training import apply_changes
from tests.support import reference
from tests.support.registered import SOME, registered
from tests.support.small_problems import LINE, PLANE, heat, left, poisson, sample, walls

F64 = {"dtype": torch.float64}


@pinntk.boundary(LINE.ends("x"))
def temperatures(u, x):
    return u - 300 - 20 * x


@pinntk.residual(LINE)
def conduction(u_xx, x):
    return u_xx + 100 * torch.sin(3 * x)


@pinntk.initial(PLANE.at(t=0))
def warm(u, x):
    return u - 300 - 5 * torch.sin(torch.pi * x)


@pinntk.boundary(PLANE.ends("x"))
def held(u):
    return u - 300


WARM = pinntk.Problem(LINE, [conduction, temperatures])
ROD = pinntk.Problem(PLANE, [heat, warm, held])


@pytest.mark.parametrize("kind", NETWORKS.values(), ids=list(NETWORKS))
def test_u_is_shift_plus_scale_n(kind):
    problem = pinntk.load("poisson_family") if kind is pinntk.nn.DeepONet else WARM
    plain = kind(problem, width=12, depth=2, normalize=True, output_scales={}, **F64)
    scaled = kind(problem, width=12, depth=2, normalize=True, output_scales={"u": (310.0, 8)}, **F64)
    x = torch.rand(7, problem.domain.dimension, **F64)
    torch.testing.assert_close(scaled(x), 310 + 8 * plain(x), rtol=1e-15, atol=0)
    assert json.loads(json.dumps(scaled.config))["output_scales"] == {"u": [310.0, 8.0]}
    assert [*plain.state_dict()] == [name for name in scaled.state_dict() if "rescale" not in name]


def test_the_default_is_by_the_sizes_of_the_conditions():
    shift, scale = pinntk.nn.MLP(WARM).output_scales["u"]
    assert 300 < shift < 330 and 5 < scale < 20
    assert pinntk.nn.MLP(WARM, normalize=False).output_scales == {}
    assert pinntk.nn.MLP(WARM, normalize=False, output_scales="auto").output_scales == {"u": [shift, scale]}
    assert pinntk.nn.MLP(poisson()).output_scales == {}
    assert pinntk.nn.MLP(inputs=2, outputs=1).rescale is None


@pytest.mark.parametrize("name", SOME)
def test_networks_of_registered_problems_stay_as_they_were(name):
    network = pinntk.nn.MLP(registered(name), width=5, depth=1)
    assert network.rescale is None and not any("rescale" in key for key in network.state_dict())


@pytest.mark.parametrize("problem", (WARM, ROD), ids=("line", "plane"))
def test_errors_and_kernel_are_those_of_the_slow_oracle(problem):
    network = pinntk.nn.MLP(problem, width=6, depth=2, **F64)
    points = sample(problem, 8)
    slow = reference.errors(network, problem, points)
    assert (
        reference.relative(pinntk.kernel(network, problem, points).values, reference.kernel(network, problem, points)) < 1e-12
    )
    for name, e in pinntk.errors(network, problem, points, method="taylor").items():
        torch.testing.assert_close(e, slow[name].to(e))


def test_hard_constraints_stay_exact_and_bring_the_values_in():
    network = pinntk.nn.MLP(ROD, width=6, depth=1, hard="auto", **F64)
    points = sample(ROD, 20)
    assert network.hard == ("warm", "held") and network.output_scales["u"][0] == 0
    found = {name: e.detach() for name, e in pinntk.errors(network, ROD, points).items()}
    assert float(found["warm"].abs().max()) < 1e-12 and float(found["held"].abs().max()) < 1e-12
    other = pinntk.nn.MLP(ROD, width=6, depth=1, hard="auto", output_scales={"u": (5.0, 2.0)}, **F64)
    assert float(pinntk.errors(other, ROD, points)["warm"].detach().abs().max()) < 1e-12


def test_a_run_is_loaded_and_resumed_with_its_scales(tmp_path):
    problem = pinntk.load("poisson1d")
    scales = {"u": (3.0, 40.0)}
    settings = {"points": {"residual": 5}, "schedule": "constant", "progress": False}
    network = pinntk.nn.MLP(problem, width=5, depth=1, output_scales=scales)
    pinntk.train(problem, network, steps=4, out=tmp_path / "whole", **settings)
    again = pinntk.nn.MLP(problem, width=5, depth=1, output_scales=scales)
    pinntk.train(problem, again, steps=2, out=tmp_path / "parts", **settings)
    resumed = pinntk.nn.MLP(problem, width=5, depth=1, output_scales=scales)
    pinntk.train(problem, resumed, steps=4, out=tmp_path / "parts", resume=True, **settings)
    x = torch.rand(6, 1)
    loaded = pinntk.Run.load(tmp_path / "whole")
    assert torch.equal(loaded.network(x), network(x)) and torch.equal(resumed(x), network(x))
    assert loaded.network.output_scales == {"u": [3.0, 40.0]}
    changed = apply_changes(loaded.config, {"network.arguments.output_scales": {"u": [1.0, 2.0]}})
    assert build_network(changed, problem).output_scales == {"u": [1.0, 2.0]}


def test_a_run_from_before_there_were_scales_has_none():
    described = describe_network(pinntk.nn.MLP(WARM, width=5, depth=1, output_scales={}))
    del described["arguments"]["output_scales"]
    assert build_network({"network": described}, WARM).output_scales == {}


@pytest.mark.slow
def test_training_reaches_values_of_300():
    points = {"conduction": 40, "temperatures": 2}
    errors = {}
    for name, scales in (("raw", {}), ("scaled", None)):
        network = pinntk.nn.MLP(WARM, width=16, depth=1, output_scales=scales, **F64)
        run = pinntk.train(WARM, network, steps=400, lr=1e-2, points=points, weighting="ntk", progress=False)
        found = pinntk.errors(run.network, WARM, WARM.sample(points, seed=1, dtype=torch.float64))
        errors[name] = float(found["temperatures"].detach().abs().max())
    assert errors["scaled"] < 1 and errors["raw"] > 50


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("large", "output_scales='large': 'auto'"),
        ({"v": (0.0, 1.0)}, "'v' is no field"),
        ({"u": (0.0, 0.0)}, "a scale above 0"),
        ({"u": 3.0}, "a scale above 0"),
        ({"u": (float("nan"), 1.0)}, "a finite shift"),
    ],
)
def test_what_is_no_scale_is_refused(given, complaint):
    with pytest.raises(ValueError, match=complaint):
        pinntk.nn.MLP(WARM, output_scales=given)
    with pytest.raises(ValueError, match="needs a problem"):
        pinntk.nn.MLP(inputs=1, outputs=1, output_scales="auto")


def test_the_limit_of_a_scaled_network_is_refused():
    network = pinntk.nn.MLP(WARM, parametrization="ntk")
    with pytest.raises(ValueError, match="output_scales="):
        pinntk.ntk.infinite_kernel(network, WARM, sample(WARM, 4))


def test_scales_of_other_conditions_are_not_carried_along():
    assert pinntk.nn.MLP(pinntk.Problem(LINE, [conduction, left])).output_scales != pinntk.nn.MLP(WARM).output_scales
    assert pinntk.nn.MLP(pinntk.Problem(PLANE, [heat, walls])).output_scales == {}
