"""Networks of several scales, against their formulas."""

import json
from math import inf, pi

import pytest
import torch

import pinntk
from pinntk.nn import MLP, NETWORKS, MscaleDNN, MultiscaleFourier, linear_scales, octaves, power_law
from pinntk.nn._layers import ACTIVATIONS
from pinntk.run import Run
from pinntk.run._network import build_network, describe_network
from pinntk.taylor import Basis, Jet
from tests.support.sweeps import sweep

DOUBLE = {"dtype": torch.float64}


# Fourier features with coefficients.


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, inf])
def test_features_with_amplitudes_are_the_formula_and_have_norm_one(p):
    network = MLP(inputs=1, outputs=1, fourier=power_law(5, p), **DOUBLE)
    x = torch.linspace(-0.7, 1.3, 9, **DOUBLE)[:, None]
    j = torch.arange(1, 6, **DOUBLE)
    a = j**-p
    expected = torch.cat([a * torch.cos(2 * pi * j * x), a * torch.sin(2 * pi * j * x)], 1) / a.norm()
    features = network.embeddings(x)
    assert torch.allclose(features, expected, rtol=0, atol=1e-14)
    assert torch.allclose(features.square().sum(1), torch.ones(9, **DOUBLE), rtol=1e-14)
    assert network.config["fourier"]["frequencies"] == j.tolist()
    assert network.config["fourier"]["amplitudes"] == pytest.approx(a.tolist())
    if p == inf:
        assert features[:, [1, 2, 3, 4, 6, 7, 8, 9]].abs().max() == 0


def test_frequencies_of_several_coordinates_without_amplitudes():
    B = [[1.0, 0.0], [0.5, -2.0]]
    network = MLP(inputs=2, outputs=1, fourier={"frequencies": B}, **DOUBLE)
    x = torch.rand(6, 2, **DOUBLE)
    phase = 2 * pi * x @ torch.tensor(B, **DOUBLE).T
    expected = torch.cat([torch.cos(phase), torch.sin(phase)], 1) / 2**0.5
    assert torch.allclose(network.embeddings(x), expected, rtol=0, atol=1e-14)
    assert network.config["fourier"] == {"frequencies": B, "amplitudes": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("fourier", "message"),
    [
        ({"amplitudes": [1.0]}, "give 'frequencies'"),
        ({"frequencies": [1.0], "power": 2}, "give 'frequencies'"),
        ({"frequencies": ["a"]}, "are numbers"),
        ({"frequencies": [1.0, 2.0], "amplitudes": [1.0]}, r"shape \(2,\) and amplitudes of shape \(1,\)"),
        ({"frequencies": []}, r"frequencies of shape \(0,\)"),
        ({"frequencies": [1.0], "amplitudes": [0.0]}, "not all amplitudes are 0"),
        ({"frequencies": [inf]}, "are finite"),
        ({"frequencies": [[1.0, 2.0]]}, "frequencies of 2 coordinates; the network has 1 inputs"),
    ],
)
def test_bad_features(fourier, message):
    with pytest.raises(ValueError, match=message):
        MLP(inputs=1, outputs=1, fourier=fourier)


def test_bad_power_laws():
    for count, p in ((0, 1.0), (2.5, 1.0), (3, -1.0), (3, float("nan"))):
        with pytest.raises(ValueError, match="a whole number of frequencies, and a power"):
            power_law(count, p)


# Multiscale Fourier features.


def test_branches_share_one_trunk_and_meet_in_the_last_layer():
    network = MultiscaleFourier(pinntk.load("burgers"), sigmas=(1.0, 7.0), features=4, width=5, depth=2, **DOUBLE)
    x = torch.rand(6, 2, **DOUBLE)
    state = network.state_dict()
    W0, W1, b0, b1 = (state[f"trunk.{name}"] for name in ("weights.0", "weights.1", "biases.0", "biases.1"))
    joined = []
    for i in range(2):
        B = 2 * pi * state[f"branches.{i}.B"]
        phase = (x - network.mean) / network.deviation @ B.T
        features = torch.cat([torch.cos(phase), torch.sin(phase)], 1)
        joined.append(torch.tanh(torch.tanh(features @ W0.T + b0) @ W1.T + b1))
    expected = torch.cat(joined, 1) @ state["last.weights.0"].T + state["last.biases.0"]
    assert torch.allclose(network(x), expected, rtol=0, atol=1e-13)
    assert sum(p.numel() for p in network.parameters()) == (8 * 5 + 5) + (5 * 5 + 5) + (10 + 1)


def test_sigma_is_an_angular_frequency():
    network = MultiscaleFourier(inputs=1, outputs=1, sigmas=(2.0, 30.0), features=4000, width=2, **DOUBLE)
    spread = [float(2 * pi * branch.B.std()) for branch in network.branches]
    assert spread == pytest.approx([2, 30], rel=0.03)
    assert (network.mean, network.deviation) == (0, 1)


# MscaleDNN.


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("srelu", lambda x: torch.relu(1 - x) * torch.relu(x)),
        ("phi", lambda x: sum(c * torch.relu(x - k) ** 2 for k, c in enumerate((1, -3, 3, -1)))),
    ],
)
def test_the_bumps_are_their_formulas_with_their_derivatives(name, formula):
    x = torch.linspace(-1.03, 4.04, 101, **DOUBLE)
    value = ACTIVATIONS[name](x)
    assert torch.allclose(value, formula(x), rtol=0, atol=1e-14)
    assert ACTIVATIONS[name](torch.tensor([-1e8, 1e8])).abs().max() == 0
    jet = ACTIVATIONS[name](Jet.seed(Basis.spanning([(2,)], 1), x[:, None]))
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(formula(leaf).sum(), leaf, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), leaf)
    assert torch.allclose(jet.derivative((1,))[:, 0], slope, rtol=0, atol=1e-13)
    assert torch.allclose(jet.derivative((2,))[:, 0], curvature, rtol=0, atol=1e-13)
    assert curvature.abs().max() > 1


@pytest.mark.parametrize("name", ["srelu", "phi"])
def test_a_bump_at_its_kinks_has_the_derivatives_that_autograd_gives_it(name):
    x = torch.tensor([-torch.inf, -1, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4, torch.inf], **DOUBLE)
    jet = ACTIVATIONS[name](Jet.seed(Basis.spanning([(3,)], 1), x[:, None]))
    leaf = x.clone().requires_grad_()
    expected = ACTIVATIONS[name](leaf)
    assert torch.equal(jet.value[:, 0], expected)
    for order in (1, 2):
        (expected,) = torch.autograd.grad(expected.sum(), leaf, create_graph=True)
        assert torch.equal(jet.derivative((order,))[:, 0], expected)
    assert not jet.derivative((3,)).any()


def test_version_1_groups_the_units_of_the_first_layer():
    network = MscaleDNN(inputs=2, outputs=1, scales=(1, 3), version=1, width=6, depth=2, activation="sin", **DOUBLE)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1
    state, x = network.state_dict(), torch.rand(5, 2, **DOUBLE)
    W = torch.cat([state["parts.0.weights.0"], state["parts.1.weights.0"]])
    b = torch.cat([state["parts.0.biases.0"], state["parts.1.biases.0"]])
    scales = torch.tensor([1, 1, 1, 3, 3, 3], **DOUBLE)
    h = torch.sin(scales * (x @ W.T) + b)
    h = torch.sin(h @ state["rest.weights.0"].T + state["rest.biases.0"])
    expected = h @ state["rest.weights.1"].T + state["rest.biases.1"]
    assert torch.allclose(network(x), expected, rtol=0, atol=1e-14)


def test_version_2_is_a_sum_of_networks():
    network = MscaleDNN(inputs=1, outputs=2, scales=octaves(3), width=12, depth=2, activation="tanh", **DOUBLE)
    x, state = torch.rand(5, 1, **DOUBLE), network.state_dict()
    expected = 0
    for i, a in enumerate((1, 2, 4)):
        part = MLP(inputs=1, outputs=2, width=4, depth=2, **DOUBLE)
        part.dense.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith(f"parts.{i}.")})
        expected = expected + part(a * x)
    assert torch.allclose(network(x), expected, rtol=0, atol=1e-14)
    assert (octaves(4), linear_scales(4)) == ([1, 2, 4, 8], [1, 2, 3, 4])


def test_only_a_normalized_network_knows_the_domain():
    problem = pinntk.load("burgers")
    raw, normalized = (MscaleDNN(problem, normalize=normalize) for normalize in (False, True))
    assert torch.equal(raw.deviation, torch.ones(2))
    assert torch.equal(normalized.deviation, MLP(problem).deviation)
    points = torch.rand(4, 2)
    assert torch.allclose(normalized(points), raw((points - normalized.mean) / normalized.deviation))


# All of them.


def small(kind, problem, **settings):
    sizes = {
        "mlp": {"fourier": {"frequencies": [[0.5] * problem.domain.dimension]}},
        "multiscale-fourier": {"features": 3},
        "piratenet": {"fourier": (4, 0.2), "factorized": True},
        "deeponet": {"rank": 4, "adaptive_slopes": 2},
    }
    return NETWORKS[kind](problem, width=12, depth=2, **sizes.get(kind, {}), **settings)


def problem_for(kind, name="poisson1d"):
    """With a coordinate for the branch and one for the trunk where that is needed."""
    return pinntk.load("poisson_family" if kind == "deeponet" else name)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_seed_gives_one_network_whatever_the_dtype_and_leaves_the_global_generator_alone(kind):
    problem = problem_for(kind, "burgers")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    single, double, other = small(kind, problem), small(kind, problem, **DOUBLE), small(kind, problem, seed=1)
    assert torch.equal(torch.rand(1), expected)
    for p, q, r in zip(single.parameters(), double.parameters(), other.parameters(), strict=True):
        assert (p.dtype, q.dtype) == (torch.float32, torch.float64)
        assert torch.equal(p, q.float())
        assert not torch.equal(p, r) or not p.any() or not p.ndim


@pytest.mark.parametrize("kind", sweep(NETWORKS, "mlp", "deeponet"))
def test_a_run_is_build_network_from_its_folder_and_trained_again_from_its_configuration(tmp_path, kind):
    problem = problem_for(kind)
    settings = {"points": {"boundary": 4, "residual": 9}, "steps": 2, "snapshot_every": 0, "progress": False}
    run = pinntk.train(problem, small(kind, problem, seed=5), out=tmp_path, **settings)
    again = Run.load(tmp_path)
    assert type(again.network) is NETWORKS[kind]
    fresh = build_network(json.loads(json.dumps({"network": describe_network(run.network)})), problem)
    assert fresh.config == run.network.config
    trained = pinntk.train_as(again.config, progress=False)
    for p, q, r in zip(run.network.parameters(), again.network.parameters(), trained.network.parameters(), strict=True):
        assert torch.equal(p, q) and torch.equal(p, r)
    wider = pinntk.training.apply_changes(again.config, {"network.arguments.width": 24})
    assert pinntk.train_as(wider, progress=False).network.config["width"] == 24
    with pytest.raises(ValueError, match=r"change 'network\.arguments\.sigma': a configuration has no such key"):
        pinntk.training.apply_changes(again.config, {"network.arguments.sigma": 1.0})


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_stop_loses_no_bit(tmp_path, kind):
    problem = problem_for(kind)
    settings = {"points": {"boundary": 4, "residual": 9}, "snapshot_every": 0, "log_every": 1, "progress": False}
    settings |= {"schedule": "constant", "weighting": "ntk", "optimizer": "adam"}

    def train(out=None, **more):
        return pinntk.train(problem, small(kind, problem, seed=2), out=out, **settings, **more)

    whole = train(steps=4)
    train(tmp_path, steps=2)
    resumed = train(tmp_path, steps=4, resume=True)
    for p, q in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(p, q)
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]


@pytest.mark.parametrize("kind", sweep(NETWORKS, "multiscale-fourier"))
def test_a_run_is_diagnosed(kind):
    problem = problem_for(kind)
    settings = {"points": {"boundary": 4, "residual": 30}, "steps": 3, "snapshot_every": 0, "progress": False}
    run = pinntk.train(problem, small(kind, problem), **settings)
    for finding in pinntk.diagnose(run):
        for prescription in finding.prescriptions:
            pinntk.training.apply_changes(run.config, prescription.changes)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (MultiscaleFourier, {"inputs": 1}, "MultiscaleFourier needs a problem, or inputs= and outputs="),
        (MultiscaleFourier, {"sigmas": ()}, r"sigmas=\(\): one or more finite numbers above 0"),
        (MultiscaleFourier, {"sigmas": (1.0, 0.0)}, "sigmas="),
        (MultiscaleFourier, {"features": 0}, "features=0"),
        (MultiscaleFourier, {"activation": "tanhh"}, "activation='tanhh' is unknown"),
        (MultiscaleFourier, {"normalize": True}, "normalize=True needs a problem"),
        (MscaleDNN, {"scales": "octaves"}, "scales='octaves': one or more"),
        (MscaleDNN, {"version": 3}, "version=3: 1"),
        (MscaleDNN, {"width": 100}, "width=100 does not divide among 6 scales; use a multiple of 6"),
        (MscaleDNN, {"depth": 0}, "depth=0"),
        (MscaleDNN, {"initialization": "x"}, "initialization='x' is unknown"),
        (MscaleDNN, {"parametrization": "x"}, "parametrization='x' is unknown"),
    ],
)
def test_bad_settings(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**({"inputs": 1, "outputs": 1, **settings} if "inputs" not in settings else settings))
