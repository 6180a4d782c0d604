"""Two gloo processes, and for loss weights three, give what one gives.

In slow tests torchrun starts them; else they are forks of one process, with the environment that torchrun gives: a start of
Python with torch takes seconds.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pinntk
from pinntk.cli import main
from tests.support import distributed_worker
from tests.support.sweeps import sweep

pytestmark = pytest.mark.xdist_group("distributed")  # one worker, for what they share

ROOT = Path(__file__).parents[2]
WORKER = distributed_worker.__file__


TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node=3", "--standalone"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process left there."""
    path = tmp_path_factory.mktemp("alone")
    distributed_worker.main(path)
    torch.save(distributed_worker.weighed(), path / "weights.0of1")
    return path


@pytest.fixture(scope="module", params=sweep(("forks", "torchrun"), "forks"))
def folder(request, alone, tmp_path_factory):
    """And then three and two."""
    path = tmp_path_factory.mktemp("ranks")
    shutil.copytree(alone, path, dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(TORCHRUN if request.param == "torchrun" else []), WORKER, str(path)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    return path


@pytest.fixture(scope="module")
def results(folder):
    return torch.load(folder / "found.0of1"), [torch.load(folder / f"found.{rank}of2") for rank in range(2)]


QUANTITIES = ["matrix", "diagonal", "eigenvalues", "parameters", "losses", "weights", "all settings", "own loop", "monitor"]
QUANTITIES += [
    "weights by place",
    "point weights",
    "squared, parameters, whole",
    "squared, parameters, blocks",
    "squared, kernel, whole",
]
QUANTITIES += ["squared, kernel, blocks", "leading, parameters", "leading, kernel", "leading, of the first"]


def check(results, quantity, tolerance):
    one, two = results
    for rank in two:
        assert (rank[quantity] - one[quantity]).norm() <= tolerance * one[quantity].norm()


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_rank_holds_what_one_process_computes(results, quantity):
    check(results, quantity, 1e-10)


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [("parameters, whole", 1e-8), ("parameters, blocks", 1e-8), ("kernel, whole", 1e-8), ("kernel, blocks", 1e-3)],
)
def test_singular_values_of_several_ranks_lose_no_digits(results, how, tolerance):
    """At a damping of 1e-20 of the largest eigenvalue, of which A^T A would keep none. What A in blocks has no Q for, in the
    kernel form, is good to three digits, in one process too.
    """
    check(results, f"singular values, {how}", tolerance)


@pytest.mark.parametrize("quantity", ["gauss-newton, parameters", "gauss-newton, kernel", "natural-gradient, parameters"])
def test_solvers_of_several_ranks_take_the_steps_of_one(results, quantity):
    check(results, quantity, 1e-7)
    first, second = results[1]
    assert torch.equal(first[quantity], second[quantity])


def test_a_learning_rate_that_ends_with_the_time_is_the_same_in_all(results):
    first, second = results[1]
    assert torch.equal(first["for some time"], second["for some time"])


def test_what_one_of_several_ranks_has_no_memory_for_is_refused_in_all(results):
    assert all(found["refused"].all() for found in (results[0], *results[1]))


def test_loss_weights_are_those_of_one_process(folder):
    one = torch.load(folder / "weights.0of1")
    for place in ("0of2", "1of2", "0of3", "1of3", "2of3"):
        assert ((torch.load(folder / f"weights.{place}") - one).abs() <= 1e-12 * one).all()


def test_points_are_shared_out(results):
    one, two = results
    assert sum(int(rank["rows_here"]) for rank in two) == int(one["rows_here"]) == 29
    assert abs(int(two[0]["rows_here"]) - int(two[1]["rows_here"])) <= 3


def test_row_blocks_are_the_rows_of_the_kernel(results):
    one, two = results
    K = one["matrix"]
    rows = torch.cat([rank["block_rows"] for rank in two])
    assert sorted(rows.tolist()) == list(range(29))
    for rank in two:
        assert (rank["block"] - K[rank["block_rows"]]).norm() <= 1e-10 * K.norm()


def only_the_first_speaks(folder, command):
    first, second = ((folder / f"{command}.{rank}of2.txt").read_text() for rank in range(2))
    assert second == ""
    return first


def test_the_command_line_of_several_ranks(folder, tmp_path):
    names = [f"K.rank{rank}of2.npz" for rank in range(2)]
    assert sorted(path.name for path in folder.glob("K*")) == names
    joined = pinntk.KernelBlocks.join([folder / name for name in names])
    assert only_the_first_speaks(folder, "kernel").count("walls") == 1
    assert main([*distributed_worker.KERNEL, "-o", str(tmp_path / "whole.npz")]) == 0
    whole = pinntk.KernelBlocks.load(tmp_path / "whole.npz")
    assert joined.names == whole.names
    assert torch.allclose(joined.matrix(), whole.matrix(), rtol=1e-10)
    with pytest.raises(ValueError, match="rows are missing"):
        pinntk.KernelBlocks.join([folder / names[0]])


def test_training_of_several_ranks_writes_one_run_folder(folder):
    assert only_the_first_speaks(folder, "train").count("relative L2 error") == 1
    assert pinntk.Run.load(folder / "run").step == 4
    assert (folder / "run" / "figures" / "solution.png").exists()
    assert main(["train", "--resume", str(folder / "run"), "--steps", "5", "--quiet"]) == 0  # in one process
