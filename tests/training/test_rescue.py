"""A run that went wrong, trained again as prescribed, and compared."""

import dataclasses
import json
import os
import signal

import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.diagnostics import Finding, Prescription
from pinntk.training._rescue import prescriptions

POINTS, STEPS = {"ends": 2, "poisson": 20}, 30
FASTER = Prescription("train faster", {"training.lr": 1e-2})
SHORTER = Prescription("train by fewer steps of a solver", {"training.optimizer": "gauss-newton", "training.steps": 3})
WORSE = Prescription("train hardly at all", {"training.lr": 1e-9})
DIVERGING = Prescription("blow up", {"training.optimizer": "gradient-descent", "training.lr": 1e6})
WIDER = Prescription("use a wider network", {"network.arguments.width": 12})
LONGER = Prescription("train longer", {"training.steps": 500})
BY_HAND = Prescription("check the signs of 'poisson'")


def finding(code, *prescriptions, severity="critical"):
    return Finding(code=code, severity=severity, sentence=f"It suffers from {code}.", prescriptions=prescriptions)


def says(monkeypatch, *findings):
    """`diagnose` says these lists, one a call, the last one again and again. Returns the runs that it was asked of."""
    asked = []

    def diagnose(run):
        asked.append(run)
        return list(findings[min(len(asked), len(findings)) - 1])

    monkeypatch.setattr("pinntk.training._rescue.diagnose", diagnose)
    return asked


def failing(out=None, name="poisson1d", **settings):
    problem = pinntk.load(name, **({"k": 1} if name == "poisson1d" else {}))
    network = pinntk.nn.MLP(problem, width=8, depth=1)
    settings = {"points": POINTS, "lr": 1e-5, "steps": STEPS, "weighting": "ntk", "checkpoint_every": 30, **settings}
    return pinntk.train(problem, network, out=out, progress=False, **settings)


def rescue(run, **settings):
    return pinntk.rescue(run, progress=False, **settings)


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_first_prescription_is_followed_with_as_many_steps(monkeypatch, tmp_path):
    asked = says(monkeypatch, [finding("step-too-small", BY_HAND, FASTER)], [])
    run = failing(tmp_path / "run")
    before, parameters = contents(tmp_path / "run"), [p.detach().clone() for p in run.network.parameters()]
    found = rescue(run, out=tmp_path / "better")
    assert contents(tmp_path / "run") == before
    assert all(torch.equal(p, q) for p, q in zip(run.network.parameters(), parameters, strict=True))
    assert found.before is run and found.after is found.rounds[0].run and asked == [run, found.after]
    assert found.applied == (FASTER,) and found.rounds[0].findings == ()
    assert (found.after.step, found.after.config["training"]["lr"]) == (STEPS, 1e-2)
    assert found.metric == "relative L2 error"
    assert (found.score_before, found.score_after) == (run.relative_error, found.after.relative_error)
    assert found.improvement == run.relative_error / found.after.relative_error > 1
    expected = failing(lr=1e-2)
    for p, q in zip(found.after.network.parameters(), expected.network.parameters(), strict=True):
        assert torch.equal(p, q)
    assert pinntk.Run.load(tmp_path / "better").relative_error == found.after.relative_error


def test_a_rescue_ends_at_the_accuracy_of_the_reference(monkeypatch):
    says(monkeypatch, [finding("step-too-small", FASTER)])
    run = failing()
    with torch.no_grad():
        run.network.dense.weights[-1].zero_()
        run.network.dense.biases[-1].fill_(2 / torch.pi)  # off by 0.44 from sin(pi x)
    rough = dataclasses.replace(run, problem=dataclasses.replace(run.problem, solution_accuracy=0.5))
    found = rescue(rough)
    assert found.score_before < 0.5
    assert found.rounds == () and found.ended == "the error is at the accuracy of the reference (0.5)"
    assert len(rescue(rough, prescription=1).rounds) == 1  # what is asked for is done


@pytest.mark.slow
def test_a_real_rescue():
    """The paper's poisson1d(k=4): unweighted it stays at an error of one half."""
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=60, depth=1, initialization="normal")
    settings = {"points": {"poisson": 60, "ends": 2}, "lr": 3e-3, "progress": False, "snapshot_every": 0}
    found = rescue(pinntk.train(problem, network, steps=200, **settings))
    assert found.findings[0].code == "imbalance"
    assert found.after.config["weighting"]["name"] == "ntk"
    assert found.improvement > 3


def test_rounds_build_on_what_helped_and_drop_what_did_not(monkeypatch, tmp_path):
    said = [[finding("a", LONGER, WORSE, FASTER)], [finding("b")], [finding("c", FASTER, WIDER)], []]
    says(monkeypatch, *said)
    found = rescue(failing(tmp_path / "run"), rounds=5, out=tmp_path / "better")
    assert [this.prescription for this in found.rounds] == [WORSE, FASTER, WIDER]  # LONGER would not be the same budget
    assert [this.run.config["training"]["lr"] for this in found.rounds] == [1e-9, 1e-2, 1e-2]  # not built on WORSE
    assert [this.run.network.config["width"] for this in found.rounds] == [8, 8, 12]
    assert [this.run.folder.name for this in found.rounds] == ["better", "better-2", "better-3"]
    scores = [found.score_before, *(this.score for this in found.rounds)]
    assert scores[2] < scores[0] < scores[1]
    assert found.score_after == min(scores)
    assert found.applied == ((FASTER, WIDER) if scores[3] < scores[2] else (FASTER,))
    assert found.ended == (
        "nothing is found any more" if scores[3] < scores[2] else "everything that is prescribed has been tried"
    )


def test_fewer_steps_of_a_solver_are_within_the_budget(monkeypatch):
    says(monkeypatch, [finding("a", LONGER, SHORTER)], [])
    found = rescue(failing())
    assert found.applied == (SHORTER,) and found.after.step == 3


def test_what_makes_it_worse_or_breaks_off_is_not_kept(monkeypatch):
    says(monkeypatch, [finding("a", DIVERGING, WORSE)])
    run = failing()
    found = rescue(run, rounds=3)
    assert found.after is run and found.applied == () and found.improvement == 1
    assert found.score_after == found.score_before
    assert found.rounds[0].run is None and "is not finite" in found.rounds[0].failure
    assert found.ended == "everything that is prescribed has been tried"
    text = str(found)
    assert "broke off: step" in text
    assert "nothing helped: the run stays as it was" in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_prescription_is_chosen(monkeypatch):
    found = [finding("a", BY_HAND, WORSE), finding("b", FASTER)]
    assert prescriptions(found) == [WORSE, FASTER]
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: [])
    run = failing()
    assert rescue(run, findings=found, prescription=2).applied == (FASTER,)
    assert rescue(run, findings=[], prescription=WIDER).rounds[0].prescription is WIDER
    with pytest.raises(ValueError, match=r"prescription 3: there are 2 .*\n  1  train hardly at all\n  2  train faster"):
        rescue(run, findings=found, prescription=3)


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        ([], "nothing is found: there is nothing to rescue"),
        ([finding("wrong-problem", BY_HAND)], "what was found needs a person. check the signs of 'poisson'"),
        ([finding("odd")], "what was found needs a person. It suffers from odd."),
        (
            [finding("a", Prescription("stay as you are", {"training.lr": 1e-5}))],
            "everything that is prescribed has been tried",
        ),
    ],
)
def test_nothing_to_prescribe_is_said(monkeypatch, findings, message):
    says(monkeypatch, findings)
    run = failing(steps=2)
    found = rescue(run)
    assert found.rounds == () and found.after is run
    assert message in found.ended
    assert message[:30] in str(found).replace("\n  ", " ")


def test_without_a_known_solution_losses_are_compared_on_fresh_points(monkeypatch):
    says(monkeypatch, [finding("a", FASTER)])
    loaded = pinntk.load("poisson1d", k=1)
    problem = pinntk.Problem(loaded.domain, loaded.conditions, name="mine")  # in no file
    points = problem.sample(**POINTS)
    settings = {"steps": 60, "lr": 1e-5, "progress": False}
    run = pinntk.train(problem, pinntk.nn.MLP(problem, width=8, depth=1), points=points, **settings)
    found = rescue(run)
    assert found.metric == "loss on fresh points" and found.improvement > 1
    assert all(torch.equal(found.after.points[name], rows) for name, rows in points.items())
    fresh = problem.sample(seed=7_654_321, dtype=torch.float64)
    K = pinntk.kernel(run.network.double(), problem, fresh)
    for trained, score in ((run, found.score_before), (found.after, found.score_after)):
        with torch.no_grad():
            e = pinntk.errors(trained.network.double(), problem, fresh)
        size = {name: K.trace(name) / len(fresh[name]) for name in K.names}
        assert score == pytest.approx(sum(float(e[name].square().mean()) / size[name] for name in K.names), rel=1e-9)


def own_run(problem, **settings):
    torch.manual_seed(0)
    own = torch.nn.Sequential(torch.nn.Linear(problem.domain.dimension, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    return pinntk.train(problem, own, steps=20, progress=False, **{"points": POINTS, "lr": 1e-5, **settings})


def test_a_network_of_ones_own_is_trained_again_from_where_it_began(monkeypatch):
    problem = pinntk.load("poisson1d")
    says(monkeypatch, [finding("a", WIDER, FASTER)], [])
    run = own_run(problem)
    before = [p.detach().clone() for p in run.network.parameters()]
    found = rescue(run, rounds=1)
    assert found.rounds[0].prescription == FASTER  # its width is its own
    for a, b in zip(run.network.parameters(), before, strict=True):
        assert torch.equal(a, b)
    again = own_run(problem, lr=1e-2)
    for a, b in zip(found.rounds[0].run.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_wrong_with_a_network_of_ones_own_alone_needs_a_person(monkeypatch):
    says(monkeypatch, [finding("a", WIDER)])
    found = rescue(own_run(pinntk.load("poisson1d")))
    assert not found.rounds and "needs a person. use a wider network" in found.ended


def test_what_cannot_be_built_again_gets_the_change_to_make_by_hand(monkeypatch):
    says(monkeypatch, [finding("a", FASTER)])
    domain = pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def poisson(u_xx, k):
        return u_xx + k

    problem = pinntk.Problem(domain, [poisson], coefficients={"k": 1.0})
    run = own_run(problem, points={"residual": 5})
    with pytest.raises(ValueError, match=r"was built in Python.*By hand: train faster \(training.lr = 0.01\)"):
        rescue(run)
    with pytest.raises(ValueError, match=r"change 'training\.learning_rate': a configuration has no such key"):
        rescue(run, prescription=Prescription("as it may be", {"training.learning_rate": 1.0}))


def test_wrong_arguments(monkeypatch, tmp_path):
    run = failing(tmp_path / "run", steps=2)
    with pytest.raises(ValueError, match="is the folder of the run itself"):
        rescue(run, out=tmp_path / "run")
    with pytest.raises(ValueError, match="is the folder of the run itself"):
        rescue(run, out=tmp_path / "run" / "within")
    with pytest.raises(ValueError, match="rounds=0"):
        rescue(run, rounds=0)
    with pytest.raises(TypeError, match=r"rescue\(str\): give a run"):
        rescue("runs/x")
    says(monkeypatch, [finding("a", FASTER)])
    before = contents(tmp_path / "run")
    failing(tmp_path / "other", steps=2, lr=0.5)
    with pytest.raises(ValueError, match=r"cannot resume .*other: it was trained with lr=0.5, now lr=0.01"):
        rescue(run, out=tmp_path / "other")
    assert contents(tmp_path / "run") == before


def test_an_interrupted_rescue_is_continued_by_the_same_call(monkeypatch, tmp_path):
    says(monkeypatch, [finding("a", FASTER)], [])
    run = failing(tmp_path / "run")
    expected = rescue(run)
    update = pinntk.weighting.NTK.update

    def interrupting(self, weights, traces, counts):
        os.kill(os.getpid(), signal.SIGINT)
        return update(self, weights, traces, counts)

    says(monkeypatch, [finding("a", FASTER)], [])
    before = contents(tmp_path / "run")
    with monkeypatch.context() as patched, pytest.raises(pinntk.Interrupted, match="go on with the rescue by the same command"):
        patched.setattr(pinntk.weighting.NTK, "update", interrupting)
        rescue(run, out=tmp_path / "better")
    assert contents(tmp_path / "run") == before
    assert pinntk.Run.load(tmp_path / "better").step == 1
    for _ in range(2):  # go on; then nothing is left to train
        says(monkeypatch, [finding("a", FASTER)], [])
        found = rescue(pinntk.Run.load(tmp_path / "run"), out=tmp_path / "better")
        assert found.score_after == expected.score_after and found.after.step == STEPS


def test_the_command_line_prints_both_side_by_side(monkeypatch, tmp_path, capsys):
    says(monkeypatch, [finding("step-too-small", FASTER)], [finding("network-too-small", WIDER)], [])
    failing(tmp_path / "run")
    before = contents(tmp_path / "run")
    assert main(["rescue", f"{tmp_path}/run/", "--rounds", "2", "--quiet"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80 + len(str(tmp_path))
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["before", "round", "1", "round", "2"]
    rows = {line[:22].strip(): line[22:].split() for line in table[1:] if line}
    assert rows["first finding"] == ["step-too-smal", "network-too-s", "none"]
    assert rows["steps"] == [str(STEPS)] * 3
    errors = [float(value) for value in rows["relative L2 error"]]
    assert errors[1] < errors[0]
    config = json.loads((tmp_path / "run-rescued" / "config.json").read_text())
    assert config["training"]["lr"] == 1e-2
    assert (tmp_path / "run-rescued-2" / "figures" / "losses.png").exists()
    assert f"pinntk diagnose {tmp_path}/run {tmp_path}/run-rescued" in out
    assert contents(tmp_path / "run") == before


def test_many_rounds_fit_80_columns(monkeypatch):
    prescriptions = [Prescription(f"learn at {lr}", {"training.lr": lr}) for lr in (1e-2, 1e-3, 1e-4, 1e-6, 1e-7)]
    says(monkeypatch, [finding("a", *prescriptions)])
    found = rescue(failing(steps=5, snapshot_every=0), rounds=5)
    table = str(found).split("\n\n")[1].splitlines()
    assert table[0].split() == ["before", "round", "1", "round", "4", "round", "5"]
    assert max(map(len, str(found).splitlines())) <= 80


def test_mistakes_on_the_command_line(tmp_path, capsys, monkeypatch):
    says(monkeypatch, [finding("a", FASTER)])
    failing(tmp_path / "run", steps=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    for arguments, message in (
        (["nowhere"], "nowhere holds no run"),
        ([tmp_path / "run", "-o", tmp_path / "mine"], "holds something else than a run"),
        ([tmp_path / "run", "--prescription", "2"], "prescription 2: there are 1"),
        ([tmp_path / "run", "-o", tmp_path / "run"], "is the folder of the run itself"),
    ):
        assert main(["rescue", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "run"]


def test_help_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["rescue", "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_several_processes_are_refused(monkeypatch):
    run = pinntk.Run(pinntk.load("poisson1d"), torch.nn.Linear(1, 1), {})
    monkeypatch.setattr("pinntk._util.distributed.world", lambda: 2)
    with pytest.raises(ValueError, match="rescue runs in one process, since it shares out seconds among trainings"):
        pinntk.rescue(run)
