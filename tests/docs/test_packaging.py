"""What an installed pinntk holds, and what it shows of itself."""

import re
import sys
from pathlib import Path

import pytest
from packaging.version import Version

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


# What stands in several files.

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
VERSION = re.search(r'^version = "(.+)"$', PYPROJECT, re.MULTILINE)[1]
OF_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def test_one_version_everywhere():
    assert re.search(rf"^version: {re.escape(VERSION)}$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert f'  version: "{VERSION}"\n' in (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")


def test_the_changelog_goes_by_version_newest_first():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    found = [re.fullmatch(r"(\d+\.\d+\.\d+)( \(unreleased\))?", head) for head in heads]
    versions = [Version(match[1]) for match in found]
    assert versions == sorted(set(versions), reverse=True)
    assert versions[0] == Version(Version(VERSION).base_version)
    assert [bool(match[2]) for match in found] == [Version(VERSION).is_prerelease] + [False] * (len(heads) - 1)


def test_conda_needs_what_pip_needs():
    table = PYPROJECT.split("\ndependencies = [\n")[1].split("\n]")[0]
    needed = {OF_CONDA.get(name, name): least for name, least in re.findall(r'"([\w-]+)>=([\d.]+)"', table)}
    recipe = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8").split("  run:\n")[1].split("\n\n")[0]
    asked = dict(re.findall(r"- ([\w-]+) >=([\d.]+)", recipe))
    assert len(needed) > 5 and asked == needed


def test_the_oldest_versions_are_those_that_are_promised():
    """CI runs the suite with constraints-oldest.txt: every lower bound of pyproject.toml is in it, as it is."""
    table = PYPROJECT.split("\ndependencies = [\n")[1].partition("\n[project.scripts]")[0].split("\ndev = ")[0]
    promised = dict(re.findall(r'"([\w-]+)>=([\d.]+)', table))
    pinned = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    oldest = dict(re.findall(r"^([\w-]+)==([\d.]+)$", pinned, re.MULTILINE))
    assert {"torch", "shapely", "trimesh", "pytest"} <= set(promised)
    assert {name: Version(oldest[name]) for name in promised} == {name: Version(least) for name, least in promised.items()}
