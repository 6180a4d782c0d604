"""Options that several commands have: of problem and points, network, training, weights, logging."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
import torch

from pinntk.cli._parser import Combinations, Joined, real_number, whole_number
from pinntk.geometry._sampling import METHODS
from pinntk.nn import NETWORKS
from pinntk.nn._layers import ACTIVATIONS, INITIALIZATIONS
from pinntk.training._config import SETTINGS
from pinntk.weighting import SCHEMES

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def add_settings(command: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """Options of the settings of `TrainConfig` in the group of that title; what is not given is None."""
    group = command.add_argument_group(title)
    for name, setting in SETTINGS.items():
        if setting.metadata["help"] and setting.metadata["group"] == title:
            group.add_argument(f"--{name.replace('_', '-')}", help=setting.metadata["help"], **setting.metadata["option"])
    return group


def add_logging_options(command: argparse.ArgumentParser) -> None:
    group = add_settings(command, "logging")
    group.add_argument(
        "--monitor",
        nargs="?",
        type=_number,
        const=0.05,
        metavar="SHARE",
        help="measure the kernel and diagnose while training, within this share of the time (default: not; alone: 0.05)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def add_weight_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("loss weights")
    group.add_argument(
        "--weighting",
        choices=Combinations(SCHEMES),
        metavar="NAME[+NAME]",
        help=f"{_either(tuple(SCHEMES))}, see docs/WEIGHTING.md; those of conditions, points and gradients go together, as in "
        "ntk+rba (default: fixed)",
    )
    group.add_argument(
        "--weights",
        action=Joined,
        default="",
        metavar="NAME=W,...",
        help="fixed weights by condition or kind, as in boundary=100; may be repeated",
    )
    group.add_argument("--every", type=int, metavar="STEPS", help="steps between updates (default: 100)")
    group.add_argument("--momentum", type=float, help="moving average of the weights, 0 to below 1 (default: 0.9)")
    group.add_argument(
        "--normalization", choices=("mean", "sum"), help="ntk: traces over n_i, or as in the paper (default: mean)"
    )
    group.add_argument(
        "--weighting-options",
        action=Joined,
        default="",
        metavar="NAME=VALUE,...",
        help="other settings of the schemes, as in eta=0.01,gamma=0.99 of rba; may be repeated",
    )
    group.add_argument("--ascent-lr", type=float, metavar="LR", help="self-adaptive: learning rate (default: 0.005)")
    group.add_argument(
        "--causal",
        type=_numbers,
        metavar="EPS[,EPS...]",
        help="causal weights in time, beside weights of conditions or remaining-time; several values are a ladder, as in "
        "0.01,0.1,1,10,100",
    )
    group.add_argument("--slices", type=int, help="causal: time slices (default: 16)")


def add_problem_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("problem and points")
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4")
    group.add_argument(
        "--points",
        action=Joined,
        default="",
        metavar="NAME=N,...",
        help="points by condition or kind, as in boundary=100,residual=400; may be repeated",
    )
    group.add_argument("--sampling", choices=METHODS, metavar="METHOD", help=f"{_either(METHODS)} (default: sobol)")
    group.add_argument("--seed", type=seed, help="of points and network (default: 0)")
    add_network_options(command)


def add_network_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("network")
    group.add_argument(
        "--network", choices=tuple(NETWORKS), default="mlp", metavar="NAME", help=f"{_either(NETWORKS)} (default: mlp)"
    )
    group.add_argument("--width", type=int, default=100, help="units in a hidden layer (default: %(default)s)")
    group.add_argument("--depth", type=int, default=3, help="hidden layers (default: %(default)s)")
    group.add_argument(
        "--activation",
        choices=sorted(ACTIVATIONS),
        metavar="NAME",
        help=f"{_either(ACTIVATIONS)} (default: tanh; of mscale-dnn phi)",
    )
    group.add_argument(
        "--parametrization",
        choices=("standard", "ntk"),
        metavar="NAME",
        help="standard or ntk (default: standard)",
    )
    group.add_argument(
        "--initialization",
        choices=INITIALIZATIONS,
        metavar="NAME",
        help=f"of the standard parametrization: {_either(INITIALIZATIONS)} (default: xavier)",
    )
    group.add_argument("--beta", type=float, help="scale of the biases in the NTK parametrization (default: 1)")
    group.add_argument(
        "--factorized",
        nargs=2,
        type=_number,
        metavar=("MEAN", "SD"),
        help="weights diag(exp(s)) V, with s drawn by these; the paper's are 1.0 0.1 (default: not factorized)",
    )
    group.add_argument(
        "--adaptive-slopes",
        type=_number,
        metavar="N",
        help="activations s(N a x), with a trained slope a for each layer",
    )
    _add_network_shapes(group)
    group.add_argument("--dtype", choices=sorted(DTYPES), default="float32", help="of the network (default: %(default)s)")
    group.add_argument("--device", default=DEVICE, help="cpu, cuda, cuda:1 ... (default: %(default)s)")


def _add_network_shapes(group: argparse._ArgumentGroup) -> None:
    """What is done with inputs and outputs."""
    group.add_argument(
        "--raw-inputs", action="store_true", help="do not normalize the coordinates, nor scale the outputs unless asked to"
    )
    group.add_argument(
        "--output-scales",
        action=Joined,
        metavar="NAME=SHIFT:SCALE,...",
        help="fields as shift + scale N, as in T=300:20; none for N as it is, auto by the conditions (default: auto; it "
        "acts where sizes are above 10 or below 0.001)",
    )
    group.add_argument(
        "--periodic",
        action=Joined,
        default="",
        metavar="NAME,...",
        help="mlp, modified-mlp, piratenet, siren: coordinates that it repeats in exactly; x=3 takes 3 harmonics",
    )
    group.add_argument(
        "--hard",
        action=Joined,
        default="",
        metavar="NAME,...",
        help="of the same networks: conditions that they meet by construction; auto takes all that it can (default: none)",
    )
    group.add_argument(
        "--fourier",
        nargs=2,
        type=_number,
        metavar=("COUNT", "SIGMA"),
        help="mlp, modified-mlp, piratenet: random Fourier features: how many frequencies, and their standard deviation "
        "(default: none; of piratenet 64 0.2)",
    )
    group.add_argument(
        "--omega", type=_number, metavar="W", help="siren: factor on what the first layer's sines receive (default: 30)"
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
        help="separable, deeponet: products in the sum, of networks that --width and --depth are of (default: 16, 32)",
    )


def _either(names: Iterable[str]) -> str:
    *first, last = sorted(names)
    return f"{', '.join(first)} or {last}"


def _number(text: str) -> float:
    """A whole number stays whole."""
    try:
        return int(text)
    except ValueError:
        return real_number(text)


def slabs(text: str) -> int | tuple[float, ...]:
    try:
        return _numbers(text) if "," in text else whole_number(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r}: a whole number of slabs, or the times between them, as in 0,0.1,1"
        ) from None


def curriculum(text: str) -> tuple[str, list[float]]:
    """A parameter and its values, of "beta=1,10,30" or "beta=1:30:10", from, to and how many."""
    name, equals, values = text.partition("=")
    try:
        if ":" in values:
            first, last, count = values.split(":")
            found = np.linspace(float(first), float(last), whole_number(count)).tolist()
        else:
            found = [_number(value) for value in values.split(",")]
        if name.strip() and equals and found:
            return name.strip(), found
    except (ValueError, argparse.ArgumentTypeError):
        pass
    raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUES, as in beta=1,10,30 or, ten evenly, beta=1:30:10")


def seed(text: str) -> int:
    """What generators of random numbers take."""
    try:
        if 0 <= int(text) < 2**63:
            return int(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 0")


def seeds(text: str) -> tuple[int, ...]:
    """How many, from 0 on, or which: "5", or "3,7"."""
    found = tuple(range(seed(text))) if "," not in text else these_seeds(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: how many, at least 1, or which, as in 0,1,7")
    return found


def these_seeds(text: str) -> tuple[int, ...]:
    """Which: "7", or "3,7"."""
    found = tuple(map(seed, text.split(",")))
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r}: each seed once, as in 0,1,7")
    return found


def share(text: str) -> tuple[int, int]:
    first, slash, of = text.partition("/")
    if not (slash and first.isdigit() and of.isdigit() and int(first) < int(of)):
        raise argparse.ArgumentTypeError(f"{text!r}: K/N with K from 0 to N - 1, as in 0/4")
    return int(first), int(of)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(_number(part)) for part in text.split(","))
