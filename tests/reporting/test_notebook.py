"""What a notebook shows of a value: short, whole, and with nothing of the user's as HTML. It was looked at, light and dark."""

from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk._util.html import curves, facts, page, table
from pinntk.diagnostics import Diagnosis, Finding, Prescription, Unjudged
from pinntk.reporting import plot
from pinntk.training import Rescue, Round

BAD = "<script>alert('x')</script>&"


class Balanced(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.words += [" "] * (tag in ("td", "th", "p", "summary"))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.words.append(data)


def shown(value):
    """The page of a value, checked, and its words."""
    html = value._repr_html_()
    found = Balanced(html)
    assert "script" not in found.tags and "http" not in html
    return " ".join("".join(found.words).split()), found.tags


def hostile():
    """A problem whose names are HTML wherever a user may name something."""
    domain = Box(x=(0, 1))

    def pde(u_xx):
        return u_xx + 1

    def ends(u):
        return u

    pde.__name__ = BAD
    return Problem(domain, [residual(domain)(pde), boundary(domain.ends("x"))(ends)], name=BAD, parameters={"k": BAD})


@pytest.fixture(scope="module")
def run():
    problem = hostile()
    network = pinntk.nn.MLP(problem, width=5, depth=1)
    return pinntk.train(problem, network, steps=3, log_every=1, points={"residual": 6, "boundary": 2}, progress=False)


FINDING = Finding(
    code="imbalance",
    severity="warning",
    sentence=f"{BAD} is slow.",
    evidence={f"rate/{BAD}": 1.5},
    confidence=0.9,
    prescriptions=(Prescription(f"weigh {BAD}", {"weighting": {"name": BAD}}), Prescription("look")),
)


def rescued(run):
    this = Round(FINDING.prescriptions[0], run, 0.5, (FINDING,), failure=BAD)
    return Rescue(run, run, (FINDING,), (), (this,), "loss", 1.0, 0.5, BAD)


def test_nothing_of_the_users_is_html(run):
    K = pinntk.kernel(run.network, run.problem, run.points)
    parts = [run.problem, run, K, pinntk.factors(run.network, run.problem, run.points)[BAD], FINDING]
    parts += [Diagnosis([FINDING], [Unjudged(BAD, BAD, BAD)]), rescued(run)]
    for part in parts:
        words, _ = shown(part)
        assert BAD in words, type(part)


def test_a_problem_shows_equations_and_conditions():
    words, tags = shown(pinntk.load("burgers", nu=0.125))
    assert "ut + u · ux = nu · uxx" in words and "sub" in tags
    assert "where x = -1 or x = 1" in words and "nu=0.125" in words and "exact" in words
    assert "kappa, now 1" in shown(pinntk.load("heat_inverse"))[0]
    conditions = "burgers (residual), start (initial), walls (boundary)"
    assert (
        repr(pinntk.load("burgers"))
        == f"Problem(burgers, nu=0.003183: u of (t, x), t from 0 to 1, x from -1 to 1; {conditions})"
    )


def test_a_kernel_shows_traces_and_spectrum(run):
    K = pinntk.kernel(run.network, run.problem, run.points)
    words, tags = shown(K)
    assert "K = J Jᵀ, 8 x 8" in words and "of 8 eigenvalues are above rounding" in words and "polyline" in tags
    assert "boundary" in words and f"{float(K.values.trace() - K.trace(BAD)):.3g}" in words
    broken = pinntk.KernelBlocks(torch.full((2, 2), torch.nan), ("a",), ("residual",), (2,))
    assert "not finite" in shown(broken)[0] and "svg" not in shown(broken)[1]
    zero = pinntk.KernelBlocks(torch.zeros(2, 2), ("a",), ("residual",), (2,))
    assert "svg" not in shown(zero)[1]
    large = pinntk.KernelBlocks(torch.zeros(1).expand(1501, 1501), ("a",), ("residual",), (1501,))
    assert "not computed for display" in shown(large)[0]


def test_factors_show_how_each_parameter_is_kept(run):
    J = pinntk.factors(run.network, run.problem, run.points)["ends"]
    words, _ = shown(J)
    assert "J of ends, 2 x 16" in words and "products of A" in words and "rows [2, 1]" in words
    assert repr(J).startswith("Factors(ends: J of 2 errors and 16 parameters, cpu; taylor") and "tensor" not in repr(J)
    many = pinntk.Factors("e", 1, {f"p{i}": 1 for i in range(14)}, {}, {"p0": torch.ones(1, 1)})
    words, tags = shown(many)
    assert "and 2 more" in words and "details" in tags and "do not depend on it" in words


def test_a_run_shows_what_came_out(run):
    words, tags = shown(run)
    assert "3 steps" in words and "losses, mean(e²)" in words and tags.count("svg") == 1
    first, last = (f"{run.column('loss/ends')[1][i]:.3g}" for i in (0, -1))
    assert first in words and last in words
    empty = pinntk.Run(run.problem, run.network, {})
    assert "0 steps" in shown(empty)[0] and "svg" not in shown(empty)[1]


def test_findings_and_rescues(run):
    words, tags = shown(FINDING)
    assert "warning imbalance" in words and "Confidence 90%" in words and "To do: weigh" in words and "Or: look" in words
    assert "details" in tags
    assert repr(FINDING) == f"Finding(imbalance, warning, confidence 90%: {FINDING.sentence!r})"
    assert "2 findings" in shown(Diagnosis([FINDING, FINDING]))[0] and "Nothing found" in shown(Diagnosis())[0]
    words, _ = shown(rescued(run))
    assert "before round 1" in words and "5.000e-01" in words and "broke off" not in words
    assert repr(rescued(run)) == f"Rescue({BAD}, 1 round, loss 1 -> 0.5)"


def test_curves_are_where_their_values_are():
    shape = curves({"a": ([1, 10, 100], [1, 1e-2, 1e-4])}, title="t", across="x", log=True, floor=1e-2)
    points = shape.split('points="')[1].split('"')[0]
    pairs = np.array([pair.split(",") for pair in points.split()], float)
    assert np.allclose(np.diff(pairs[:, 0]), np.diff(pairs[:, 0])[0], atol=0.11)  # equal steps of decades
    assert np.allclose(np.diff(pairs[:, 1]), 66, atol=0.11)  # of 132 pixels: downwards
    assert f'y1="{pairs[1, 1]:.1f}"' in shape.split("stroke-dasharray")[0]
    assert shape.count("circle") == 3
    assert curves({"a": ([0, 1], [0.0, np.nan])}, title="t", across="x") == ""
    many = curves({"a": (np.arange(10_000), np.arange(10_000) + 1.0)}, title="t", across="x")
    assert 200 < many.split('points="')[1].split('"')[0].count(",") <= 240


def test_pieces_escape_what_is_no_markup():
    assert "<script" not in page(BAD, BAD, remark=BAD) + table([BAD], [[BAD]]) + facts([(BAD, BAD)])
    assert table(["n"], [[None], [True]]).count('class="n"') == 0
    assert facts([("a", ""), ("b", None)]) == ""
    assert curves({BAD: ([0], [1.0])}, title=BAD, across=BAD).count("<script") == 0


@pytest.mark.pixels
def test_a_figure_is_shown_without_pyplot_or_a_folder(run):
    for figure in (plot.losses(run), plot.solution(run.problem, run.network)):
        data, size = figure._repr_png_()
        assert data.startswith(b"\x89PNG")
        assert [round(100 * side) for side in figure.get_size_inches()] == [size["width"], size["height"]]


def test_the_repr_of_everything_is_a_line(run):
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=5, boundary=2)
    network = pinntk.nn.MLP(problem, width=4, depth=1, activation="sin", parametrization="ntk")
    seeds = pinntk.mean_kernel(
        lambda seed: pinntk.nn.MLP(problem, width=4, depth=1, seed=seed), problem, points, seeds=range(2)
    )
    grid = pinntk.GridSolution((np.linspace(0, 1, 50),), np.zeros(50))
    found = [
        pinntk.collocate(network, problem, points, noise=1e-3),
        pinntk.infinite_ensemble(network, problem, points),
        seeds,
        grid,
    ]
    found += [pinntk.examine(run), pinntk.examine(network, problem, points), pinntk.KernelOperator(network, problem, points)]
    assert repr(grid) == "GridSolution(axes [(50,)], values (50,))"
    for value in [*found, run, problem, FINDING, rescued(run), rescued(run).rounds[0]]:
        assert len(repr(value)) < 250 and "tensor(" not in repr(value) and "\n" not in repr(value), type(value)
