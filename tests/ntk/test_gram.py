"""Products of factors: the explicit columns in panels, the structured form in tiles."""

from importlib import import_module

import pytest
import torch

from pinntk._util.threads import run_in_parallel
from pinntk.ntk import Factors, Outer

gram = import_module("pinntk.ntk._gram")


def random_factors(n, seed, S=3, transposed=False):
    """Two weight matrices, one stored (in, out) on request, and a bias: 5 x 7 + 7 + 7 x 1 columns."""
    numbers = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=numbers)

    outers = {"first": Outer(draw(S, n, 5), draw(S, n, 7), transposed), "last": Outer(draw(1, n, 7), draw(1, n, 1))}
    return Factors("e", n, {"first": 35, "bias": 7, "last": 7}, outers, {"bias": draw(n, 7)})


@pytest.mark.parametrize("chunk", [1, 60, 300, 10**6])
@pytest.mark.parametrize("other", ["itself", "another", "stored otherwise"])
def test_panels_hold_every_column_once_within_their_bound(monkeypatch, chunk, other):
    monkeypatch.setattr(gram, "CHUNK_ENTRIES", chunk)
    left = random_factors(4, 0)
    right = {"itself": left, "another": random_factors(6, 1), "stored otherwise": random_factors(6, 1, transposed=True)}[other]
    sides = [left] if left is right else [left, right]
    panels, K = [], 0
    for found in gram.explicit_panels(sides, list(left.sizes), gram._panel_width(sides)):
        panels.append(found[0].shape[1])
        K = K + found[0] @ found[-1].T
        assert len(found) == len(sides)
    assert sum(panels) == 49
    rows = left.n if left is right else left.n + right.n
    assert max(panels) <= max(chunk // rows, 7)  # never less than one output of a weight matrix
    assert len(panels) == 1 or chunk < 10**6
    torch.testing.assert_close(K, left.matrix() @ right.matrix().T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("S", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 31, 33, 95, 130])
def test_half_a_diagonal_tile_gives_all_of_it(monkeypatch, S, n):
    monkeypatch.setattr(gram, "ELEMENTWISE_COST", -(10**9))  # structured wherever there are factors
    monkeypatch.setattr(gram, "TILE_ENTRIES", 1)  # tiles of 32 x 32
    found = random_factors(n, n, S)
    K = gram.gram(found, found)
    J = found.matrix()
    torch.testing.assert_close(K, J @ J.T, rtol=0, atol=1e-13 * float((J @ J.T).abs().max()))
    assert torch.equal(K, K.T)
    full = gram.gram(found, random_factors(n, n, S))  # equal, but not the same object: no triangle
    torch.testing.assert_close(K, full, rtol=0, atol=1e-13 * float(full.abs().max()))


def test_strips_side_by_side_give_the_same_kernel(monkeypatch):
    """On two threads of Python, each with one of torch's; torch's count is its own again afterwards."""
    found = random_factors(50, 0)
    monkeypatch.setattr(gram, "TILE_ENTRIES", 1)
    monkeypatch.setattr(gram, "ELEMENTWISE_COST", -(10**9))
    before = torch.get_num_threads()
    kernels = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            kernels.append(gram.gram(found, found))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*kernels)


def test_what_a_strip_raises_is_raised():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError):
            run_in_parallel(lambda item: 1 // item, [1, 0], torch.device("cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
