"""What a rescue tries next, and what it counts as a success."""

import warnings

import pytest
import torch

import pinntk
from pinntk import Box, Problem, initial, residual
from pinntk.diagnostics import Finding, Prescription
from pinntk.training import Slabs, apply_changes
from pinntk.training._slab_search import Size
from pinntk.training._treatment import next_treatment, together

FASTER = Prescription("train faster", {"training.lr": 1e-2})
SLOWER = Prescription("train slower", {"training.lr": 1e-6})
WIDER = Prescription("use a wider network", {"network.arguments.width": 12})
MORE = Prescription("more points", {"training.points": {"poisson": 500}})
NTK = Prescription("balance", {"weighting": {"name": "ntk", "every": 10}})
NORMAL = Prescription("normalize", {"network.arguments.normalize": True})
TANH = Prescription("normalize, with tanh", {"network.arguments.normalize": True, "network.arguments.activation": "tanh"})
SOLVER = Prescription(
    "solve", {"training.optimizer": "gauss-newton", "training.steps": 5, "weighting": {"name": "ntk", "every": 25}}
)
CAUSAL = Prescription("wait for earlier times", {"training.causal": {"epsilon": 1.0, "slices": 4, "threshold": 0.9}})
SLABS = Prescription("in slabs", {**SOLVER.changes, "slabs.edges": 2})


def finding(code, *prescriptions, severity="critical"):
    return Finding(code=code, severity=severity, sentence=f"It suffers from {code}.", prescriptions=prescriptions)


@pytest.fixture(scope="module")
def config():
    problem = pinntk.load("poisson1d", k=1)
    network = pinntk.nn.MLP(problem, width=4, depth=1, activation="sin", normalize=False)
    return pinntk.train(problem, network, steps=5, points={"residual": 5}, lr=1e-3, progress=False).config


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ((FASTER, NTK, NORMAL), "train faster; and balance; and normalize"),
        ((FASTER, SLOWER, NTK), "train faster; and balance"),  # of two values of a setting the first
        ((NORMAL, TANH), "normalize; and normalize, with tanh"),  # they agree
        ((SOLVER, NTK, NORMAL, FASTER), "solve; and normalize"),  # the solver has its weights, and no learning rate
        ((FASTER, SOLVER), "train faster"),
        ((SOLVER, WIDER, MORE), "solve"),  # whose steps a wide network or many points make slow
        ((SOLVER, CAUSAL), "solve"),  # which it refuses
        ((FASTER, Prescription("as it is", {"network.arguments.width": 4})), "train faster"),
    ],
)
def test_changes_of_different_settings_are_made_at_once(config, entries, sentence):
    found = together(entries, config)
    assert found.sentence == sentence
    for entry in entries:
        if entry.sentence in found.sentence.split("; and "):
            assert all(found.changes[key] == value for key, value in entry.changes.items())


def chosen(config, findings, left, tried=()):
    return next_treatment(findings, config, [config, *tried], left)


def test_the_last_rounds_are_by_a_solver_and_in_slabs(config):
    findings = [finding("a", FASTER, SLOWER, SOLVER), finding("b", NORMAL, SLABS)]
    assert chosen(config, findings, 3).sentence == "train faster; and normalize"
    assert chosen(config, findings, 2).sentence == "solve; and normalize"
    solved = apply_changes(config, SOLVER.changes)
    assert chosen(config, findings, 2, [solved]).sentence == "train faster; and normalize"
    assert chosen(config, findings, 1, [solved]).sentence == "in slabs; and normalize"
    assert chosen(config, findings, 1, [solved, apply_changes(config, SLABS.changes)]).sentence == "train faster; and normalize"
    assert chosen(config, [finding("a", FASTER, SLOWER)], 1).sentence == "train faster"  # no solver is prescribed


def test_what_helped_not_together_is_tried_alone(config):
    findings = [finding("a", FASTER), finding("b", NORMAL), finding("c", NTK, severity="note")]
    both = apply_changes(config, {**FASTER.changes, **NORMAL.changes})
    assert chosen(config, findings, None, [both]).sentence == "train faster"
    alone = apply_changes(config, FASTER.changes)
    assert chosen(config, findings, None, [both, alone]).sentence == "normalize"


def evolution(rate=15.0, end=2.0, known=True):
    """u_t = rate u (1 - u), whose rest point 0 a network finds first."""
    domain = Box(t=(0, end))

    @residual(domain)
    def growth(u, u_t):
        return u_t - rate * u * (1 - u)

    @initial(domain.at(t=0))
    def start(u):
        return u - 1e-3

    def exact(t):
        return 1 / (1 + 999 * torch.exp(-rate * t))

    return Problem(domain, [growth, start], exact=exact if known else None)


def stuck(known=True, **settings):
    problem = evolution(known=known)
    settings = {"steps": 300, "points": {"residual": 60}, "lr": 1e-3, "progress": False, "snapshot_every": 0, **settings}
    return pinntk.train(problem, pinntk.nn.MLP(problem, width=10, depth=2, dtype=torch.float64), **settings)


@pytest.mark.slow
def test_an_evolution_is_cured_in_time_slabs(tmp_path, capsys):
    run = stuck()
    findings = pinntk.diagnose(run)
    listed = [entry for found in findings for entry in found.prescriptions]
    assert any(entry.changes.get("slabs.edges") for entry in listed)
    listed = next(entry for entry in listed if entry.changes.get("slabs.edges"))
    slabs = Prescription("in slabs", {**listed.changes, "slabs.edges": 4, "training.steps": 12})
    found = pinntk.rescue(run, prescription=slabs, findings=findings, out=tmp_path / "better")
    assert isinstance(found.after, Slabs) and found.score_before > 0.3
    assert found.score_after == found.after.relative_error < 0.05
    assert "time slabs relative L2 error" in capsys.readouterr().err
    assert max(map(len, str(found).splitlines()[:-3])) <= 80
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pinntk.rescue(run, prescription=slabs, findings=findings, out=tmp_path / "better", progress=False)
    assert again.score_after == found.score_after and len(again.after.runs) == len(found.after.runs)


@pytest.mark.parametrize(("falling", "expected"), [(False, (4, 2)), (True, (2, 4))])
def test_where_a_slab_fails_there_are_more_slabs_or_more_steps(monkeypatch, falling, expected):
    asked = []

    def failing(x):
        asked.append((len(x.problem.slab["edges"]) - 1, x.run.step))
        return asked[-1] == (2, 2)

    monkeypatch.setattr("pinntk.training._slab_search.failing", failing)
    monkeypatch.setattr("pinntk.training._slab_search._falling", lambda x: falling)
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: [])
    own = Prescription("in slabs", {"training.optimizer": "gauss-newton", "training.steps": 2, "slabs.edges": 2})
    found = pinntk.rescue(stuck(steps=2), prescription=own, findings=[], progress=False)
    assert asked == [(2, 2)] + [expected] * expected[0]  # the first of 2 fails; then all are asked
    assert [(len(this.run.runs), this.run.runs[0].step) for this in found.rounds] == [expected]


def test_slabs_that_the_budget_does_not_last_for_are_no_result(monkeypatch):
    clock = iter([0.0, 0.0, *[1000.0] * 9])
    monkeypatch.setattr("pinntk.training._slab_search.perf_counter", lambda: next(clock))
    own = Prescription("in slabs", {"training.optimizer": "gauss-newton", "training.steps": 2, "slabs.edges": 3})
    found = pinntk.rescue(stuck(steps=2), prescription=own, findings=[], seconds=100, progress=False)
    assert found.after is found.before and found.rounds[0].failure == "the budget was spent after 1 of 3 time slabs"


def test_slabs_grow_to_eight_times_the_steps_in_all():
    first = size = Size(8, 25)
    seen = []
    for falling in (True, False, True, False, True):
        size = size and size.grown(falling, first)
        seen.append(size)
    assert seen == [(8, 50), (16, 50), (16, 100), None, None]
    assert Size(32, 25).grown(False, first) == (32, 50) and Size(32, 50).grown(True, first) is None


def test_a_collapse_is_no_success(monkeypatch):
    """Without a known solution a field that is zero meets its conditions best."""
    flat = finding("trivial-solution")
    said = iter([[finding("a", FASTER)], [flat], [flat]])
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: next(said))
    found = pinntk.rescue(stuck(known=False, steps=5, lr=1e-5), rounds=1, progress=False)
    assert found.rounds[0].score < found.score_before
    assert found.after is found.before and "does not count: It suffers from trivial-solution" in str(found)


def test_a_budget_ends_a_rescue(monkeypatch):
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: [finding("a", FASTER, SLOWER)])
    run = stuck(steps=2)
    clock = iter([0.0, 1.0, 1000.0, 1000.0])
    monkeypatch.setattr("pinntk.training._rescue.perf_counter", lambda: next(clock))
    found = pinntk.rescue(run, rounds=5, seconds=100, progress=False)
    assert len(found.rounds) == 1 and found.ended == "the budget of 100 s is spent"
    assert found.rounds[0].run.config["training"]["seconds"] == 99
    for wrong in (0, -1.0, float("nan"), "long"):
        with pytest.raises(ValueError, match="seconds="):
            pinntk.rescue(run, seconds=wrong)


def test_a_run_that_is_hardly_better_ends_a_rescue_where_nothing_is_found_in_it(monkeypatch):
    said = iter([[finding("a", FASTER)], []])
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: next(said))
    scores = iter([1.0, 0.9])
    monkeypatch.setattr("pinntk.training._rescue._metric", lambda run: (lambda one: next(scores), "relative L2 error"))
    found = pinntk.rescue(stuck(steps=2), progress=False)
    assert (len(found.rounds), found.ended) == (1, "nothing is found any more")


def test_a_hardly_better_run_is_no_rescue(monkeypatch):
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: [finding("a", FASTER)])
    scores = iter([1.0, 0.99])
    monkeypatch.setattr("pinntk.training._rescue._metric", lambda run: (lambda one: next(scores), "relative L2 error"))
    assert "hardly helped: relative L2 error from 1 to 0.99" in str(pinntk.rescue(stuck(steps=2), rounds=1, progress=False))


def test_findings_of_slabs_are_the_first_that_are_more_than_notes(monkeypatch):
    said = iter([[], [finding("a", severity="note")], [finding("b")], [finding("c")]])  # of the run, and of three slabs
    monkeypatch.setattr("pinntk.training._rescue.diagnose", lambda run: next(said))
    monkeypatch.setattr("pinntk.training._slab_search.failing", lambda x: False)
    own = Prescription("in slabs", {"training.optimizer": "gauss-newton", "training.steps": 2, "slabs.edges": 3})
    found = pinntk.rescue(stuck(steps=2), prescription=own, progress=False)
    assert [one.code for one in found.rounds[0].findings] == ["b"]


@pytest.mark.parametrize("wrong", [0, True, [0.0, 1.0, 2.0], "eight"])
def test_a_rescue_takes_a_whole_number_of_slabs(wrong):
    own = Prescription("in slabs", {"training.optimizer": "gauss-newton", "training.steps": 2, "slabs.edges": wrong})
    with pytest.raises(ValueError, match=r"slabs\.edges=.*a whole number of time slabs"):
        pinntk.rescue(stuck(steps=2), prescription=own, findings=[], progress=False)


def test_a_configuration_of_slabs_is_not_trained_as_one_network():
    run = pinntk.train(pinntk.load("convection", beta=1.0), pinntk.nn.MLP(pinntk.load("convection"), width=4), steps=1)
    with pytest.raises(ValueError, match=r"is one of time slabs; use train_slabs\(.*, slabs=config\['slabs'\]\['edges'\]\)"):
        pinntk.train_as(apply_changes(run.config, {"slabs.edges": 4}), progress=False)
