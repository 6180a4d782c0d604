"""`NTKWeights`: exact traces of whatever loss it is given, and weights that change when a step is due and at no other time."""

import warnings
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pinntk
from pinntk import NTKWeights
from tests.integrations.losses import F64, Loop, mlp, raises, residual, slope, squared_rows

# name: (the value given, [(factor, errors), ...]), made from (network, a residual (n, 1), values (m, 2), targets (m, 2))
VALUES = {
    "errors": lambda r, u, y: (r.squeeze(1), [(1, r)]),
    "a column": lambda r, u, y: (r, [(1, r)]),
    "two columns": lambda r, u, y: (u - y, [(1, u - y)]),
    "two rows": lambda r, u, y: ((u - y).T, [(1, u - y)]),
    "one error": lambda r, u, y: (r[0] - 1, [(1, r[0])]),
    "residuals side by side": lambda r, u, y: (torch.stack([r, 2 * r, r**3]), [(1, torch.stack([r, 2 * r, r**3]))]),
    "residuals in a row": lambda r, u, y: (torch.cat([r, 2 * r]), [(1, torch.cat([r, 2 * r]))]),
    "mean": lambda r, u, y: (r.square().mean(), [(1, r)]),
    "MSELoss of two columns": lambda r, u, y: (F.mse_loss(u, y), [(1, u - y)]),
    "a factor": lambda r, u, y: (10 * (r**2).mean(), [(10, r)]),
    "a sum": lambda r, u, y: ((r**2).sum(), [(r.numel(), r)]),
    "several terms": lambda r, u, y: ((r**2).mean() + 3 * F.mse_loss(u, y), [(1, r), (3, u - y)]),
    "weights of points": lambda r, u, y: (
        (torch.arange(len(r), dtype=r.dtype)[:, None] * r**2).mean(),
        [(1, torch.arange(len(r), dtype=r.dtype)[:, None].sqrt() * r)],
    ),
    "few errors of two columns": lambda r, u, y: (F.mse_loss(u[:2], y[:2]), [(1, u[:2] - y[:2])]),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=["float64", "float32"])
def test_traces_are_those_of_reverse_mode(name, dtype):
    torch.manual_seed(1)
    net = mlp(outputs=2, dtype=dtype)
    value, terms = VALUES[name](residual(net, dtype=dtype), net(torch.rand(7, 2, dtype=dtype)), torch.rand(7, 2, dtype=dtype))
    ntk = NTKWeights(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = ntk({"this": value, "other": net(torch.rand(5, 2, dtype=dtype))})
    size = sum(f / e.numel() * squared_rows(e, net.parameters()) for f, e in terms)
    accuracy = 1e-10 if dtype == F64 else 1e-4
    assert ntk.counts["this"] == sum(e.numel() for _, e in terms)
    assert ntk.traces["this"] / ntk.counts["this"] == pytest.approx(size, rel=accuracy)
    loss = sum(f * e.square().mean() for f, e in terms) if name != "one error" else value.square().mean()
    other = ntk({"this": value, "other": net(torch.zeros(1, 2, dtype=dtype)) * 0}, update=False)
    assert float(other.detach()) == pytest.approx(ntk.weights["this"] * float(loss.detach()), rel=10 * accuracy)
    assert total.shape == ()


def test_the_rule_is_that_of_the_weighting(net):
    ntk = NTKWeights(net, every=1, momentum=0.5, normalization="sum")
    rule, weights = pinntk.weighting.NTK(every=1, momentum=0.5, normalization="sum"), None
    for _ in range(3):
        ntk({"a": residual(net), "b": F.mse_loss(net(torch.rand(4, 2, dtype=F64)), torch.zeros(4, 2, dtype=F64))})
        weights = rule.update(weights, ntk.traces, ntk.counts)
        assert ntk.weights == weights
        with torch.no_grad():
            net[0].weight.mul_(1.5)
    assert [row["step"] for row in ntk.history] == [0, 1, 2]
    assert ntk.history[-1]["weight/a"] == ntk.weights["a"] and ntk.history[-1]["trace/b"] == ntk.traces["b"]


def test_a_problem_written_in_pinntk_has_the_same_weights():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=16, depth=2, dtype=F64)
    points = problem.sample(residual=20, boundary=2, seed=0, dtype=F64)
    ntk = NTKWeights(network)
    ntk(by_hand(network, problem, points))
    expected = pinntk.traces(network, problem, points)
    assert ntk.traces == pytest.approx(expected, rel=1e-12)


def by_hand(network, problem, points):
    x = points["poisson"].clone().requires_grad_()
    u_xx = slope(slope(network(x), x), x)
    return {"poisson": u_xx.squeeze(1), "ends": network(points["ends"]).squeeze(1)}


# Parameters.


def test_parameters_come_in_many_forms():
    net, other, kappa = mlp(1), mlp(1), nn.Parameter(torch.ones((), dtype=F64))
    x = torch.rand(6, 1, dtype=F64)
    losses = {"a": kappa * net(x), "b": other(x)}
    everything = [*net.parameters(), *other.parameters(), kappa]
    expected = [squared_rows(e, everything) for e in losses.values()]
    for given in (
        [net, other, kappa],
        chain(net.parameters(), other.parameters(), [kappa]),
        {"net": net, "other": other, "kappa": kappa},
        nn.ModuleList([net, other, nn.ParameterList([kappa])]),
        [net, net, *net.parameters(), other, kappa],
    ):
        ntk = NTKWeights(given)
        ntk(losses)
        assert list(ntk.traces.values()) == pytest.approx(expected, rel=1e-12)


def test_frozen_layers_do_not_count_while_they_are_frozen():
    loop = Loop(every=1)
    loop.net[0].requires_grad_(False)
    loop.loss()
    assert loop.ntk.traces["end"] == pytest.approx(squared_rows(loop.net(loop.x[:1]), loop.net[2:].parameters()), rel=1e-12)
    loop.net[0].requires_grad_(True)
    loop.loss(update=True)
    assert loop.ntk.traces["end"] == pytest.approx(squared_rows(loop.net(loop.x[:1]), loop.net.parameters()), rel=1e-12)


def test_a_penalty_on_weights_is_a_square_like_others(net):
    x = torch.rand(9, 2, dtype=F64)
    e = net(x)[:, :1]
    penalty = sum((p**2).sum() for p in net.parameters())
    frozen = torch.ones(4, dtype=F64, requires_grad=True)  # of another optimizer
    ntk = NTKWeights(net)
    ntk({"pde": e.square().mean() + 1e-2 * penalty + (frozen**2).sum(), "walls": net(x[:2])})
    size = sum(p.numel() for p in net.parameters())
    expected = squared_rows(e, net.parameters()) / 9 + 1e-2 * size
    assert ntk.traces["pde"] / ntk.counts["pde"] == pytest.approx(expected, rel=1e-12)


def test_squares_of_complex_values_are_those_of_both_parts(net):
    x = torch.rand(7, 2, dtype=F64)
    u = net(x)
    z = torch.complex(u[:, 0], 2 * u[:, 1])
    expected = squared_rows(z.real, net.parameters()) + squared_rows(z.imag, net.parameters())
    weighted = torch.arange(1, 8, dtype=F64)
    for loss, size in (
        (z.abs().square().mean(), expected / 7),
        ((z[:, None].abs() ** 2).mean(), expected / 7),
        (3 * (z.abs() ** 2).sum(), 3 * expected),
        (torch.linalg.norm(z) ** 2, expected),
        (
            (weighted * z.abs() ** 2).sum(),
            squared_rows(weighted.sqrt() * z.real, net.parameters()) + squared_rows(weighted.sqrt() * z.imag, net.parameters()),
        ),
    ):
        ntk = NTKWeights(net)
        ntk({"z": loss, "walls": u[:2]})
        assert ntk.traces["z"] / ntk.counts["z"] == pytest.approx(size, rel=1e-12)


def test_what_has_to_come_row_by_row_is_exact_and_said_once():
    torch.manual_seed(0)
    net = mlp(1)
    x = torch.rand(70, 1, dtype=F64)
    ntk = NTKWeights(net, every=1)
    mixed = net(x).cumsum(0)
    with pytest.warns(UserWarning, match="a: .*its trace is exact, but every update of the weights takes 70 backward passes"):
        ntk({"a": mixed})
    assert ntk.traces["a"] == pytest.approx(squared_rows(mixed, net.parameters()), rel=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ntk({"a": mixed}, update=True)


@pytest.mark.slow
def test_a_compiled_network_is_read_by_its_products(monkeypatch):
    config = pytest.importorskip("torch._functorch.config")
    net, x = mlp(1, width=4), torch.rand(70, 1, dtype=F64)
    torch._dynamo.reset()
    monkeypatch.setattr(config, "donated_buffer", False)
    ntk = NTKWeights(net)
    with pytest.warns(UserWarning, match="a: it comes from torch.compile, so every update of the weights takes 70"):
        ntk({"a": torch.compile(net, backend="aot_eager")(x)})
    assert ntk.traces["a"] == pytest.approx(squared_rows(net(x), net.parameters()), rel=1e-10)


def test_a_compiled_network_that_keeps_nothing(monkeypatch):
    """Which ones those are depends on torch; this is what it says then."""
    said = "This backward function was compiled with non-empty donated buffers which requires create_graph=False"

    def read(*_):
        raise RuntimeError(said)

    loop = Loop(every=1)
    monkeypatch.setattr(loop.ntk._reader, "of", read)
    raises(ValueError, r"end comes from torch.compile, .* with the network itself \(compiled._orig_mod\)", loop.loss)


def test_a_lightning_module_counts_its_steps(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = mlp(1, width=4, dtype=torch.float32)
            self.ntk = NTKWeights(self.net, every=2)

        def training_step(self, batch, _):
            return self.ntk({"inside": self.net(batch[0]) - 1, "start": self.net(0 * batch[0][:2])})

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(24, 1)), batch_size=4)
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    for accumulate, steps in ((1, [0, 2, 4]), (2, [0, 2])):
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulate, default_root_dir=tmp_path, **settings
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(module, rows)
        assert [row["step"] for row in module.ntk.history] == steps
