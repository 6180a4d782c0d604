"""Reports in a browser, wide, narrow and on paper: nothing is cut off, nothing complains, nothing is asked for elsewhere."""

import re
from functools import cache

import pytest

import pinntk
from pinntk.diagnostics import Finding, Prescription, examine
from pinntk.reporting import write_comparison, write_report
from tests.support import chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.path() is None, reason="needs a Chromium"),
]
LONG = Finding(
    code="imbalance",
    severity="critical",
    sentence="A sentence with a/very/long/path/" + "without_a_break_" * 12 + " in it.",
    evidence={"imbalance": 301.27, "rate/a_condition_with_a_long_name": 1.23e-4, "estimated_error": 0.5},
    prescriptions=(Prescription("give every condition the same rate", {"weighting": {"name": "ntk", "every": 100}}),),
)
PROBLEMS = ("poisson1d", "wave2d", "plate_with_hole", "heat_inverse")
VIEWS = ((1280, {}), (390, {}), (390, {"dark": True}), (chromium.PAPER, {"paper": True}))


def trained(name, **settings):
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    points = {"residual": 20, "boundary": 10} | ({"initial": 10} if name in ("wave2d", "heat_inverse") else {})
    return pinntk.train(problem, network, steps=4, points=points, progress=False, snapshot_every=2, **settings)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.started(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The file of a problem's report, with a finding of long words; written once."""

    @cache
    def written(name):
        path = tmp_path_factory.mktemp(name) / "report.html"
        return write_report(path, examine(trained(name)), [LONG])

    return written


def sound(browser, file):
    """Whether the page is as it should be, in every view."""
    for width, view in VIEWS:
        browser.open(file, width, **view)
        for folded in (True, False):
            assert browser.faults() == [], (width, view)
            browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })") if folded else None
        assert browser.complaints() == [], (width, view)
        page, *others = browser.requests()
        assert page == file.absolute().as_uri()
        assert all(url.startswith("data:") for url in others), others


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_report_is_whole_at_every_width(browser, report, name):
    sound(browser, report(name))


def test_a_comparison_is_whole_at_every_width(browser, tmp_path):
    one, other = trained("poisson1d"), trained("wave2d")
    sound(browser, write_comparison(tmp_path / "comparison.html", (examine(one), [LONG]), (examine(other), [])))


def test_what_would_be_wrong_is_seen(browser, tmp_path):
    """Pages with one fault each, so that the checks are known to find it."""
    pages = {
        "cut at the side": '<p style="width:5em; overflow:hidden; white-space:nowrap">much longer than five letters</p>',
        "cut below": '<p style="height:.5em; overflow:hidden">some words</p>',
        "sticks out": '<div style="overflow-x:clip"><p style="width:3000px">far out</p></div>',
        "wide on": '<p style="width:3000px">far out</p>',
        "not loaded": '<img src="missing.png" alt="none">',
    }
    for fault, body in pages.items():
        file = tmp_path / "page.html"
        file.write_text(f"<!DOCTYPE html><title>x</title><body>{body}</body>")
        browser.open(file)
        assert any(fault in found for found in browser.faults()), (fault, browser.faults())
    assert any("missing.png" in url for url in browser.requests())
    file.write_text("<!DOCTYPE html><title>x</title><script>console.error('oh'); nowhere()</script>")
    browser.open(file)
    assert len(browser.complaints()) == 2


def test_the_hint_to_scroll_stands_where_a_table_is_wider_than_the_page(browser, report):
    file = report("wave2d")
    shown = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(
        [...document.querySelectorAll('.wide')].filter(e => e.checkVisibility() && e.clientWidth)
        .map(e => [e.scrollWidth > e.clientWidth + 1, getComputedStyle(e.querySelector('.hint')).display !== 'none'])))))"""
    for width, wider in ((390, True), (1280, False)):
        browser.open(file, width)
        tables = browser.run(shown)
        assert tables and all(wide == hint for wide, hint in tables), (width, tables)
        assert any(wide for wide, _ in tables) is wider


def test_paper_has_what_is_folded_and_no_moving_picture(browser, report):
    file = report("wave2d")
    browser.open(file, chromium.PAPER, paper=True)
    shown = "[...document.querySelectorAll('{}')].map(e => e.checkVisibility() && e.getBoundingClientRect().height > 0)"
    assert all(browser.run(shown.format("details.folded img, details.folded td")))
    assert browser.run(shown.format(".moving")) == [False]
    assert not any(browser.run(shown.format("details:not(.folded)")))  # of what is not printed no heading either
    pages = len(re.findall(rb"/Type\s*/Page\b", browser.pdf()))
    assert 3 <= pages <= 12


def test_letters_on_paper_can_be_read(browser, report):
    """Small print is smaller than the text. A figure of its own size has letters of 10 points, which are 6 and more here."""
    size = "one => 0.75 * parseFloat(getComputedStyle(document.querySelector(one)).fontSize)"
    scale = "e => e.getBoundingClientRect().width / e.naturalWidth"
    for name in ("heat_inverse", "wave2d"):
        browser.open(report(name), chromium.PAPER, paper=True)
        scales = browser.run(f"[...document.images].filter(e => e.checkVisibility()).map({scale})")
        assert len(scales) > 5 and min(scales) >= 0.6 and max(scales) <= 1, scales
        text, *small = browser.run(f"['body', '.small', '.evidence td', '.wide td'].map({size})")
        assert all(7 <= one < text for one in small), (text, small)


def test_dark_and_light_differ_in_the_page_and_not_in_the_figures(browser, report):
    file = report("poisson1d")
    colors = {}
    for dark in (False, True):
        browser.open(file, dark=dark)
        colors[dark] = browser.run("[document.body, document.images[0]].map(e => getComputedStyle(e).backgroundColor)")
    assert colors[False][0] == "rgb(255, 255, 255)" and colors[True] == ["rgb(20, 23, 27)", "rgb(255, 255, 255)"]


def test_a_link_opens_what_it_leads_to(browser, report):
    file = report("poisson1d")
    browser.open(file)
    links = browser.run("[...document.querySelectorAll('nav a')].map(a => [a.textContent, !!document.querySelector(a.hash)])")
    assert links and all(found for _, found in links), links
