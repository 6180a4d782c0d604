"""`pinntk new`: a problem to begin with, in a file."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pinntk._util.files import replacing

_TEMPLATES = Path(__file__).parent / "templates"
SOURCES = ("deepxde",)


def new(arguments: argparse.Namespace) -> int:
    path = Path(arguments.file)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(f"{path}: a name of letters, digits and _ that ends in .py, as in my_pde.py")
    if path.exists():
        raise FileExistsError(f"{path} is there already; name another file")
    template = _TEMPLATES / f"{arguments.source or 'problem'}.py.txt"
    with replacing(path) as temporary:
        temporary.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    name = shlex.quote(str(path))
    print(f"written to {path}, which runs as it is: make it your own")
    print(f"next: python {name}" if arguments.source else f"next: pinntk check {name}, pinntk train {name}")
    return 0
