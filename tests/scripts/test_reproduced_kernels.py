"""What the reproductions of kernels measure is right, and a wrong kernel makes them say "differs"."""

from dataclasses import replace
from math import inf, pi

import _reproduction as rep
import fourier_features
import kernel_similarity as similarity
import multiscale_features
import multiscale_networks
import nonlinear_operator
import numpy as np
import pointwise_weights
import pytest
import torch
from torch.func import functional_call, hessian

import pinntk

pytestmark = pytest.mark.xdist_group("reproduced")  # one worker, for what they share


def verdicts(checks):
    return [check.verdict for check in checks]


SMALL = similarity.Case("poisson1d", {"k": 1}, (9,), (0.0,), (0.25,), {"width": 6, "depth": 1}, {"steps": 1})


def test_a_step_changes_errors_as_the_kernel_says():
    (_, cosine, *_) = checks = similarity.checked([similarity.examined(SMALL, quick=False)])
    assert checks[0].verdict == cosine.verdict == rep.AGREES


def test_a_wrong_kernel_does_not_foretell_a_step(monkeypatch):
    right = pinntk.kernel

    def wrong(*arguments):
        K = right(*arguments)
        return replace(K, values=K.values + 0.1 * K.values.mean())

    monkeypatch.setattr(pinntk, "kernel", wrong)
    assert similarity.checked([similarity.examined(SMALL, quick=False)])[0].verdict == rep.DIFFERS


def test_the_hessian_of_a_residual():
    problem = nonlinear_operator.problem("nonlinear")
    network = nonlinear_operator.drawn_network(problem, 5, 0)
    point = {"nonlinear": torch.full((1, 1), 0.5, dtype=torch.float64)}
    names = [name for name, _ in network.named_parameters()]
    sizes = [p.numel() for p in network.parameters()]
    shapes = [p.shape for p in network.parameters()]

    class At(torch.nn.Module):  # pinntk.errors takes a module, torch.func.hessian a function of the parameters
        def __init__(self, theta):
            super().__init__()
            parts = theta.split(sizes)
            self.state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}

        def forward(self, x):
            return functional_call(network, self.state, (x,))

    theta = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    H = hessian(lambda theta: At(theta)(point["nonlinear"])[0, 0])(theta)
    assert H.shape == (len(theta),) * 2

    def residual(theta):
        x = point["nonlinear"][0]
        u, u_x = torch.func.jvp(lambda x: At(theta)(x[None])[0, 0], (x,), (torch.ones_like(x),))
        return u * u_x + u

    exact = torch.linalg.matrix_norm(hessian(residual)(theta), 2)
    assert nonlinear_operator.hessian_norm(network, problem) == pytest.approx(float(exact), rel=1e-3)


def test_a_nonlinear_kernel_that_becomes_lazy_differs():
    keys = ("spread", "drift", "hessian", "from_limit")
    curves = {operator: {key: [1.0] for key in keys} for operator in nonlinear_operator.OPERATORS}
    lazy, random = dict.fromkeys((*keys, "hessian / log width"), -0.5), {**dict.fromkeys(keys, 0.02), "from_limit": -0.45}
    right = nonlinear_operator.checked({"linear": lazy, "nonlinear": random}, curves)
    assert verdicts(right) == [rep.AGREES] * 4
    less = nonlinear_operator.checked({"linear": lazy, "nonlinear": {**random, "drift": -0.2}}, curves)
    assert verdicts(less) == [rep.AGREES, rep.IN_KIND, rep.AGREES, rep.AGREES]
    wrong = nonlinear_operator.checked({"linear": lazy, "nonlinear": {**lazy, "from_limit": 0.0}}, curves)
    assert verdicts(wrong) == [rep.DIFFERS] * 4
    assert nonlinear_operator.exponent([10, 1000], [3.0, 0.3]) == pytest.approx(-0.5)


@pytest.fixture(scope="module")
def weighted():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=20, depth=1, parametrization="ntk", dtype=torch.float64)
    K = pinntk.kernel(network, problem, problem.sample(residual=20, boundary=4, dtype=torch.float64))
    return pointwise_weights.weighted("small", K, pointwise_weights.random_weights(K, 0))


def test_ostrowskis_bounds_are_checked(weighted):
    assert weighted.within
    assert weighted.low < weighted.ratios.min() <= weighted.ratios.max() < weighted.high
    assert max(weighted.imaginary, weighted.apart) < 1e-12
    for factor in (1.01 * weighted.high, 0.99 * weighted.low):
        assert not replace(weighted, weighted=factor * weighted.plain).within


def test_decay_follows_the_weighted_kernel(weighted):
    curves = pointwise_weights.decay(40)
    checks = pointwise_weights.checked([weighted], curves, [0.5], [0.1])
    assert verdicts(checks) == [rep.AGREES, rep.AGREES, rep.AGREES, rep.IN_KIND]
    swapped = {**curves, "with weights, predicted": curves["without weights, predicted"]}
    alike = {label.replace("without", "with"): curve for label, curve in curves.items() if "without" in label}
    assert (
        pointwise_weights.checked([weighted], curves | alike, [0.5], [0.1])[2].verdict == rep.DIFFERS
    )  # nothing is told apart
    broken = replace(weighted, weighted=2 * weighted.high * weighted.plain, imaginary=1e-3)
    checks = pointwise_weights.checked([broken], swapped, [0.1], [0.5])
    assert verdicts(checks) == [rep.DIFFERS] * 4
    assert "broken for small" in checks[0].ours


def kernel(nonstationary=0.0, frequencies=10, off_diagonal=0.2):
    spectrum = np.r_[1.0, np.ones(frequencies), np.zeros(128 - frequencies)]
    return fourier_features.Kernel(torch.eye(2), nonstationary, off_diagonal, spectrum, 0.0)


def runs(errors, high):
    line = np.ones(1)
    return {
        p: [fourier_features.Trained(line, line, np.array([e]), line, np.array([e]), h, h)]
        for p, e, h in zip(fourier_features.POWERS, errors, high, strict=True)
    }


def test_fourier_features_that_do_not_make_the_kernel_stationary_differ():
    powers = fourier_features.POWERS
    kernels = {p: kernel(frequencies=20 - 2 * i) for i, p in enumerate(powers)} | {"plain": kernel(0.5, off_diagonal=0.9)}
    found = runs([0.5, 0.3, 0.2, 0.25, 0.4, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    right = fourier_features.checked(kernels, found)
    assert verdicts(right) == [rep.AGREES, *[rep.IN_KIND] * 3, rep.AGREES, rep.IN_KIND]
    assert kernels[0.0].effective_frequencies == pytest.approx(20)
    kernels = {p: kernel(0.1, frequencies=10 + 2 * i) for i, p in enumerate(powers)} | {"plain": kernel(off_diagonal=0.1)}
    found = runs([0.1, 0.3, 0.2, 0.25, 0.4, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    for several in found.values():
        several[0].predicted_errors[:] = 5.0
    assert verdicts(fourier_features.checked(kernels, found)) == [rep.DIFFERS] * 6


def test_a_kernel_of_features_is_stationary():
    assert fourier_features.kernel_of(1.0, 8).nonstationary < 1e-8
    assert fourier_features.kernel_of(inf, 8).nonstationary < 1e-8
    assert fourier_features.kernel_of("plain", 8).nonstationary > 0.1


def test_features_that_help_too_little_differ():
    modes = [
        multiscale_features.Modes(np.full(3, f), np.full(3, 2 * f), np.ones(3), np.ones(200))
        for f in range(1, 1 + len(multiscale_features.SIGMAS))
    ]
    rising = dict(zip(multiscale_features.SIGMAS, modes, strict=True))
    falling = dict(zip(multiscale_features.SIGMAS, reversed(modes), strict=True))
    assert verdicts(multiscale_features.checked(rising, {"a": [0.5], "b": [0.04]})) == [rep.IN_KIND] * 2
    assert verdicts(multiscale_features.checked(falling, {"a": [0.5], "b": [0.06]})) == [rep.DIFFERS] * 2


@pytest.mark.parametrize("cycles", [0.5, 3, 10])
def test_the_frequency_of_a_kernel(cycles):
    n = 64
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    wave = torch.cos(2 * pi * cycles * x)
    rank, mean = multiscale_networks.frequencies(2 + wave[:, None] * wave)
    assert mean == pytest.approx(cycles)
    assert 1 < rank < 2


def test_scales_that_do_not_widen_the_spectrum_differ():
    def kernels(ranks):
        return {"phi, version 2": {"effective_rank": ranks, "frequency": ranks}}

    def fno(rank):
        return {"effective_rank": rank, "frequency": rank, "parameters": 100}

    errors = {"plain": [0.5], "one scale": [0.9], "version 1": [0.2], "version 2": [0.1]}
    right = multiscale_networks.checked(kernels([1, 2, 3, 4, 5]), errors, {"FNO": fno(2.0), "MscaleFNO": fno(4.0)})
    assert verdicts(right) == [rep.IN_KIND] * 5
    errors = {"plain": [0.1], "one scale": [0.1], "version 1": [0.2], "version 2": [0.3]}
    wrong = multiscale_networks.checked(kernels([5, 4, 3, 2, 1]), errors, {"FNO": fno(4.0), "MscaleFNO": fno(2.0)})
    assert verdicts(wrong) == [rep.DIFFERS] * 5
