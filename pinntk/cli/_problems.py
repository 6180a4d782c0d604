"""`pinntk problems`: the registry in lines, or one problem in a page and a picture."""

from __future__ import annotations

import argparse
import shlex
from textwrap import shorten

from pinntk.cli._meaning import load_problem
from pinntk.problem import _registry as registry
from pinntk.reporting import plot
from pinntk.reporting._described import described, dimension

_WIDTH = 80


def problems(arguments: argparse.Namespace) -> int:
    """Lists them, or says what there is to say of one."""
    if arguments.problem is None:
        if arguments.figure or arguments.set or arguments.source:
            option = "--figure" if arguments.figure else "--set" if arguments.set else "--source"
            raise ValueError(
                f"{option} is about one problem: pinntk problems poisson2d {option} ...; the list takes no options"
            )
        _list()
        return 0
    if arguments.source:
        registry.describe(arguments.problem)  # which says what is wrong with a name or a file
        path = registry.source_path(arguments.problem)
        assert path is not None  # it has been read
        print(path.read_text(encoding="utf-8"), end="")
        return 0
    problem = load_problem(arguments)
    drawn = None if arguments.figure is None else plot.write(plot.picture(problem), arguments.figure)
    print(described(problem, registry.docstring(arguments.problem)))
    name = shlex.quote(arguments.problem)
    print()
    print(f"figure in {drawn}" if drawn else f"its points and boundary: pinntk problems {name} --figure FILE.png")
    print(f"its file: pinntk problems {name} --source")
    print(f"next: pinntk check {name}, pinntk train {name}")
    return 0


def _list() -> None:
    """A line each: name, dimension, what it is."""
    names = registry.available()
    sizes = {name: dimension(registry.load(name).domain) for name in names}
    wide, wider = max(map(len, names)), max(map(len, sizes.values()))
    for name in names:
        title = registry.describe(name)[0].partition(" on [")[0].rstrip(".")
        what = shorten(title, _WIDTH - wide - wider - 4, placeholder=" ...", break_on_hyphens=False)
        print(f"{name:<{wide}}  {sizes[name]:<{wider}}  {what}")
