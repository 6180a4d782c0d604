"""Two gloo processes give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pinntk
from pinntk.cli import main
from tests.support import distributed_worker

pytestmark = pytest.mark.xdist_group("distributed")  # one worker, for what they share

ROOT = Path(__file__).parents[2]
WORKER = distributed_worker.__file__


def launch(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    distributed_worker.main(str(folder / "found"))
    finished = launch(WORKER, folder / "found")
    assert finished.returncode == 0, finished.stderr
    one = torch.load(folder / "found.0of1")
    return one, [torch.load(folder / f"found.{rank}of2") for rank in range(2)]


@pytest.mark.parametrize("quantity", ["matrix", "diagonal", "eigenvalues", "parameters", "losses", "weights", "all settings"])
def test_every_rank_holds_what_one_process_computes(results, quantity):
    one, two = results
    for rank in two:
        assert (rank[quantity] - one[quantity]).norm() <= 1e-10 * one[quantity].norm()


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


def test_the_command_line_under_torchrun(tmp_path):
    small = ["--width", "6", "--depth", "1", "--points", "residual=9,initial=4,boundary=3"]
    arguments = ["kernel", "burgers", *small]
    finished = launch("-m", "pinntk", *arguments, "-o", tmp_path / "K.npz")
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["K.rank0of2.npz", "K.rank1of2.npz"]
    joined = pinntk.KernelBlocks.join(sorted(tmp_path.iterdir()))
    assert finished.stdout.count("walls") == 1  # only rank 0 speaks
    assert main([*arguments, "-o", str(tmp_path / "whole.npz")]) == 0
    whole = pinntk.KernelBlocks.load(tmp_path / "whole.npz")
    assert joined.names == whole.names
    assert torch.allclose(joined.matrix(), whole.matrix(), rtol=1e-10)
    with pytest.raises(ValueError, match="rows are missing"):
        pinntk.KernelBlocks.join([tmp_path / "K.rank0of2.npz"])


def test_training_under_torchrun_writes_one_run_folder(tmp_path):
    folder = tmp_path / "run"
    small = ["--width", "6", "--depth", "1", "--points", "boundary=4,residual=6", "--steps", "12", "--weighting", "ntk"]
    finished = launch("-m", "pinntk", "train", "poisson1d", "-o", folder, *small)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("relative L2 error") == 1
    assert pinntk.Run.load(folder).step == 12
    assert (folder / "figures" / "solution.png").exists()
