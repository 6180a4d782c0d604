"""What each rank of tests/util/test_distributed.py runs: everything in the library, then two commands of the command line.

What it found and what the commands said is left in the folder given.
"""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch

import pinntk
from pinntk import cli
from pinntk._util import distributed

KERNEL = ["kernel", "burgers", "--width", "6", "--depth", "1", "--points", "residual=9,initial=4,boundary=3"]
TRAIN = ["train", "poisson1d", "--width", "6", "--depth", "1", "--points", "boundary=4,residual=6"]
TRAIN += ["--steps", "12", "--weighting", "ntk"]


def main(folder: Path) -> None:
    """The library's part, also of one process."""
    torch.set_num_threads(1)
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    points = problem.sample(residual=21, initial=7, boundary=1, dtype=torch.float64)  # ragged; fewer rows than ranks
    operator = pinntk.KernelOperator(network, problem, points, chunk=5)
    found = {
        "matrix": operator.matmat(torch.eye(operator.n, dtype=torch.float64)),
        "diagonal": operator.diagonal(),
        "eigenvalues": operator.eigh(5).values,
        "rows_here": torch.tensor(sum(len(rows) for rows in distributed.shard(points).values())),
    }
    block = pinntk.sharded_kernel(network, problem, points)
    found["block"], found["block_rows"] = block.values, torch.tensor(block.rows)
    schemes = [pinntk.weighting.NTK(every=10), pinntk.weighting.RBA(eta=0.1, gamma=0.5)]
    run = pinntk.train(problem, network, steps=30, lr=1e-3, weighting=schemes, points=points, progress=False)
    found["parameters"] = torch.cat([p.detach().flatten() for p in network.parameters()])
    found["losses"] = torch.tensor(run.column("loss")[1])
    found["weights"] = torch.tensor(list(run.weights.values()))
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    settings = {"points": {"residual": 21, "initial": 7, "boundary": 1}, "resample": 5, "adaptive": True, "progress": False}
    causal = pinntk.weighting.Causal(epsilon=(1e-9, 1.0), slices=3)
    run = pinntk.train(problem, network, steps=20, causal=causal, weighting=pinntk.weighting.GradientNorm(every=4), **settings)
    found["all settings"] = torch.tensor([run.column(name)[1] for name in ("loss", "loss/burgers", "causal", "weight/burgers")])
    found["own loop"] = own_loop()
    torch.save(found, folder / f"found.{_place()}")


def own_loop() -> torch.Tensor:
    """Parameters and NTK weights of a training in plain PyTorch, each rank with its half of the points."""
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    network = torch.nn.parallel.DistributedDataParallel(plain) if distributed.world() > 1 else plain
    points = {"inside": torch.rand(12, 2, dtype=torch.float64), "walls": torch.rand(4, 2, dtype=torch.float64)}
    points = distributed.shard(points)
    optimizer, ntk = torch.optim.Adam(plain.parameters(), 1e-2), pinntk.NTKWeights(network, every=2)
    for _ in range(5):
        optimizer.zero_grad()
        u = network(torch.cat(list(points.values())))
        inside, walls = u.split([len(rows) for rows in points.values()])
        ntk({"inside": (inside - 1).square().mean(), "walls": walls}).backward()
        optimizer.step()
    return torch.cat([*(p.detach().flatten() for p in plain.parameters()), torch.tensor(list(ntk.weights.values()))])


def commands(folder: Path) -> None:
    for name, arguments, out in (("kernel", KERNEL, "K.npz"), ("train", TRAIN, "run")):
        with open(folder / f"{name}.{_place()}.txt", "w") as said, redirect_stdout(said):
            status = cli.main([*arguments, "-o", str(folder / out)])
        assert status == 0, f"{name}: status {status}"


def _place() -> str:
    return f"{distributed.rank()}of{distributed.world()}"


if __name__ == "__main__":
    with distributed.process_group():
        main(Path(sys.argv[1]))
        commands(Path(sys.argv[1]))
