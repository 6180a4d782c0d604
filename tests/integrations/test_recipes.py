"""The programs of docs/INTEGRATIONS.md that plain PyTorch and other packages than DeepXDE and PINA are used in."""

import sys
import types
import warnings

import pytest
import torch
from torch import nn

import pinntk
from tests.docs.test_custom_solvers import ROOT, blocks, run

PROGRAMS: dict[str, list[tuple[str, int]]] = {}
for title, code, line in blocks(ROOT / "docs" / "INTEGRATIONS.md"):
    PROGRAMS.setdefault(title, []).append((code, line))


def program(title, number=0, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return run(*PROGRAMS[title][number], "INTEGRATIONS.md", **given)


def test_two_lines_lower_the_loss():
    left = program("")
    assert left["ntk"].steps == 299 and len(left["ntk"].history) == 3
    assert left["ntk"].weights["ends"] > 100


def test_losses_and_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left = program("Loss weights in plain PyTorch")
    again = pinntk.NTKWeights([left["model"], left["kappa"]])
    again.load_state_dict(torch.load("checkpoint.pt", weights_only=True)["ntk"])
    assert again.weights == left["ntk"].weights and set(again.weights) == {"values", "data"}


@pytest.fixture
def torch_defaults():
    """As they were: neurodiffeq makes float64 and a device torch's defaults where it is imported."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)
    torch.set_default_device(None)


def test_neurodiffeq(torch_defaults):
    pytest.importorskip("neurodiffeq")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neurodiffeq's own
        left = run(*PROGRAMS["neurodiffeq"][0], "INTEGRATIONS.md")
    ntk, fields, t = left["ntk"], left["starts"], torch.linspace(0, 2, 9).unsqueeze(1).requires_grad_()
    assert [row["step"] for row in ntk.history] == [0, 100] and ntk.steps == 119
    u, v = (condition.enforce(net, t) for net, condition in zip(left["nets"], fields, strict=True))
    ntk({f"equation {i}": e for i, e in enumerate(left["prey"](u, v, t))}, update=True)
    left = program("neurodiffeq", 1, **left)
    points = dict.fromkeys(left["problem"].names, t.detach())
    assert list(ntk.traces.values()) == pytest.approx(
        list(pinntk.traces(left["network"], left["problem"], points).values()), rel=1e-5
    )


class Informer:
    """A stand-in for PhysicsNeMo's."""

    def __init__(self, required_outputs, equations, grad_method):
        assert grad_method == "autodiff"
        self.names, self.equations = required_outputs, equations

    def forward(self, inputs):
        return {name: self.equations[name](**inputs) for name in self.names}


def slopes(f, xy):
    return torch.autograd.grad(f, xy, torch.ones_like(f), create_graph=True)[0].split(1, 1)


def test_physicsnemo_by_a_stand_in(monkeypatch):
    for name in ("physicsnemo", "physicsnemo.sym", "physicsnemo.sym.eq", "physicsnemo.sym.eq.phy_informer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["physicsnemo.sym.eq.phy_informer"].PhysicsInformer = Informer
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))

    def continuity(coordinates, u, v, p):
        return slopes(u, coordinates)[0] + slopes(v, coordinates)[1]

    def momentum_x(coordinates, u, v, p):
        u_x, u_y = slopes(u, coordinates)
        return u * u_x + v * u_y + slopes(p, coordinates)[0]

    given = {
        "equations": {"continuity": continuity, "momentum_x": momentum_x},
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), 1e-4),
        "steps": 101,
        "xy": torch.rand(20, 2).requires_grad_(),
        "walls": torch.rand(6, 2),
    }
    ntk = program("PhysicsNeMo", **given)["ntk"]
    assert set(ntk.weights) == {"continuity", "momentum_x", "walls"}
    assert [row["step"] for row in ntk.history] == [0, 100]


class Constraint:
    """A stand-in for one of PhysicsNeMo-Sym's."""

    def __init__(self, model, rows, target):
        self.model, self.rows, self._target_vars = model, rows, {"u": target}

    def forward(self):
        self._output_vars = {"u": self.model(self.rows)}


class Domain:
    """A stand-in for PhysicsNeMo-Sym's: what its `compute_losses` does once a callable was added."""

    def __init__(self, constraints):
        self.constraints = constraints

    def add_ntk(self, ntk):
        self.ntk, self.ntk_weights = ntk, {}

    def create_global_optimizer_model(self):
        return nn.ModuleList([next(iter(self.constraints.values())).model])

    def compute_losses(self, step):
        losses, self.ntk_weights = self.ntk(self.constraints, self.ntk_weights, step)
        return losses


def test_the_old_aggregator_by_a_stand_in():
    model, rows = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)), torch.rand(12, 2)
    domain = Domain({"inside": Constraint(model, rows, rows[:, :1]), "wall": Constraint(model, rows[:3], torch.zeros(3, 1))})
    program("PhysicsNeMo", 1, domain=domain, pinntk=pinntk)
    (loss,) = domain.compute_losses(0).values()
    inside, wall = (model(rows) - rows[:, :1]).square().mean(), model(rows[:3]).square().mean()
    weights = domain.ntk_weights
    assert set(weights) == {"inside u", "wall u"} and weights["inside u"] != weights["wall u"]
    assert float(loss.detach()) == pytest.approx(
        float((weights["inside u"] * inside + weights["wall u"] * wall).detach()), rel=1e-5
    )


def test_jinns_gets_the_rule_for_traces_from_elsewhere():
    """Its program needs JAX and is not run; what it asks of pinntk is this."""
    code, _ = PROGRAMS["jinns"][0]
    compile(code, "INTEGRATIONS.md", "exec")
    assert "pinntk.weighting.NTK().rule({" in code
    weights = pinntk.weighting.NTK().rule({"pde": 20.0, "walls": 5.0}, counts={"pde": 10, "walls": 5})
    assert weights == {"pde": 1.5, "walls": 3.0}


def test_the_picture(tmp_path):
    two_lines = pytest.importorskip("two_lines")
    before, after = two_lines.main(["--quick", "-o", str(tmp_path / "two_lines.png")])
    assert (tmp_path / "two_lines.png").exists() and before != after
