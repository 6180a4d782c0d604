import json
from math import pi, sqrt

import numpy as np
import pytest
import torch

import pinntk
from pinntk.nn._layers import ACTIVATIONS
from pinntk.run._network import build_network, describe_network
from pinntk.taylor import Basis, Jet


def test_shape_and_normalization_from_the_problem():
    problem = pinntk.load("kovasznay")
    network = pinntk.nn.MLP(problem, width=7, depth=2, dtype=torch.float64)
    points = problem.domain.sample(200_000, "sobol", np.random.default_rng(0))
    assert network(torch.from_numpy(points[:5])).shape == (5, 3)
    normalized = (torch.from_numpy(points) - network.mean) / network.deviation
    assert normalized.mean(0).abs().max() < 1e-3
    assert (normalized.std(0) - 1).abs().max() < 1e-3


def test_the_ntk_parametrization_is_the_papers_formula():
    network = pinntk.nn.MLP(inputs=1, outputs=1, width=50, depth=1, parametrization="ntk", dtype=torch.float64)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    (W0, W1), (b0, b1) = network.dense.weights, network.dense.biases
    expected = torch.tanh(x @ W0.T + b0) @ W1.T / sqrt(50) + b1
    assert torch.allclose(network(x), expected, rtol=1e-14, atol=1e-14)
    scaled = pinntk.nn.MLP(inputs=2, outputs=1, width=5, depth=1, parametrization="ntk", beta=0.1, dtype=torch.float64)
    y = torch.rand(3, 2, dtype=torch.float64)
    (W0, W1), (b0, b1) = scaled.dense.weights, scaled.dense.biases
    expected = torch.tanh(y @ W0.T / sqrt(2) + 0.1 * b0) @ W1.T / sqrt(5) + 0.1 * b1
    assert torch.allclose(scaled(y), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("initialization", "deviation", "bias"),
    [("xavier", sqrt(2 / 1100), 0), ("normal", sqrt(1 / 1000), 1), ("lecun", sqrt(1 / 1000), 0)],
)
def test_initializations_have_the_stated_spread(initialization, deviation, bias):
    network = pinntk.nn.MLP(inputs=1000, outputs=1, width=100, depth=1, initialization=initialization)
    assert abs(network.dense.weights[0].std().item() / deviation - 1) < 0.02
    assert abs(network.dense.biases[0].std().item() - bias) < 0.2


def test_kaiming_has_the_spread_of_nn_linear():
    ours = pinntk.nn.MLP(inputs=1000, outputs=1, width=100, depth=1, initialization="kaiming").dense.weights[0]
    theirs = torch.nn.Linear(1000, 100).weight
    assert abs(ours.std() / theirs.std() - 1) < 0.02


@pytest.mark.parametrize("settings", [{}, {"initialization": "normal"}, {"parametrization": "ntk"}])
def test_gain_multiplies_the_initial_weights_alone(settings):
    problem = pinntk.load("burgers")
    usual, large = (pinntk.nn.MLP(problem, width=5, depth=2, gain=gain, **settings) for gain in (1.0, 8.0))
    for before, after in zip(usual.dense.weights, large.dense.weights, strict=True):
        assert torch.equal(8 * before, after)
    for before, after in zip(usual.dense.biases, large.dense.biases, strict=True):
        assert torch.equal(before, after)
    assert large.config["gain"] == 8
    for gain in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="gain="):
            pinntk.nn.MLP(problem, gain=gain)


def test_a_seed_gives_one_network_whatever_the_dtype():
    single = pinntk.nn.MLP(inputs=1, outputs=1, seed=3)
    double = pinntk.nn.MLP(inputs=1, outputs=1, seed=3, dtype=torch.float64)
    assert torch.equal(single.dense.weights[1], double.dense.weights[1].float())
    assert not torch.equal(single.dense.weights[1], pinntk.nn.MLP(inputs=1, outputs=1, seed=4).dense.weights[1])


def test_a_seed_gives_the_network_that_it_always_gave():
    network = pinntk.nn.MLP(pinntk.load("burgers"), width=2, depth=1, seed=3, dtype=torch.float64)
    dense = [f"dense.{name}" for name in ("weights.0", "weights.1", "biases.0", "biases.1")]
    assert list(network.state_dict()) == ["mean", "deviation", *dense]
    value = network(torch.tensor([[0.25, -0.5]], dtype=torch.float64)).item()
    assert value == pytest.approx(-0.3673471291064354, rel=1e-14)


def test_seeding_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pinntk.nn.MLP(inputs=1, outputs=1, seed=3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_has_a_taylor_rule(activation):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, activation=activation, dtype=torch.float64)
    points = problem.sample(boundary=2, residual=5)
    taylor, autograd = (pinntk.errors(network, problem, points, method) for method in ("taylor", "autograd"))
    for name in points:
        assert torch.allclose(taylor[name], autograd[name], rtol=1e-11, atol=1e-11)


# Embeddings.


@pytest.mark.parametrize("normalize", [True, False])
def test_a_periodic_network_repeats_with_all_its_derivatives(normalize):
    problem = pinntk.load("kovasznay")  # x in [-0.5, 1], y in [-0.5, 1.5]
    network = pinntk.nn.MLP(problem, width=9, depth=2, periodic={"y": 3}, normalize=normalize, dtype=torch.float64)
    x = torch.linspace(-0.5, 1, 7, dtype=torch.float64)
    basis = Basis.spanning([(1, 3)], 2)
    below, above = (network(Jet.seed(basis, torch.stack([x, torch.full_like(x, y)], 1))) for y in (-0.5, 1.5))
    inside = network(Jet.seed(basis, torch.stack([x, torch.full_like(x, 0.3)], 1)))
    for index in ((0, 0), (0, 1), (1, 2), (0, 3), (1, 3)):
        scale = below.derivative(index).abs().max()
        assert torch.equal(below.derivative(index), above.derivative(index))
        assert (below.derivative(index) - inside.derivative(index)).abs().max() > 1e-3 * scale


def test_periodic_features_are_the_formula():
    problem = pinntk.load("kovasznay")
    x, y = torch.rand(2, 5, dtype=torch.float64)
    for normalize, amplitude in ((True, sqrt(2)), (False, 1)):
        network = pinntk.nn.MLP(problem, periodic={"y": 2}, normalize=normalize, dtype=torch.float64)
        scaled = (torch.stack([x, y], 1) - network.mean) / network.deviation
        phase = pi * (y + 0.5)
        waves = [torch.cos(phase), torch.cos(2 * phase), torch.sin(phase), torch.sin(2 * phase)]
        expected = torch.stack([scaled[:, 0], *(amplitude * wave for wave in waves)], 1)
        assert torch.allclose(network.embeddings(scaled), expected, rtol=0, atol=1e-14)
    points = torch.from_numpy(problem.domain.grid((400, 401)))
    network = pinntk.nn.MLP(problem, periodic=("y", "x"), dtype=torch.float64)
    features = network.embeddings((points - network.mean) / network.deviation)
    assert features.shape[1] == network.dense.weights[0].shape[1] == 4
    assert (features.square().mean(0) - 1).abs().max() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_periodic_network_has_no_periodic_error_and_no_periodic_kernel(dtype):
    problem = pinntk.load("allen_cahn")
    network = pinntk.nn.MLP(problem, width=8, periodic={"x": 2}, dtype=dtype)
    points = problem.sample(residual=5, initial=4, periodic=6, dtype=dtype)
    errors, traces = pinntk.errors(network, problem, points), pinntk.traces(network, problem, points)
    for name in ("wrap_x_u", "wrap_x_u_x"):
        assert errors[name].abs().max() == 0
        assert traces[name] < 1e-16 * traces["allen_cahn"]  # a difference of equal numbers, and no reason for a weight
    with pytest.warns(UserWarning, match="does not depend on the parameters"):
        assert pinntk.weighting.NTK().rule(traces, dict.fromkeys(traces, 1))["wrap_x_u_x"] == 1


def test_fourier_features_are_the_formula():
    settings = {"width": 4, "depth": 1, "fourier": (5, 0.7), "dtype": torch.float64}
    network = pinntk.nn.MLP(pinntk.load("burgers"), **settings)
    (features,) = network.embeddings
    assert features.B.shape == (5, 2)
    assert "embeddings.0.B" in network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == 4 * 10 + 4 + 4 + 1
    points = torch.rand(6, 2, dtype=torch.float64)
    x = (points - network.mean) / network.deviation
    embedded = torch.cat([torch.cos(2 * pi * x @ features.B.T), torch.sin(2 * pi * x @ features.B.T)], 1)
    expected = torch.tanh(embedded @ network.dense.weights[0].T) @ network.dense.weights[1].T
    assert torch.allclose(network(points), expected, rtol=0, atol=1e-14)


def test_fourier_frequencies_have_the_stated_spread_and_come_from_the_seed():
    def frequencies(seed, dtype=torch.float64, **settings):
        settings = {"inputs": 1, "outputs": 1, **settings}
        return pinntk.nn.MLP(**settings, width=2, depth=1, fourier=(4000, 3.0), seed=seed, dtype=dtype).embeddings[-1].B

    assert abs(frequencies(0).std() / 3 - 1) < 0.03
    assert torch.equal(frequencies(0, torch.float32), frequencies(0).float())
    assert not torch.equal(frequencies(0), frequencies(1))
    periodic = {"problem": pinntk.load("poisson1d"), "inputs": None, "outputs": None, "periodic": "x"}
    assert frequencies(0, **periodic).shape == (4000, 2)


@pytest.mark.parametrize(
    "settings",
    [{}, {"periodic": "x"}, {"periodic": ("x", "t")}, {"fourier": (4, 2.0)}, {"periodic": {"x": 2}, "fourier": (3, 1)}],
)
def test_a_network_is_build_network_from_its_config_as_json(settings):
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=5, depth=1, seed=7, **settings)
    again = build_network(json.loads(json.dumps({"network": describe_network(network)})), problem)
    assert again.config == network.config
    assert list(again.state_dict()) == list(network.state_dict())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    points = torch.rand(3, 2)
    assert torch.equal(again(points), network(points))


# Hard constraints.


def walled(width=8):
    """poisson2d with its boundary met by construction, and points on all its conditions."""
    problem = pinntk.load("poisson2d")
    inner = pinntk.nn.MLP(problem, width=width, depth=2, initialization="normal", dtype=torch.float64)
    network = pinntk.nn.HardConstraint(problem, inner, factor=lambda x, y: x * (1 - x) * y * (1 - y))
    return problem, inner, network, problem.sample(residual=6, boundary=20, dtype=torch.float64)


def test_a_hard_constraint_has_no_error_and_no_kernel_on_the_boundary():
    problem, inner, network, points = walled()
    assert pinntk.errors(network, problem, points)["walls"].abs().max() == 0
    assert pinntk.errors(inner, problem, points)["walls"].abs().max() > 0.1
    K = pinntk.kernel(network, problem, points)
    assert K["walls", "walls"].abs().max() == 0
    assert K["poisson", "walls"].abs().max() == 0
    assert K.trace("poisson") > 1


def test_a_hard_constraint_is_the_formula_for_every_form_of_offset_and_factor():
    problem = pinntk.load("kovasznay")
    inner = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    points = torch.rand(5, 2, dtype=torch.float64)
    x, y = points.unbind(1)
    N = inner(points)
    both = torch.stack([x * y, torch.sin(y), torch.ones_like(x)], 1)
    for form, expected in {
        lambda y, x: x * y: (x * y)[:, None].expand(5, 3),
        lambda x, y: (x * y, torch.sin(y), 1): both,
        lambda x, y, points: torch.stack([x * y, torch.sin(points[:, 1]), torch.ones_like(x)], 1): both,
        lambda points: points[:, :1]: x[:, None].expand(5, 3),
        lambda: (3.0, 2, 1): torch.tensor([3.0, 2, 1]).double().expand(5, 3),
        2.5: torch.full((5, 3), 2.5).double(),
    }.items():
        offset, factor = (pinntk.nn.HardConstraint(problem, inner, **{name: form}) for name in ("offset", "factor"))
        assert torch.allclose(offset(points), expected + N, rtol=1e-15, atol=1e-15)
        assert torch.allclose(factor(points), expected * N, rtol=1e-15, atol=1e-15)
        errors = [pinntk.errors(offset, problem, problem.sample(residual=5), method) for method in ("taylor", "autograd")]
        assert all(torch.allclose(errors[0][name], errors[1][name], rtol=1e-11, atol=1e-11) for name in errors[0])


def test_a_hard_constraint_holds_the_network_only_and_goes_through_a_run(tmp_path):
    problem, inner, network, _ = walled()
    assert list(network.state_dict()) == [f"network.{name}" for name in inner.state_dict()]
    before = inner.dense.weights[0].detach().clone()
    with pytest.warns(UserWarning, match="condition walls does not depend on the parameters"):
        weighting = pinntk.weighting.NTK()
        run = pinntk.train(
            problem, network, steps=3, weighting=weighting, points={"residual": 20}, out=tmp_path, progress=False
        )
    assert not torch.equal(inner.dense.weights[0], before)
    _, _, fresh, _ = walled()
    again = pinntk.Run.load(tmp_path, fresh)
    points = torch.rand(4, 2, dtype=torch.float64)
    assert torch.equal(again.network(points), run.network(points))
    with pytest.raises(ValueError, match="HardConstraint, which pinntk cannot build"):
        pinntk.Run.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": lambda x, z: x * z}, "unknown argument 'z'; it is a function of the coordinates"),
        ({"offset": lambda x, y: (x, y)}, r"offset returned shape \(3, 2\) for 3 points; return"),
        ({"factor": lambda x, y: x.sum().reshape(1)}, r"factor returned shape \(1, 1\) for 3 points"),
    ],
)
def test_bad_hard_constraints(settings, message):
    problem = pinntk.load("kovasznay")
    with pytest.raises(ValueError, match=message):
        pinntk.nn.HardConstraint(problem, pinntk.nn.MLP(problem), **settings)


# Mistakes.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": 1}, "needs a problem, or inputs= and outputs="),
        ({"inputs": 1, "outputs": 1, "width": 0}, "width=0"),
        ({"inputs": 1, "outputs": 1, "activation": "tanhh"}, "activation='tanhh' is unknown; use one of"),
        ({"inputs": 1, "outputs": 1, "parametrization": "x"}, "parametrization='x'"),
        ({"inputs": 1, "outputs": 1, "initialization": "x"}, "initialization='x'"),
        ({"inputs": 1, "outputs": 1, "normalize": True}, "normalize=True needs a problem"),
        ({"problem": pinntk.load("poisson1d"), "inputs": 1}, "takes inputs= and outputs= from the problem"),
        ({"problem": pinntk.load("burgers"), "periodic": "z"}, r"periodic='z': no coordinate 'z'; the domain has \('t', 'x'\)"),
        ({"problem": pinntk.load("burgers"), "periodic": {"x": 0}}, "the harmonics of 'x' are a whole number"),
        ({"problem": pinntk.load("burgers"), "periodic": {"x": 1.5}}, "the harmonics of 'x' are a whole number"),
        ({"inputs": 1, "outputs": 1, "periodic": "x"}, "periodic='x' needs a problem"),
        ({"inputs": 1, "outputs": 1, "fourier": 64}, "fourier=64: a whole number of frequencies and"),
        ({"inputs": 1, "outputs": 1, "fourier": (6.5, 1.0)}, r"fourier=\(6.5, 1.0\): a whole number"),
        ({"inputs": 1, "outputs": 1, "fourier": (0, 1.0)}, r"fourier=\(0, 1.0\): a whole number"),
        ({"inputs": 1, "outputs": 1, "fourier": (4, 0.0)}, r"fourier=\(4, 0.0\): a whole number"),
        ({"inputs": 1, "outputs": 1, "fourier": (4, float("inf"))}, r"fourier=\(4, inf\): a whole number"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        pinntk.nn.MLP(**settings)


@pytest.mark.parametrize("kind", pinntk.nn.NETWORKS.values())
def test_an_option_that_is_misspelled_is_named_with_the_nearest(kind):
    has = "activation" if kind is not pinntk.nn.Siren else "hidden_omega"
    for name, nearest in (("widht", "width"), (has[:-3] + has[-2:], has)):
        with pytest.raises(TypeError, match=rf"{kind.__name__} has no option '{name}'; did you mean '{nearest}'\?"):
            kind(inputs=1, outputs=1, **{name: 3})
