"""Numbers reach machines whole, and people at 80 columns and on the command line."""

import json
import re

import pytest

import pinntk
from pinntk._util.numbers import number
from pinntk.cli import main
from pinntk.diagnostics import RULES, Finding, Prescription, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_comparison
from tests.reporting.reports import IMBALANCE, STEP, Page, self_contained, trained

pytestmark = pytest.mark.xdist_group("report")  # one worker, for what they share


# Numbers.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1234567, "1,234,567"),
        (1234.5, "1,230"),
        (0.012345, "0.0123"),
        (1.2345e-5, "1.23e-5"),
        (9.999, "10.0"),
        (9999.6, "10,000"),
    ]
    + [(-0.5, "-0.500"), (2e6, "2.00e6"), (3.0, "3"), (None, "–"), (float("inf"), "infinite"), ("text", "text")],
)
def test_three_significant_digits(value, shown):
    assert number(value) == shown


def test_json_equals_the_findings_and_is_strict(run):
    infinite = Finding(code="any", severity="warning", sentence="Any.", evidence={"finite": 1.5, "infinite": float("inf")})
    found = verdict.diagnosis(examine(run), [IMBALANCE, infinite])
    again = json.loads(json.dumps(found, allow_nan=False))
    expected = json.loads(json.dumps(IMBALANCE.as_json()))
    expected["prescriptions"][0]["command"] = f"pinntk rescue {run.folder}"
    assert again["findings"][0] == expected
    assert again["findings"][1]["evidence"] == {"finite": 1.5, "infinite": None}
    x = examine(run)
    assert again["numbers"]["imbalance"] == pytest.approx(x.balance.imbalance)
    assert again["numbers"]["alignment"] == pytest.approx(x.balance.alignment)
    assert again["numbers"]["cosines"]["ends"]["poisson"] == pytest.approx(x.balance.alignment)  # of two, their cosine
    assert again["numbers"]["conditions"]["ends"]["rate"] == pytest.approx(x.balance.rate["ends"])
    assert again["numbers"]["relative_error"] == pytest.approx(run.relative_error)
    assert set(again["numbers"]["weights_by_name"]["trace"]) == {"poisson", "ends"}
    assert again["numbers"]["not_measured"] == {}
    assert (again["format"], again["version"]) == (1, pinntk.__version__)


def test_the_text_fits_80_columns_and_has_one_command(run):
    long = Finding(
        code="any", severity="critical", sentence="word " * 60, prescriptions=(Prescription("do " * 60, {"training.lr": 1.0}),)
    )
    text = verdict.text(verdict.diagnosis(examine(run), [long, STEP]))
    lines = [line for line in text.splitlines() if "pinntk rescue" not in line]
    assert max(map(len, lines)) <= 80
    assert text.count("pinntk rescue") == 1
    assert text.index("CRITICAL") < text.index("WARNING") < text.index("condition ")


# On the command line.


def command(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_diagnose_prints_a_verdict_and_leaves_a_report(capsys, run, monkeypatch):
    monkeypatch.chdir(run.folder.parent)
    status, out, _ = command(capsys, "diagnose", "p1")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "\033" not in out
    found = json.loads((run.folder / "diagnosis.json").read_text())
    codes = [finding["code"] for finding in found["findings"]]
    assert set(codes) <= {*RULES, "unfinished", "unexplained"}
    page = Page((run.folder / "report.html").read_text())
    self_contained(page)
    assert found["verdict"] in page.text
    assert "report in p1/report.html" in out


def test_diagnose_for_machines_prints_json_alone(capsys, run, tmp_path):
    status, out, _ = command(capsys, "diagnose", run.folder, "--json", "-o", tmp_path / "mine.html")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "diagnosis.json").read_text())
    assert (tmp_path / "mine.html").exists()


def test_two_runs_are_compared(capsys, run, tmp_path):
    other = trained("burgers", tmp_path / "other")
    status, out, _ = command(capsys, "diagnose", run.folder, other.folder, "-o", tmp_path)
    assert status == 0
    assert max(map(len, out.splitlines()[:-1])) <= 80
    rows = {line[:26].strip(): line[26:].split() for line in out.splitlines()}
    assert rows["problem"] == ["poisson1d", "burgers"]
    assert rows["relative L2 error"] == [number(run.relative_error), number(other.relative_error)]
    page = Page((tmp_path / "comparison.html").read_text())
    self_contained(page)
    assert "loss of burgers" in page.text
    alike = Page(write_comparison(tmp_path / "same.html", (examine(run), [STEP]), (examine(run), [])).read_text())
    assert "p1 (A)" in alike.text and "p1 (B)" in alike.text
    assert alike.text.index(STEP.sentence) < alike.text.index("Side by side")
    assert "loss of poisson" in alike.text


def test_an_overwritten_run_takes_its_old_report_along(capsys, tmp_path):
    run = trained("poisson1d", tmp_path / "run")
    assert command(capsys, "diagnose", run.folder)[0] == 0
    trained("poisson1d", run.folder, overwrite=True)
    assert not (run.folder / "report.html").exists()
    assert not (run.folder / "diagnosis.json").exists()


def test_templates_name_no_address():
    for path in (verdict.Path(pinntk.__file__).parent / "reporting" / "templates").glob("*.j2"):
        assert not re.search(r"https?://|//cdn|@import|url\(", path.read_text()), path
