"""The report stands alone, says the verdict first, injects nothing. It was looked at, too."""

import base64
import re
from xml.etree import ElementTree

import matplotlib
import pytest
import torch

import pinntk
from pinntk._util.numbers import number
from pinntk.diagnostics import Finding, Prescription, examine
from pinntk.reporting import _terminal as verdict
from pinntk.reporting import write_report
from pinntk.reporting._html import _with_deviation
from tests.reporting.reports import IMBALANCE, STEP, Page, reported, self_contained, trained
from tests.support.sweeps import sweep

pytestmark = pytest.mark.xdist_group("report")  # one worker, for what they share


def images(page, solution, residuals):
    losses, spectra, drift, modes, meetings = 2, 3, 2, 2, 2  # weights that stay have no panel
    assert len(page.images) == losses + solution + residuals + spectra + drift + modes + meetings
    assert all(len(image["alt"]) > 10 for image in page.images)
    return page.images


@pytest.mark.pixels
def test_a_report_is_one_well_formed_file_with_all_its_figures_and_leaves_settings_alone(tmp_path):
    before, dtype = dict(matplotlib.rcParams), torch.get_default_dtype()
    path = tmp_path / "report.html"
    page = reported(path, trained("poisson1d"), [])
    self_contained(page)
    assert "@import" not in path.read_text() and "url(" not in path.read_text()
    assert "not drawn" not in page.text
    for image in images(page, solution=2, residuals=1):
        assert ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2])).tag.endswith("svg")
    assert len(path.read_bytes()) < 3e6
    assert list(tmp_path.iterdir()) == [path]  # nothing temporary is left
    assert dict(matplotlib.rcParams) == before
    assert torch.get_default_dtype() == dtype


@pytest.mark.parametrize(("name", "solution", "residuals"), [("burgers", 3, 1), ("kovasznay", 9, 3)])
def test_a_solution_in_a_plane_has_its_figures(tmp_path, name, solution, residuals):
    page = reported(tmp_path / "report.html", trained(name), [])
    assert "not drawn" not in page.text
    images(page, solution, residuals)


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


@pytest.mark.parametrize("name", sweep(("heat_inverse", "kovasznay"), "kovasznay"))
def test_the_glossary_has_every_word_of_headings_tables_and_figures(tmp_path, name):
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
