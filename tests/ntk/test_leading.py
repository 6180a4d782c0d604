"""Leading eigenvalues and exact traces on any number of points, against the dense kernel; cut off, and gone on with."""

import signal

import numpy as np
import pytest
import torch

import pinntk
from pinntk._util import resumable
from pinntk.cli import main
from pinntk.ntk import LeadingEigenvalues, _passes, leading_eigenvalues
from pinntk.ntk._jacobian import JacobianOperator

F64 = torch.float64
METHODS = ["gram", "lanczos", "lanczos, more parameters than errors"]


@pytest.fixture(autouse=True)
def of_a_fresh_process(monkeypatch):
    """max_memory counts what the process holds, and one that runs other tests, too, holds gigabytes."""
    monkeypatch.setattr(_passes, "resident", lambda: 4e8)
    monkeypatch.setattr(_passes, "peak", lambda: 3e9)  # of other work


def burgers(method="gram"):
    """p = 37, or 1,153."""
    problem = pinntk.load("burgers")
    width, depth = (32, 2) if "parameters" in method else (4, 2)
    network = pinntk.nn.MLP(problem, width=width, depth=depth, dtype=F64)
    return network, problem, problem.sample(residual=50, initial=9, boundary=4, dtype=F64)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_passes, "CHUNK", 8)


@pytest.fixture
def method(request, monkeypatch):
    if request.param != "gram":
        monkeypatch.setattr(_passes, "_FORMED", -1000)  # products cost nothing
    return request.param


def test_without_a_limit_it_may_hold_more_than_before(monkeypatch):
    """A process with torch for CUDA holds 2 GiB before it begins."""
    monkeypatch.setattr(_passes, "resident", lambda: 5e9)
    network, problem, points = burgers()
    found = leading_eigenvalues(network, problem, points, 2)
    torch.testing.assert_close(found.values, pinntk.kernel(network, problem, points).eigvalsh().flip(0)[:2])
    with pytest.raises(MemoryError, match=r"beside the 4.66 GiB in use, and 2 GiB are allowed"):
        leading_eigenvalues(network, problem, points, 2, max_memory="2GiB")


def kept_after_every_block(monkeypatch):
    monkeypatch.setattr(resumable, "_PAUSE", 0.0)
    monkeypatch.setattr(resumable, "_TIMES", 0.0)


def cut_off_at(monkeypatch, count, how):
    """`how` is called in place of the block of that number, counted over all passes. Returns the blocks that were asked for."""
    asked, block = [], JacobianOperator.block

    def counted(self, number):
        asked.append(number)
        if len(asked) == count:
            how()
        return block(self, number)

    monkeypatch.setattr(JacobianOperator, "block", counted)
    return asked


def fall():
    raise RuntimeError("killed")


def same(found, expected, tolerance=1e-12):
    assert (found.values - expected.values).norm() <= tolerance * expected.values.norm()
    assert found.traces == pytest.approx(expected.traces, rel=tolerance)
    assert found.sizes == expected.sizes


@pytest.mark.parametrize("method", METHODS, indirect=True)
@pytest.mark.parametrize("weighted", [False, True])
def test_eigenvalues_and_traces_are_those_of_the_dense_kernel(method, weighted):
    network, problem, points = burgers(method)
    weights = dict.fromkeys(points, 1.0) | {"start": torch.linspace(0.5, 2, 9, dtype=F64)} if weighted else None
    told = []
    found = leading_eigenvalues(network, problem, points, 6, weights=weights, announce=told.append)
    K = pinntk.kernel(network, problem, points)
    exact = K.eigvalsh(weights).flip(0)
    assert found.method == method.split(",")[0]
    assert ((found.values - exact[:6]).abs() <= found.bounds).all()
    assert (found.values - exact[:6]).abs().max() < 1e-11 * exact[0]
    matrix = K.matrix(weights)
    assert found.traces == pytest.approx({name: float(matrix[K._span(name)][:, K._span(name)].trace()) for name in points})
    assert found.rest == pytest.approx(float(exact[6:].sum()), abs=1e-9 * float(exact[0]))
    J = torch.cat([part.matrix() for part in pinntk.factors(network, problem, points).values()])
    J = J if weights is None else (matrix.diagonal() / K.diagonal()).sqrt().unsqueeze(1) * J
    V = found.directions
    assert (J.T @ (J @ V) - V * found.values).norm() < 1e-7 * exact[0]
    assert (V.T @ V - torch.eye(6, dtype=F64)).norm() < 1e-7
    forecast = told[0]
    assert (len(told), forecast.n, forecast.p, forecast.blocks) == (1, 63, len(V), 10)
    assert forecast.seconds > 0
    assert 1e8 < forecast.memory <= 2 * 2**30
    assert str(forecast).startswith("63 errors in 10 blocks, ")


@pytest.mark.parametrize("method", METHODS, indirect=True)
def test_what_was_cut_off_goes_on_where_it_was(method, monkeypatch, tmp_path):
    network, problem, points = burgers(method)
    expected = leading_eigenvalues(network, problem, points, 6)
    path = tmp_path / "top.checkpoint"
    kept_after_every_block(monkeypatch)
    for count in (4, 15) if method != "gram" else (4,):  # in the first pass and in a later one
        asked = cut_off_at(monkeypatch, count, fall)
        with pytest.raises(RuntimeError, match="killed"):
            leading_eigenvalues(network, problem, points, 6, checkpoint=path)
        asked = cut_off_at(monkeypatch, 0, fall)
        same(leading_eigenvalues(network, problem, points, 6, checkpoint=path), expected)
        assert asked[0] == (0 if "parameters" in method else (count - 1) % 10)
        assert not path.exists()
        assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_the_block_under_way(monkeypatch, tmp_path):
    network, problem, points = burgers()
    path = tmp_path / "top.checkpoint"
    asked = cut_off_at(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(pinntk.Interrupted, match=r"stopped after block 3 of 10; the same again goes on from there"):
        leading_eigenvalues(network, problem, points, 6, checkpoint=path)
    same(leading_eigenvalues(network, problem, points, 6, checkpoint=path), leading_eigenvalues(network, problem, points, 6))
    assert asked[:4] == [0, 1, 2, 3]
    monkeypatch.undo()


def test_a_checkpoint_of_other_work_is_refused(monkeypatch, tmp_path):
    network, problem, points = burgers()
    path = tmp_path / "top.checkpoint"
    kept_after_every_block(monkeypatch)
    cut_off_at(monkeypatch, 4, fall)
    with pytest.raises(RuntimeError, match="killed"):
        leading_eigenvalues(network, problem, points, 6, checkpoint=path)
    other = pinntk.nn.MLP(problem, width=4, depth=2, dtype=F64, seed=1)
    moved = {**points, "start": points["start"].flip(0)}
    for arguments in ((other, problem, points, 6), (network, problem, moved, 6), (network, problem, points, 5)):
        with pytest.raises(ValueError, match=r"top.checkpoint is the checkpoint of other work; remove it"):
            leading_eigenvalues(*arguments, checkpoint=path)
    monkeypatch.setattr(_passes, "_FORMED", -1000)
    with pytest.raises(ValueError, match="was begun by method 'gram', and max_memory allows 'lanczos' now"):
        leading_eigenvalues(network, problem, points, 6, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"top.checkpoint is no checkpoint that can be read; remove it"):
        leading_eigenvalues(network, problem, points, 6, checkpoint=path)


def test_too_little_memory_is_refused_beforehand(monkeypatch):
    network, problem, points = burgers()
    with pytest.raises(MemoryError, match=r"6 eigenvalues for 37 parameters take .* GiB are allowed"):
        leading_eigenvalues(network, problem, points, 6, max_memory="1MB")
    peaks = iter([0.0, 2.0**40])
    monkeypatch.setattr(_passes, "peak", lambda: next(peaks))
    with pytest.raises(MemoryError, match=r"need about 1,024 GiB, and 2 GiB are allowed"):
        leading_eigenvalues(network, problem, points, 6, max_memory="2GiB")
    with pytest.raises(ValueError, match="k=0: a whole number"):
        leading_eigenvalues(network, problem, points, 0)


def test_the_command_line(capsys, tmp_path, monkeypatch):
    command = ["kernel", "poisson1d", "--width", "5", "--depth", "1", "--points", "residual=30,boundary=2", "--top", "4"]
    out = tmp_path / "top"
    assert main([*command, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("32 errors in 5 blocks, J^T J of 16 parameters: about 0:0")
    assert "4 largest of 32 eigenvalues" in said
    assert "of the trace, and none is above" in said
    found = LeadingEigenvalues.load(tmp_path / "top.npz")
    assert f"{float(found.values[0]):.5g}" in said
    assert (found.sizes, found.method, found.directions.shape) == ({"poisson": 30, "ends": 2}, "gram", (16, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["top.npz"]
    np.savez(tmp_path / "other.npz", values=np.ones(3))
    with pytest.raises(ValueError, match="holds no leading eigenvalues"):
        LeadingEigenvalues.load(tmp_path / "other.npz")
    for more, message in (
        (["--infinite"], "there is no J: leave one of them out"),
        (["--max-memory", "3 apples"], "max_memory='3 apples'"),
        (["--verbose"], "leave one of them out"),
    ):
        assert main([*command, *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["kernel", "poisson1d", "--max-memory", "1GiB"]) == 2
    assert "--max-memory 1GiB is that of --top" in capsys.readouterr().err
    cut_off_at(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGINT))
    assert main([*command, "-o", str(out)]) == 130
    assert "stopped after block 3 of 5; the same again goes on from there" in capsys.readouterr().err


def test_the_sum_of_a_function_of_the_eigenvalues_has_an_error_bar():
    for width in (4, 16):  # fewer parameters than errors, and more
        problem = pinntk.load("burgers")
        network = pinntk.nn.MLP(problem, width=width, depth=2, dtype=F64)
        points = problem.sample(residual=50, initial=9, boundary=4, dtype=F64)
        operator = pinntk.KernelOperator(network, problem, points)
        values = pinntk.kernel(network, problem, points).eigvalsh().clamp_min(0)
        for function in (torch.square, lambda w: w / (w + 1), lambda w: 1 / (1 + w)):
            exact = float(function(values).sum())
            found, error = operator.trace_of(function, probes=30, steps=20)
            assert 0 < error < 0.5 * exact
            assert abs(found - exact) < 4 * error
    with pytest.raises(ValueError, match="at least 2 probes"):
        operator.trace_of(torch.square, probes=1)
