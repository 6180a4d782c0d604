"""What each rank of tests/util/test_distributed.py runs: loss weights on three ranks, and on two of them everything in the
library, then two commands of the command line.

What it found and what the commands said is left in the folder given.
"""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from math import inf
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

import pinntk
from pinntk import cli
from pinntk._util import distributed, memory
from pinntk.ntk import _leading, _passes, leading_eigenvalues
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient, ScaledJacobian, scaled_errors
from pinntk.training import Monitor
from pinntk.weighting import NTK, Causal, Fixed, GradientNorm, RemainingTime, SelfAdaptive

KERNEL = ["kernel", "burgers", "--width", "6", "--depth", "1", "--points", "residual=9,initial=4,boundary=3"]
TRAIN = ["train", "poisson1d", "--width", "6", "--depth", "1", "--points", "boundary=4,residual=6"]
TRAIN += ["--steps", "4", "--weighting", "ntk"]


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
    schemes = [NTK(every=4), pinntk.weighting.RBA(eta=0.1, gamma=0.5)]
    run = pinntk.train(problem, network, steps=10, lr=1e-3, weighting=schemes, points=points, progress=False)
    found["parameters"] = torch.cat([p.detach().flatten() for p in network.parameters()])
    found["losses"] = torch.tensor(run.column("loss")[1])
    found["weights"] = torch.tensor(list(run.weights.values()))
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    settings = {"points": {"residual": 21, "initial": 7, "boundary": 1}, "resample": 4, "adaptive": True}
    settings |= {"eval_every": 0, "snapshot_every": 0, "progress": False}
    causal = Causal(epsilon=(1e-9, 1.0), slices=3)
    run = pinntk.train(problem, network, steps=9, causal=causal, weighting=[GradientNorm(every=3), RemainingTime()], **settings)
    found["all settings"] = torch.tensor([run.column(name)[1] for name in ("loss", "loss/burgers", "causal", "weight/burgers")])
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    run = pinntk.train(problem, network, steps=10**6, seconds=0.2, lr=1e-2, points=points, snapshot_every=0, progress=False)
    assert run.step > 1
    found["for some time"] = torch.cat([p.detach().flatten() for p in network.parameters()])
    found["weights by place"] = weighed_by_place()
    found["own loop"] = own_loop()
    found |= least_squares() | solved() | watched() | short_of_memory()
    torch.save(found, folder / f"found.{_place()}")


def weighed_by_place() -> torch.Tensor:
    """What trainings with weights by the time that is left log, with loss weights on points of their own, and by a solver."""
    problem, found = pinntk.load("burgers"), []
    points = {"residual": 21, "initial": 7, "boundary": 1}
    settings = {"points": points, "resample": 2, "eval_every": 0, "snapshot_every": 0, "log_every": 1, "progress": False}
    for weighting, optimizer in ((NTK(every=2, points=points), "adam"), (Fixed(walls=3), "gauss-newton")):
        network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
        schemes = [weighting, RemainingTime(power=2)]
        run = pinntk.train(problem, network, steps=5, weighting=schemes, optimizer=optimizer, **settings)
        found += [run.column(name)[1] for name in ("loss", "loss/burgers", "weight/burgers")]
        found.append(run.point_weights["burgers"][:6].tolist())
    return torch.tensor(found)


def least_squares() -> dict[str, torch.Tensor]:
    """A d of damped steps, and eigenvalues: of 79 errors that the ranks share, and of 29 errors with more parameters."""
    problem, found = pinntk.load("burgers"), {}
    for form, n in (("parameters", 61), ("kernel", 11)):
        points = problem.sample(residual=n, initial=17, boundary=1, dtype=torch.float64)
        network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
        weights = dict.fromkeys(points, 1.0)
        r = scaled_errors(network, problem, points, weights)
        A = ScaledJacobian(network, problem, points, weights, spread=form == "parameters")
        for most in ("4GiB", 3 * 8 * min(A.n, A.p) ** 2):  # whole, and in blocks
            squared, orthogonal = (DampedLeastSquares(A, r, form, most, digits) for digits in (False, True))
            key = f"{form}, {'whole' if most == '4GiB' else 'blocks'}"
            found[f"squared, {key}"] = A.matvec(squared.step(1e-3 * squared.largest))
            found[f"singular values, {key}"] = A.matvec(orthogonal.step(1e-20 * orthogonal.largest))
        found[f"leading, {form}"] = leading_eigenvalues(network, problem, points, 5).values
    return found


def short_of_memory() -> dict[str, torch.Tensor]:
    """Eigenvalues where the first process alone has room for J^T J; which calls are refused where the last one has none."""
    problem, last = pinntk.load("burgers"), distributed.rank() == distributed.world() - 1
    network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
    points = problem.sample(residual=61, initial=17, boundary=1, dtype=torch.float64)
    held = 0 if distributed.rank() == 0 else 2**31
    with mock.patch.object(_leading, "held", lambda device: held):
        values = leading_eigenvalues(network, problem, points, 5).values
    with (
        mock.patch.object(memory, "_SMALL", 0),
        mock.patch.object(memory, "available", lambda device: 0.0 if last else inf),
        mock.patch.object(_passes, "held", lambda device: inf if last else 0.0),
    ):
        refused = [
            _refused(lambda: leading_eigenvalues(network, problem, points, 5)),
            _refused(lambda: GaussNewton(network, problem, form="parameters").step(points)),
            _refused(lambda: NaturalGradient(network, problem, form="parameters").step(points)),
        ]
    return {"leading, of the first": values, "refused": torch.tensor(refused)}


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except MemoryError:
        return True
    return False


def solved() -> dict[str, torch.Tensor]:
    """Losses of solvers, whose points fall where errors are large, or are fewer than parameters."""
    problem, found = pinntk.load("burgers"), {}
    for solver, form, n in ((GaussNewton, "parameters", 61), (GaussNewton, "kernel", 11), (NaturalGradient, "parameters", 61)):
        network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
        counts = {"residual": n, "initial": 17, "boundary": 1}
        name = "gauss-newton" if solver is GaussNewton else "natural-gradient"
        options = {"form": form} | ({} if solver is GaussNewton else {"damping": 1e-6, "momentum": 0.5})
        settings = {"adaptive": True, "log_every": 1, "snapshot_every": 0, "eval_every": 0, "progress": False}
        run = pinntk.train(problem, network, steps=4, optimizer=name, optimizer_options=options, points=counts, **settings)
        found[f"{name}, {form}"] = torch.tensor([*run.column("loss")[1], *run.column("weight/burgers")[1]])
        assert run.point_weights["burgers"].shape == (n,)
    return found


def watched() -> dict[str, torch.Tensor]:
    """A training with a weight for each point, and a monitor."""
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    settings = {"points": {"residual": 21, "initial": 7, "boundary": 1}, "progress": False}
    monitor = Monitor(every=3, budget=None)
    run = pinntk.train(problem, network, steps=3, weighting=SelfAdaptive(lr=0.1), monitor=monitor, log_every=3, **settings)
    columns = ("loss", "loss/burgers", "max_point_weight/burgers", "monitor/lambda_max", "monitor/drift")
    assert (run.monitor.measurements, run.monitor.diagnoses) == (2, 1)
    return {
        "point weights": torch.cat(list(run.point_weights.values())),
        "monitor": torch.tensor([run.column(name)[1] for name in columns]),
    }


def weighed() -> torch.Tensor:
    """Loss weights of 29 points, of every scheme: on any number of ranks the same."""
    problem, found = pinntk.load("burgers"), []
    points = problem.sample(residual=19, initial=7, boundary=2, dtype=torch.float64)
    for settings in ({"weighting": NTK(every=1)}, {"weighting": GradientNorm(every=1)}, {"optimizer": "gauss-newton"}):
        for causal in (None, Causal(epsilon=1.0, slices=3)):
            if causal is None or "weighting" in settings:
                network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
                quick = {"causal": causal, "eval_every": 0, "snapshot_every": 0, "progress": False}
                run = pinntk.train(problem, network, steps=2, points=points, **quick, **settings)
                found.extend(run.weights.values())
    return torch.tensor(found, dtype=torch.float64)


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


def ranks(folder: Path) -> None:
    """Of three."""
    torch.set_num_threads(1)
    with distributed.process_group():
        torch.save(weighed(), folder / f"weights.{_place()}")
        rank = distributed.rank()
    if rank == 2:
        return
    os.environ["WORLD_SIZE"] = "2"
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    torch.save(weighed(), folder / f"weights.{_place()}")
    main(folder)
    commands(folder)
    dist.destroy_process_group()


def forks(folder: Path) -> None:
    """Three ranks in processes of their own, each with what torchrun tells it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        os.environ |= {"WORLD_SIZE": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    for rank in range(3):
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(multiprocessing.get_context("fork").Process(target=ranks, args=(folder,)))
        started[-1].start()
    for process in started:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in started))


if __name__ == "__main__":
    (ranks if "RANK" in os.environ else forks)(Path(sys.argv[1]))
