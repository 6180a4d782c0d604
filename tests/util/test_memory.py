"""Memory: budgets, and refusals before the work begins. The machine is told to be small, so nothing large is made."""

import pytest
import torch

import pinntk
from pinntk import Box, InfiniteMLP, KernelBlocks, KernelOperator, Problem, boundary
from pinntk._util import memory
from pinntk._util.memory import available, parse_bytes, require
from pinntk.cli import main
from pinntk.diagnostics import _sampling as sampling
from pinntk.diagnostics import estimate, undetermined
from pinntk.diagnostics._sampling import subset
from pinntk.ntk import function_kernel
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient, SelfScaledBroyden
from tests.support.small_problems import equation, mlp, poisson, sample


@pytest.fixture
def small(monkeypatch):
    """A machine with 20 kB left, on which every request counts."""
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device: 20_000.0)


def test_what_is_available():
    left = available(torch.device("cpu"))
    assert 2**20 < left <= memory._system()
    assert available(torch.device("meta")) == float("inf")


def test_what_is_refused_and_how():
    require(1, "nothing", "do it")
    with pytest.raises(MemoryError, match=r"^the array needs 931,323 GiB, and [\d.,]+ GiB are available; give less$"):
        require(1e15, "the array", "give less")


def test_limits_of_a_container_count(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory._group() == float("inf")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5000\n")
    assert memory._group() == float("inf")
    (tmp_path / "memory.max").write_text("9000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert memory._group() == 4300
    assert available(torch.device("cpu")) == 4300


def test_budgets():
    assert parse_bytes("1kB") == 1000 and parse_bytes(5) == 5
    with pytest.raises(ValueError, match="max_memory='lots'"):
        parse_bytes("lots")


WIDE = InfiniteMLP(depth=1)
ENTRIES = {
    "kernel": lambda n, p, x: pinntk.kernel(n, p, x),
    "cross_kernel": lambda n, p, x: pinntk.cross_kernel(n, p, x, x),
    "sharded_kernel": lambda n, p, x: pinntk.sharded_kernel(n, p, x),
    "mean_kernel": lambda n, p, x: pinntk.mean_kernel(lambda seed: n, p, x, (0, 1)),
    "infinite_kernel": lambda n, p, x: pinntk.infinite_kernel(WIDE, p, x),
    "infinite_cross_kernel": lambda n, p, x: pinntk.infinite_cross_kernel(WIDE, p, x, x),
    "collocate": lambda n, p, x: pinntk.collocate(WIDE, p, x),
    "infinite_ensemble": lambda n, p, x: pinntk.infinite_ensemble(WIDE, p, x),
    "function_kernel": lambda n, p, x: function_kernel(n, torch.rand(60, 1)),
    "posterior": lambda n, p, x: pinntk.posterior(n, p, x, dict.fromkeys(x, 1.0)),
    "gauss-newton": lambda n, p, x: GaussNewton(n, p).step(x),
    "natural gradient": lambda n, p, x: NaturalGradient(n, p).step(x),
    "ssbroyden": lambda n, p, x: SelfScaledBroyden(n.parameters()),
    "sample": lambda n, p, x: p.sample(residual=1000),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_does_not_fit_is_refused_beforehand(entry, small):
    problem = poisson()
    points = {name: rows for name, rows in sample(problem, 60).items() if name == "equation"}
    with pytest.raises(MemoryError, match=r" needs .* GiB, and .* GiB are available; (use|give|ask)"):
        ENTRIES[entry](mlp(problem, width=24), problem, points)


def test_what_needs_no_matrix_goes_on(small):
    problem, network = poisson(), mlp(poisson(), width=24)
    points = {"equation": sample(problem, 60)["equation"]}
    assert pinntk.traces(network, problem, points)["equation"] > 0
    assert KernelOperator(network, problem, points).eigh(1).values[0] > 0


def test_saved_kernels_and_their_eigenvalues_are_refused_beforehand(monkeypatch, tmp_path):
    K = KernelBlocks(torch.eye(60, dtype=torch.float64), ("a",), ("data",), (60,))
    K.save(tmp_path / "K.npz")
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device: 40_000.0)
    assert KernelBlocks.load(tmp_path / "K.npz").trace() == 60
    for refused in (K.eigvalsh, K.eigh, lambda: K.eigh({"a": 1.0})):
        with pytest.raises(MemoryError, match=r"[24] times the kernel of 60 x 60 numbers in float64 needs"):
            refused()
    monkeypatch.setattr(memory, "available", lambda device: 20_000.0)
    with pytest.raises(MemoryError, match=r"the kernel of 60 points in .*K.npz needs"):
        KernelBlocks.load(tmp_path / "K.npz")


def test_a_budget_larger_than_the_machine_does_not_help(small):
    class A:
        n, p, spread = 50, 60, False

    with pytest.raises(MemoryError, match="the linear system of 50 errors and 60 parameters needs"):
        DampedLeastSquares(A(), torch.zeros(50))


def test_a_hundred_million_points_on_the_command_line(capsys):
    assert main(["kernel", "burgers", "--points", "residual=100000000"]) == 2
    told = capsys.readouterr().err
    assert "3 times the kernel of 100000200 x 100000200 numbers in float64 needs 223,518,312 GiB" in told
    assert "pinntk.KernelOperator" in told


def test_more_points_than_memory_are_not_drawn():
    with pytest.raises(MemoryError, match=r"1000000000000 points of condition 'equation' needs .*; ask for fewer"):
        poisson().sample(residual=10**12)


# Many conditions.


def crowd(count):
    """So many conditions, each at a place of its own."""
    domain = Box(x=(0, 1))
    conditions = [equation]
    for i in range(count - 1):
        place = boundary(domain.at(x=i / count))(lambda u: u)
        object.__setattr__(place, "name", f"place{i}")
        conditions.append(place)
    return Problem(equation.region, [equation, *conditions[1:]])


def test_matrices_of_a_diagnosis_stay_bounded_whatever_the_number_of_conditions():
    assert {len(rows) for rows in subset({str(i): torch.rand(500, 1) for i in range(200)}, 300).values()} == {20}
    assert {len(rows) for rows in subset({str(i): torch.rand(500, 1) for i in range(10)}, 300).values()} == {300}
    assert {len(rows) for rows in subset({str(i): torch.rand(9, 1) for i in range(5000)}, 300).values()} == {1}


def test_estimates_of_many_conditions_take_fewer_points(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_ROWS", 100)
    problem = crowd(20)
    points = problem.sample(residual=300, boundary=3, dtype=torch.float64)
    network = mlp(problem, width=8)
    assert {len(rows) for rows in estimate(network, problem, points, samples=20).points.values()} <= {1, 2, 5}
    assert undetermined(network, problem, points, samples=10)["u"].share > 0
    sizes = pinntk.examine(network, problem, points).kernel.sizes
    assert sum(sizes) <= 100 and len(sizes) == 20


def test_few_conditions_keep_their_points():
    problem = poisson()
    found = estimate(mlp(problem, width=8), problem, sample(problem), samples=20)
    assert {name: len(rows) for name, rows in found.points.items()} == {"equation": 300, "left": 2, "right": 2}
