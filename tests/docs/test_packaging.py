"""What an installed pinntk holds, and what it shows of itself."""

import re
import sys
from pathlib import Path

import pytest

import pinntk
import pinntk.geometry.mesh
import pinntk.reporting

ROOT = Path(__file__).parents[2]


def test_every_package_is_list():
    """An editable install works without the entry; a wheel would lack the folder."""
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("pinntk/**/__init__.py")]
    assert len(folders) > 5
    assert [name for folder in folders if f'"{(name := ".".join(folder.parts))}"' not in listed] == []


def test_every_file_beside_the_code_is_shipped():
    """The templates, and py.typed: without it a type checker takes an installed pinntk for untyped."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = pyproject.split("[tool.setuptools.package-data]\n")[1].split("\n\n")[0]
    lines = re.findall(r'"(.+?)" = \["(.+?)"\]', table)
    found = {path for package, pattern in lines for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    beside = {path for path in ROOT.glob("pinntk/**/*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert ROOT / "pinntk" / "py.typed" in beside
    assert beside == found


PUBLIC = [name for name, module in sorted(sys.modules.items()) if name.split(".")[0] == "pinntk" and hasattr(module, "__all__")]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_package_lists_its_api_alone(name):
    """What Tab shows after `pinntk.`, and not the modules that it is made of."""
    module = sys.modules[name]
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, part) for part in module.__all__)


def test_every_package_is_among_those():
    """Also those that other packages are needed for: by their sources."""
    assert {"pinntk", "pinntk.nn", "pinntk.solvers", "pinntk.weighting", "pinntk.geometry.mesh", "pinntk.reporting"} <= set(
        PUBLIC
    )
    sources = {path.parent.name: path.read_text(encoding="utf-8") for path in ROOT.glob("pinntk/**/__init__.py")}
    own = "def __dir__() -> list[str]:\n    return __all__\n"
    assert [name for name, text in sources.items() if "__all__" in text and own not in text] == []


MAIN = ("load", "check", "train", "diagnose", "rescue", "kernel", "traces", "posterior", "collocate", "infinite_kernel", "wrap")


@pytest.mark.parametrize("name", MAIN)
def test_the_main_functions_have_an_example(name):
    """Each runs as a doctest."""
    assert ">>> " in (getattr(pinntk, name).__doc__ or "")
