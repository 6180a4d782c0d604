"""The report stands alone, says the verdict first, injects nothing; numbers reach machines whole. It was looked at, too."""

import base64
import json
import re
from collections import defaultdict
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch

import pinntk
from pinntk._util.numbers import number
from pinntk.cli import main
from pinntk.diagnostics import RULES, Finding, Prescription, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import plot, write_comparison, write_report
from pinntk.reporting._html import _with_deviation

pytestmark = pytest.mark.xdist_group("report")  # one worker, for what they share

VOID = {"meta", "img", "br", "link", "hr", "input"}
IMBALANCE = Finding(
    code="imbalance",
    severity="critical",
    sentence="'poisson' trains 301 times faster than 'ends'.",
    evidence={"imbalance": 301.27, "rate/ends": 0.000123456},
    arrays={"eigenvalues/poisson": np.array([9.0, 1.0, 1e-3]), "eigenvalues/ends": np.array([1.0, 0.5])},
    confidence=0.95,
    prescriptions=(
        Prescription("give every condition the same rate", {"weighting": {"name": "ntk"}}),
        Prescription("look at the ends"),
    ),
)
STEP = Finding(
    code="step-too-small",
    severity="warning",
    sentence="The learning rate is small.",
    arrays={"step": np.arange(3), "loss": np.array([3.0, 2.0, 1.0])},
    prescriptions=(Prescription("raise it", {"training.lr": 1e-2}),),
)
UNKNOWN = Finding(
    code="of-ones-own", severity="note", sentence="Something new.", arrays={"some_values": np.array([1.0, 5.0, 2.0])}
)


class Page(HTMLParser):
    """What a browser would find: balanced tags, loads, images, headings and words in order."""

    def __init__(self, html):
        super().__init__()
        self.within = defaultdict(list)
        self.open, self.loads, self.images, self.tags, self.words, self.ids = [], [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.loads += [attributes[key] for key in ("src", "href", "data", "srcset", "action") if key in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if data.strip() and not set(self.open) & {"style", "script"}:
            self.words.append(" ".join(data.split()))
            for tag in self.open:
                self.within[tag].append(self.words[-1])

    @property
    def text(self):
        return " ".join(self.words)


def trained(name, folder=None, **settings):
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=5, depth=1)
    points = {"residual": 8, "boundary": 6} | ({"initial": 6} if name in ("burgers", "heat_inverse") else {})
    settings = {"snapshot_every": 2, **settings}
    return pinntk.train(problem, network, steps=4, points=points, progress=False, out=folder, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained("poisson1d", tmp_path_factory.mktemp("runs") / "p1")


def reported(path, run, findings):
    return Page(write_report(path, examine(run), findings).read_text(encoding="utf-8"))


def self_contained(page):
    assert page.loads
    assert all(load.startswith(("data:image/svg+xml;base64,", "data:image/gif;base64,", "#")) for load in page.loads), (
        page.loads
    )
    assert all(load[1:] in page.ids for load in page.loads if load.startswith("#"))
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)


def images(page, solution, residuals):
    losses, spectra, drift, modes, meetings = 2, 3, 2, 2, 2  # weights that stay have no panel
    assert len(page.images) == losses + solution + residuals + spectra + drift + modes + meetings
    assert all(len(image["alt"]) > 10 for image in page.images)
    return page.images


@pytest.mark.pixels
@pytest.mark.parametrize(("name", "solution", "residuals"), [("poisson1d", 2, 1), ("kovasznay", 9, 3)])
def test_a_report_is_one_well_formed_file_with_all_its_figures_and_leaves_settings_alone(tmp_path, name, solution, residuals):
    before, dtype = dict(matplotlib.rcParams), torch.get_default_dtype()
    path = tmp_path / "report.html"
    page = reported(path, trained(name), [])
    self_contained(page)
    assert "@import" not in path.read_text() and "url(" not in path.read_text()
    assert "not drawn" not in page.text
    for image in images(page, solution, residuals):
        assert ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2])).tag.endswith("svg")
    assert len(path.read_bytes()) < 3e6
    assert list(tmp_path.iterdir()) == [path]  # nothing temporary is left
    assert dict(matplotlib.rcParams) == before
    assert torch.get_default_dtype() == dtype


def test_a_solution_in_time_has_its_figures(tmp_path):
    page = reported(tmp_path / "report.html", trained("burgers"), [])
    assert "not drawn" not in page.text
    images(page, solution=3, residuals=1)


def test_the_verdict_and_the_first_prescription_come_before_the_findings(tmp_path, run):
    page = reported(tmp_path / "report.html", run, [IMBALANCE, STEP])
    text = page.text
    order = ["Something is badly wrong", IMBALANCE.sentence, "What to do first: give every", "pinntk rescue"]
    order += [
        "relative L2 error",
        "weighted loss",
        "Solution and errors",
        "Relative L2 error",
        "Where the equations",
        "Findings",
    ]
    order += ["Imbalance critical", "Evidence", "301", "1.23e-4", "Look at the ends.", "Step too small", "--prescription 2"]
    order += ["training.lr = 0.01", "Losses and weights", "All loss weights λ are 1, ", "Conditions and their rates", "The run"]
    order += ["For specialists", "The kernel", "Layers", "What others would weight by", "What the words"]
    places = [text.index(order[0])]
    for words in order[1:]:
        places.append(text.find(words, places[-1]))
        assert places[-1] > 0, f"{words!r} is missing, or too early"
    assert page.tags.count("h1") == 1


def test_a_coefficient_stands_near_the_top_with_its_error_bar(tmp_path):
    run = trained("heat_inverse")
    page = reported(tmp_path / "report.html", run, [IMBALANCE])
    found = examine(run).coefficients["kappa"]
    shown = re.search(r"kappa ([\d.]+) ± ([\d.]+) from 1 ", page.text)
    assert shown.start() < page.text.index("Solution and errors")
    assert float(shown[1]) == pytest.approx(found.value, abs=found.deviation)
    assert float(shown[2]) == pytest.approx(found.deviation, rel=0.1)


@pytest.mark.parametrize(
    ("value", "deviation", "shown"),
    [
        (0.20113, 0.00124, "0.2011 ± 0.0012"),
        (1234.5, 56.7, "1234 ± 57"),
        (-3.14159, 0.5, "-3.14 ± 0.50"),
        (1.5, 2.0, "1.50 ± 2"),
        (2.5e-7, 1e-8, "2.50e-7 ± 1.00e-8"),
        (1.0, None, "1"),
    ],
)
def test_digits_of_a_coefficient_follow_its_error_bar(value, deviation, shown):
    assert _with_deviation(value, deviation, "")[0] == shown


PLAIN = re.findall(
    r"\w+",
    "a above alone and are as at being between by called changes conditions each end equations estimated fast first "
    "found for from how in inverted is it its kind least left mean meet most not nothing now of on one or others "
    "over places quantity root run share shown something sum that the their then this times to under unknown "
    "violated was well what where which why with words would wrong zero",
)


def test_the_glossary_has_every_word_of_headings_tables_and_figures(tmp_path):
    for name in ("heat_inverse", "kovasznay"):
        run = trained(name)
        page = reported(tmp_path / "report.html", run, [])
        names = {*run.problem.names, *run.problem.fields, *run.problem.coefficients, *run.problem.coordinates}
        known = {stem(word) for term in page.within["dt"] for word in re.findall(r"[^\W\d]+", term)}
        heads = [text for tag in ("h2", "h3", "th", "figcaption") for text in page.within[tag]]
        used = {word for text in heads for word in re.findall(r"[^\W\d]+", text) if len(word) > 1} - names - LAYERS
        missing = {word for word in used if stem(word) not in known | {stem(word) for word in PLAIN}}
        assert not missing, missing


def stem(word):
    return re.sub(r"(?<!s)s$|(?<=ss)es$", "", word.lower())


LAYERS = {"dense", "biases", "output", "problem", "domain", "training", "specialists", "hidden"}


def test_nothing_found_says_so_with_numbers(tmp_path, run):
    page = reported(tmp_path / "report.html", run, [])
    assert "Nothing found: the relative L2 error is" in page.text
    assert "What to do first" not in page.text


def test_the_alignment_is_told_and_the_pair_that_agrees_least(tmp_path, run):
    page = reported(tmp_path / "report.html", run, [])
    x = examine(run)
    assert f"Alignment of the gradients {number(x.balance.alignment)} (1 where they agree, -1 where they cancel). " in page.text
    x = examine(trained("burgers"))
    text = " ".join(verdict.text(verdict.diagnosis(x, [])).split())
    pairs = {x.balance.cosines[a][b]: (a, b) for i, b in enumerate(x.balance.names) for a in x.balance.names[:i]}
    one, other = pairs[min(pairs)]
    assert f"least between {one} and {other}, with a cosine of {number(min(pairs))}" in text


def test_names_and_sentences_are_escaped(tmp_path):
    path = tmp_path / "<b>bold & pde.py"
    path.write_text(
        "from pinntk import Box, Problem, residual\n"
        "def problem():\n"
        "    domain = Box(x=(0, 1))\n"
        "    @residual(domain)\n"
        "    def ode(u_x, u):\n"
        "        return u_x + u\n"
        "    return Problem(domain, [ode])\n"
    )
    problem = pinntk.load(path)
    x = examine(pinntk.nn.MLP(problem, width=3, depth=1), problem, problem.sample(residual=5, seed=0))
    wicked = Finding(
        code="<i>code",
        severity="warning",
        sentence="<script>alert(1)</script>",
        evidence={"<u>": 1.0},
        prescriptions=(Prescription("<img src=x>", {"<s>": "<a>"}),),
    )
    page = Page(write_report(tmp_path / "report.html", x, [wicked]).read_text())
    self_contained(page)
    assert not {"b", "i", "script", "u", "s"} & set(page.tags)
    assert problem.name in page.text
    assert "<script>alert(1)</script>" in page.text


def test_an_interrupted_report_leaves_the_old_one(tmp_path, run, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def half(self, text, **_):
        self.write_bytes(text.encode()[:100])
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_text", half)
    with pytest.raises(OSError, match="disk full"):
        write_report(path, examine(run), [])
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_snapshots_the_kernel_now_is_shown(tmp_path):
    page = reported(tmp_path / "report.html", trained("poisson1d", snapshot_every=0), [])
    assert "then and now" not in page.text
    assert "eigenvalues of K" in page.text


def test_what_cannot_be_measured_is_named(tmp_path):
    run = trained("poisson1d")
    with torch.no_grad():
        next(run.network.parameters()).fill_(float("nan"))
    x = examine(run)
    found = verdict.diagnosis(x, [])
    assert "blown up" in found["numbers"]["not_measured"]["spectrum"]
    page = Page(write_report(tmp_path / "report.html", x, []).read_text())
    assert "Not measured" in page.text
    assert "spectrum not measured" in " ".join(verdict.text(found).split())


# Figures of findings.


@pytest.mark.pixels
def test_findings_of_every_kind_have_their_figures():
    before = dict(matplotlib.rcParams)
    problem = pinntk.load("burgers")
    grid = np.random.default_rng(0).random((1200, 2))
    cases = {
        ("step", "loss"): (np.arange(4), np.array([4.0, 3, 2, 1])),
        ("eigenvalues", "share"): (np.array([4.0, 1, 1e-20]), np.array([0.1, 0.2, 0.7])),
        ("time", "error", "residual", "diagonal"): (np.arange(4), np.arange(4.0), np.array([1.0, np.nan, 1, 100]), np.ones(4)),
        ("time", "error", "true_error", "residual", "diagonal"): (*np.arange(12.0).reshape(3, 4), np.ones(4), np.ones(4)),
        ("mean", "std", "low", "high"): (np.ones(2), np.ones(2), np.zeros(2), 2 * np.ones(2)),
        ("saturated", "saturated_at_start", "dead"): (np.array([0.5, np.nan]), np.array([0.8, np.nan]), np.array([0.0, 0.1])),
        ("noise", "error"): (np.full(3, 1e-7), np.full(3, 1e-3)),
        ("x", "hole"): (grid, np.array([0.5, 0.5])),
        ("x", "candidates"): (grid, grid[:5]),
        ("x", "deviation", "free"): (grid, grid[:, 0], grid[:, 1]),
        ("x", "error"): (grid, grid[:, 0]),
        ("cosines",): (np.eye(3),),
        ("of my own",): (np.array([[1.0, 2, 3]]),),
    }
    for names, arrays in cases.items():
        finding = Finding(code="any", severity="note", sentence="Any.", arrays=dict(zip(names, arrays, strict=True)))
        panels = plot.finding_panels(finding, problem)
        assert panels, names
        for panel in panels:
            assert plot.single_figure(panel).axes, names
            assert "nan" not in panel.text, panel.text
            assert plot.svg(plot.single_figure(panel))
    assert plot.finding_panels(Finding(code="any", severity="note", sentence="Any."), problem) == []
    assert (
        plot.finding_panels(Finding(code="any", severity="note", sentence="Any.", arrays={"gone": np.full(3, np.nan)}), problem)
        == []
    )
    assert dict(matplotlib.rcParams) == before


@pytest.mark.pixels
def test_a_comparison_has_its_figures(run):
    panels = plot.comparison_panels({"a": run, "b": trained("poisson1d", lr=1e-2)})
    assert len(panels) > 1
    assert all(ElementTree.fromstring(plot.svg(plot.single_figure(panel))).tag.endswith("svg") for panel in panels)


def test_an_unknown_finding_is_drawn_and_named(tmp_path, run):
    page = reported(tmp_path / "report.html", run, [UNKNOWN])
    assert "Of ones own" in page.text
    assert "some values" in page.text
    assert "Nothing needs a change" in page.text


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
