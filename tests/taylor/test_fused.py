"""Activations and linear maps as single autograd nodes, against the plain tensor operations that they stand for."""

from itertools import product

import pytest
import torch

from pinntk.taylor import Basis
from pinntk.taylor import _fused as fused
from pinntk.taylor import _kinks as kinks
from pinntk.taylor import _series as series

BASES = {
    "first order": Basis.spanning([(1, 0), (0, 1)], 2),
    "one second derivative": Basis.spanning([(2,)], 1),
    "second derivatives": Basis.spanning([(2, 0), (0, 2)], 2),
    "a mixed one": Basis.spanning([(1, 1)], 2),
    "gap": Basis.spanning([(2, 0, 0), (0, 0, 2), (0, 1, 0)], 3),
    "all of four coordinates": Basis.spanning([index for index in product(range(3), repeat=4) if sum(index) == 2], 4),
    "laplacian": Basis.spanning([], 5, laplacian_axes=range(5)),
    "laplacian of some and a mixed one": Basis.spanning([(1, 1, 0, 0)], 4, laplacian_axes=(1, 3)),
    "laplacian and one of its terms": Basis.spanning([(0, 2, 0)], 3, laplacian_axes=range(3)),
}
SERIES = {"tanh": series.tanh, "sin": series.sin, "gelu": series.gelu, "relu": kinks.relu, "cube": series.power(3)}


def jet(basis, n=7, width=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(basis.size, n, width, dtype=torch.float64, generator=generator).requires_grad_()


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", BASES)
def test_the_terms_of_a_square_are_those_of_the_basis(name):
    """Every term once, whatever runs they were put into."""
    basis = BASES[name]
    found = []
    for s, a, b, factor in fused._second(basis):
        spans = [range(basis.size)[span] if isinstance(span, slice) else [span] for span in (s, a, b)]
        length = max(map(len, spans))
        assert all(len(span) in (1, length) for span in spans)
        found += [(*(list(span)[i % len(span)] for span in spans), factor) for i in range(length)]
    terms = basis.power_terms(2) if basis.order == 2 else {}
    assert sorted(found) == sorted((s, *term) for s, terms in terms.items() for term in terms)


@pytest.mark.parametrize("kept", [0, 2**25], ids=["computed again", "kept"])
@pytest.mark.parametrize("block", [1, 2**22], ids=["point by point", "one block"])
@pytest.mark.parametrize("name", BASES)
def test_a_composition_and_its_gradient_are_the_plain_ones(monkeypatch, name, block, kept):
    monkeypatch.setattr(fused, "_BLOCK_BYTES", block)
    monkeypatch.setattr(fused, "_KEPT_BYTES", kept)
    basis = BASES[name]
    data, seed = jet(basis), jet(basis, seed=1).detach()
    for function in SERIES.values():
        ours, theirs = fused.compose(data, function, basis), fused.compose_plain(data, function, basis)
        assert type(ours.grad_fn) is not type(theirs.grad_fn)
        close(ours, theirs)
        close(torch.autograd.grad(ours, data, seed)[0], torch.autograd.grad(theirs, data, seed)[0])


@pytest.mark.parametrize("name", BASES)
def test_differentiated_twice(name):
    basis = BASES[name]
    data = jet(basis)

    def curvature(value):
        (slope,) = torch.autograd.grad(value.square().sum(), data, create_graph=True)
        return torch.autograd.grad(slope.sin().sum(), data)[0]

    close(
        curvature(fused.compose(data, series.tanh, basis)),
        curvature(fused.compose_plain(data, series.tanh, basis)),
    )


@pytest.mark.parametrize(("width_in", "width_out"), [(2, 5), (5, 2), (4, 4)])
def test_a_linear_map_and_its_gradients_are_the_plain_ones(width_in, width_out):
    basis = BASES["second derivatives"]
    data = jet(basis, width=width_in)
    weight = torch.randn(width_out, width_in, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(width_out, dtype=torch.float64, requires_grad=True)
    ours = fused.linear(data, weight, bias)
    with fused.plain():
        theirs = fused.linear(data, weight, bias)
    assert type(ours.grad_fn) is not type(theirs.grad_fn)
    close(ours, theirs)
    seed, leaves = torch.randn_like(ours), (data, weight, bias)
    for a, b in zip(torch.autograd.grad(ours, leaves, seed), torch.autograd.grad(theirs, leaves, seed), strict=True):
        close(a, b)


def test_transforms_of_torch_func_go_through():
    basis = BASES["second derivatives"]
    data, weight = jet(basis, width=3).detach(), torch.randn(2, 3, dtype=torch.float64)

    def out(bias):
        return fused.compose(fused.linear(data, weight, bias), series.tanh, basis)

    bias, direction = torch.randn(2, 2, dtype=torch.float64).unbind()
    expected = torch.autograd.functional.jvp(out, bias, direction)[1]
    close(torch.func.jvp(out, (bias,), (direction,))[1], expected)
    biases = torch.stack([bias, direction])
    close(torch.func.vmap(out)(biases), torch.stack([out(bias), out(direction)]))
    close(torch.func.jacrev(out)(bias) @ direction, expected)
