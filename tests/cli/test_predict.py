"""`pinntk predict`: fields at points, read back by other means."""

import numpy as np
import pytest

import pinntk
from pinntk.cli._values import read_points
from tests.cli.commands import run

SMALL = ["--width", 6, "--depth", 1, "--quiet", "--steps", 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    problem, out = pinntk.load("burgers"), tmp_path_factory.mktemp("predict") / "run"
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    settings = {"points": {"residual": 5, "initial": 3, "boundary": 3}, "snapshot_every": 0, "progress": False}
    pinntk.train(problem, network, steps=1, out=out, **settings)
    return out


def test_a_table_has_a_column_for_each_coordinate_and_field(capsys, folder, tmp_path):
    points = np.array([[0.25, -0.5], [0.1, 1.0], [0.5, 0.0]])
    (tmp_path / "where.csv").write_text("x; seen; t\n" + "\n".join(f"{x}; 7; {t}" for t, x in points))
    out = tmp_path / "there.csv"
    status, said, err = run(capsys, "predict", folder, "--points", tmp_path / "where.csv", "-o", out)
    assert (status, said, err) == (0, f"u at 3 points, over t, x, in {out}\n", "")
    table = np.genfromtxt(out, delimiter=",", names=True)
    trained = pinntk.Run.load(folder)
    assert np.column_stack([table["t"], table["x"]]).tolist() == points.tolist()
    assert table["u"].tolist() == trained.problem.predict(trained.network, points)[:, 0].tolist()


def test_a_grid_in_arrays_and_for_paraview(capsys, folder, tmp_path):
    trained = pinntk.Run.load(folder)
    t, x = np.linspace(0, 1, 3), np.linspace(-1, 1, 4)
    expected = trained.problem.predict(trained.network, np.array([(a, b) for a in t for b in x]))[:, 0].reshape(3, 4)
    assert run(capsys, "predict", folder, "--grid", "t=3,x=4", "-o", tmp_path / "u.npz")[0] == 0
    with np.load(tmp_path / "u.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {"t": t.tolist(), "x": x.tolist(), "u": expected.tolist()}
    assert run(capsys, "predict", folder, "--grid", "t=3,x=4", "-o", tmp_path / "u.vtk")[0] == 0
    lines = (tmp_path / "u.vtk").read_text().splitlines()
    assert lines[1:5] == ["pinntk: x = x, y = t", "ASCII", "DATASET RECTILINEAR_GRID", "DIMENSIONS 4 3 1"]
    values = [float(line) for line in lines[lines.index("LOOKUP_TABLE default") + 1 :]]
    assert values == expected.ravel().tolist()  # x, VTK's first, runs fastest
    assert run(capsys, "predict", folder, "--grid", 5)[0] == 0
    assert len((folder / "predicted.csv").read_text().splitlines()) == 26


PLATE = """from pinntk import Box, Problem, residual
from pinntk.geometry import Disk

def problem():
    domain = Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.3)

    @residual(domain)
    def poisson(lap_u):
        return lap_u + 1

    return Problem(domain, [poisson])
"""


def test_a_hole_is_left_out(capsys, tmp_path):
    (tmp_path / "plate.py").write_text(PLATE)
    assert run(capsys, "train", tmp_path / "plate.py", "--points", "residual=5", *SMALL, "-o", tmp_path / "run")[0] == 0
    assert run(capsys, "predict", tmp_path / "run", "--grid", 3)[0] == 0
    table = np.genfromtxt(tmp_path / "run" / "predicted.csv", delimiter=",", names=True)
    assert len(table) == 8 and (0.5, 0.5) not in set(zip(table["x"], table["y"], strict=True))
    assert run(capsys, "predict", tmp_path / "run", "--grid", 3, "-o", tmp_path / "u.npz")[0] == 0
    with np.load(tmp_path / "u.npz") as arrays:
        assert np.argwhere(np.isnan(arrays["u"])).tolist() == [[1, 1]]


def test_time_slabs_are_one(capsys, tmp_path):
    small = ["--points", "residual=5,initial=3,periodic=3", *SMALL]
    assert run(capsys, "train", "convection", "--slabs", 2, *small, "-o", tmp_path)[0] == 0
    assert run(capsys, "predict", tmp_path, "--grid", 3, "-o", tmp_path / "u.npz")[0] == 0
    found = pinntk.load_slabs(tmp_path)
    with np.load(tmp_path / "u.npz") as arrays:
        points = np.array([(t, x) for t in arrays["t"] for x in arrays["x"]])
        assert arrays["u"].ravel().tolist() == found.problem.predict(found.network, points)[:, 0].tolist()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npy", lambda path, rows: np.save(path, rows)),
        ("a.npz", lambda path, rows: np.savez(path, x=rows[:, 1], t=rows[:, 0])),
        ("a.txt", lambda path, rows: np.savetxt(path, rows)),
        ("b.txt", lambda path, rows: np.savetxt(path, rows[:, ::-1], header="x t")),
        ("a.csv", lambda path, rows: np.savetxt(path, rows, delimiter=", ")),
    ],
)
def test_points_in_every_form(tmp_path, name, write):
    rows = np.array([[0.125, 2.0], [1e-3, -4.0]])
    write(tmp_path / name, rows)
    assert read_points(tmp_path / name, ("t", "x")).tolist() == rows.tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--points", "nowhere.csv"], "--points nowhere.csv: no such file"),
        (["--points", "T.csv"], "T.csv has no column 't'; it has T, x; did you mean 'T'?"),
        (["--points", "one.csv"], "one.csv has points of shape (2, 1); expected (n, 2), with columns t, x"),
        (["--points", "nan.csv"], "nan.csv: point 1 is [nan, 2.0]; expected finite numbers"),
        (["--points", "ragged.csv"], "expected as many numbers in every line"),
        (["--grid", "y=3"], "burgers has no coordinate 'y'; it has t, x"),
        (["--grid", "1"], "--grid t=1: at least 2 points"),
        (["--grid", "many"], "--grid 'many': points along each coordinate, as in --grid 50 or t=50"),
        (["-o", "u.txt"], "u.txt: the name of the file ends in .csv, .npz or .vtk"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(capsys, folder, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    texts = {"T.csv": "T,x\n1,2\n", "one.csv": "1\n2\n", "nan.csv": "1,2\nnan,2\n", "ragged.csv": "1,2\n1\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    status, out, err = run(capsys, "predict", folder, *words)
    assert status == 2 and said in err and not out and len(err.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == set(texts)


def test_points_outside_are_told(capsys, folder, tmp_path):
    (tmp_path / "where.csv").write_text("0.5,0\n0.5,3\n")
    status, _, err = run(capsys, "predict", folder, "--points", tmp_path / "where.csv", "-o", tmp_path / "u.csv")
    assert status == 0 and "warning: 1 of 2 points lie outside of the domain" in err
