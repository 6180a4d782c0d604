"""Time slabs on the command line."""

import json

import pytest

import pinntk
from pinntk.cli import main

SMALL = ["--width", "6", "--depth", "1", "--points", "residual=20,initial=4,periodic=4"]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_train_in_slabs_and_resume(capsys, tmp_path):
    folder = tmp_path / "out"
    status, out, _ = run(capsys, "train", "convection", "--set", "beta=1", "--slabs", 2, "--steps", 4, "-o", folder, *SMALL)
    assert status == 0
    lines = out.splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [["slab_00", "0", "0.5", "4"], ["slab_01", "0.5", "1", "4"]]
    found = pinntk.load_slabs(folder)
    assert f"relative L2 error {found.relative_error:.3e} over all of the time" in out
    assert max(map(len, lines[:-2])) <= 80
    assert lines[-1] == f"next: pinntk diagnose {max(found.runs, key=lambda r: r.history[-1]['loss']).folder}"
    assert (folder / "slab_01" / "figures").is_dir()
    status, again, _ = run(capsys, "train", "--resume", folder)
    assert status == 0 and again == out
    assert run(capsys, "diagnose", folder / "slab_01")[0] == 0
    assert (folder / "slab_01" / "report.html").is_file()
    assert run(capsys, "train", "--resume", folder / "slab_01", "--steps", 6, "--quiet")[0] == 0
    assert pinntk.Run.load(folder / "slab_01").step == 6
    status, _, err = run(capsys, "diagnose", folder)
    assert status == 2 and "holds time slabs, each a run: give one" in err


@pytest.mark.slow
def test_solve_in_slabs(capsys, tmp_path):
    options = ["--slabs", "0,0.3,1", "--steps", 3, "-o", tmp_path, "--quiet", *SMALL]
    assert run(capsys, "solve", "convection", "--set", "beta=1", *options)[0] == 0
    found = pinntk.load_slabs(tmp_path)
    assert found.edges == (0.0, 0.3, 1.0)
    assert [run.config["training"]["optimizer"] for run in found.runs] == ["gauss-newton"] * 2
    described = json.loads((tmp_path / "slabs.json").read_text())
    described["slabs"]["stop_reasons"].pop()  # as if stopped before the mark was made
    (tmp_path / "slabs.json").write_text(json.dumps(described))
    assert run(capsys, "solve", "--resume", tmp_path, "--quiet", "--steps", 5)[0] == 0
    assert [run.step for run in pinntk.load_slabs(tmp_path).runs] == [3, 5]


@pytest.mark.slow
def test_slabs_by_a_file(capsys, tmp_path):
    assert run(capsys, "train", "convection", "--steps", 2, "-o", tmp_path / "a", "--quiet", *SMALL)[0] == 0
    options = ["--slabs", 2, "-o", tmp_path / "b", "--quiet"]
    assert run(capsys, "train", "--config", tmp_path / "a", *options)[0] == 0
    assert [run.step for run in pinntk.load_slabs(tmp_path / "b").runs] == [2, 2]
    assert run(capsys, "train", "--config", tmp_path / "b", "--steps", 3, "-o", tmp_path / "c", "--quiet")[0] == 0
    assert [run.step for run in pinntk.load_slabs(tmp_path / "c").runs] == [3, 3]
    edges = ["--slabs", "0,0.2,1", "-o", tmp_path / "d", "--quiet"]
    assert run(capsys, "train", "--config", tmp_path / "b" / "slabs.json", *edges)[0] == 0
    assert pinntk.load_slabs(tmp_path / "d").edges == (0.0, 0.2, 1.0)
    described = json.loads((tmp_path / "b" / "slabs.json").read_text())
    for slabs, message in (({}, "section 'slabs' needs 'edges'"), ({"edges": None}, "slabs.edges is None; expected a list")):
        (tmp_path / "e.json").write_text(json.dumps({**described, "slabs": slabs}))
        status, _, err = run(capsys, "train", "--config", tmp_path / "e.json", "-o", tmp_path / "e")
        assert status == 2 and message in err


def test_mistakes_are_named(capsys, tmp_path):
    assert run(capsys, "train", "convection", "--slabs", 2, "--steps", 1, "-o", tmp_path, "--quiet", *SMALL)[0] == 0
    for options, message in (
        (["--slabs", 2, "-o", tmp_path], "already holds a run"),
        (["-o", tmp_path], "already holds a run"),
        (["--slabs", "1,0", "-o", tmp_path / "new"], "the edges from t = 0 to t = 1 in this order"),
        (["--slabs", 0, "-o", tmp_path / "new"], "slabs=0: at least 1"),
    ):
        status, _, err = run(capsys, "train", "convection", *options, "--steps", 1, *SMALL)
        assert status == 2 and message in err
    status, _, err = run(capsys, "train", "--resume", tmp_path, "--slabs", 3)
    assert status == 2 and "leave --slabs out" in err
    status, _, err = run(capsys, "solve", "heat_inverse", "--slabs", 2, "-o", tmp_path / "new")
    assert status == 2 and "its coefficient 'kappa' is trained" in err
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit):
        main(["train", "convection", "--slabs", "2.5"])
    assert "'2.5': a whole number of slabs, or the times between them, as in 0,0.1,1" in capsys.readouterr().err
    for text in ("a", "0,a,1"):
        with pytest.raises(SystemExit):
            main(["train", "convection", "--slabs", text])
        assert f"{text!r}: a whole number of slabs, or the times between them" in capsys.readouterr().err
