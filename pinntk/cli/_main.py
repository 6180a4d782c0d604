"""The command line: `pinntk new | problems | check | train | solve | compare | diagnose | rescue | predict | kernel | plot`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import traceback
import warnings
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pinntk._util import distributed
from pinntk._util.progress import Progress, say, showing
from pinntk._util.version import __version__
from pinntk.cli._compare import compare
from pinntk.cli._completion import complete
from pinntk.cli._faults import message_of
from pinntk.cli._kernel import kernel_blocks
from pinntk.cli._meaning import load_problem, make_network, usable_device
from pinntk.cli._new import new
from pinntk.cli._options import (
    add_check,
    add_compare,
    add_diagnose,
    add_kernel,
    add_new,
    add_plot,
    add_predict,
    add_problems,
    add_rescue,
    add_solve,
    add_train,
)
from pinntk.cli._parser import Parser
from pinntk.cli._predict import predict
from pinntk.cli._problems import problems
from pinntk.cli._trainings import Trained, load_run, start_solving, start_training
from pinntk.diagnostics import check, diagnose, examine
from pinntk.problem._slabs import slab_name
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot, write_comparison, write_diagnosis, write_report
from pinntk.reporting._html import Diagnosed, distinct_labels
from pinntk.run import MonitorReport, Run
from pinntk.run._folder import COMPARISON, CONFIG, DIAGNOSIS, REPORT
from pinntk.run._slabs import holds_series, run_name
from pinntk.training import Curriculum, Ensemble, Interrupted, Slabs, rescue


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit status.

    That is 0, 1 for a fault in pinntk, 2 for bad input, 130 after Ctrl-C, 141 where nobody reads on.
    """
    words, argv = parser(), sys.argv[1:] if argv is None else argv
    if not argv:
        words.print_help()
        return 0
    arguments = words.read([*argv[1:], "--help"] if argv[0] == "help" else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            # The processes of torchrun share the cells of a comparison, not the points of a training.
            group = nullcontext() if arguments.command is compare else distributed.process_group()
            with group, showing(not getattr(arguments, "quiet", False)):
                status = arguments.command(arguments)
                sys.stdout.flush()
                return status
        except Interrupted as stopped:
            return _complain(str(stopped), 130)
        except KeyboardInterrupt:
            return _complain("stopped", 130)
        except BrokenPipeError:  # the reader of standard output has left, as in `pinntk diagnose RUN | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still unwritten goes nowhere, in silence
            return 141
        except Exception as error:
            message, status = message_of(error)
            if status == 1 or getattr(arguments, "traceback", False):
                traceback.print_exc()
            return _complain(message, status)


def _complain(message: str, status: int) -> int:
    say(f"pinntk: {message}")
    return status


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    say(f"pinntk: warning: {message}")


def parser() -> Parser:
    """All commands with their options, as shtab and `main` read them."""
    built = Parser(
        prog="pinntk",
        description="Why a physics-informed neural network trains badly, and what to change.",
        epilog="first command: pinntk train poisson1d --weighting ntk\nof a command:  pinntk help train",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--version", action="version", version=f"pinntk {__version__}, torch {torch.__version__}")
    built.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    commands = built.add_subparsers(required=True, metavar="COMMAND")
    adders = (
        (add_problems, problems),
        (add_check, _check),
        (add_train, _train),
        (add_solve, _solve),
        (add_compare, compare),
        (add_diagnose, _diagnose),
        (add_rescue, _rescue),
        (add_kernel, kernel_blocks),
        (add_predict, predict),
        (add_new, new),
    )
    for add, action in (*adders, (add_plot, _plot)):
        command = add(commands)
        command.add_argument(
            "--trust", action="store_true", help="run the problem file that a run folder names, although it came from elsewhere"
        )
        command.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.set_defaults(command=action, parser=command)
    complete(built)
    return built


# What is done.


def _check(arguments: argparse.Namespace) -> int:
    problem = load_problem(arguments)
    found = verdict.checked(problem, check(problem, make_network(arguments, problem)))
    print(json.dumps(found, indent=2) if arguments.json else _colored(verdict.checked_text(found), found["findings"]))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    return _finish(start_training(arguments), arguments)


def _solve(arguments: argparse.Namespace) -> int:
    return _finish(start_solving(arguments), arguments)


def _finish(run: Trained, arguments: argparse.Namespace) -> int:
    """Figures and report of a run, or of those of time slabs or stages."""
    if distributed.rank():
        return 0
    if isinstance(run, Slabs):
        return _finish_slabs(run, arguments)
    if isinstance(run, Curriculum):
        return _finish_curriculum(run, arguments)
    if isinstance(run, Ensemble):
        return _finish_ensemble(run, arguments)
    paths = _draw(run)
    if not arguments.quiet:
        _report(run)
        print(f"figures in {paths[0].parent}")
        print(f"next: pinntk diagnose {shlex.quote(str(run.folder))}")
    return 0


def _draw(run: Run, folder: str | None = None) -> list[Path]:
    with Progress("drawing figures"):
        return plot.save(run, folder)


_ENDED = f"{'steps':>8} {'weighted loss':>13} {'relative L2 error':>18}"


def _ended(run: Run) -> str:
    """How one of several runs ended, below `_ENDED`."""
    error = "-" if run.relative_error is None else f"{run.relative_error:.3e}"
    return f"{run.step:>8} {run.history[-1]['loss']:>13.2e} {error:>18}"


def _finish_slabs(found: Slabs, arguments: argparse.Namespace) -> int:
    paths = [_draw(run) for run in found.runs]
    if arguments.quiet:
        return 0
    print(f"{'slab':<10} {'from':>10} {'to':>10} {_ENDED}")
    for run, (one, other) in zip(found.runs, pairwise(found.edges), strict=True):
        name = slab_name(run.problem.slab["number"])
        print(f"{name:<10} {one:>10.4g} {other:>10.4g} {_ended(run)}")
    if found.relative_error is not None:
        print(f"relative L2 error {found.relative_error:.3e} over all of the time{found.problem.remark(found.relative_error)}")
    print(f"figures in {paths[0][0].parent}, and in each slab")
    worst = max(found.runs, key=lambda run: run.history[-1]["loss"])
    print(f"next: pinntk diagnose {shlex.quote(str(worst.folder))}")
    return 0


def _finish_curriculum(found: Curriculum, arguments: argparse.Namespace) -> int:
    paths = _draw(found.run)
    if arguments.quiet:
        return 0
    names = " ".join(f"{name:>10}" for name in found.values)
    print(f"{'stage':<10} {names} {_ENDED}")
    for number, (run, *values) in enumerate(zip(found.runs, *found.values.values(), strict=True)):
        at = " ".join(f"{value:>10.6g}" if isinstance(value, (int, float)) else f"{value!s:>10}" for value in values)
        print(f"{run_name('curriculum', number):<10} {at} {_ended(run)}")
    print(f"figures in {paths[0].parent}")
    print(f"next: pinntk diagnose {shlex.quote(str(found.run.folder))}")
    return 0


def _finish_ensemble(found: Ensemble, arguments: argparse.Namespace) -> int:
    for run in found.runs:
        _draw(run)
    if arguments.quiet:
        return 0
    print(f"{'member':<10} {'seed':>6} {_ENDED}")
    for number, (run, seed) in enumerate(zip(found.runs, found.seeds, strict=True)):
        print(f"{run_name('ensemble', number):<10} {seed:>6} {_ended(run)}")
    if found.relative_error is not None:
        errors = found.relative_errors
        print(f"relative L2 error {median(errors):.3e} in the median, from {min(errors):.3e} to {max(errors):.3e}")
        of_mean = f"{found.relative_error:.3e} of the mean of the fields{found.problem.remark(found.relative_error)}"
        print(f"relative L2 error {of_mean}")
    for name, (mean, spread) in found.coefficients().items():
        print(f"coefficient {name} = {mean:.6g}, standard deviation {spread:.2g}")
    worst = max(found.runs, key=lambda run: run.history[-1]["loss"])
    print(f"next: pinntk diagnose {shlex.quote(str(worst.folder))}")
    return 0


def _report(run: Run) -> None:
    """Final losses, weights and traces as a table, and the error."""
    last = run.history[-1]
    print(f"{'condition':<16} {'points':>7} {'loss':>10} {'weight':>10} {'trace K/n':>11}")
    for name in run.problem.names:
        if f"loss/{name}" not in last:
            continue
        n = len(run.points[name])
        loss, weight, trace = (last[f"{key}/{name}"] for key in ("loss", "weight", "trace"))
        print(f"{name:<16} {n:>7} {loss:>10.2e} {weight:>10.3g} {trace / n:>11.3g}")
    for name in run.problem.coefficients:
        print(f"coefficient {name} = {last[f'coefficient/{name}']:.6g}")
    if run.relative_error is not None:
        after = f"after {run.step} steps, {last['seconds']:.0f} s"
        print(f"relative L2 error {run.relative_error:.3e} {after}{run.problem.remark(run.relative_error)}")
    if (averaged := last.get("averaged/relative_error", last.get("averaged/loss"))) is not None:
        what = "relative L2 error" if "averaged/relative_error" in last else "weighted loss"
        print(f"{what} {averaged:.3e} of the averaged parameters, which pinntk predict --averaged takes")
    if run.stop_reason:
        print(f"stopped: {run.stop_reason}")
    if run.monitor is not None:
        _report_monitor(run.monitor)


def _report_monitor(report: MonitorReport) -> None:
    print(f"monitor: {report.measurements} measurements, {report.diagnoses} diagnoses, {report.share:.1%} of the time")
    if report.broken is not None:
        print(f"first kernel: predicted all losses within 10 % until step {report.horizon}, not at {report.broken}")
    elif report.horizon is not None:
        print(f"first kernel: predicted all losses within 10 % until step {report.horizon}")
    if report.warned:
        print(f"found while training: {', '.join(report.warned)}; see pinntk diagnose")


def _rescue(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.run)
    folder = folder.resolve() if folder.name in ("", "..") else folder
    out = Path(arguments.out or folder.with_name(f"{folder.name}-rescued"))
    if out.exists() and any(out.iterdir()) and not ((out / CONFIG).exists() or holds_series(out)):
        raise FileExistsError(f"{out} holds something else than a run; name another folder with -o")
    rescued = rescue(
        load_run(folder, arguments),
        prescription=arguments.prescription,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        out=out,
        device=usable_device(arguments.device),
        progress=not arguments.quiet,
    )
    for this in rescued.rounds:
        for trained in () if this.run is None else this.run.runs if isinstance(this.run, Slabs) else (this.run,):
            _draw(trained)
    print(rescued)
    if isinstance(rescued.after, Slabs):
        print(f"figures in each slab's folder in {rescued.after.folder}")
    elif rescued.after is not rescued.before:
        command = ["pinntk", "diagnose", str(folder), str(rescued.after.folder)]
        print(f"figures in {rescued.after.folder}; compare with: {shlex.join(command)}")
    return 0


def _diagnose(arguments: argparse.Namespace) -> int:
    if arguments.other is not None:
        return _diagnose_both(arguments)
    diagnosed = _diagnose_run(arguments.run, arguments)
    found = verdict.diagnosis(*diagnosed)
    with Progress("writing the report"):
        path = write_report(_report_path(arguments, Path(arguments.run), REPORT), *diagnosed)
    written = write_diagnosis(path.with_name(DIAGNOSIS), found)
    print(json.dumps(found, indent=2) if arguments.json else _colored(verdict.text(found), found["findings"]))
    if not arguments.json:
        print(f"\nreport in {path}\nnumbers in {written}")
    return 0


def _diagnose_both(arguments: argparse.Namespace) -> int:
    both = [_diagnose_run(folder, arguments) for folder in (arguments.run, arguments.other)]
    found = [verdict.diagnosis(*diagnosed) for diagnosed in both]
    with Progress("writing the report"):
        path = write_comparison(_report_path(arguments, Path(arguments.other), COMPARISON), *both)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print(verdict.comparison_text(verdict.comparison_rows(*found), distinct_labels([arguments.run, arguments.other])))
        print(f"\nreport in {path}")
    return 0


def _diagnose_run(folder: str, arguments: argparse.Namespace) -> Diagnosed:
    run = load_run(folder, arguments)
    if run.stop_reason:
        say(f"pinntk: {folder} stopped after {run.step} steps: {run.stop_reason}")
    x = examine(run)
    return x, diagnose(x)


def _report_path(arguments: argparse.Namespace, folder: Path, name: str) -> Path:
    """-o is a file if it ends in .html, else a folder."""
    out = folder if arguments.out is None else Path(arguments.out)
    return out if out.suffix == ".html" and not out.is_dir() else out / name


def _colored(text: str, findings: list[dict[str, Any]]) -> str:
    """The severities in color, for a person at a terminal who has not set NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    colors = {"critical": 31, "warning": 33, "note": 34}
    for severity in {finding["severity"] for finding in findings}:
        head = f"{severity.upper()}:"
        text = text.replace(f"\n{head}", f"\n\033[1;{colors[severity]}m{head}\033[0m")
    return text


def _plot(arguments: argparse.Namespace) -> int:
    for path in _draw(load_run(arguments.run, arguments), arguments.out):
        print(path)
    return 0
