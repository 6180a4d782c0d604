"""Operator networks against their formulas, and the kernel of functions against torch.func."""

import pytest
import torch
from torch.func import functional_call, jacrev

import pinntk
from pinntk.nn import MLP, FNO1d, MscaleFNO, PirateNet
from pinntk.ntk import _function as function_module
from pinntk.ntk import function_kernel

SMALL = {"modes": 4, "width": 5, "depth": 2, "hidden": 6, "dtype": torch.float64}


def waves(batch, grid, seed=0):
    """Functions of at most 3 waves on a periodic grid, (batch, grid)."""
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, batch, 4, 1, generator=g, dtype=torch.float64)
    j, m = torch.arange(grid, dtype=torch.float64), torch.arange(4, dtype=torch.float64)[:, None]
    phase = 2 * torch.pi * m * j / grid
    return (a * torch.cos(phase) + b * torch.sin(phase)).sum(1)


def test_an_fno_is_the_formula_by_an_explicit_fourier_transform():
    network, grid = FNO1d(**SMALL, inputs=2, outputs=3), 9
    a = torch.stack([waves(2, grid), waves(2, grid, 1)], -1)
    j = torch.arange(grid, dtype=torch.float64)
    (P, W0, W1, Q1, Q2), (p, w0, w1, q1, q2) = network.weights, network.biases
    v = torch.cat([a, (j / grid).expand(2, grid)[..., None]], -1) @ P.T + p
    s = torch.nn.functional.gelu
    for layer, (W, w) in enumerate(((W0, w0), (W1, w1))):
        v = s(v) if layer else v
        R = torch.view_as_complex(network.spectral[layer].detach())
        out = v @ W.T + w
        for m in range(4):  # mode m and its mirror image -m
            wave = torch.exp(2j * torch.pi * m * j / grid)
            coefficient = torch.einsum("g,bgi->bi", wave.conj(), v.to(wave.dtype)) / grid
            part = torch.einsum("bi,io,g->bgo", coefficient, R[m], wave).real
            out = out + (part if m == 0 else 2 * part)
        v = out
    expected = s(v @ Q1.T + q1) @ Q2.T + q2
    assert expected.shape == (2, grid, 3)
    assert torch.allclose(network(a), expected, rtol=0, atol=1e-13)


def test_a_linear_fno_takes_a_function_to_the_same_function_on_any_grid():
    network = FNO1d(**{**SMALL, "depth": 1}, activation="identity")
    with torch.no_grad():
        network.weights[0][:, -1] = 0  # the coordinate is no band-limited function
    coarse, fine = network(waves(3, 16)), network(waves(3, 48))
    assert coarse.shape == (3, 16)
    assert torch.allclose(coarse, fine[:, ::3], rtol=0, atol=1e-13)
    assert coarse.std() > 1e-3


def test_a_multiscale_fno_is_the_weighted_sum_of_scaled_ones():
    network, a = MscaleFNO(scales=(1.0, 3.0), **SMALL), waves(2, 10)
    with torch.no_grad():
        network.gamma.copy_(torch.tensor([0.3, -2.0]))
    x = torch.arange(10, dtype=torch.float64) / 10
    first, second = network.networks
    expected = 0.3 * first(a, x) - 2 * second(3 * a, 3 * x)
    assert torch.allclose(network(a), expected, rtol=1e-14)
    assert first.activation == "sin"
    assert not torch.equal(first.weights[0], second.weights[0])
    assert torch.allclose(first(a), first(a, x))
    network(a).sum().backward()
    assert network.gamma.grad.abs().min() > 0
    assert network.config == {**first.config, "scales": [1.0, 3.0]}


def test_seeds_and_dtypes():
    settings = {**SMALL, "dtype": None}
    for kind in (FNO1d, MscaleFNO):
        single, double, other = kind(**settings), kind(**SMALL), kind(**settings, seed=1)
        for p, q in zip(single.parameters(), double.parameters(), strict=True):
            assert torch.equal(p, q.float())
        assert not torch.equal(list(single.parameters())[-1], list(other.parameters())[-1])
        assert single(waves(1, 8).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FNO1d(modes=0), "modes=0: a whole number"),
        (lambda: FNO1d(activation="x"), "activation='x' is unknown"),
        (lambda: FNO1d(**SMALL)(waves(1, 5)), "a grid of 5 points has 3 modes; use modes=3 or a finer grid"),
        (lambda: FNO1d(**SMALL)(torch.rand(2, 8, 3)), r"input of shape \(2, 8, 3\): expected \(batch, grid, 1\)"),
        (lambda: FNO1d(**SMALL, inputs=2)(torch.rand(2, 8)), r"expected \(batch, grid, 2\)"),
        (lambda: MscaleFNO(scales=(0.0,)), r"scales=\(0\.0,\)"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_operator_network_is_refused_as_a_pinn():
    problem = pinntk.load("poisson1d")
    with pytest.raises(ValueError, match="does not accept 1 inputs"):
        pinntk.train(problem, FNO1d(modes=2, width=3), steps=1, progress=False)


# The kernel of functions.


def jacobian(network, inputs):
    """(n m, p), by torch.func over the whole batch."""
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    J = jacrev(lambda parameters: functional_call(network, parameters, (inputs,)).flatten())(parameters)
    return torch.cat([part.reshape(len(part), -1) for part in J.values()], 1).double()


def networks():
    return {
        "fno": (FNO1d(**SMALL), waves(3, 8), waves(2, 8, 1)),
        "two channels": (FNO1d(**SMALL, inputs=2, outputs=2), torch.rand(2, 7, 2).double(), torch.rand(1, 7, 2).double()),
        "multiscale": (MscaleFNO(scales=(1.0, 2.0), **SMALL), waves(3, 8), waves(1, 8, 1)),
        "mlp": (MLP(inputs=2, outputs=3, width=6, dtype=torch.float64), torch.rand(5, 2).double(), torch.rand(4, 2).double()),
    }


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("max_memory", ["2GiB", 60_000])
def test_the_kernel_of_functions_is_that_of_explicit_jacobians(name, max_memory):
    network, inputs, others = networks()[name]
    J, J_others = jacobian(network, inputs), jacobian(network, others)
    K = function_kernel(network, inputs, max_memory=max_memory)
    assert (K.dtype, K.shape) == (torch.float64, (len(J), len(J)))
    assert torch.allclose(K, J @ J.T, rtol=1e-12, atol=1e-12)
    assert torch.equal(K, K.T)
    cross = function_kernel(network, inputs, others, max_memory=max_memory)
    assert torch.allclose(cross, J @ J_others.T, rtol=1e-12, atol=1e-12)


def test_it_is_the_kernel_of_a_problem_that_asks_for_the_value_itself():
    problem = pinntk.load("poisson1d")
    network = MLP(problem, width=8, dtype=torch.float64)
    points = problem.sample(boundary=6, dtype=torch.float64)
    K = pinntk.kernel(network, problem, {"ends": points["ends"]})
    assert torch.allclose(function_kernel(network, points["ends"]), K.matrix(), rtol=1e-12)


def test_only_trained_parameters_count():
    network, inputs, _ = networks()["fno"]
    for p in network.spectral:
        p.requires_grad_(False)
    J, K = jacobian(network, inputs), function_kernel(network, inputs)
    assert torch.allclose(K, J @ J.T, rtol=1e-12, atol=1e-12)
    for p in network.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter with requires_grad"):
        function_kernel(network, inputs)
    with pytest.raises(ValueError, match="at least one sample"):
        function_kernel(FNO1d(**SMALL), inputs[:0])


def test_a_parameter_that_is_one_number_counts():
    network, inputs = PirateNet(inputs=1, outputs=1, width=3, depth=1, fourier=(2, 0.3), dtype=torch.float64), waves(2, 1)
    J = jacobian(network, inputs)
    assert J[:, -1].abs().min() > 0  # the gate's
    assert torch.allclose(function_kernel(network, inputs), J @ J.T, rtol=1e-12, atol=1e-12)


def test_products_of_float32_are_exact():
    """J = [x, 1] with x = 1 + 2^-20: its square needs 41 bits."""
    x = torch.tensor([[1 + 2.0**-20]])
    assert function_kernel(torch.nn.Linear(1, 1), x).item() == (1 + 2.0**-20) ** 2 + 1


def test_a_jacobian_that_fails_its_certificate_is_made_in_reverse_mode(monkeypatch):
    network, inputs = FNO1d(**SMALL), waves(2, 9)
    expected = function_kernel(network, inputs)
    right = function_module.jacrev
    monkeypatch.setattr(function_module, "jacrev", lambda *a, **k: lambda *b: {n: 2 * r for n, r in right(*a, **k)(*b).items()})
    assert torch.allclose(function_kernel(network, inputs), expected, rtol=1e-12, atol=1e-14)


def test_complex_parameters_count_as_real_and_imaginary_parts():
    class Multiplier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.R = torch.nn.Parameter(torch.tensor([1 + 2j, 0.5 - 1j], dtype=torch.complex128))

        def forward(self, a):
            return torch.fft.irfft(torch.fft.rfft(a, dim=1)[:, :2] * self.R, n=6, dim=1)

    network, inputs = Multiplier(), waves(3, 6)
    parts = torch.view_as_real(network.R.detach()).clone().requires_grad_()

    def outputs(parts, a):
        return torch.fft.irfft(torch.fft.rfft(a)[:2] * torch.view_as_complex(parts), n=6)

    J = torch.cat([jacrev(outputs)(parts, a).flatten(1) for a in inputs])
    assert torch.allclose(function_kernel(network, inputs), J @ J.T, rtol=1e-12, atol=1e-12)
