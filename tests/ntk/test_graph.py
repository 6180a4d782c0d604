"""Factors read from autograd graphs against reverse mode, row by row."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import pinntk
from pinntk import DependentPointsError, graph_factors
from pinntk.ntk.graph import _read, certified_rows
from tests.support import network_types, networks
from tests.support.reference import relative
from tests.support.reference import rows as rows_of
from tests.support.residual_styles import STYLES, mlp, of, points, slope
from tests.support.sweeps import sweep

TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# 16 is the width of the networks too, 5 and 7 divide no other size.
@pytest.mark.parametrize("n", sweep((20, 16, 7, 2), 7))
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
def test_every_style_of_residual(style, n):
    e, parameters = style(n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = graph_factors(e, parameters)
    assert relative(found.matrix(), rows_of(e, parameters)) <= TOLERANCE
    assert found.origin.path == ("rows" if n <= _read.FEW else "graph")
    assert found.origin.certificate <= 1e-12


def residual_of(network, n, order):
    x = points(n).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # torch's fast attention can be differentiated once only
        u = network(x)
        if order == 0:
            return u
        u_x = slope(u, x)[:, 1]
        return u[:, 0] * u_x + slope(u_x, x)[:, 0]


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("n", sweep((20, 6), 6))  # 6 is the width of the networks too
@pytest.mark.parametrize("name", network_types.NETWORK_TYPES)
@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_every_type_of_network(name, n, order):
    network = network_types.build(name)
    e, parameters = residual_of(network, n, order), dict(network.named_parameters())
    found = graph_factors(e, network)
    assert relative(found.matrix(), rows_of(e, parameters)) <= TOLERANCE
    assert found.origin.certificate <= 1e-12


@pytest.mark.parametrize("name", network_types.NETWORK_TYPES)
def test_most_types_of_network_are_read_from_the_graph(name):
    network = network_types.build(name)
    e, parameters = residual_of(network, 20, 2).reshape(-1), dict(network.named_parameters())
    if name in ("attention", "transformer"):  # their batches have the points second
        with pytest.warns(UserWarning, match="row by row"):
            assert graph_factors(e, parameters).origin.path == "rows"
    else:
        assert graph_factors(e, parameters).origin.path == "graph"


def deeponet():
    return pinntk.nn.DeepONet(inputs=2, outputs=1, sensors=1, rank=3, width=6, depth=1, dtype=torch.float64)


@pytest.mark.parametrize("name", [*networks.NETWORKS, "deeponet"])
def test_every_network_of_pinntk(name):
    network = deeponet() if name == "deeponet" else networks.build(name, 2)
    e, parameters = residual_of(network, 20, 2), dict(network.named_parameters())
    found = graph_factors(e, network)
    assert relative(found.matrix(), rows_of(e, parameters)) <= TOLERANCE
    assert found.origin.path == "graph"
    assert found.origin.certificate <= 1e-12


def test_weights_are_kept_as_factors_and_shared_operands_count_once():
    e, parameters = STYLES[1](20)
    found = graph_factors(e, parameters)
    assert set(found.outers) == {"0.0.weight", "0.2.weight", "0.4.weight"}
    assert {name: len(outer.A) for name, outer in found.outers.items()} == {"0.0.weight": 4, "0.2.weight": 4, "0.4.weight": 2}


# Certificates.


def test_a_missed_use_fails_the_first_certificate(monkeypatch):
    e, parameters = STYLES[0](20)
    add = _read.Uses.add
    monkeypatch.setattr(_read.Uses, "add", lambda self, entry: None if entry.shape == (16, 16) else add(self, entry))
    with pytest.warns(UserWarning, match=r"e: what is read .* fails its certificate .* row by row"):
        found = graph_factors(e, parameters)
    assert found.origin.path == "rows"
    assert relative(found.matrix(), rows_of(e, parameters)) <= TOLERANCE


@pytest.mark.parametrize(
    "mix",
    [
        lambda u: u - u.mean(),
        lambda u: u / u.norm(),
        lambda u: u.cumsum(0),
        lambda u: torch.softmax(u, 0),
        lambda u: u - u.roll(1),
    ],
    ids=["mean", "norm", "cumsum", "softmax", "differences"],
)
def test_errors_that_depend_on_several_rows_come_row_by_row(mix):
    net, x = mlp(), points(20)
    e = mix(net(x)[:, 0])
    with pytest.warns(UserWarning, match="J is computed row by row, exact, but 20 backward passes"):
        found = graph_factors(e, net)
    assert found.origin.path == "rows"
    assert relative(found.matrix(), rows_of(e, of(net))) <= TOLERANCE


def test_batch_statistics_are_refused():
    net = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1)).double()
    with pytest.raises(DependentPointsError, match=r"'native_batch_norm' uses the statistics of the batch.*network\.eval\(\)"):
        graph_factors(net(points(20)), net)


def test_a_batched_backward_pass_that_is_wrong_is_not_trusted(monkeypatch):
    e, parameters = STYLES[0](10)
    right = _read.reverse_rows
    monkeypatch.setattr(
        _read,
        "reverse_rows",
        lambda e, parameters, batched: {k: r * (2 if batched else 1) for k, r in right(e, parameters, batched).items()},
    )
    assert relative(certified_rows(e.squeeze(1), parameters).matrix(), rows_of(e, parameters)) <= TOLERANCE


# Rows of the batch.


def test_owners_may_be_given():
    net, x = mlp(), points(30).requires_grad_()
    u = net(x)
    order = torch.randperm(30)[:20]
    e = (u[:, 0] * slope(u, x)[:, 1])[order]
    rows = torch.full((30,), -1)
    rows[order] = torch.arange(20)
    found = graph_factors(e, net, rows=rows)
    assert found.origin.path == "graph"
    assert relative(found.matrix(), rows_of(e, of(net))) <= TOLERANCE


def test_wrong_owners_are_found_out():
    net = mlp()
    e = net(points(30))[:20, 0]
    with pytest.warns(UserWarning, match="row by row"):
        found = graph_factors(e, net, rows=torch.arange(30).flip(0).clamp(max=19))
    assert relative(found.matrix(), rows_of(e, of(net))) <= TOLERANCE


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.arange(3.0), r"rows has shape \(3,\) and dtype torch.float32; give \(m,\) whole numbers"),
        (torch.tensor([0, 4]), "rows holds 0 to 4; the errors are 0 to 3, -1 is none"),
        (torch.tensor([-2, 0]), "rows holds -2 to 0"),
        (torch.zeros(2, 2, dtype=torch.int64), r"rows has shape \(2, 2\)"),
    ],
)
def test_owners_that_do_not_fit_are_refused(rows, message):
    net = mlp()
    with pytest.raises(ValueError, match=message):
        graph_factors(net(points(4)), net, rows=rows)


# Precision.


@pytest.mark.parametrize("style", [STYLES[1], STYLES[5], STYLES[8], STYLES[22]], ids=lambda style: style.__name__)
@pytest.mark.parametrize("n", [20, 1000])
def test_single_precision(style, n, monkeypatch):
    for module in (torch, nn.Module):
        if hasattr(module, "double"):
            monkeypatch.setattr(module, "double", lambda self: self.float())
    monkeypatch.setattr("tests.support.residual_styles.points", lambda n, d=2: torch.rand(n, d))
    monkeypatch.setattr(torch, "float64", torch.float32)
    e, parameters = style(n)
    monkeypatch.undo()
    found = graph_factors(e, parameters)
    assert (e.dtype, found.origin.path) == (torch.float32, "graph")
    if n == 20:
        assert relative(found.matrix(), rows_of(e, parameters)) <= 1e-5


# Arguments.


def test_parameters_may_be_given_in_any_form():
    net = mlp()
    e = net(points(5))
    net[0].bias.requires_grad_(False)
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    expected = rows_of(e, named)
    for given in (net, named, list(named.values()), iter(named.values())):
        assert relative(graph_factors(e, given).matrix(), expected) <= TOLERANCE
    alone = graph_factors(e, net[4].weight)
    assert relative(alone.matrix(), expected[:, -17:-1]) <= TOLERANCE
    assert graph_factors(e, net, name="walls").name == "walls"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, net: (e.detach(), net), "e has no autograd graph: it was detached, or computed under torch.no_grad"),
        (lambda e, net: (e.expand(5, 2), net), r"e has shape \(5, 2\); give \(n,\) with n > 0"),
        (lambda e, net: (e[:0], net), r"e has shape \(0,\)"),
        (lambda e, net: (e.sum(), net), r"e has shape \(\)"),
        (lambda e, net: (e * 1j, net), "e is torch.complex128; errors are real"),
        (lambda e, net: (e > 0, net), "e is torch.bool"),
        (lambda e, net: (e.tolist(), net), r"e is a list; give a tensor of shape \(n,\)"),
        (lambda e, net: (e, []), "there are no trained parameters"),
        (lambda e, net: (e, [net[0].weight.detach()]), "parameter '0' is a tensor with requires_grad=False"),
        (lambda e, net: (e, {"W": 2 * net[0].weight}), "parameter 'W' is .*give trained leaf tensors"),
        (lambda e, net: (e, {"W": "weight"}), "parameter 'W' is a str"),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    net = mlp()
    with pytest.raises(ValueError, match=message):
        graph_factors(*change(net(points(5)), net))


def test_a_graph_that_is_gone_is_said():
    net = mlp()
    e = net(points(5))
    e.sum().backward()
    with pytest.raises(ValueError, match=r"e: its graph was freed by a backward pass.*retain_graph=True"):
        graph_factors(e, net)


def test_an_error_vector_that_no_parameter_reaches():
    net, x = mlp(), points(5).requires_grad_()
    with pytest.warns(UserWarning, match="e depends on none of these parameters, so J is zero"):
        found = graph_factors((x**2).sum(1), net)
    assert found.matrix().abs().max() == 0
    assert not found.outers and not found.rows


def test_gradients_stay_as_they_are():
    net = mlp()
    e = net(points(5))
    before = [torch.rand_like(p) for p in net.parameters()]
    for p, g in zip(net.parameters(), before, strict=True):
        p.grad = g.clone()
    with torch.no_grad():  # the caller's, which does not reach into the graph
        graph_factors(e, net)
    e.square().sum().backward()
    assert all(p.grad is not None and not p.grad.isnan().any() for p in net.parameters())
