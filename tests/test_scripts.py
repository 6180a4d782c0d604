"""Scripts run, small."""

import json

import benchmark_kernel
import benchmark_step
import poisson_weights
import pytest


def test_poisson_weights_quick(tmp_path, capsys):
    result = poisson_weights.main(["--quick", "-o", str(tmp_path)])
    assert json.loads((tmp_path / "result.json").read_text())["ratio_of_medians"] == result["ratio_of_medians"]
    assert (tmp_path / "poisson_weights.png").read_bytes().startswith(b"\x89PNG")
    assert 60 <= result["trace_ratio"][0] <= 215
    assert "NTK weights" in capsys.readouterr().out


@pytest.mark.slow
def test_poisson_weights_reproduces_the_figure(tmp_path):
    result = poisson_weights.main(["-o", str(tmp_path)])
    assert result["ratio_of_medians"] >= 20
    assert all(60 <= ratio <= 215 for ratio in result["trace_ratio"])


def test_benchmark_compares_equal_kernels(monkeypatch):
    monkeypatch.setitem(benchmark_kernel.CASES, "tiny", ([1, 8, 8, 1], False, 5))
    result = benchmark_kernel.compare("tiny", repeats=1, memory=False)
    assert result["difference"] < 1e-12
    assert result["ratio"] > 0


def test_benchmark_refuses_to_time_different_kernels(monkeypatch):
    monkeypatch.setitem(benchmark_kernel.CASES, "tiny", ([1, 8, 8, 1], False, 5))
    right = benchmark_kernel.by_factors
    monkeypatch.setattr(benchmark_kernel, "by_factors", lambda *arguments: right(*arguments) * (1 + 1e-9))
    with pytest.raises(ArithmeticError, match="no time is worth printing"):
        benchmark_kernel.compare("tiny", repeats=1, memory=False)


def test_step_benchmark_compares_equal_gradients():
    result = benchmark_step.compare(20, repeats=1)
    assert result["difference"] < 1e-5
    price = benchmark_step.price_of_weights("poisson1d", 5, 1, 1, residual=4, boundary=3)
    assert price["points"] == {"poisson": 4, "ends": 3}
    assert price["every_100"] == pytest.approx(1 + price["traces_in_steps"] / 100)
