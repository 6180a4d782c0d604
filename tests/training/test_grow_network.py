"""A Gauss-Newton run that goes on with a wider network, in a folder of its own."""

import json
import shutil

import pytest
import torch

import pinntk
from pinntk.run._checkpoint import read_checkpoint
from pinntk.training import _wider
from tests.training.test_solver_resume import assert_same, same

QUICK = {"radii": 3, "corrections": 1}
WIDTH = 9


def trained(out, steps, *, network=None, **settings):
    problem = pinntk.load("poisson1d", k=1)
    network = network or pinntk.nn.MLP(problem, width=5, depth=2, dtype=torch.float64)
    intervals = {"log_every": 1, "eval_every": 5, "snapshot_every": 10, "checkpoint_every": 1}
    settings = {"points": {"residual": 5}, "optimizer": "gauss-newton", "optimizer_options": QUICK, **intervals, **settings}
    return pinntk.train(problem, network, steps=steps, out=out, progress=False, **settings)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resumed(folder, steps):
    config = json.loads((folder / "config.json").read_text())
    return pinntk.train_as(config, out=folder, resume=True, steps=steps, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run of 30 steps."""
    out = tmp_path_factory.mktemp("runs") / "small"
    trained(out, 30)
    return out


@pytest.fixture
def run(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "small")
    return pinntk.Run.load(tmp_path / "small")


def test_the_function_the_history_and_the_old_folder_stay(run):
    before = contents(run.folder)
    grown = pinntk.grow_network(run, WIDTH)
    assert contents(run.folder) == before
    assert grown.folder == run.folder.with_name("small-width9")
    x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    assert float((grown.network(x) - run.network(x)).detach().abs().max()) < 1e-14
    assert (grown.step, grown.seconds) == (run.step, run.seconds)
    assert same(grown.history, run.history)
    assert grown.weights == run.weights
    assert grown.snapshots.keys() == run.snapshots.keys() != set()
    assert grown.stop_reason == ""
    assert grown.config["network"]["arguments"]["width"] == WIDTH
    assert grown.config["network"]["parameters"] == sum(p.numel() for p in grown.network.parameters())
    assert grown.config["grown"] == [{"step": 30, "width": 5}]
    assert {name: grown.config[name] for name in run.config if name != "network"} == {
        name: section for name, section in run.config.items() if name != "network"
    }


def test_where_it_began_is_where_the_wider_network_would_have(run):
    grown = pinntk.grow_network(run, WIDTH)
    shapes = [p.shape for p in grown.network.parameters()]
    assert [p.shape for p in grown.initial] == shapes
    for old, new in zip(run.initial, grown.initial, strict=True):
        assert torch.equal(new[tuple(slice(size) for size in old.shape)], old)
    moved = [(p - start).norm() for p, start in zip(grown.network.parameters(), grown.initial, strict=True)]
    small = [(p - start).norm() for p, start in zip(run.network.parameters(), run.initial, strict=True)]
    assert torch.allclose(torch.stack(moved), torch.stack(small))


def test_it_goes_on_and_can_be_resumed_and_grown_again(run, tmp_path):
    """To the last bit what it is when it is not stopped."""
    grown = pinntk.grow_network(run, WIDTH)
    shutil.copytree(grown.folder, tmp_path / "at once")
    whole = resumed(tmp_path / "at once", 42)
    assert whole.step == 42
    assert whole.relative_error < 0.1 * run.relative_error
    resumed(grown.folder, 35)
    again = resumed(grown.folder, 42)
    assert_same(read_checkpoint(grown.folder), read_checkpoint(tmp_path / "at once"), 42)
    assert again.config["grown"] == json.loads((grown.folder / "config.json").read_text())["grown"] == grown.config["grown"]
    largest = pinntk.grow_network(again, 12, tmp_path / "largest")
    assert [entry["width"] for entry in largest.config["grown"]] == [5, 9]
    assert resumed(largest.folder, 44).config["network"]["arguments"]["width"] == 12


@pytest.mark.parametrize(("grow", "enough"), [(None, False), (100, True)])
def test_points_are_held_twice_as_many_as_parameters_where_grow_allows(grow, enough, run):
    grown = pinntk.grow_network(run, WIDTH, grow=grow)
    p = sum(parameter.numel() for parameter in grown.network.parameters())
    assert grown.config["training"]["grow"] == (grow or 8)
    went_on = resumed(grown.folder, 33)
    held = sum(len(rows) for rows in went_on.points.values())
    assert went_on.column("converging")[1][-1] == 1
    assert (held > 1.4 * p) == enough  # the two ends stay two


def test_a_stop_is_forgotten_and_what_was_measured_of_points_too(tmp_path):
    points = pinntk.load("poisson1d", k=1).sample(residual=3, boundary=2, dtype=torch.float64)
    run = trained(tmp_path / "small", 400, points=points)
    assert "is rounding" in run.stop_reason
    grown = pinntk.grow_network(run, WIDTH)
    network, config = grown.network, pinntk.TrainConfig.from_json(grown.config, points=points)
    went_on = pinntk.train(grown.problem, network, config, out=grown.folder, resume=True, steps=run.step + 2, progress=False)
    assert went_on.step == run.step + 2


def test_a_training_that_breaks_off_while_it_is_grown_leaves_no_run(run, monkeypatch):
    before = contents(run.folder)

    def broken(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(_wider, "write_checkpoint", broken)
        with pytest.raises(OSError, match="the disk is full"):
            pinntk.grow_network(run, WIDTH)
    assert contents(run.folder) == before
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        pinntk.Run.load(run.folder.with_name("small-width9"))
    assert pinntk.grow_network(run, WIDTH).step == 30


def test_the_average_of_the_parameters_grows_too(tmp_path):
    run = trained(tmp_path / "small", 3, average=0.5)
    grown = pinntk.grow_network(run, WIDTH)
    x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    assert float((grown.averaged(x) - run.averaged(x)).detach().abs().max()) < 1e-14
    assert not torch.equal(grown.averaged(x), grown.network(x))
    assert resumed(grown.folder, 4).averaged.config["width"] == WIDTH


def test_what_cannot_be_grown_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="width=5: the hidden layers have 5 units already"):
        pinntk.grow_network(run, 5)
    with pytest.raises(ValueError, match=r"grow=0\.5: at least 1"):
        pinntk.grow_network(run, WIDTH, grow=0.5)
    assert not run.folder.with_name("small-width9").exists()
    with pytest.raises(FileExistsError, match="small already holds a run: resume it, or name another folder with out="):
        pinntk.grow_network(run, WIDTH, run.folder)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="is not of a run of pinntk; name another folder with out="):
        pinntk.grow_network(run, WIDTH, tmp_path / "own")
    with pytest.raises(TypeError, match=r"grow_network\(PosixPath\): give a run"):
        pinntk.grow_network(run.folder, WIDTH)


def test_runs_of_other_kinds_are_refused(tmp_path):
    own = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    with pytest.raises(ValueError, match=r"its network is torch.nn.modules.container.Sequential; only a pinntk.nn.MLP"):
        pinntk.grow_network(trained(tmp_path / "own", 1, network=own), WIDTH)
    with pytest.raises(ValueError, match="was trained with optimizer='adam', and only 'gauss-newton' goes on"):
        pinntk.grow_network(trained(tmp_path / "adam", 1, optimizer="adam", optimizer_options=None), WIDTH)
    with pytest.raises(ValueError, match=r"the run has no folder to go on from; train pinntk.nn.widened\(run.network, width\)"):
        pinntk.grow_network(trained(None, 1), WIDTH)
    problem = pinntk.slab(pinntk.load("convection"), 0, 2)
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    settings = {"optimizer": "gauss-newton", "points": {"residual": 8, "initial": 4, "periodic": 4}, "progress": False}
    run = pinntk.train(problem, network, steps=1, out=tmp_path / "slab", **settings)
    with pytest.raises(ValueError, match="is a time slab: train the slabs anew"):
        pinntk.grow_network(run, WIDTH)
