"""PINNs in plain PyTorch, written as people write them: two lines give each NTK weights."""

import types
import warnings

import pytest
import torch

import pinntk
from pinntk import NTKWeights
from pinntk.reporting import write_report
from tests.integrations import plain
from tests.integrations.losses import squared_rows
from tests.integrations.plain_wraps import WRAPS, wrapped
from tests.support.sweeps import sweep

# With batches, with measurements and a coefficient, with closures.
FAST = ("heat_minibatches", "inverse_diffusion", "poisson_lbfgs")
STEPWISE = {"heat_minibatches": [0, 2], "burgers_class": [0, 2, 4], "poisson_lbfgs": [0, 2]}  # others: [0, 2]


def checked(made):
    """NTKWeights that compares its traces and its result with reverse mode, at every update and call."""

    class Checked(NTKWeights):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings)
            made.append(self)

        def __call__(self, losses, update=None):
            updates = len(self.history)
            total = super().__call__(losses, update)
            parts = {name: value if value.ndim == 0 else value.square().mean() for name, value in losses.items()}
            expected = sum(self.weights[name] * part for name, part in parts.items())
            assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
            if len(self.history) > updates:
                for name, value in losses.items():
                    terms = pinntk.errors_of_loss(value) if value.ndim == 0 else [(1.0, value)]
                    size = sum(f / e.numel() * squared_rows(e, self._parameters.values()) for f, e in terms)
                    assert self.traces[name] / self.counts[name] == pytest.approx(size, rel=1e-10)
            return total

    return types.SimpleNamespace(NTKWeights=Checked)


class Ones:
    """The two lines without their effect."""

    def __init__(self, *given, **settings):
        pass

    def __call__(self, losses):
        return sum(value if value.ndim == 0 else value.square().mean() for value in losses.values())


def test_every_script_is_listed():
    assert sorted(plain.SCRIPTS) == plain.NAMES and len(plain.NAMES) >= 10


@pytest.mark.parametrize("name", sweep(plain.NAMES, *FAST))
def test_two_lines_give_exact_traces_and_weights_that_act(name):
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        weighted = plain.run(name, two_lines=True, pinntk=checked(made), EVERY=2)
    for ntk in made:
        assert [row["step"] for row in ntk.history] == STEPWISE.get(name, [0, 2])
        assert len(set(ntk.weights.values())) == len(ntk.weights)
    unweighted, same = plain.run(name), plain.run(name, two_lines=True, pinntk=types.SimpleNamespace(NTKWeights=Ones), EVERY=2)
    a, b, c = (plain.parameters(name, variables) for variables in (unweighted, same, weighted))
    assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)
    assert (a - c).norm() > 1e-6 * a.norm()


@pytest.mark.parametrize("name", sweep(plain.NAMES, *FAST))
def test_they_run_in_single_precision(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plain.run(name, torch.float32, two_lines=True, pinntk=pinntk, EVERY=2)


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", sweep(WRAPS, *[name for name in FAST if name in WRAPS]))
def test_wrapped_they_have_the_kernel_of_the_problem_in_pinntk_and_a_report(name, double, tmp_path):
    wrap = WRAPS[name](plain.run(name))
    network, problem, points = wrapped(wrap)
    K = pinntk.kernel(network, problem, points)
    names = {one: wrap.names.get(one, one) for one in problem.names if wrap.names.get(one, one) in wrap.own.names}
    assert set(names.values()) == set(wrap.own.names)
    d = wrap.own.domain.dimension  # further columns: which row it is, and in pinntk the measured values
    rows = {other: points[one][:, :d] for one, other in names.items()}
    measured = {c.name: torch.as_tensor(c.region.rows) for c in wrap.own.conditions if c.kind == "data"}
    assert all(torch.equal(rows[other], there[:, :d]) for other, there in measured.items())
    own = pinntk.kernel(network, wrap.own, rows | measured)
    for one, first in names.items():
        for two, second in names.items():
            assert (K[one, two] - own[first, second]).norm() <= 1e-12 * own[first, second].norm(), (one, two)
    examined = pinntk.examine(network, problem, points)
    page = write_report(tmp_path / "report.html", examined, pinntk.diagnose(examined))
    assert all(name in page.read_text(encoding="utf-8") for name in problem.names)


def test_a_script_without_a_module_cannot_be_wrapped(double):
    s = plain.run("oscillator_hard")
    with pytest.raises(TypeError, match=r"model is a builtins\.function; expected a torch\.nn\.Module"):
        pinntk.wrap(s["position"], {"equation": (s["equation"], s["t"], "residual")})
