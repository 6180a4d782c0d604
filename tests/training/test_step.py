"""The compiled step against the eager one, and the eager one against one plain backward pass."""

import shutil
import warnings
from collections import OrderedDict
from functools import partial
from time import sleep

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import pinntk
from pinntk._util.progress import Progress
from pinntk.training import Batch, ErrorValues, Step
from pinntk.training import _compiled as module
from pinntk.training import _losses as losses_module
from tests.support.examples import EXAMPLES
from tests.support.networks import NETWORKS, build
from tests.support.sweeps import sweep

COMPILER = pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch.compile needs a C++ compiler")


def setting(example="burgers", network="plain"):
    problem, points = EXAMPLES[example].load()
    network = build(network, problem.domain.dimension, len(problem.fields))
    counts = {name: len(rows) for name, rows in points.items()}
    weights = {name: 1.0 + 0.5 * i for i, name in enumerate(points)}
    return network, problem, points, counts, weights


def gradient(network, problem):
    trained = [*network.parameters(), *problem.coefficients.parameters()]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])


def plain_backward(network, problem, points, weights):
    for p in (*network.parameters(), *problem.coefficients.parameters()):
        p.grad = None
    losses = {name: e.square().mean() for name, e in pinntk.errors(network, problem, points).items()}
    sum(weights[name] * loss for name, loss in losses.items()).backward()
    return losses, gradient(network, problem)


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch):
    monkeypatch.setattr(module, "_SHARED", OrderedDict())


FAST = ("plain", "embedded", "pirate")  # of the networks
CASES = [("everything", "gated"), *(pytest.param("burgers", *one.values, marks=one.marks) for one in sweep(NETWORKS, *FAST))]
CASES += [pytest.param(name, "gated", marks=pytest.mark.slow) for name in EXAMPLES if name not in ("everything", "burgers")]


@pytest.mark.parametrize(("example", "network"), CASES)
@pytest.mark.filterwarnings("ignore:.*nested reverse-mode autograd")
def test_the_traced_step_equals_a_plain_backward_pass(interpreted, example, network):
    network, problem, points, counts, weights = setting(example, network)
    losses, expected = plain_backward(network, problem, points, weights)
    step = Step(network, problem, compiled=True)
    step(Batch(points, counts, weights))
    assert step.compiled.on
    with torch.no_grad():  # the graph must read the parameters, the points and the weights of the day
        for p in (*network.parameters(), *problem.coefficients.parameters()):
            p.mul_(1.1)
    moved = {id(rows): rows.clone() for rows in points.values()}
    for rows in moved.values():
        rows[: len(rows) // 2] = rows[len(rows) // 2 : 2 * (len(rows) // 2)].clone()
    points = {name: moved[id(rows)] for name, rows in points.items()}
    weights = {name: 2 * weight + 1 for name, weight in weights.items()}
    losses, expected = plain_backward(network, problem, points, weights)
    found = step(Batch(points, counts, weights))
    assert len(step.compiled._graphs) == 1
    for name, loss in losses.items():
        assert found[name].item() == pytest.approx(loss.item(), rel=1e-12)
    torch.testing.assert_close(gradient(network, problem), expected, rtol=1e-10, atol=1e-12 * float(expected.abs().max()))


def test_gradients_apart_are_those_of_each_condition_alone(interpreted):
    network, problem, points, counts, weights = setting("everything", "gated")
    batch = Batch(points, counts, weights)
    step, compiled = Step(network, problem), Step(network, problem, compiled=True)
    list(compiled.apart(batch))
    assert compiled.compiled.on
    with torch.no_grad():
        for p in (*network.parameters(), *problem.coefficients.parameters()):
            p.mul_(1.1)
    for (name, loss), (same, traced) in zip(_apart(step, batch), _apart(compiled, batch), strict=True):
        expected = plain_backward(network, problem, {name: points[name]}, weights)
        for found in (loss, traced):
            assert found[0] == pytest.approx(expected[0][name].item(), rel=1e-12)
            torch.testing.assert_close(found[1], expected[1], rtol=1e-10, atol=1e-12 * float(expected[1].abs().max()))
        assert name == same


def _apart(step, batch):
    network = step.model["network"]
    return [(name, (loss.item(), gradient(network, step.problem).clone())) for name, loss in step.apart(batch)]


@pytest.mark.parametrize(
    "settings", [{"weighting": "config"}, {"weighting": "rba"}, {"weighting": "self-adaptive"}, {"causal": 1.0}], ids=str
)
def test_schemes_are_compiled_with_the_step(interpreted, settings):
    runs = []
    for compiled in (False, True):
        problem = pinntk.load("heat1d")
        network = pinntk.nn.MLP(problem, width=6, depth=1, dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            points = {"residual": 40, "boundary": 9, "initial": 9}
            runs.append(pinntk.train(problem, network, steps=5, points=points, compile=compiled, progress=False, **settings))
    for a, b in zip(runs[0].network.parameters(), runs[1].network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_errors_are_compiled_once_and_follow_the_parameters(interpreted):
    network, problem, points, _, _ = setting("everything", "gated")
    values = ErrorValues(network, problem, compiled=True)
    values(points)
    with torch.no_grad():
        for p in (*network.parameters(), *problem.coefficients.parameters()):
            p.mul_(1.1)
    found, expected = values(points), pinntk.errors(network, problem, points)
    assert len(values._compiled._graphs) == 1
    for name, e in expected.items():
        torch.testing.assert_close(found[name], e.detach(), rtol=1e-10, atol=1e-12 * float(e.detach().abs().max()))
        assert not found[name].requires_grad


def test_passes_over_parts_add_up(monkeypatch):
    network, problem, points, counts, weights = setting()
    monkeypatch.setattr(losses_module, "_PASS_BYTES", 400)
    step = Step(network, problem)
    assert len(list(losses_module.passes(network, problem, Batch(points, counts, weights)))) > 2
    found = step(Batch(points, counts, weights))
    ours = gradient(network, problem)
    losses, expected = plain_backward(network, problem, points, weights)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-14)
    assert list(found) == list(points)
    for name, loss in losses.items():
        assert found[name].item() == pytest.approx(loss.item(), rel=1e-12)


@COMPILER
@pytest.mark.slow
def test_compiled_training_equals_eager_training():
    runs = {}
    for compiled in (False, True):
        problem = pinntk.load("poisson1d")
        network = pinntk.nn.MLP(problem, width=8, depth=1, dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            runs[compiled] = pinntk.train(
                problem, network, steps=20, points={"residual": 12}, weighting="ntk", compile=compiled, progress=False
            )
    for a, b in zip(runs[False].network.parameters(), runs[True].network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)  # torch 2.6 leaves 1.2e-9 after 20 steps


def test_compiling_is_no_time_of_the_training(interpreted, monkeypatch):
    compiling = module.torch.compile
    monkeypatch.setattr(module.torch, "compile", lambda graph, **options: sleep(0.5) or compiling(graph))
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=1)
    quick = {"points": {"residual": 12}, "eval_every": 0, "snapshot_every": 0, "progress": False}
    run = pinntk.train(problem, network, steps=10**6, seconds=0.4, compile=True, **quick)
    assert run.step > 1


def test_the_progress_says_that_it_is_compiling(monkeypatch):
    said = []
    monkeypatch.setattr(module.torch, "compile", lambda graph, **_: said.append(Progress.current.text(79)) or graph)
    problem = pinntk.load("poisson1d")
    settings = {"points": {"residual": 12}, "eval_every": 0, "snapshot_every": 0, "progress": False}
    pinntk.train(
        problem,
        pinntk.nn.MLP(problem, width=6, depth=1),
        steps=2,
        compile=True,
        on_step=lambda run: said.append(Progress.current.text(79)),
        **settings,
    )
    assert ["compiling" in line for line in said] == [True, False, False]


@pytest.mark.filterwarnings("error::UserWarning")  # of a step that is not used
def test_trainings_of_one_form_share_what_is_compiled(interpreted, monkeypatch):
    """Other seeds, weights, points and buffers; not another number in the equation, number of points or network."""
    compiled = []
    monkeypatch.setattr(module.torch, "compile", lambda graph, **_: compiled.append(graph) or graph)

    def train(seed, c=4.0, n=12, width=6, kind=pinntk.nn.MLP):
        problem = pinntk.load("wave1d", c=c)
        network = kind(problem, width=width, depth=1, seed=seed, dtype=torch.float64)
        settings = {"points": {"residual": n, "boundary": 5, "initial": 5}, "seed": seed, "progress": False}
        pinntk.train(problem, network, steps=2, compile=True, eval_every=0, snapshot_every=0, weighting="ntk", **settings)
        return len(compiled)

    assert [train(0), train(1)] == [1, 1]
    assert [train(0, c=5.0), train(0, n=13), train(0, width=7)] == [2, 3, 4]
    fourier = partial(pinntk.nn.MLP, fourier=(3, 1.0))  # whose frequencies are of the seed
    assert [train(0, kind=fourier), train(1, kind=fourier)] == [5, 5]


@COMPILER
@pytest.mark.slow
def test_what_is_compiled_serves_another_seed():
    runs = {}
    for compiled in (False, True):
        for seed in (0, 1):
            problem = pinntk.load("poisson1d")
            network = pinntk.nn.MLP(problem, width=8, depth=1, fourier=(3, 1.0), seed=seed, dtype=torch.float64)
            settings = {"points": {"residual": 12}, "seed": seed, "compile": compiled, "progress": False}
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                runs[compiled, seed] = pinntk.train(problem, network, steps=20, **settings)
    assert len(module._SHARED) == 1
    for seed in (0, 1):
        pairs = zip(*(runs[compiled, seed].network.parameters() for compiled in (False, True)), strict=True)
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


class Scaled(nn.Module):
    """A parameter that is not trained, a buffer, and a tensor that is neither."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1, dtype=torch.float64)
        self.fixed = nn.Parameter(torch.rand(1, dtype=torch.float64), requires_grad=False)
        self.register_buffer("scale", torch.rand(1, dtype=torch.float64))
        self.plain = torch.rand(1, dtype=torch.float64)

    def forward(self, x):
        return torch.tanh(self.plain * self.layer(self.scale * x)) + self.fixed * x[:, :1]


class ReadAsNumbers(Scaled):
    """A number of what the trace otherwise follows."""

    def forward(self, x):
        return super().forward(x) * float(self.scale)


def test_a_buffer_that_is_read_as_a_number_is_a_constant(interpreted):
    problem, points = EXAMPLES["burgers"].load()
    counts, weights = {key: len(rows) for key, rows in points.items()}, dict.fromkeys(points, 1.0)
    for step in (Step(ReadAsNumbers(), problem, compiled=True) for _ in range(2)):
        step(Batch(points, counts, weights))
        assert step.compiled.on
        network = step.model["network"]
        torch.testing.assert_close(gradient(network, problem), plain_backward(network, problem, points, weights)[1])


@pytest.mark.parametrize("name", ["fixed", "scale", "plain"])
def test_a_compiled_step_sees_what_its_own_network_holds_now(interpreted, name):
    problem, points = EXAMPLES["burgers"].load()
    counts, weights = {key: len(rows) for key, rows in points.items()}, dict.fromkeys(points, 1.0)
    steps = [Step(Scaled(), problem, compiled=True) for _ in range(2)]
    for step in (*steps, *steps):
        step(Batch(points, counts, weights))
        assert step.compiled.on
        network = step.model["network"]
        torch.testing.assert_close(gradient(network, problem), plain_backward(network, problem, points, weights)[1])
        for other in steps:
            getattr(other.model["network"], name).data.mul_(1.3)


def test_trainings_alike_are_traced_once_and_each_is_checked(interpreted, monkeypatch):
    traced, trace = [], module._trace
    monkeypatch.setattr(module, "_trace", lambda *given: traced.append(1) or trace(*given))
    _, problem, points, counts, weights = setting()

    def step_of(network):
        step = Step(network, problem, compiled=True)
        step(Batch(points, counts, weights))
        torch.testing.assert_close(gradient(network, problem), plain_backward(network, problem, points, weights)[1])
        return step.compiled.on, len(traced)

    tanh, silu = (nn.Sequential(nn.Linear(2, 5), kind(), nn.Linear(5, 1)).double() for kind in (nn.Tanh, nn.SiLU))
    with module.trainings_alike():
        assert [step_of(tanh), step_of(tanh)] == [(True, 1), (True, 1)]
        with pytest.warns(UserWarning, match="the training step runs eagerly: losses: .* off"):
            assert step_of(silu) == (False, 1)  # is not alike
    with module.trainings_alike():  # of networks that look at a tensor of their own
        assert [step_of(Scaled()), step_of(Scaled())] == [(True, 2), (True, 3)]
    assert step_of(tanh) == (True, 4)


def test_only_so_many_compiled_graphs_are_kept(interpreted, monkeypatch):
    monkeypatch.setattr(module, "_MOST_SHARED", 2)
    for name in ("burgers", "laplace", "beam", "burgers"):
        network, problem, points, counts, weights = setting(name)
        Step(network, problem, compiled=True)(Batch(points, counts, weights))
    assert len(module._SHARED) == 2


class Branching(nn.Module):
    """Looks at the values: no one graph computes it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, dtype=torch.float64)

    def forward(self, x):
        return self.layer(x) if bool((x < 5).all()) else -self.layer(x)


def test_what_cannot_be_compiled_runs_eagerly_and_says_why(interpreted):
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=12, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"runs eagerly.*torch.compile failed"):
        run = pinntk.train(problem, Branching(), steps=3, points=points, compile=True, progress=False)
    assert run.step == 3


def test_a_compiled_step_that_computes_something_else_is_not_used(monkeypatch):
    def wrong(graph, **_):
        def call(*arguments):
            losses, gradient = graph(*arguments)
            return losses, [1.01 * part for part in gradient]

        return call

    monkeypatch.setattr(module.torch, "compile", wrong)
    network, problem, points, counts, weights = setting()
    step = Step(network, problem, compiled=True)
    with pytest.warns(UserWarning, match="gradient: 1.0e-02 off"):
        step(Batch(points, counts, weights))
    torch.testing.assert_close(gradient(network, problem), plain_backward(network, problem, points, weights)[1])


class Quadratic(nn.Module):
    """No parameter of its own: only the problem's coefficient trains."""

    def forward(self, x):
        return (x**2).sum(1, keepdim=True)


def test_a_network_without_parameters_leaves_the_coefficients_to_train():
    problem = pinntk.load("heat_inverse")
    points = problem.sample(residual=5, dtype=torch.float64)
    counts = {name: len(rows) for name, rows in points.items()}
    Step(Quadratic(), problem)(Batch(points, counts, dict.fromkeys(points, 1.0)))
    assert all(p.grad is not None for p in problem.coefficients.parameters())


def test_the_traced_step_has_no_constant_on_another_device():
    def change(x):
        x = x * torch.tensor([1.0, 2.0])
        x[0] = 3
        return x

    graph = make_fx(change)(torch.ones(2, 2))
    there = torch.device("meta")
    moved = [
        n for n in module._with_constants_on(graph, there).graph.nodes if "scalar_tensor" in str(n.target) or n.op == "get_attr"
    ]
    assert len(moved) == 2
    assert graph(torch.ones(2, 2, device=there)).device == there
