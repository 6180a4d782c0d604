"""docs/MISTAKES.md: its blocks of output, by making the mistakes. `python scripts/mistakes_page.py` writes it anew.

A block of commands follows a paragraph, which says what stands in the problem's file in place of what; a comment above the
block says what else is so, or that it is slow.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import fill

import torch

import pinntk
from pinntk.cli import main as command
from pinntk.run._folder import lock_folder

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "MISTAKES.md"
BLOCK = re.compile(
    r"(?P<before>[^\n]*(?:\n[^\n]+)*\n\n)(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<kind>console|pycon)\n(?P<said>.*?)```",
    re.DOTALL,
)
INSTEAD = re.compile(r"`([^`]+)`\s+in\s+place\s+of\s+`([^`]+)`")
WIDTH = 80


def folder_of_a_newcomer(folder: Path) -> None:
    """The README's file, a run of it, and what else the page names."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (folder / "my_pde.py").write_text(re.search(r"```python\n(# my_pde.py.*?)```", readme, re.DOTALL)[1], encoding="utf-8")
    problem = pinntk.load(folder / "my_pde.py")
    network = pinntk.nn.MLP(problem, width=8, depth=1)
    points = {"residual": 20, "initial": 10, "boundary": 10}
    pinntk.train(problem, network, steps=4, points=points, out=folder / "runs" / "mine", progress=False)
    (folder / "empty").mkdir()
    (folder / "notes").write_text("of mine\n")
    (folder / "wrong.csv").write_text("a,b\n0.5,1\n")
    (folder / "outside.csv").write_text("t,x\n0.5,1\n0.5,7\n")


@contextlib.contextmanager
def mistake(note: str | None, before: str) -> Iterator[None]:
    """What a paragraph and a comment say, in the folder of a newcomer, and put right afterwards."""
    file, checkpoint = Path("my_pde.py"), Path("runs/mine/checkpoint.pt")
    text, saved = file.read_text(encoding="utf-8"), checkpoint.read_bytes()
    changed = text
    for new, old in INSTEAD.findall(before):
        if old not in changed:
            raise ValueError(f"my_pde.py has no {old!r}")
        changed = changed.replace(old, new)
    try:
        file.write_text(changed, encoding="utf-8")
        with contextlib.ExitStack() as held:
            if note == "while another trains in runs/mine":
                held.enter_context(lock_folder(Path("runs/mine")))
            elif note == "after half of runs/mine/checkpoint.pt is lost":
                checkpoint.write_bytes(saved[: len(saved) // 2])
            elif note == "without my_pde.py":
                file.unlink()
            elif note not in (None, "slow"):
                raise ValueError(f"the comment {note!r} says nothing that is known here")
            yield
    finally:
        file.write_text(text, encoding="utf-8")
        checkpoint.write_bytes(saved)


def typed(line: str) -> str:
    """What a command prints, both streams."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard), contextlib.suppress(SystemExit):
        command(shlex.split(line)[1:])
    return heard.getvalue()


def folded(said: str) -> str:
    """Lines that are longer than the terminal is wide, as several."""
    fold = {"width": WIDTH, "subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
    return "".join(f"{line if len(line) <= WIDTH else fill(line, **fold)}\n" for line in said.splitlines())


def called(line: str, names: dict) -> str:
    """What an interactive Python prints, of an error its last line."""
    try:
        exec(line, names)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n"
    return ""


def answered(block: re.Match[str], here: str) -> str:
    """A block's text with what is said now, in the folder `here`."""
    prompt = "$ " if block["kind"] == "console" else ">>> "
    lines = [line for line in block["said"].splitlines() if line.startswith(prompt)]
    answer: Callable[[str], str] = typed
    if block["kind"] == "pycon":
        problem = pinntk.load("my_pde.py")
        names = {"pinntk": pinntk, "torch": torch, "problem": problem, "network": pinntk.nn.MLP(problem, width=8, depth=1)}
        answer = lambda line: called(line, names)  # noqa: E731
    with mistake(block["note"], block["before"]):
        said = {line: answer(line.removeprefix(prompt)).replace(here, "/home/you") for line in lines}
    return "".join(f"{line}\n{folded(text)}" for line, text in said.items())


@contextlib.contextmanager
def newcomer() -> Iterator[None]:
    """In a folder of its own, at a terminal of 80 columns."""
    before, columns = Path.cwd(), os.environ.get("COLUMNS")
    with tempfile.TemporaryDirectory() as name:
        folder_of_a_newcomer(Path(name))
        os.chdir(name)
        os.environ["COLUMNS"] = str(WIDTH)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.pop("COLUMNS")
            if columns is not None:
                os.environ["COLUMNS"] = columns


def rewritten(text: str, slow: bool = True) -> str:
    """The page with all blocks made anew, or those that are not slow."""
    here = os.path.realpath(Path.cwd())

    def block(match: re.Match[str]) -> str:
        if match["note"] == "slow" and not slow:
            return match[0]
        said = answered(match, here)
        return match[0].replace(f"\n{match['said']}```", f"\n{said}```")

    return BLOCK.sub(block, text)


def main() -> None:
    os.environ.setdefault("PINNTK_STATE", tempfile.mkdtemp())
    with newcomer():
        text = rewritten(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
