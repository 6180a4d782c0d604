"""What the tests of reports share: findings, a report as a browser reads it, small trainings."""

from collections import defaultdict
from html.parser import HTMLParser

import numpy as np

import pinntk
from pinntk.diagnostics import Finding, Prescription, examine
from pinntk.reporting import write_report

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


def reported(path, run, findings):
    return Page(write_report(path, examine(run), findings).read_text(encoding="utf-8"))


def self_contained(page):
    assert page.loads
    assert all(load.startswith(("data:image/svg+xml;base64,", "data:image/gif;base64,", "#")) for load in page.loads), (
        page.loads
    )
    assert all(load[1:] in page.ids for load in page.loads if load.startswith("#"))
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
