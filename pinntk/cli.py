"""The command line: `pinntk problems | train | kernel | plot`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pinntk import distributed, plot, registry
from pinntk.nn import MLP
from pinntk.nn.mlp import ACTIVATIONS, INITIALIZATIONS
from pinntk.ntk import KernelBlocks, KernelOperator, kernel, sharded_kernel
from pinntk.optimize import SCHEDULES
from pinntk.problem import Points, Problem, shown
from pinntk.run import CHECKPOINT, Run, read_config, rebuilt
from pinntk.sampling import METHODS
from pinntk.trainer import train
from pinntk.training import Interrupted, NonFiniteLoss
from pinntk.weighting import NTK, Fixed

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            with distributed.process_group():
                return arguments.command(arguments)
        except Interrupted as stopped:
            return _complain(str(stopped), 130)
        except KeyboardInterrupt:
            return _complain("stopped", 130)
        except (ValueError, TypeError, OSError, KeyError, ArithmeticError, MemoryError) as error:
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            return _complain(f"{'' if isinstance(error, NonFiniteLoss) else 'error: '}{text}", 2)


def _complain(message: str, status: int) -> int:
    print(f"pinntk: {message}", file=sys.stderr)
    return status


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(f"pinntk: warning: {message}", file=sys.stderr)


# What the user may say.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinntk",
        description="Why a physics-informed neural network trains badly, and what to change.",
        epilog="Start with: pinntk train poisson1d --weighting ntk",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("problems", help="list the built-in problems, one line each")
    command.set_defaults(command=_problems)
    _add_train(commands)
    _add_kernel(commands)
    command = commands.add_parser("plot", help="draw the figures of a run folder", description="Draws a run's figures anew.")
    command.add_argument("run", help="the run folder")
    command.add_argument("-o", "--out", help="where to put the PNG files (default: RUN/figures)")
    command.set_defaults(command=_plot)
    return parser


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train a network on a problem, with fixed or NTK loss weights",
        description="Trains a multilayer perceptron and leaves a run folder: config.json,\nmetrics.csv, checkpoint.pt, "
        "kernel snapshots and figures.",
        epilog="examples:\n"
        "  pinntk train poisson1d --weighting ntk\n"
        "  pinntk train wave1d --set c=2 --weighting ntk --steps 20000\n"
        "  pinntk train my_pde.py --weights boundary=100 -o runs/mine\n"
        "  pinntk train --resume runs/mine --steps 40000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--resume", metavar="RUN", help="continue the run in this folder, with its settings")
    command.add_argument("-o", "--out", help="the run folder (default: runs/PROBLEM)")
    command.add_argument("--overwrite", action="store_true", help="replace a run that the folder already holds")
    _add_problem_options(command)
    group = command.add_argument_group("training")
    group.add_argument("--steps", type=int, help="optimizer steps (default: 10000)")
    group.add_argument(
        "--optimizer",
        default="adam",
        help="adam, lbfgs, ssbroyden (quasi-Newton, small networks), gradient-descent, or any other of torch.optim "
        "(default: adam)",
    )
    group.add_argument("--lr", type=float, help="learning rate (default: torch's for the optimizer)")
    group.add_argument("--schedule", choices=SCHEDULES, default="cosine", help="of the learning rate (default: cosine)")
    group.add_argument("--decay", type=float, default=0.9, help="factor of the exponential schedule (default: 0.9)")
    group.add_argument(
        "--decay-every", type=int, default=1000, metavar="STEPS", help="steps in which it acts once (default: 1000)"
    )
    group.add_argument(
        "--resample", type=int, default=0, metavar="STEPS", help="draw fresh points every so many steps (default: never)"
    )
    group.add_argument(
        "--compile", action="store_true", help="the steps as one compiled graph: slow to start, then 1.5 to 3 times faster"
    )
    group = command.add_argument_group("loss weights")
    group.add_argument(
        "--weighting", choices=("fixed", "ntk"), default="fixed", help="fixed, or from kernel traces (default: fixed)"
    )
    group.add_argument(
        "--weights", default="", metavar="NAME=W,...", help="fixed weights by condition or kind, as in boundary=100"
    )
    group.add_argument("--every", type=int, default=100, metavar="STEPS", help="NTK: steps between updates (default: 100)")
    group.add_argument("--momentum", type=float, default=0.0, help="NTK: moving average, 0 to below 1 (default: 0)")
    group.add_argument(
        "--normalization",
        choices=("mean", "sum"),
        default="mean",
        help="NTK: traces over n_i, or as in the paper (default: mean)",
    )
    group = command.add_argument_group("logging")
    group.add_argument("--log-every", type=int, metavar="STEPS", help="losses and weights (default: 400 times a run)")
    group.add_argument("--eval-every", type=int, metavar="STEPS", help="error, traces, drift (default: 100 times a run)")
    group.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="(default: 20 times a run)")
    group.add_argument("--snapshot-every", type=int, metavar="STEPS", help="kernel blocks (default: 10 times a run)")
    group.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    command.set_defaults(command=_train, parser=command)


def _add_kernel(commands: Any) -> None:
    command = commands.add_parser(
        "kernel",
        help="compute the kernel blocks of a network on a problem",
        description="Computes K = J J^T, prints its blocks, traces and spectrum, and writes it to an .npz file.",
        epilog="example: pinntk kernel poisson1d --points boundary=100,residual=100 -o K.npz",
    )
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--run", help="the trained network of this run folder, in place of a fresh one")
    command.add_argument("-o", "--out", help="the .npz file to write (default: none)")
    _add_problem_options(command)
    command.set_defaults(command=_kernel, parser=command)


def _add_problem_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("problem and points")
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4")
    group.add_argument(
        "--points", default="", metavar="NAME=N,...", help="points by condition or kind, as in boundary=100,residual=400"
    )
    group.add_argument(
        "--sampling", choices=METHODS, default="uniform", metavar="METHOD", help=f"{_either(METHODS)} (default: uniform)"
    )
    group.add_argument("--seed", type=int, default=0, help="of points and network (default: 0)")
    group = command.add_argument_group("network")
    group.add_argument("--width", type=int, default=100, help="units in a hidden layer (default: 100)")
    group.add_argument("--depth", type=int, default=3, help="hidden layers (default: 3)")
    group.add_argument(
        "--activation",
        choices=sorted(ACTIVATIONS),
        default="tanh",
        metavar="NAME",
        help=f"{_either(ACTIVATIONS)} (default: tanh)",
    )
    group.add_argument(
        "--parametrization",
        choices=("standard", "ntk"),
        default="standard",
        metavar="NAME",
        help="standard or ntk (default: standard)",
    )
    group.add_argument(
        "--initialization",
        choices=INITIALIZATIONS,
        default="xavier",
        metavar="NAME",
        help=f"of the standard parametrization: {_either(INITIALIZATIONS)} (default: xavier)",
    )
    group.add_argument("--beta", type=float, default=1.0, help="NTK parametrization: scale of the biases (default: 1)")
    group.add_argument("--raw-inputs", action="store_true", help="do not normalise the coordinates")
    group.add_argument(
        "--periodic", default="", metavar="NAME,...", help="coordinates that it repeats in exactly; x=3 takes 3 harmonics"
    )
    group.add_argument(
        "--fourier",
        nargs=2,
        type=_number,
        metavar=("COUNT", "SIGMA"),
        help="random Fourier features: how many frequencies, and their standard deviation",
    )
    group.add_argument("--dtype", choices=sorted(_DTYPES), default="float32", help="of the network (default: float32)")
    group.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )


def _either(names: Iterable[str]) -> str:
    *first, last = sorted(names)
    return f"{', '.join(first)} or {last}"


def _number(text: str) -> float:
    """A whole number stays whole."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _pairs(text: str, option: str, kind: type, example: str = "boundary=100") -> dict[str, Any]:
    """{"a": 1, "b": 2} from "a=1,b=2"."""
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        try:
            found[name.strip()] = kind(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{option} {text!r}: {part!r} is no NAME=NUMBER; write it as in {option} {example}")
    return found


def _loaded(arguments: argparse.Namespace) -> Problem:
    if arguments.problem is None:
        raise ValueError("name a problem, as in `pinntk train poisson1d`; `pinntk problems` lists them")
    settings = {}
    for entry in arguments.set:
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"--set {entry!r}: write NAME=VALUE, as in --set k=4")
        settings[name.strip()] = value.strip()
    return registry.load(arguments.problem, **registry.parsed(arguments.problem, settings))


def _network(arguments: argparse.Namespace, problem: Problem) -> MLP:
    harmonics = ",".join(part if "=" in part else f"{part}=1" for part in filter(None, arguments.periodic.split(",")))
    return MLP(
        problem,
        width=arguments.width,
        depth=arguments.depth,
        activation=arguments.activation,
        parametrization=arguments.parametrization,
        initialization=arguments.initialization,
        beta=arguments.beta,
        normalize=not arguments.raw_inputs,
        periodic=_pairs(harmonics, "--periodic", int, "x=3"),
        fourier=arguments.fourier,
        seed=arguments.seed,
        dtype=_DTYPES[arguments.dtype],
        device=_device(arguments.device),
    )


def _device(name: str) -> torch.device:
    if distributed.world() > 1 and name == "cuda":
        return distributed.local_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: not usable here ({str(error).splitlines()[0]}); use --device cpu") from error
    return device


# What is done.


def _problems(arguments: argparse.Namespace) -> int:
    for name in registry.available():
        title, parameters = registry.describe(name)
        print(f"{name:<13} {title.partition(':')[0]}" + (f" ({shown(parameters)})" if parameters else ""))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    run = _resumed(arguments) if arguments.resume else _fresh(arguments)
    if distributed.rank():
        return 0
    paths = plot.save(run)
    if not arguments.quiet:
        _report(run)
        print(f"figures in {paths[0].parent}")
    return 0


def _fresh(arguments: argparse.Namespace) -> Run:
    problem = _loaded(arguments)
    out = Path(arguments.out or f"runs/{problem.name}")
    if arguments.weights and arguments.weighting == "ntk":
        raise ValueError("--weights gives fixed weights, --weighting ntk computes them; use one or the other")
    if arguments.weighting == "ntk":
        weighting = NTK(arguments.every, arguments.momentum, arguments.normalization)
    else:
        weighting = Fixed(**_pairs(arguments.weights, "--weights", float))
    network = _network(arguments, problem)
    points = problem.counts(**_pairs(arguments.points, "--points", int))
    if not arguments.overwrite and (out / CHECKPOINT).exists():
        raise FileExistsError(
            f"{out} already holds a run; continue it with --resume {out}, replace it with --overwrite, or use another -o"
        )
    return train(
        problem,
        network,
        steps=10_000 if arguments.steps is None else arguments.steps,
        optimizer=arguments.optimizer,
        lr=arguments.lr,
        schedule=arguments.schedule,
        decay=arguments.decay,
        decay_every=arguments.decay_every,
        weighting=weighting,
        points={name: n for name, n in points.items() if n is not None},
        sampling=arguments.sampling,
        resample=arguments.resample,
        seed=arguments.seed,
        out=out,
        overwrite=arguments.overwrite,
        log_every=arguments.log_every,
        eval_every=arguments.eval_every,
        checkpoint_every=arguments.checkpoint_every,
        snapshot_every=arguments.snapshot_every,
        compile=arguments.compile,
        progress=not arguments.quiet,
    )


def _resumed(arguments: argparse.Namespace) -> Run:
    """Continues a run with the settings in its config.json; --steps and --device may differ."""
    if arguments.problem is not None:
        raise ValueError("--resume takes problem and settings from the run; leave the problem out")
    _only(arguments, "--resume", ("resume", "steps", "device", "quiet"))
    folder = Path(arguments.resume)
    config = read_config(folder)
    settings = dict(config["training"])
    described = dict(config["weighting"])
    scheme = {"ntk": NTK, "fixed": Fixed}[described.pop("name")]
    problem = registry.load(config["problem"]["source"], **config["problem"]["parameters"])
    counts = settings.pop("points")
    if counts == "given":
        raise ValueError(f"{folder} was trained on points of your own; resume it from Python: pinntk.train(..., resume=True)")
    if arguments.steps is not None:
        settings["steps"] = arguments.steps
    points = {name: n for name, n in counts.items() if n is not None}
    network = rebuilt(config, problem).to(_device(arguments.device))
    return train(
        problem,
        network,
        weighting=scheme(**described),
        points=points,
        out=folder,
        resume=True,
        progress=not arguments.quiet,
        **settings,
    )


def _only(arguments: argparse.Namespace, option: str, allowed: tuple[str, ...]) -> None:
    """Refuses options that would be ignored beside `option`, which takes its settings from a run."""
    for name, value in vars(arguments).items():
        if name not in (*allowed, "command", "parser") and value != arguments.parser.get_default(name):
            raise ValueError(f"{option} takes its settings from the run; leave --{name.replace('_', '-')} out")


def _report(run: Run) -> None:
    """Final losses, weights and traces as a table, and the error."""
    last = run.history[-1]
    print(f"{'condition':<16} {'points':>7} {'loss':>10} {'weight':>10} {'trace K/n':>11}")
    counts = run.config["training"]["points"]
    for name in run.problem.names:
        if f"loss/{name}" not in last:
            continue
        n = counts[name] if counts != "given" else None
        n = n or run.problem[name].region.rows.shape[0]
        loss, weight, trace = (last[f"{key}/{name}"] for key in ("loss", "weight", "trace"))
        print(f"{name:<16} {n:>7} {loss:>10.2e} {weight:>10.3g} {trace / n:>11.3g}")
    for name in run.problem.coefficients:
        print(f"coefficient {name} = {last[f'coefficient/{name}']:.6g}")
    if run.error is not None:
        print(f"relative L2 error {run.error:.3e} after {run.step} steps, {last['seconds']:.0f} s")


def _kernel(arguments: argparse.Namespace) -> int:
    if arguments.run:
        if arguments.problem is not None:
            raise ValueError("--run takes the problem from the run; leave the problem out")
        _only(arguments, "--run", ("run", "points", "sampling", "seed", "out", "device"))
        run = Run.load(arguments.run)
        problem, network = run.problem, run.network.to(_device(arguments.device))
    else:
        problem = _loaded(arguments)
        network = _network(arguments, problem)
    points = problem.sample(seed=arguments.seed, method=arguments.sampling, **_pairs(arguments.points, "--points", int))
    if distributed.world() > 1:
        return _kernel_rows(arguments, problem, network, points)
    blocks = kernel(network, problem, points)
    _describe_kernel(blocks)
    if arguments.out:
        out = Path(arguments.out)
        out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
        blocks.save(out)
        print(f"written to {out}: read it with pinntk.KernelBlocks.load")
    return 0


def _kernel_rows(arguments: argparse.Namespace, problem: Problem, network: Any, points: Points) -> int:
    """Under torchrun: every rank computes and writes its rows; traces and leading eigenvalues are those of all of K."""
    block = sharded_kernel(network, problem, points)
    operator = KernelOperator(network, problem, points)
    diagonal, leading = operator.diagonal(), operator.eigh(min(10, operator.n)).values
    written = block.save(arguments.out) if arguments.out else None
    if distributed.rank() == 0:
        traces = {name: float(part.sum()) for name, part in zip(block.names, diagonal.split(block.sizes), strict=True)}
        _print_traces(block, traces)
        print(f"leading eigenvalues {' '.join(f'{value:.5g}' for value in leading.tolist())}")
        if written:
            print(f"written to {written} and its like: read them with pinntk.KernelBlocks.join")
    return 0


def _print_traces(blocks: Any, traces: dict[str, float]) -> None:
    print(f"{'condition':<16} {'kind':<9} {'points':>7} {'trace':>12} {'mean diagonal':>14}")
    for name, kind, n in zip(blocks.names, blocks.kinds, blocks.sizes, strict=True):
        print(f"{name:<16} {kind:<9} {n:>7} {traces[name]:>12.5g} {traces[name] / n:>14.5g}")


def _describe_kernel(blocks: KernelBlocks) -> None:
    _print_traces(blocks, blocks.traces())
    values = blocks.eigvalsh().flip(0)
    floor = blocks.floor()
    above = int((values > floor).sum())
    print(f"largest eigenvalue {values[0]:.5g}; {above} of {len(values)} above the rounding floor {floor:.2g}")
    if above:
        print(f"condition number above the floor {values[0] / values[above - 1]:.3g}")


def _plot(arguments: argparse.Namespace) -> int:
    for path in plot.save(Run.load(arguments.run), arguments.out):
        print(path)
    return 0
