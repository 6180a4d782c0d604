from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import pinntk
from pinntk.problem import _registry as registry

OWN = '''"""Heat: u_t = a u_xx."""
from torch import sin
from pinntk import Box, Problem, boundary, initial, residual


def problem(a: float = {a}) -> Problem:
    domain = Box(t=(0, 1), x=(0, 1))

    @residual(domain)
    def heat(u_t, u_xx):
        return u_t - a * u_xx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(3.14159 * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    return Problem(domain, [heat, start, walls])
'''


def test_load_sets_name_parameters_and_source():
    problem = pinntk.load("poisson1d", k=2)
    assert (problem.name, problem.parameters, problem.source) == ("poisson1d", {"k": 2}, "poisson1d")
    assert pinntk.load("poisson1d").parameters == {"k": 4}


def test_every_load_is_fresh():
    first, second = pinntk.load("heat_inverse"), pinntk.load("heat_inverse")
    with torch.no_grad():
        first.coefficients["kappa"].fill_(9.0)
    assert second.coefficients["kappa"].item() == 1.0


def test_a_file_of_ones_own_never_meets_the_builtin_of_that_name(tmp_path):
    path = tmp_path / "burgers.py"
    path.write_text(OWN.format(a=1.0))
    own = pinntk.load(path, a=2.0)
    assert own.names == ("heat", "start", "walls")
    assert own.source == str(path)
    assert pinntk.load("burgers").names == ("burgers", "start", "walls")


def test_an_edited_file_is_read_again(tmp_path):
    import os

    path = tmp_path / "mine.py"
    path.write_text(OWN.format(a=1.0))
    assert pinntk.load(path).parameters == {"a": 1.0}
    path.write_text(OWN.format(a=5.0))
    os.utime(path, ns=(1, 1))
    assert pinntk.load(path).parameters == {"a": 5.0}


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ("poison1d", {}, "problem 'poison1d' is unknown; did you mean 'poisson1d'"),
        ("poisson1d", {"kk": 1}, "poisson1d has no parameter 'kk'; it has k = 4; did you mean 'k'"),
        ("nowhere/mine.py", {}, "no such file"),
    ],
)
def test_unknown_names(arguments, settings, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("?", r"\?")):
        pinntk.load(arguments, **settings)


def test_files_that_are_no_problem(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"mine.py defines no function problem\(\)"):
        pinntk.load(path)
    path.write_text("def problem():\n    return 3  # longer\n")
    with pytest.raises(ValueError, match="returned int"):
        pinntk.load(path)


@pytest.mark.parametrize("text", ["network, problem, points = 1, 2, 3\n", "def train():\n    problem_of_mine = 1\n"])
def test_a_script_without_a_problem_is_not_run(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(f"{text}raise SystemExit('it was run')\n")
    with pytest.raises(ValueError, match=r"script.py defines no function problem\(\), .*pinntk.wrap"):
        pinntk.load(path)


MADE = "import pinntk\n\ndef make():\n    return pinntk.load('poisson1d')\n\n"


@pytest.mark.parametrize(
    "text", ["problem = make\n", "if True:\n    problem = make\n", "globals()['problem'] = make\n", "exec('problem = make')\n"]
)
def test_a_problem_may_be_bound_in_any_way(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(MADE + text)
    assert pinntk.load(path).names == ("poisson", "ends")


def test_settings_from_text():
    assert registry.parse_parameters("poisson1d", {"k": "2"}) == {"k": 2}
    value = registry.parse_parameters("wave1d", {"c": "3"})["c"]
    assert value == 3.0
    assert isinstance(value, float)
    with pytest.raises(ValueError, match="--set k=four: expected a number"):
        registry.parse_parameters("poisson1d", {"k": "four"})


def test_descriptions_have_a_title():
    for name in pinntk.available():
        title, _ = registry.describe(name)
        assert 10 < len(title) < 128, name


MEASURED = """import numpy as np
from pinntk import Box, GridSolution, Problem, data

SCALE = float(open("scale.txt").read())


def reference():
    x = np.linspace(0, 1, 3)
    return GridSolution((x,), np.loadtxt("solution.csv")[:, None])


def problem(file="measured.csv"):
    rows, domain = SCALE * np.loadtxt(file, delimiter=","), Box(x=(0, 1))

    @data(domain, rows[:, :1], seen=rows[:, 1])
    def measured(u, seen):
        return u - seen

    return Problem(domain, [measured], reference=reference)
"""


def test_relative_paths_of_a_problem_are_beside_its_file(tmp_path, monkeypatch):
    folder, here = tmp_path / "pdes", tmp_path / "here"
    for path in (folder, here):
        path.mkdir()
    (folder / "mine.py").write_text(MEASURED)
    for name, text in (("scale.txt", "0.5"), ("solution.csv", "1\n2\n3\n"), ("measured.csv", "1,4\n2,6\n")):
        (folder / name).write_text(text)
    (here / "other.csv").write_text("0,8\n1,10\n")
    monkeypatch.chdir(here)
    problem = pinntk.load(folder / "mine.py")
    assert problem["measured"].region.rows.tolist() == [[0.5, 2.0], [1.0, 3.0]]
    assert problem.solution.values.ravel().tolist() == [1.0, 2.0, 3.0]
    typed = registry.parse_parameters(folder / "mine.py", {"file": "other.csv"})
    assert typed == {"file": str(here / "other.csv")}
    assert pinntk.load(folder / "mine.py", **typed)["measured"].region.rows.tolist() == [[0.0, 4.0], [0.5, 5.0]]
    assert Path.cwd() == here
    with pytest.raises(ValueError, match=rf"mine.py, line 13: FileNotFoundError: gone.csv .*looked for in {folder}"):
        pinntk.load(folder / "mine.py", file="gone.csv")
    assert Path.cwd() == here


def test_a_number_given_as_a_text_is_refused():
    with pytest.raises(ValueError, match=r"poisson1d: k='4' is a text; give a number, as in k=4"):
        pinntk.load("poisson1d", k="4")


def test_threads_take_turns_in_the_folder_of_a_problem(tmp_path):
    """Of the working directory a process has one."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.txt").write_text(name)
        (tmp_path / name / "mine.py").write_text(
            "import time\nfrom pathlib import Path\nfrom pinntk import Box, Problem, residual\n"
            "def problem():\n    time.sleep(0.02)\n    domain = Box(x=(0, 1))\n"
            "    def seen(u): return u\n    seen.__name__ = Path('data.txt').read_text()\n"
            "    return Problem(domain, [residual(domain)(seen)])\n"
        )
    before = Path.cwd()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: pinntk.load(tmp_path / name / "mine.py").names, ["one", "other"] * 4))
    assert found == [("one",), ("other",)] * 4 and Path.cwd() == before
