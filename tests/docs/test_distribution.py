"""A release, built and used as a stranger would: sdist, the wheel from it, a clean environment, an empty folder.

    python -m pytest -q -m slow tests/docs/test_distribution.py

Needs the network, for the dependencies, and some minutes.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
FOLDERS = ("pinntk", "problems", "tests", "scripts", "docs", "examples")
PROGRAM = """
import pinntk
from pinntk.geometry import Disk
from pinntk.reporting import write_report
problem = pinntk.load("poisson_holes")
network = pinntk.nn.MLP(problem, width=4, depth=1)
points = problem.sample(residual=10, boundary=10)
print(pinntk.kernel(network, problem, points)._repr_html_()[:20], Disk(x=0, y=0, radius=1).describe(), len(pinntk.available()))
"""


def run(*command, cwd):
    """In an environment without this one's paths."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    ran = subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True)
    assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout


def environment(folder):
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def _left_out(path, names):
    linked = {"problems"} if Path(path) == ROOT / "pinntk" else set()  # by who works in a checkout that is not installed
    return IGNORED(path, names) | linked


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_left_out)
    shutil.copytree(ROOT / ".ci", source / ".ci")
    programs = environment(folder / "builder")
    run(programs / "python", "-m", "pip", "install", "-q", "build", cwd=folder)
    run(programs / "python", "-m", "build", "--outdir", folder / "out", source, cwd=folder)
    (sdist,), (wheel,) = (folder / "out").glob("*.tar.gz"), (folder / "out").glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_the_sdist_has_what_the_tests_need(dist):
    with tarfile.open(dist[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc" and path.is_file()]
    files = {path.relative_to(ROOT).as_posix() for path in wanted if ROOT / "pinntk" / "problems" not in path.parents}
    assert sorted(files - held) == []
    assert {"CHANGELOG.md", "CITATION.cff", "constraints-oldest.txt", "conda/recipe.yaml", ".ci/run"} <= held


@pytest.mark.slow
def test_the_wheel_has_the_package_and_the_problems_alone(dist):
    with zipfile.ZipFile(dist[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    beside = {path for path in (ROOT / "pinntk").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    beside = {path for path in beside if ROOT / "pinntk" / "problems" not in path.parents}
    files = {path.relative_to(ROOT).as_posix() for path in beside} | {
        f"pinntk/problems/{path.name}" for path in (ROOT / "problems").glob("*.py")
    }
    assert held == files


@pytest.mark.slow
def test_a_clean_environment_runs_it(dist, tmp_path):
    programs, empty = environment(tmp_path / "venv"), tmp_path / "empty"
    empty.mkdir()
    run(programs / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", dist[1], cwd=empty)
    run(programs / "python", "-m", "pip", "check", cwd=empty)
    said = run(programs / "python", "-c", PROGRAM, cwd=empty)
    assert "pinntk" in said and "disk of radius 1" in said
    assert said.split()[-1] == str(len(list((ROOT / "problems").glob("*.py"))))
    assert "poisson1d" in run(programs / "pinntk", "problems", cwd=empty)
    run(programs / "pinntk", "train", "poisson1d", "--steps", "3", "-o", "run", cwd=empty)
    run(programs / "pinntk", "diagnose", "run", cwd=empty)
    assert (empty / "run" / "report.html").stat().st_size > 10_000
