"""What shells complete: `shtab` reads it from the actions of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pinntk.problem._registry import available

FOLDER = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d", "fish": "(__fish_complete_directories)"}
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f", "fish": "(__fish_complete_path (commandline -ct))"}


def of_problems() -> Mapping[str, Any]:
    """Names of built-in problems, and files."""
    names = " ".join(available())
    return {
        "bash": "_pinntk_problems",
        "zsh": "_pinntk_problems",
        "tcsh": FILE["tcsh"],
        "fish": f"(string split ' ' '{names}'; __fish_complete_path (commandline -ct))",
        "preamble": {
            "bash": f"_pinntk_problems() {{\n  compgen -W '{names}' -- $1\n  _shtab_compgen_files $1\n}}",
            "zsh": f"_pinntk_problems() {{\n  _alternative 'problems:problem:({names})' 'files:file:_files'\n}}",
        },
    }


def complete(parser: argparse.ArgumentParser) -> None:
    """Marks what is a problem, a run folder or a file, in a parser and its commands."""
    problems = of_problems()
    marks = {"problem": problems, "run": FOLDER, "other": FOLDER, "resume": FOLDER, "out": FILE, "config": FILE}
    marks |= {"figure": FILE, "points_file": FILE, "file": FILE}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                complete(command)
        elif action.dest in marks:
            vars(action)["complete"] = marks[action.dest]
