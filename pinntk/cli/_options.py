"""What the user may say on the command line."""

from __future__ import annotations

import argparse
from typing import Any

from pinntk.cli._new import SOURCES
from pinntk.cli._option_groups import (
    DEVICE,
    add_logging_options,
    add_network_options,
    add_problem_options,
    add_settings,
    add_weight_options,
    curriculum,
    seed,
    seeds,
    share,
    slabs,
    these_seeds,
)
from pinntk.cli._parser import Combinations, Named, Several, whole_number
from pinntk.nn import NETWORKS
from pinntk.weighting import SCHEMES


def add_problems(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "problems",
        help="list the built-in problems, or describe and draw one",
        description="Lists the built-in problems, one line each. Of one problem: equation, domain,\n"
        "conditions, parameters and known solution, and a picture of its points and\n"
        "its boundary.",
        epilog="examples:\n  pinntk problems\n  pinntk problems burgers --set nu=0.01\n"
        "  pinntk problems my_pde.py --figure my_pde.png\n"
        "  pinntk problems burgers --source > my_pde.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", nargs="?", help="a built-in problem, or a .py file with a function problem()")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4"
    )
    command.add_argument("--source", action="store_true", help="print its file, to begin your own with, and nothing else")
    command.add_argument("--figure", metavar="FILE", help="draw points and boundary in this .png, .svg or .pdf file")
    return command


def add_train(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "train",
        help="train a network on a problem, with NTK weights, fixed ones or others",
        description="Trains a network and writes a run folder: config.json,\nmetrics.csv, checkpoint.pt, "
        "kernel snapshots and figures.",
        epilog="examples:\n"
        "  pinntk train poisson1d --weighting ntk\n"
        "  pinntk train wave1d --set c=2 --weighting ntk --steps 20000\n"
        "  pinntk train my_pde.py --weights boundary=100 -o runs/mine\n"
        "  pinntk train convection --weighting ntk --causal 0.01,0.1,1 --periodic x\n"
        "  pinntk train convection --set beta=40 --slabs 8\n"
        "  pinntk train convection --curriculum beta=1:30:10 --steps 2000\n"
        "  pinntk train kdv --optimizer 'adam:5000, lbfgs:500, gauss-newton:50'\n"
        "  pinntk train --resume runs/mine --steps 40000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(command, "runs/PROBLEM")
    command.add_argument(
        "--curriculum",
        type=curriculum,
        action="append",
        metavar="NAME=VALUES",
        help="train on one problem after the other, from easy to hard, with these values of a parameter: beta=1,10,30, or ten "
        "evenly from 1 to 30, beta=1:30:10. Steps and seconds are those of each stage",
    )
    command.add_argument(
        "--ensemble",
        type=int,
        metavar="K",
        help="train from K seeds, from --seed on, side by side where points are few, and say how far they spread",
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="take problem, network and settings from a config.json or slabs.json, parts of one, or the folder that has it; "
        "options of training, weights and logging beside it override it",
    )
    add_problem_options(command)
    add_settings(command, "training")
    add_weight_options(command)
    add_logging_options(command)
    return command


def add_solve(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "solve",
        help="solve a problem to many digits by Gauss-Newton on the kernel",
        description="Solves with a small float64 network and NTK weights, on few points that are\n"
        "fresh in every step and held at the end, and writes a run folder like\n"
        "`pinntk train`. Stops when it cannot improve, and says why.",
        epilog="examples:\n"
        "  pinntk solve poisson1d\n"
        "  pinntk solve burgers --seconds 3m\n"
        "  pinntk solve --resume runs/burgers-solved --seconds 900\n"
        "  pinntk solve --resume runs/burgers-solved --grow-network 40 --seconds 900",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(command, "runs/PROBLEM-solved")
    add_problem_options(command)
    group = command.add_argument_group("solving")
    group.add_argument("--steps", type=int, help="at most so many steps (default: 2000)")
    group.add_argument("--seconds", type="duration", metavar="TIME", help="at most so much time: 90, 3m or 1.5h (default: 5m)")
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


def _add_run_options(command: argparse.ArgumentParser, folder: str) -> None:
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--resume", metavar="RUN", help="continue the run in this folder, with its settings")
    command.add_argument("-o", "--out", help=f"the run folder (default: {folder})")
    command.add_argument("--overwrite", action="store_true", help="replace a run that the folder already holds")
    command.add_argument(
        "--slabs",
        type=slabs,
        metavar="N",
        help="train in so many time slabs, one after the other, each from the end of the one before; or the times between "
        "them, as in 0,0.1,1. Steps and seconds are those of each slab",
    )


def add_compare(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "compare",
        help="train with several weightings, networks, optimizers and seeds, and say which is best",
        description="Trains every combination of the values given, each with every seed, several at\n"
        "a time, at equal time or equal steps. Prints a line for each training as it\n"
        "ends, then medians and spread of the relative L2 error, and writes\n"
        "comparison.json, comparison.html and comparison.png. Stopped, or killed, the\n"
        "same command goes on, and runs nothing again that had ended.",
        epilog="examples:\n"
        "  pinntk compare wave1d --weighting fixed,ntk --seeds 5 --budget 60s\n"
        "  pinntk compare poisson1d wave1d --weighting fixed,ntk --network mlp,separable\n"
        "  pinntk compare convection --set beta=30 --periodic x --variant plain \\\n"
        '      --variant causal="--causal 0.1,1,10" --variant late="--lr 1e-4"\n'
        "  pinntk compare wave1d --weighting fixed,ntk --slurm job.sh -o /shared/wave\n"
        "  torchrun --nproc-per-node 4 -m pinntk compare wave1d --weighting fixed,ntk",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # of the options of a training some take several values here
    )
    command.add_argument("problems", nargs="*", metavar="PROBLEM", help="names from `pinntk problems`, or .py files")
    add_problem_options(command)
    add_settings(command, "training")
    add_weight_options(command)
    _add_compared(command)
    command.set_defaults(monitor=None)  # measures and log have their own habits in a comparison
    return command


def _add_compared(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what is compared, and how")
    for option, known in (("--weighting", Combinations(SCHEMES)), ("--network", NETWORKS), ("--optimizer", None)):
        group.add_argument(
            option,
            action=Several,
            known=known,
            metavar="NAME,...",
            help="of `pinntk train`, one or several; may be repeated"
            + ("; what has a colon is one chain of optimizers" if known is None else ""),
        )
    group.add_argument(
        "--variant",
        action=Named,
        default={},
        metavar='NAME="OPTIONS"',
        help="a name, and options of `pinntk train` that come to the others; repeated, these are compared",
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=seeds, default=(0, 1, 2), metavar="N", help="how many, or as in 0,1,7 (default: 3)")
    which.add_argument(
        "--seed", dest="seeds", type=these_seeds, default=argparse.SUPPRESS, metavar="K", help="this one, as in train"
    )
    group.add_argument(
        "--budget",
        "--seconds",
        dest="budget",
        type="duration",
        metavar="TIME",
        help="of each training: 90, 3m or 1.5h; the learning rate's schedule ends with it (default: 60s, with --steps none)",
    )
    group.add_argument("--steps", type=int, help="of each training, in place of equal time, or as a limit beside it")
    group.add_argument("--jobs", type=int, metavar="N", help="trainings at a time (default: one a core, or a GPU)")
    group.add_argument("-o", "--out", metavar="FOLDER", help="the folder (default: runs/PROBLEM-compared)")
    group.add_argument("--resume", metavar="FOLDER", help="go on with the comparison in this folder, with its settings")
    group.add_argument("--overwrite", action="store_true", help="remove the comparison that the folder holds")
    group.add_argument(
        "--slurm", metavar="FILE", help="train nothing, but write an array job of Slurm, whose tasks have --jobs cores"
    )
    group.add_argument("--share", type=share, metavar="K/N", help="only every N-th training, from the K-th on, K from 0")
    group.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else")
    group.add_argument("--quiet", action="store_true", help="no progress bar, no line for each training, no tables")


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
        description="Computes K = J J^T, prints its blocks, traces and spectrum, and writes it\n"
        "to an .npz file. With --top only its largest eigenvalues and traces, on any\n"
        "number of points.",
        epilog="examples:\n  pinntk kernel poisson1d --points boundary=100,residual=100 -o K.npz\n"
        "  pinntk kernel burgers --points residual=1000000 --top 50 -o top.npz",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", nargs="?", help="a name from `pinntk problems`, or the path of your own .py file")
    command.add_argument("--run", help="the trained network of this run folder, in place of a fresh one")
    command.add_argument(
        "--infinite",
        action="store_true",
        help="the kernel in the limit of infinite width (NTK parametrization); nonlinear errors are linearized at the exact "
        "solution",
    )
    command.add_argument(
        "--top",
        type=whole_number,
        metavar="K",
        help="the K largest eigenvalues and the exact traces only, on any number of points: no (n, n) array. With -o, what "
        "was stopped or killed goes on by the same command",
    )
    command.add_argument("--max-memory", metavar="SIZE", help="of the process with --top (default: what it holds, and 2GiB)")
    command.add_argument("-o", "--out", help="the .npz file to write (default: none)")
    command.add_argument(
        "--verbose", action="store_true", help="say by which path each condition's J came, and its certificate"
    )
    add_problem_options(command)
    return command


def add_predict(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "predict",
        help="write what a trained network says at points to a .csv, .npz or .vtk file",
        description="Writes the fields of a trained network, also of time slabs, at points of yours\n"
        "or on a grid over the domain. A .csv has a column for each coordinate and\n"
        "field; an .npz an array for each, of a grid in its shape; a .vtk opens in\n"
        "ParaView, with time as its last coordinate.",
        epilog="examples:\n  pinntk predict runs/burgers\n  pinntk predict runs/burgers --grid x=400,t=50 -o burgers.vtk\n"
        "  pinntk predict runs/burgers --points where.csv -o there.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run", help="the run folder")
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--grid",
        nargs="?",
        const="",
        metavar="N",
        help="points along each coordinate, or as in x=200,t=50 (default: 1001 on a line, else 201, at most 10^6 in all)",
    )
    where.add_argument(
        "--points",
        dest="points_file",
        metavar="FILE",
        help="at the points of this .csv, .npy or .npz: columns in the order of the coordinates, or by their names",
    )
    command.add_argument("--averaged", action="store_true", help="of the averaged parameters of a run with --average")
    command.add_argument("-o", "--out", metavar="FILE", help=".csv, .npz or .vtk (default: predicted.csv in the run folder)")
    command.add_argument("--device", default=DEVICE, help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    return command


def add_new(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "new",
        help="write a problem to begin with: a commented file that runs as it is",
        description="Writes a commented file that runs as it is, to be changed into your own problem.",
        epilog="examples:\n  pinntk new my_pde.py\n  pinntk new my_model.py --from deepxde",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", help="the .py file to write; one that is there already is kept")
    command.add_argument(
        "--from", dest="source", choices=SOURCES, help="for a PINN in another package: a script with that and with pinntk"
    )
    return command


def add_rescue(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "rescue",
        help="diagnose a run, train again as prescribed, and compare",
        description="Diagnoses a run, makes the changes that are prescribed, trains again from the\n"
        "start, and so on from the best run, as long as anything untried may help and\n"
        "the budget lasts. Prints all side by side. The run itself stays as it is.\n"
        "Stopped by Ctrl-C, the same command goes on.\n\n"
        "Each training takes at most as many steps as the run. By Gauss-Newton these\n"
        "are at most 100, each as long as tens of Adam's, and in time slabs 25 in each\n"
        "of 8 slabs, up to four times either where one fails. More steps are taken\n"
        "where --prescription names a change that asks for them.",
        epilog="examples:\n  pinntk rescue runs/poisson1d\n  pinntk rescue runs/wave --rounds 5 --seconds 600 -o runs/better",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run", help="the run folder")
    command.add_argument("--prescription", type=int, metavar="N", help="which one to follow, from 1 (default: the first)")
    command.add_argument("--rounds", type=int, metavar="N", help="trainings, at most (default: 3; 1 with --prescription)")
    command.add_argument(
        "--seconds", type="duration", metavar="TIME", help="for all of them (default: 10 times the run's, at least 15m)"
    )
    command.add_argument("-o", "--out", metavar="FOLDER", help="the new run folder (default: RUN-rescued), then FOLDER-2, ...")
    command.add_argument("--device", default=DEVICE, help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    command.add_argument("--quiet", action="store_true", help="no progress bar, and no word of what is tried")
    return command


def add_check(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "check",
        help="what is wrong with a problem, before anything is trained",
        description="Says in seconds what is wrong with a problem: conditions that are missing, that\n"
        "contradict each other, that zero meets or that the known solution violates,\n"
        "and coefficients that nothing determines; and whether the network has the\n"
        "derivatives that they ask for.",
        epilog="examples:\n  pinntk check burgers\n  pinntk check my_pde.py --set speed=2 --activation relu",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("problem", help="a built-in problem, or a .py file with a function problem()")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the problem, as in k=4"
    )
    command.add_argument("--seed", type=seed, help="of the network (default: 0)")
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_network_options(command)
    return command


def add_plot(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser("plot", help="draw the figures of a run folder", description="Draws a run's figures anew.")
    command.add_argument("run", help="the run folder")
    command.add_argument("-o", "--out", help="where to put the PNG files (default: RUN/figures)")
    return command
