"""Blocks of a kernel: names, gathered blocks, spectra and files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pinntk.ntk import KernelBlocks

NAMES, KINDS, SIZES = ("heat", "start", "wave", "walls"), ("residual", "initial", "residual", "boundary"), (3, 1, 2, 4)
ROWS = {"heat": slice(0, 3), "start": slice(3, 4), "wave": slice(4, 6), "walls": slice(6, 10)}
WEIGHTS = {"heat": 1.0, "start": 30.0, "wave": 0.5, "walls": 4.0}


@pytest.fixture
def K():
    J = torch.randn(10, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = {"heat": torch.rand(3, 2, generator=torch.Generator().manual_seed(1))}
    K = J @ J.T  # symmetric to the last bit on some processors only
    return KernelBlocks(K.tril() + K.tril(-1).T, NAMES, KINDS, SIZES, points)


def test_blocks_by_name(K):
    for row, i in ROWS.items():
        assert torch.equal(K[row], K.matrix()[i, i])
        for column, j in ROWS.items():
            assert torch.equal(K[row, column], K.matrix()[i, j])
    for key in ("walk", ("heat", "walk")):
        with pytest.raises(KeyError, match="no condition 'walk' in this kernel"):
            K[key]


def test_gathered_blocks(K):
    u, r = [3, 6, 7, 8, 9], [0, 1, 2, 4, 5]
    assert torch.equal(K.uu, K.matrix()[u][:, u])
    assert torch.equal(K.ur, K.matrix()[u][:, r])
    assert torch.equal(K.rr, K.matrix()[r][:, r])
    alone = KernelBlocks(K["heat"], ("heat",), ("residual",), (3,))
    assert alone.uu.shape == (0, 0)
    assert alone.ur.shape == (0, 3)


def test_traces(K):
    assert K.trace() == pytest.approx(sum(K.traces().values()), rel=1e-14)
    assert K.traces() == {name: pytest.approx(float(K.numpy()[i, i].trace()), rel=1e-14) for name, i in ROWS.items()}
    assert torch.equal(K.diagonal("wave"), K.matrix().diagonal()[4:6])
    assert K.diagonal().shape == (10,)


def test_scaled_has_the_spectrum_of_k_d(K):
    D = np.diag([2 * WEIGHTS[name] / n for name, n in zip(NAMES, SIZES, strict=True) for _ in range(n)])
    expected = np.linalg.eigvals(K.numpy() @ D)
    assert np.abs(expected.imag).max() <= 1e-12 * np.abs(expected).max()
    spectrum = K.eigvalsh(WEIGHTS).numpy()
    assert spectrum == pytest.approx(np.sort(expected.real), rel=1e-9)
    assert spectrum[0] >= -K.floor(WEIGHTS)
    assert torch.equal(K.matrix(WEIGHTS), K.matrix(WEIGHTS).T)
    assert spectrum != pytest.approx(K.eigvalsh().numpy(), rel=1e-2)
    with pytest.raises(ValueError, match=r"weights for \['walls'\] are missing"):
        K.matrix({name: 1.0 for name in NAMES if name != "walls"})


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_eigenvectors(K, weights):
    values, vectors = K.eigh(weights)
    M = K.matrix(weights)
    assert torch.allclose(values, K.eigvalsh(weights), rtol=1e-12)
    assert torch.allclose(vectors * values @ vectors.T, M, rtol=0, atol=1e-12 * float(values[-1]))
    assert torch.allclose(vectors.T @ vectors, torch.eye(10, dtype=torch.float64), rtol=0, atol=1e-13)


def test_floor_is_that_of_the_dtype(K):
    largest = float(K.eigvalsh()[-1])
    assert K.floor() == pytest.approx(10 * 2.0**-52 * largest, rel=1e-12)
    single = KernelBlocks(K.matrix().float(), NAMES, KINDS, SIZES)
    assert single.floor() == pytest.approx(10 * 2.0**-23 * largest, rel=1e-5)
    assert single.eigvalsh().dtype == torch.float64


def test_save_and_load(K, tmp_path):
    K.save(tmp_path / "new" / "K.npz")
    loaded = KernelBlocks.load(tmp_path / "new" / "K.npz")
    assert torch.equal(loaded.matrix(), K.matrix())
    assert (loaded.names, loaded.kinds, loaded.sizes) == (NAMES, KINDS, SIZES)
    assert loaded.points.keys() == {"heat"}
    assert torch.equal(loaded.points["heat"], K.points["heat"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["K.npz"]


def damaged(K, path, how):
    K.save(path)
    content = path.read_bytes()
    arrays = dict(np.load(path))
    if how == "array file":
        with open(path, "wb") as file:
            np.save(file, np.ones(3))
    elif how == "without sizes":
        np.savez(path, **{key: value for key, value in arrays.items() if key != "sizes"})
    elif how == "sizes that do not fit":
        np.savez(path, **{**arrays, "sizes": [3, 1, 2, 5]})
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"no kernel at all",
                "truncated": content[: len(content) // 2],
                "flipped": content[:200] + bytes(255 - byte for byte in content[200:300]) + content[300:],
            }[how]
        )


@pytest.mark.parametrize(
    "how", ["empty", "text", "truncated", "flipped", "array file", "without sizes", "sizes that do not fit"]
)
def test_damaged_files(K, tmp_path, how):
    path = Path(tmp_path / "K.npz")
    damaged(K, path, how)
    with pytest.raises(ValueError, match="holds no kernel blocks"):
        KernelBlocks.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        KernelBlocks.load(tmp_path / "K.npz")


def test_repr(K):
    assert repr(K) == "KernelBlocks(heat: 3, start: 1, wave: 2, walls: 4; torch.float64, cpu)"
