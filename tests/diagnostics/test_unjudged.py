"""What rules need beside the network, and what could not be judged: one failing run, told with more and with less."""

import json
import pickle
from copy import deepcopy

import pytest
import torch

import pinntk
from pinntk.diagnostics import RULES, Diagnosis, Unjudged
from pinntk.diagnostics._findings import LAST
from pinntk.diagnostics._unjudged import COEFFICIENTS, NEEDS, OPERATORS, TRAINING, lacking_need
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_report
from pinntk.run._network import build_network
from tests.support.diagnosed import healthy_run, lost_front, poisson
from tests.support.foreign import TWINS

pytestmark = pytest.mark.xdist_group("diagnose")  # one worker, for what they share

HISTORY = ["too-few-steps", "step-too-small", "step-too-large", "unfinished"]
RESULT = ["too-few-points", "causality", "trivial-solution"]


@pytest.fixture(scope="module")
def failing():
    """A run and its diagnosis."""
    run = lost_front()
    return run, pinntk.diagnose(run)


def retold(run, optimizer="adam", rate=True, rows=True):
    """The run as a recorder would have it that saw this much of it."""
    network = build_network(run.config, run.problem)
    recorder = pinntk.Recorder(run.problem, network, run.points, optimizer=optimizer)
    network.load_state_dict(run.network.state_dict())
    for row in run.history if rows else run.history[-1:]:
        losses = {name: row[f"loss/{name}"] for name in run.weights}
        measured = {name: row[name] for name in ("relative_error", "drift") if name in row}
        recorder.log(row["step"], losses, row["learning_rate"] if rate else None, **measured)
    return recorder.run


def unjudged(found):
    return [rule.code for rule in found.unjudged]


def test_the_table_names_rules():
    names = {rule.__name__.replace("_", "-") for rule in LAST}
    assert set(NEEDS) <= set(RULES) | names
    assert all(needs[0] in (TRAINING, OPERATORS, COEFFICIENTS) for needs in NEEDS.values())  # a history is that of a training


def test_a_training_of_pinntk_lacks_nothing(failing):
    run, found = failing
    assert "causality" in [finding.code for finding in found]
    x = pinntk.examine(run)
    assert [code for code in NEEDS if lacking_need(x, code)] == []
    assert found.unjudged == ()


def test_a_recorder_is_as_good(failing):
    run, found = failing
    told = pinntk.diagnose(retold(run))
    assert [finding.code for finding in told] == [finding.code for finding in found] and told.unjudged == ()


@pytest.mark.parametrize(
    ("told", "rules", "reason"),
    [
        pytest.param({"optimizer": None}, HISTORY[:3], "the optimizer is not known", marks=pytest.mark.slow),
        pytest.param({"rate": False}, HISTORY[1:], "the learning rate is not known", marks=pytest.mark.slow),
        ({"rows": False}, HISTORY, "the losses of the training are not known"),
    ],
)  # fmt: skip
def test_a_recorder_that_saw_less_says_so(failing, told, rules, reason):
    run, found = failing
    less = pinntk.diagnose(retold(run, **told))
    assert less[0].code == found[0].code
    assert unjudged(less) == rules
    assert {rule.reason.partition(",")[0] for rule in less.unjudged} == {reason}


def test_a_network_alone(failing):
    run, found = failing
    given = run.network, run.problem, run.points, run.weights
    alone, result = pinntk.diagnose(*given), pinntk.diagnose(*given, trained=True)
    assert unjudged(alone) == [*HISTORY[:3], *RESULT, HISTORY[3]]
    assert {rule.reason for rule in alone.unjudged} == {"nothing is known of the training"}
    assert not {"causality", "unexplained"} & {finding.code for finding in alone}
    assert [finding.code for finding in result] == [finding.code for finding in found]  # of which none needs a history
    (causality,) = (finding for finding in result if finding.code == "causality")
    assert causality.severity == "critical"
    assert causality.prescriptions[0].changes["training.optimizer"] == "gauss-newton"
    assert [tuple(one.changes) for one in causality.prescriptions] == [
        tuple(one.changes) for finding in found if finding.code == "causality" for one in finding.prescriptions
    ]
    assert unjudged(result) == HISTORY
    with pytest.raises(TypeError, match="give the examination alone"):
        pinntk.diagnose(pinntk.examine(*given), trained=True)


@pytest.mark.slow
def test_conditions_from_other_code():
    """Rules that call operators are named, those about coefficients where there are any."""
    for name, own in (("heat", ["undetermined-coefficient", "unscaled-coefficient"]), ("system", [])):
        twins = TWINS[name](0)
        found = pinntk.diagnose(twins.network, twins.foreign, twins.points, trained=True)
        by_operators = [rule.code for rule in found.unjudged if rule.reason.startswith("conditions from other code")]
        assert sorted(by_operators) == sorted(["wrong-problem", "conflict", "unscaled-output", "unsuitable-activation", *own])
        written = pinntk.diagnose(twins.network, twins.own, twins.points, trained=True)
        assert [rule.code for rule in written.unjudged] == HISTORY
    twins = TWINS["mixed"](0)
    for weight in (0.0, 1.0):  # of the only one from other code
        x = pinntk.examine(twins.network, twins.foreign, twins.points, {**dict.fromkeys(twins.points, 1.0), "right": weight})
        assert OPERATORS.met(x) == (weight == 0)


def test_points_that_are_given_and_cannot_be_drawn():
    network = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    rows = torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(1)
    for domain, lacks in ((None, True), (pinntk.Box(x=(0, 1)), False)):
        given = pinntk.wrap(network, {"fit": (lambda x: network(x) - torch.sin(9 * x), rows, "residual")}, domain=domain)
        found = pinntk.diagnose(*given, trained=True)
        reasons = {rule.code: rule.reason for rule in found.unjudged}
        assert ("no others can be drawn" in reasons.get("too-few-points", "")) == lacks


def test_where_nothing_is_wrong_nothing_is_missed():
    run = healthy_run()
    found = pinntk.diagnose(run.network, run.problem, run.points, run.weights)
    assert found == [] and found.unjudged == ()


def test_texts_say_it_in_one_line_a_need(failing, tmp_path):
    run, _ = failing
    x = pinntk.examine(run.network, run.problem, run.points, run.weights)
    findings = pinntk.diagnose(x)
    said = verdict.diagnosis(x, findings)
    assert said["unjudged"] == json.loads(json.dumps([vars(rule) for rule in findings.unjudged]))
    (sentence,) = verdict.unjudged_sentences(said)
    assert sentence.startswith("Not judged, since nothing is known of the training: too few steps, step too small")
    assert "Remedy: record it with pinntk.Recorder(problem, network, points), or diagnose a run;" in sentence
    assert sentence in " ".join(verdict.text(said).split())
    nothing = verdict.diagnosis(x, Diagnosis([], findings.unjudged))
    assert nothing["verdict"] == "Too little is known to say what is wrong" != verdict.diagnosis(x, [])["verdict"]
    assert "Too little is known to say what is wrong: the relative L2 error is" in " ".join(verdict.text(nothing).split())
    page = write_report(tmp_path / "report.html", x, findings).read_text()
    assert sentence in page.replace("&#39;", "'")
    assert verdict.diagnosis(x, list(findings))["unjudged"] == []
    assert "Not judged" not in verdict.text(verdict.diagnosis(x, list(findings)))


@pytest.mark.slow
def test_no_command_is_offered_for_what_pinntk_cannot_train_again(failing, tmp_path):
    run, _ = failing
    recorded = retold(run)
    recorded.folder = tmp_path
    said = verdict.diagnosis(pinntk.examine(recorded), pinntk.diagnose(recorded))
    prescriptions = [entry for finding in said["findings"] for entry in finding["prescriptions"] if entry["changes"]]
    assert prescriptions and all(entry["command"] is None for entry in prescriptions)


def test_a_diagnosis_is_a_list_of_findings():
    rule = Unjudged("causality", "nothing is known", "tell")
    found = Diagnosis([], [rule])
    assert found == [] and not found and isinstance(found, list)
    for copy in (pickle.loads(pickle.dumps(found)), deepcopy(found)):
        assert copy.unjudged == (rule,)


def test_an_untrained_network_is_still_a_forecast():
    """Not that it is wrong, which it has to be."""
    problem = poisson()
    network = pinntk.nn.MLP(problem, width=24, depth=2, dtype=torch.float64)
    found = pinntk.diagnose(network, problem, problem.sample(residual=40, boundary=2, dtype=torch.float64))
    assert all(finding.severity != "critical" for finding in found)
    assert "unexplained" not in [finding.code for finding in found] and found.unjudged
