"""Every public function on a device: the pretend one on any machine, and CUDA where there is a GPU.

The tests are those in device_*.py. They run in a process of their own, one for each device, since a device registered in Python
stays registered; each is reported here under its own name.
"""

import ast
import os
import re
import subprocess
import sys
import types
from functools import cache
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import pinntk
import pinntk.ntk
import pinntk.reporting.plot
from pinntk._util import distributed
from pinntk.cli._meaning import usable_device
from pinntk.residuals import check_network
from tests.device.on_device import COVERED

pytestmark = pytest.mark.xdist_group("device")  # one worker, for what they share

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("device_*.py"))
TESTS = {
    f"{path.stem}::{node.name}": node
    for path in FILES
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}
NAMES = [name for name, node in TESTS.items() if "pytest.mark.slow" not in map(ast.unparse, node.decorator_list)]
MODULES = (pinntk, pinntk.ntk, pinntk.solvers, pinntk.weighting, pinntk.nn, pinntk.reporting.plot)
DEVICES = [
    "pretend",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@cache
def outcomes(device: str, folder: Path, marked: str = "not slow") -> dict[str, list[str]]:
    """{test: what went wrong in each of its cases that are marked so, "" where nothing did}."""
    report, paths = folder / f"{device}.xml", [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PINNTK_TEST_DEVICE": device, "PYTHONPATH": os.pathsep.join(paths)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        marked,
        "-p",
        "tests.device.on_device",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    ran = subprocess.run([*command, *map(str, FILES)], cwd=HERE.parents[1], env=environment, capture_output=True, text=True)
    assert report.exists(), ran.stdout + ran.stderr
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}::{case.get('name').partition('[')[0]}"
        wrong = [f"{case.get('name')}\n{part.text}" for kind in ("failure", "error") for part in case.findall(kind)]
        found.setdefault(name, []).append("\n".join(wrong))
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("device")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_on(device, name, folder):
    cases = outcomes(device, folder)[name]
    assert not any(cases), "\n\n".join(filter(None, cases))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_the_slow_ones_on(device, tmp_path):
    found = outcomes(device, tmp_path, "slow")
    wrong = [text for cases in found.values() for text in cases if text]
    assert found and not wrong, "\n\n".join(wrong)


# Public names that no covers(...) marks, and why.
WITHOUT_DEVICE = {
    pinntk.Points: "a type for annotations",
    pinntk.GridSolution: "numpy arrays; problems with one are in test_every_registered_problem",
    pinntk.Condition: "what decorators make; test_a_problem_takes_measurements_from_the_device",
    pinntk.UnsupportedOperationError: "an exception, warned of and caught; test_kernels_of_every_network",
    pinntk.EarlyStopping: "reads numbers of a history",
    pinntk.TrainingWarning: "a warning's class; test_a_watched_training",
    pinntk.BusyFolderError: "an exception about files",
    pinntk.UntrustedFileError: "an exception about files",
    pinntk.solvers.is_solver: "looks at a name",
    pinntk.solvers.Solver: "a type for annotations; those in SOLVERS are tested",
    pinntk.weighting.Weighting: "a type for annotations; those in SCHEMES are tested",
    pinntk.weighting.Combiner: "what three of SCHEMES are, which are tested",
    pinntk.weighting.WeightComparison: "numbers of Python; test_what_rules_would_give",
}
TABLES = (pinntk.nn.NETWORKS, pinntk.weighting.SCHEMES, pinntk.solvers.SOLVERS)  # of classes that are public themselves


def public() -> dict[str, object]:
    """Every public name but those of modules, and the version."""
    named = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in MODULES
        for name in module.__all__
        if name != "__version__"
    }
    return {name: part for name, part in named.items() if not isinstance(part, types.ModuleType)}


def covered() -> dict[int, list[str]]:
    for path in FILES:
        import_module(f"tests.device.{path.stem}")
    return COVERED


def test_every_public_name_has_a_test_on_a_device():
    excused = [*map(id, WITHOUT_DEVICE), *map(id, TABLES)]
    missing = [name for name, part in public().items() if id(part) not in covered() and id(part) not in excused]
    assert not missing, f"no test in device_*.py covers {missing}"
    assert not set(covered()) & set(excused)


def test_a_test_mentions_what_it_covers():
    trainings = (HERE / "trainings.py").read_text()
    sources = {path.stem: re.sub(r"@covers\(.*\)", "", path.read_text()) for path in FILES}
    sources = {stem: text + trainings * ("tests.device.trainings" in text) for stem, text in sources.items()}
    for name, part in public().items():
        for test in covered().get(id(part), []):
            word = name.rpartition(".")[2]
            file = test.partition("::")[0].rpartition(".")[2]
            assert re.search(rf"\b{word}\b", sources[file]), f"{test} says that it covers {word}"


def test_this_process_has_no_such_device():
    with pytest.raises(RuntimeError, match="pretend"):
        torch.empty(1, device="pretend")


def test_a_network_on_mps_is_refused():
    class Elsewhere(nn.Module):
        def parameters(self, recurse=True):
            return iter([types.SimpleNamespace(device=torch.device("mps"))])

    problem = pinntk.load("poisson1d")
    with pytest.raises(ValueError, match=r"on 'mps', which has no float64.*call network.cpu\(\)"):
        check_network(Elsewhere(), problem, problem.sample(residual=3))


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "world", lambda: 3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert usable_device("cuda") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="--device cuda:0: each process needs a GPU of its own; use --device cuda"):
        usable_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU of its own among 2; start 2 or use the CPU"):
        usable_device("cuda")


def test_no_generator_of_another_device_is_touched(monkeypatch):
    """`torch.manual_seed` would seed them all, and only the network's device gets its state back."""
    monkeypatch.setattr(torch, "manual_seed", None)
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=3, depth=1)
    state = torch.get_rng_state()
    pinntk.train(problem, network, steps=1, points={"residual": 3, "boundary": 2}, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
