"""What the user may say on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import torch

from pinntk.geometry._sampling import METHODS
from pinntk.nn import NETWORKS
from pinntk.nn._layers import ACTIVATIONS, INITIALIZATIONS
from pinntk.training._config import SETTINGS
from pinntk.weighting import SCHEMES

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def add_problems(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "problems",
        help="list the built-in problems, or describe and draw one",
        description="Lists the built-in problems, one line each. Of one problem: equation, domain,\n"
        "conditions, parameters and known solution, and a picture of its points and\n"
        "its boundary.",
        epilog="examples:\n  pinntk problems\n  pinntk problems burgers --set nu=0.01\n"
        "  pinntk problems my_pde.py --figure my_pde.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", nargs="?", help="a built-in problem, or a .py file with a function problem()")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4"
    )
    command.add_argument("--figure", metavar="FILE", help="draw points and boundary in this .png, .svg or .pdf file")
    return command


def add_train(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "train",
        help="train a network on a problem, with fixed, NTK, gradient-norm or self-adaptive weights",
        description="Trains a network and writes a run folder: config.json,\nmetrics.csv, checkpoint.pt, "
        "kernel snapshots and figures.",
        epilog="examples:\n"
        "  pinntk train poisson1d --weighting ntk\n"
        "  pinntk train wave1d --set c=2 --weighting ntk --steps 20000\n"
        "  pinntk train my_pde.py --weights boundary=100 -o runs/mine\n"
        "  pinntk train convection --weighting ntk --causal 0.01,0.1,1 --periodic x\n"
        "  pinntk train convection --set beta=40 --slabs 8\n"
        "  pinntk train --resume runs/mine --steps 40000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(command)
    command.add_argument(
        "--config",
        metavar="FILE",
        help="take problem, network and settings from a config.json or slabs.json, parts of one, or the folder that has it; "
        "options of training, weights and logging beside it override it",
    )
    _add_problem_options(command)
    _add_settings(command, "training")
    _add_weight_options(command)
    _add_logging_options(command)
    return command


def add_solve(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "solve",
        help="solve a problem to many digits by Gauss-Newton on the kernel",
        description="Solves with a small float64 network and NTK weights, on few points that are fresh in every step\n"
        "and held at the end, and writes a run folder like `pinntk train`. Stops when it cannot improve,\n"
        "and says why.",
        epilog="examples:\n"
        "  pinntk solve poisson1d\n"
        "  pinntk solve burgers --seconds 180\n"
        "  pinntk solve --resume runs/burgers --seconds 900\n"
        "  pinntk solve --resume runs/burgers --grow-network 40 --seconds 900",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(command)
    _add_problem_options(command)
    group = command.add_argument_group("solving")
    group.add_argument("--steps", type=int, help="at most so many steps (default: 2000)")
    group.add_argument("--seconds", type=float, help="at most so much time (default: 300)")
    group.add_argument("--grow", type=float, help="the number of points may grow up to this factor (default: 8)")
    group.add_argument(
        "--grow-network",
        type=int,
        metavar="WIDTH",
        help="with --resume: go on with so many units in a layer, from the same function; the run goes to -o (default: "
        "RUN-widthWIDTH), and the one resumed stays as it is",
    )
    group.add_argument("--target", type=float, default=0.25, help="least ratio of true to promised decrease (default: 0.25)")
    group.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    command.set_defaults(width=20, depth=4, dtype="float64")
    return command


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--resume", metavar="RUN", help="continue the run in this folder, with its settings")
    command.add_argument("-o", "--out", help="the run folder (default: runs/PROBLEM)")
    command.add_argument("--overwrite", action="store_true", help="replace a run that the folder already holds")
    command.add_argument(
        "--slabs",
        type=_slabs,
        metavar="N",
        help="train in so many time slabs, one after the other, each from the end of the one before; or the times between "
        "them, as in 0,0.1,1. Steps and seconds are those of each slab",
    )


def add_diagnose(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "diagnose",
        help="say what is wrong with a run, and what to change",
        description="Examines a run by its kernel and says what is wrong, why, and what to change.\n"
        "Writes report.html (open it in a browser) and diagnosis.json in the run folder.\n"
        "Of two runs, prints both side by side and writes comparison.html in the second.\n"
        "The exit status is 0 with findings, too.",
        epilog="examples:\n"
        "  pinntk diagnose runs/poisson1d\n"
        "  pinntk diagnose runs/poisson1d --json | python -m json.tool\n"
        "  pinntk diagnose runs/poisson1d runs/poisson1d-rescued",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run", help="the run folder")
    command.add_argument("other", nargs="?", help="another run folder, to compare with")
    command.add_argument("-o", "--out", metavar="FILE", help="the HTML file, or its folder (default: the run folder)")
    command.add_argument("--json", action="store_true", help="print findings and numbers as JSON, and nothing else")
    return command


def add_kernel(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "kernel",
        help="compute the kernel blocks of a network on a problem",
        description="Computes K = J J^T, prints its blocks, traces and spectrum, and writes it to an .npz file.",
        epilog="example: pinntk kernel poisson1d --points boundary=100,residual=100 -o K.npz",
    )
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--run", help="the trained network of this run folder, in place of a fresh one")
    command.add_argument(
        "--infinite",
        action="store_true",
        help="the kernel in the limit of infinite width (NTK parametrization); nonlinear errors are linearized at the exact "
        "solution",
    )
    command.add_argument("-o", "--out", help="the .npz file to write (default: none)")
    command.add_argument(
        "--verbose", action="store_true", help="say by which path each condition's J came, and its certificate"
    )
    _add_problem_options(command)
    return command


def add_rescue(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "rescue",
        help="diagnose a run, train again as prescribed, and compare",
        description="Diagnoses a run, makes the changes that are prescribed, trains again from the\n"
        "start with as many steps, and so on from the best run, as long as anything\n"
        "untried may help and the budget lasts. Prints all side by side. The run itself\n"
        "stays as it is. Stopped by Ctrl-C, the same command goes on.",
        epilog="examples:\n  pinntk rescue runs/poisson1d\n  pinntk rescue runs/wave --rounds 5 --seconds 600 -o runs/better",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run", help="the run folder")
    command.add_argument("--prescription", type=int, metavar="N", help="which one to follow, from 1 (default: the first)")
    command.add_argument("--rounds", type=int, metavar="N", help="trainings, at most (default: 3; 1 with --prescription)")
    command.add_argument(
        "--seconds", type=float, metavar="S", help="for all of them (default: 10 times the run's, at least 900)"
    )
    command.add_argument("-o", "--out", metavar="FOLDER", help="the new run folder (default: RUN-rescued), then FOLDER-2, ...")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    command.add_argument("--device", default=default, help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    command.add_argument("--quiet", action="store_true", help="no progress bar, and no word of what is tried")
    return command


def add_check(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "check",
        help="what is wrong with a problem, before anything is trained",
        description="Says in seconds what is wrong with a problem: conditions that are missing, that\n"
        "contradict each other, that zero meets or that the known solution violates, and\n"
        "coefficients that nothing determines; and whether the network has the derivatives\n"
        "that they ask for.",
        epilog="examples:\n  pinntk check burgers\n  pinntk check my_pde.py --set speed=2 --activation relu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", help="a built-in problem, or a .py file with a function problem()")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4"
    )
    command.add_argument("--seed", type=_seed, help="of the network (default: 0)")
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    _add_network_options(command)
    return command


def add_plot(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser("plot", help="draw the figures of a run folder", description="Draws a run's figures anew.")
    command.add_argument("run", help="the run folder")
    command.add_argument("-o", "--out", help="where to put the PNG files (default: RUN/figures)")
    return command


def _add_settings(command: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """Options of the settings of `TrainConfig` in the group of that title; what is not given is None."""
    group = command.add_argument_group(title)
    for name, setting in SETTINGS.items():
        if setting.metadata["help"] and setting.metadata["group"] == title:
            group.add_argument(f"--{name.replace('_', '-')}", help=setting.metadata["help"], **setting.metadata["option"])
    return group


def _add_logging_options(command: argparse.ArgumentParser) -> None:
    group = _add_settings(command, "logging")
    group.add_argument(
        "--monitor",
        nargs="?",
        type=_number,
        const=0.05,
        metavar="SHARE",
        help="measure the kernel and diagnose while training, within this share of the time (default: not; alone: 0.05)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def _add_weight_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("loss weights")
    group.add_argument(
        "--weighting",
        choices=tuple(SCHEMES),
        help="fixed, from kernel traces, from norms of the gradients, or one per training point, by gradient ascent "
        "(default: fixed)",
    )
    group.add_argument(
        "--weights", default="", metavar="NAME=W,...", help="fixed weights by condition or kind, as in boundary=100"
    )
    group.add_argument("--every", type=int, metavar="STEPS", help="steps between updates (default: 100)")
    group.add_argument("--momentum", type=float, help="moving average, 0 to below 1 (default: 0 of ntk, 0.9 of gradient-norm)")
    group.add_argument(
        "--normalization", choices=("mean", "sum"), help="ntk: traces over n_i, or as in the paper (default: mean)"
    )
    group.add_argument("--ascent-lr", type=float, metavar="LR", help="self-adaptive: learning rate (default: 0.005)")
    group.add_argument(
        "--causal",
        type=_numbers,
        metavar="EPS[,EPS...]",
        help="causal weights in time, beside fixed, ntk or gradient-norm weights; several values are a ladder, as in "
        "0.01,0.1,1,10,100",
    )
    group.add_argument("--slices", type=int, help="causal: time slices (default: 16)")


def _add_problem_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("problem and points")
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4")
    group.add_argument(
        "--points", default="", metavar="NAME=N,...", help="points by condition or kind, as in boundary=100,residual=400"
    )
    group.add_argument(
        "--sampling", choices=METHODS, metavar="METHOD", help=f"{_either(METHODS)} (default: uniform; of solvers sobol)"
    )
    group.add_argument("--seed", type=_seed, help="of points and network (default: 0)")
    _add_network_options(command)


def _add_network_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("network")
    group.add_argument(
        "--network", choices=tuple(NETWORKS), default="mlp", metavar="NAME", help=f"{_either(NETWORKS)} (default: mlp)"
    )
    group.add_argument("--width", type=int, default=100, help="units in a hidden layer (default: %(default)s)")
    group.add_argument("--depth", type=int, default=3, help="hidden layers (default: %(default)s)")
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
    group.add_argument("--beta", type=float, help="mlp, NTK parametrization: scale of the biases (default: 1)")
    _add_network_shapes(group)
    group.add_argument("--dtype", choices=sorted(DTYPES), default="float32", help="of the network (default: %(default)s)")
    group.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )


def _add_network_shapes(group: argparse._ArgumentGroup) -> None:
    """What is done with inputs and outputs."""
    group.add_argument(
        "--raw-inputs", action="store_true", help="do not normalize the coordinates, nor scale the outputs unless asked to"
    )
    group.add_argument(
        "--output-scales",
        metavar="NAME=SHIFT:SCALE,...",
        help="fields as shift + scale N, as in T=300:20; none for N as it is, auto by the conditions (default: auto; it "
        "acts where sizes are above 10 or below 0.001)",
    )
    group.add_argument(
        "--periodic", default="", metavar="NAME,...", help="mlp: coordinates that it repeats in exactly; x=3 takes 3 harmonics"
    )
    group.add_argument(
        "--hard",
        default="",
        metavar="NAME,...",
        help="mlp: conditions that it meets by construction; auto takes all that it can (default: none)",
    )
    group.add_argument(
        "--fourier",
        nargs=2,
        type=_number,
        metavar=("COUNT", "SIGMA"),
        help="mlp: random Fourier features: how many frequencies, and their standard deviation",
    )
    group.add_argument(
        "--sigmas",
        type=_numbers,
        metavar="S,S...",
        help="multiscale-fourier: standard deviations of the branches' angular frequencies (default: 1,10)",
    )
    group.add_argument(
        "--scales", type=_numbers, metavar="A,A...", help="mscale-dnn: factors on the inputs (default: 1,2,4,8,16,32)"
    )
    group.add_argument(
        "--rank",
        type=int,
        metavar="N",
        help="separable: products of networks of one coordinate each, which --width and --depth are of (default: 16)",
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _slabs(text: str) -> int | tuple[float, ...]:
    try:
        return _numbers(text) if "," in text else int(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r}: a whole number of slabs, or the times between them, as in 0,0.1,1"
        ) from None


def _seed(text: str) -> int:
    """What generators of random numbers take."""
    try:
        if 0 <= int(text) < 2**63:
            return int(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 0")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(_number(part)) for part in text.split(","))
