"""The shape of the code, read from its sources: what docs/ARCHITECTURE.md and CONTRIBUTING.md promise of all of pinntk/.

Every check takes modules and returns complaints; each is also fed a made-up package that breaks its rule once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import FAST, FILES

ROOT = Path(__file__).parents[1]
ROOMS = [  # a room imports from those before it
    "_util",
    "geometry",
    "taylor",
    "problem",
    "residuals",
    "nn",
    "ntk",
    "weighting",
    "solvers",
    "gaussian",
    "run",
    "diagnostics",
    "training",
    "comparison",
    "reporting",
    "integrations",
    "cli",
]
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 60, 13  # a Problem has the most


class Module(NamedTuple):
    name: str  # pinntk.ntk._blocks
    source: str
    tree: ast.Module
    is_package: bool

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        """The package below pinntk; "" for pinntk itself and its __main__."""
        return ".".join(self.package.split(".")[1:2])


Modules = Mapping[str, Module]


def modules_of(sources: Mapping[str, str]) -> dict[str, Module]:
    """From sources by file name, as in {"pinntk/ntk/_blocks.py": "import torch"}."""
    found = {}
    for file, source in sources.items():
        *folders, stem = Path(file).with_suffix("").parts
        name = ".".join(folders if stem == "__init__" else [*folders, stem])
        found[name] = Module(name, source, ast.parse(source), stem == "__init__")
    return found


def imports(module: Module, modules: Modules) -> set[str]:
    """The modules of pinntk that it imports; a package where the name is not a module of its own."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.package.split(".")
            base = (
                ".".join([*above[: len(above) - node.level + 1], *([node.module] if node.module else [])])
                if node.level
                else node.module
            )
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else base for name in names}
    return {name for name in found if name.split(".")[0] == "pinntk"}


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions with their names, as Class.method and outer.inner."""
    for node in ast.iter_child_nodes(tree):
        name = inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, node
        yield from functions(node, name)


def imports_against_the_order(modules: Modules) -> Iterator[tuple[str, str]]:
    for module in modules.values():
        if module.room and module.room not in ROOMS:
            yield module.name, f"the room {module.room} has no place in the order of imports"
        elif module.room:
            for other in imports(module, modules):
                room = ".".join(other.split(".")[1:2])
                if room not in ROOMS or ROOMS.index(room) > ROOMS.index(module.room):
                    yield module.name, f"imports {other}"


def circles(modules: Modules) -> Iterator[tuple[str, str]]:
    """Modules that reach themselves; a package counts for what its __init__ imports."""
    after = {name: imports(module, modules) & modules.keys() - {name} for name, module in modules.items()}
    for name in modules:
        reached, ahead = set(), [name]
        while ahead:
            new = after[ahead.pop()] - reached
            reached |= new
            ahead.extend(new)
        if name in reached:
            yield name, "imports itself by way of others"


def late_imports(modules: Modules) -> Iterator[tuple[str, str]]:
    for module in modules.values():
        branches = [node for node in module.tree.body if isinstance(node, ast.If)]  # of operating systems, of type checkers
        at_the_top = {id(node) for part in (module.tree, *branches) for node in (*part.body, *getattr(part, "orelse", ()))}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in at_the_top:
                yield module.name, f"imports in line {node.lineno}, not at its top"


def long_modules(modules: Modules) -> Iterator[tuple[str, str]]:
    for module in modules.values():
        if (lines := len(module.source.splitlines())) > LONGEST_MODULE:
            yield module.name, f"has {lines} lines"


def long_functions(modules: Modules) -> Iterator[tuple[str, str]]:
    """Without its docstring and decorators; with its signature."""
    for module in modules.values():
        for name, node in functions(module.tree):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > LONGEST_FUNCTION:
                yield module.name, f"{name} has {lines} lines"


def many_parameters(modules: Modules) -> Iterator[tuple[str, str]]:
    """Of public functions, methods and constructors. A dataclass's fields do not count."""
    for module in modules.values():
        for name, node in functions(module.tree):
            *_, last = name.split(".")
            if any(part.startswith("_") for part in name.split(".") if part != "__init__"):
                continue
            taken = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")
            ]
            if len(taken) > MOST_PARAMETERS:
                yield (
                    module.name,
                    f"{name if last != '__init__' else name.removesuffix('.__init__')} has {len(taken)} parameters",
                )


def open_names(modules: Modules) -> Iterator[tuple[str, str]]:
    """Rooms are used by their __init__, so their modules have underscores."""
    for module in modules.values():
        if not module.is_package and module.room not in ("", "_util") and not module.name.split(".")[-1].startswith("_"):
            yield module.name, "has no underscore"


def shadowed_names(modules: Modules) -> Iterator[tuple[str, str]]:
    """`import pinntk.a.b` and `pinntk.a.b` would be two things."""
    for module in modules.values():
        held = {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        if (own := module.name.split(".")[-1]) in held:
            yield module.name, f"is named like its own {own}"
        if module.is_package:
            for node in module.tree.body:
                for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                    inside = f"{module.name}.{alias.asname or alias.name}"
                    if inside in modules and f"{node.module}.{alias.name}" != inside:
                        yield module.name, f"{inside} is a module and an imported name"


def prints(modules: Modules) -> Iterator[tuple[str, str]]:
    """And reads of argv, and of what is typed."""
    for module in modules.values():
        for node in ast.walk(module.tree) if module.room not in ("", "cli") else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"):
                yield module.name, f"calls {node.func.id} in line {node.lineno}"
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.argv", "sys.stdout", "sys.stdin"):
                yield module.name, f"uses {ast.unparse(node)} in line {node.lineno}"


def drawing_elsewhere(modules: Modules) -> Iterator[tuple[str, str]]:
    """Matplotlib is slow to import and has global settings: only reporting.plot may."""
    for module in modules.values():
        for node in ast.walk(module.tree) if module.package != "pinntk.reporting.plot" else ():
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "matplotlib" for name in names):
                yield module.name, f"imports matplotlib in line {node.lineno}"


def undocumented(modules: Modules) -> Iterator[tuple[str, str]]:
    """Modules, and the classes and functions that an __init__ hands on."""
    for module in modules.values():
        if ast.get_docstring(module.tree) is None and module.name != "pinntk.__main__":
            yield module.name, "has no docstring"
        for node in module.tree.body if module.is_package else ():
            source = modules.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            names = {alias.name for alias in node.names} if source else ()
            for held in source.tree.body if source else ():
                if isinstance(held, ast.FunctionDef | ast.ClassDef) and held.name in names:
                    summary = (ast.get_docstring(held) or "").partition("\n\n")[0]
                    if "\n" in summary or not summary:
                        yield source.name, f"{held.name} has no docstring that starts with one line"


Check = Callable[[Modules], Iterable[tuple[str, str]]]
DOC = '"""What it holds."""\n'

# By check: a package that breaks the rule, and the complaint. What stands beside the culprit is allowed.
BROKEN: dict[Check, tuple[dict[str, str], tuple[str, str]]] = {
    imports_against_the_order: (
        {
            "pinntk/__init__.py": "from pinntk.run import Run",
            "pinntk/problem/__init__.py": "from pinntk.taylor import Jet\nimport pinntk.run",
            "pinntk/taylor/__init__.py": "import torch",
            "pinntk/run/__init__.py": "",
        },
        ("pinntk.problem", "imports pinntk.run"),
    ),
    circles: (
        {
            "pinntk/ntk/__init__.py": "from pinntk.ntk._gram import gram\nfrom pinntk.ntk import _gram",
            "pinntk/ntk/_gram.py": "from . import _store",
            "pinntk/ntk/_store.py": "from pinntk.ntk import _store",
            "pinntk/nn/__init__.py": "from pinntk.nn._mlp import MLP",
            "pinntk/nn/_mlp.py": "from pinntk.nn import MLP",
        },
        ("pinntk.nn._mlp", "imports itself by way of others"),
    ),
    late_imports: (
        {"pinntk/nn/_mlp.py": "import torch\ndef f():\n    import math"},
        ("pinntk.nn._mlp", "imports in line 3, not at its top"),
    ),
    long_modules: (
        {"pinntk/nn/_mlp.py": "\n" * 400, "pinntk/nn/_fno.py": "\n" * 401},
        ("pinntk.nn._fno", "has 401 lines"),
    ),
    long_functions: (
        {
            "pinntk/nn/_fno.py": "def f():\n" + '    """' + "\n" * 5 + '"""\n' + "    f()\n" * 59,
            "pinntk/nn/_mlp.py": "class A:\n    def f(self):\n        def g():\n"
            + "            f()\n" * 60
            + "        g()\n" * 0,
        },
        ("pinntk.nn._mlp", "A.f.g has 61 lines"),
    ),
    many_parameters: (
        {
            "pinntk/nn/_fno.py": f"def f({', '.join('abcdefghijklm')}): pass\ndef _g({', '.join('abcdefghijklmn')}): pass",
            "pinntk/nn/_mlp.py": f"class A:\n    def __init__(self, *, {', '.join('abcdefghijklmn')}): pass",
        },
        ("pinntk.nn._mlp", "A has 14 parameters"),
    ),
    open_names: (
        {"pinntk/__main__.py": "", "pinntk/_util/files.py": "", "pinntk/nn/__init__.py": "", "pinntk/nn/mlp.py": ""},
        ("pinntk.nn.mlp", "has no underscore"),
    ),
    shadowed_names: (
        {
            "pinntk/__init__.py": "from pinntk import nn\nfrom pinntk.ntk._gram import gram as nn",
            "pinntk/nn/__init__.py": "",
            "pinntk/ntk/_gram.py": "def gram(): pass",
        },
        ("pinntk", "pinntk.nn is a module and an imported name"),
    ),
    prints: (
        {"pinntk/cli/_main.py": "print(1)", "pinntk/run/_run.py": "class A:\n    def f(self):\n        print(1)"},
        ("pinntk.run._run", "calls print in line 3"),
    ),
    drawing_elsewhere: (
        {"pinntk/reporting/plot/_panel.py": "import matplotlib", "pinntk/run/_run.py": "from matplotlib import pyplot"},
        ("pinntk.run._run", "imports matplotlib in line 1"),
    ),
    undocumented: (
        {
            "pinntk/nn/__init__.py": DOC + "from pinntk.nn._mlp import MLP",
            "pinntk/nn/_mlp.py": DOC + "class MLP:\n    '''Two\n    lines.'''\nclass Helper: pass",
        },
        ("pinntk.nn._mlp", "MLP has no docstring that starts with one line"),
    ),
}


@pytest.fixture(scope="module")
def library() -> Modules:
    files = sorted((ROOT / "pinntk").rglob("*.py"))
    return modules_of({path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files})


@pytest.mark.parametrize("check", BROKEN, ids=lambda check: check.__name__)
def test_the_library_has_no(check: Check, library: Modules):
    assert {module.room for module in library.values()} == {"", *ROOMS}
    assert list(check(library)) == []


@pytest.mark.parametrize("check", BROKEN, ids=lambda check: check.__name__)
def test_a_package_is_seen_to_have(check: Check):
    sources, complaint = BROKEN[check]
    culprits = set(check(modules_of(sources)))
    assert complaint in culprits
    assert {module for module, _ in culprits} <= {complaint[0], complaint[0].rpartition(".")[0]}


def test_a_module_named_like_its_function_is_seen():
    found = list(shadowed_names(modules_of({"pinntk/ntk/gram.py": "def gram(): pass"})))
    assert found == [("pinntk.ntk.gram", "is named like its own gram")]


def test_the_map_names_every_module_and_no_other(library: Modules):
    """docs/ARCHITECTURE.md: the order of rooms, every module, and only files that there are."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    order = re.search(r"The order of imports is\n\n([^.]*?)\n\n", text)
    assert order is not None
    assert re.findall(r"`(\w+)`", order[1]) == ROOMS
    named = set(re.findall(r"`(?:[\w.]+\.)?(_?\w+)`", text)) | set(re.findall(r"(_?\w+)\.py`", text))
    modules = {module.name.split(".")[-1] for module in library.values() if not module.is_package} - {"__main__"}
    assert sorted(modules - named) == []
    files = [file for file in re.findall(r"`((?:\w+/)+\w+\.py)`", text) if "NAME" not in file]
    assert files
    assert [file for file in files if not (ROOT / "pinntk" / file).is_file() and not (ROOT / file).is_file()] == []
    private = set(re.findall(r"`(_[a-z]\w*)`", text)) - set(ROOMS)
    assert sorted(private - modules - {path.stem for path in (ROOT / "scripts").glob("*.py")}) == []


def test_the_map_draws_the_arrows_that_there_are(library: Modules):
    """All imports between rooms, without those that follow from others."""
    arrows: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in library.values():
        if module.room:
            arrows[module.room] |= {other.split(".")[1] for other in imports(module, library)} - {module.room}
    below: dict[str, set[str]] = {}
    for room in ROOMS:
        below[room] = arrows[room].union(*(below[other] for other in arrows[room]))
    direct = {(low, room) for room in ROOMS for low in arrows[room] if not any(low in below[o] for o in arrows[room])}
    drawn = re.findall(r"^ +(\w+) --> (\w+)$", (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(drawn) == direct


def test_the_fast_set_reaches_every_room():
    assert {room.removeprefix("_") for room in ROOMS} <= set(FAST)
    assert [file for file in FILES if not file.is_file()] == []
