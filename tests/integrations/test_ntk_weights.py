"""`NTKWeights`: exact traces of whatever loss it is given, and weights that change when a step is due and at no other time."""

import warnings
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pinntk
from pinntk import NTKWeights

F64 = torch.float64


def mlp(inputs=2, outputs=1, width=10, dtype=F64):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)).to(
        dtype
    )


def slope(u, x):
    return torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]


def squared_rows(e, parameters):
    """Tr J J^T, by reverse mode, an entry at a time."""
    parameters, total = list(parameters), 0.0
    for one in e.reshape(-1):
        for g in torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True):
            total += 0.0 if g is None else float(g.double().square().sum())
    return total


@pytest.fixture
def net():
    torch.manual_seed(0)
    return mlp(outputs=2)


def residual(net, n=13, dtype=F64):
    x = torch.rand(n, 2, dtype=dtype, requires_grad=True)
    u = net(x)[:, :1]
    du = slope(u, x)
    return du[:, :1] + u * du[:, 1:] - 0.1 * slope(du[:, 1:], x)[:, 1:]


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


# What counts as a step.


class Loop:
    """A training with a count of updates."""

    def __init__(self, every, net=None, **settings):
        torch.manual_seed(0)
        self.net = mlp(1, width=4) if net is None else net
        self.x = torch.linspace(0, 1, 6, dtype=F64).unsqueeze(1)
        self.ntk = NTKWeights(self.net, every=every, **settings)

    def loss(self, **settings):
        return self.ntk({"inside": self.net(self.x) - 1, "end": self.net(self.x[:1])}, **settings)

    @property
    def updates(self):
        return [int(row["step"]) for row in self.ntk.history]


def test_updates_come_before_step_one_and_then_every_few():
    loop = Loop(every=3)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)
    for _ in range(8):
        optimizer.zero_grad()
        loop.loss().backward()
        optimizer.step()
    assert loop.updates == [0, 3, 6]
    assert loop.ntk.history[0]["weight/end"] != loop.ntk.history[1]["weight/end"]


def test_accumulated_gradients_and_several_optimizers_are_one_step():
    loop = Loop(every=2)
    optimizers = [torch.optim.Adam([p], 1e-2) for p in loop.net.parameters()]
    for _ in range(5):
        for _ in range(3):
            loop.loss().backward()
        for optimizer in optimizers:
            optimizer.step()
    assert loop.updates == [0, 2, 4] and loop.ntk.steps == 4


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_weights_stay_within_a_closure(search):
    loop = Loop(every=2)
    optimizer = torch.optim.LBFGS(loop.net.parameters(), lr=0.1, max_iter=4, line_search_fn=search)
    seen = []

    def closure():
        optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        seen[-1].append(loop.ntk.weights["end"])
        return loss

    for _ in range(5):
        seen.append([])
        optimizer.step(closure)
        loop.loss(update=False)
    assert loop.updates == [0, 2, 4]
    assert all(len(weights) > 1 and len(set(weights)) == 1 for weights in seen)
    assert len({weights[0] for weights in seen}) == 3


def test_a_logging_call_between_closures_is_no_step_of_its_own():
    loop = Loop(every=1)
    optimizer = torch.optim.LBFGS(loop.net.parameters(), lr=0.1, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
        loop.loss()
    assert loop.updates == [0, 1, 2, 3]


def test_a_closure_that_failed_leaves_no_trace():
    loop = Loop(every=1)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)

    def broken():
        loop.loss().backward()
        raise KeyError

    def closure():
        loss = loop.loss()
        loss.backward()
        return loss

    with pytest.raises(KeyError):
        optimizer.step(broken)
    for _ in range(3):
        optimizer.step(closure)
    assert loop.updates == [0, 1, 2]


@pytest.mark.parametrize("change", ["in place", "by data", "by new data"])
def test_steps_without_an_optimizer_count(change):
    loop = Loop(every=2)
    for _ in range(5):
        grads = torch.autograd.grad(loop.loss(), list(loop.net.parameters()))
        for p, g in zip(loop.net.parameters(), grads, strict=True):
            if change == "in place":
                with torch.no_grad():
                    p -= 0.01 * g
            elif change == "by data":
                p.data.sub_(0.01 * g)
            else:
                p.data = p.data - 0.01 * g
    assert loop.updates == [0, 2, 4]


def test_a_skipped_step_of_a_gradient_scaler_is_none():
    loop = Loop(every=1)
    optimizer = torch.optim.Adam(loop.net.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for broken in (False, True, True, False, False):
        optimizer.zero_grad()
        scaler.scale(loop.loss()).backward()
        if broken:
            loop.net[0].weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
    assert loop.updates == [0, 1, 2]


def test_validation_neither_counts_nor_updates():
    loop = Loop(every=1)
    with torch.no_grad():
        assert float(loop.loss()) == pytest.approx(float(loop.loss(update=False).detach()))
        assert loop.ntk.weights == {} and loop.updates == []
    optimizer = torch.optim.SGD(loop.net.parameters(), 1e-2)
    loop.loss().backward()
    optimizer.step()
    weights = loop.ntk.weights
    with torch.no_grad():
        validation = loop.loss()
        expected = sum(
            weights[name] * e.square().mean()
            for name, e in {"inside": loop.net(loop.x) - 1, "end": loop.net(loop.x[:1])}.items()
        )
        assert float(validation) == pytest.approx(float(expected), rel=1e-12)
    loop.loss(update=False)
    assert loop.ntk.weights == weights and loop.ntk.steps == 0
    loop.loss(update=True)
    assert loop.ntk.weights != weights and loop.ntk.steps == 1


def test_a_restored_training_goes_on_bit_for_bit(tmp_path):
    def steps(loop, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            loop.loss().backward()
            optimizer.step()

    whole = Loop(every=3, momentum=0.5)
    optimizer = torch.optim.Adam(whole.net.parameters(), 1e-2)
    steps(whole, optimizer, 4)
    torch.save([whole.net.state_dict(), optimizer.state_dict(), whole.ntk.state_dict()], tmp_path / "c.pt")
    steps(whole, optimizer, 5)

    again = Loop(every=3, momentum=0.5)
    restored = torch.optim.Adam(again.net.parameters(), 1e-2)
    for part, state in zip((again.net, restored, again.ntk), torch.load(tmp_path / "c.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    steps(again, restored, 5)
    assert again.updates == whole.updates == [0, 3, 6]
    assert again.ntk.state_dict()["history"] == whole.ntk.state_dict()["history"]
    assert all(torch.equal(a, b) for a, b in zip(again.net.parameters(), whole.net.parameters(), strict=True))


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


def test_a_loss_that_is_rounding_has_weight_one():
    """sin(pi x) is 1.2e-16 at x = 1: its weight would be 1e30."""
    net, x = mlp(1), torch.rand(9, 1, dtype=F64)
    wall = torch.ones(3, 1, dtype=F64)
    with pytest.warns(
        UserWarning, match="walls: its kernel is .*e-32 of the sum, and its weight stays 1. A network that meets"
    ):
        ntk = NTKWeights(net)
        ntk({"inside": net(x), "walls": torch.sin(torch.pi * wall) * net(wall)})
    assert ntk.weights["walls"] == 1.0 and 0 < ntk.traces["walls"] < 1e-25
    small = NTKWeights(net)
    with pytest.warns(UserWarning, match="its weight is .*e.17. .* multiply them by a number"):
        small({"inside": net(x), "walls": 1e-9 * net(wall)})
    assert small.weights["walls"] > 1e17


@pytest.mark.parametrize(("length", "scale"), [(1, 0.01), (10, 0.01), (100, 1), (100, 0.01)])
def test_a_rounding_that_is_not_much_smaller_has_weight_one(length, scale):
    """In float32 sin(pi x) is 9e-8 at x = 1, and 3e-5 at x = 100."""
    torch.manual_seed(0)
    net = mlp(1, dtype=torch.float32)
    hard = lambda x: torch.sin(torch.pi * x) * net(x)  # noqa: E731
    x = torch.linspace(0, length, 50)[:, None].requires_grad_()
    losses = {"pde": scale * (slope(hard(x), x) + hard(x)), "walls": hard(torch.tensor([[0.0], [length]]))}
    ntk = NTKWeights(net, every=1)
    with pytest.warns(UserWarning, match="walls: its kernel is .* of the sum, .* leave this loss out") as told:
        ntk(losses)
    ntk(losses, update=True)
    assert len(told) == 1 and ntk.weights["walls"] == 1.0


def test_a_kernel_that_may_be_rounding_has_no_large_weight_in_silence():
    """Periodic to rounding, by a difference: nothing in the graph tells."""
    torch.manual_seed(0)
    net = mlp(2, dtype=torch.float32)
    u = lambda x: net(torch.cat([torch.sin(6 * torch.pi * x), torch.cos(6 * torch.pi * x)], 1))  # noqa: E731
    ends = torch.tensor([[0.1]])
    ntk = NTKWeights(net)
    with pytest.warns(UserWarning, match="ends: its kernel is .* leave this loss out"):
        ntk({"inside": u(torch.linspace(0, 1, 20)[:, None]), "ends": u(ends) - u(ends + 1)})
    assert ntk.weights["ends"] > 1e8


def test_a_condition_in_units_too_small_for_float32_is_told_so_and_a_constant_mends_it():
    net, x = mlp(1, dtype=torch.float32), torch.linspace(0, 1, 20)[:, None]
    inside, ends = net(x), net(x[[0, -1]])
    tiny = NTKWeights(net, momentum=0.5)
    for update in (None, True):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            tiny({"inside": inside, "ends": 1e-7 * ends}, update)
        assert tiny.weights["ends"] == 1.0 and [str(w.message)[:5] for w in told] == ([] if update else ["ends:"])
    given, plain = NTKWeights(net), NTKWeights(net)
    given({"inside": inside, "ends": 1e7 * (1e-7 * ends)})
    plain({"inside": inside, "ends": ends})
    assert given.weights["ends"] == pytest.approx(plain.weights["ends"], rel=1e-5)


def test_a_kernel_of_zero_is_called_zero(net):
    x = torch.rand(6, 2, dtype=F64)
    with pytest.warns(UserWarning, match="walls does not depend on the parameters .* its weight stays 1"):
        NTKWeights(net)({"inside": net(x), "walls": 0 * net(x)})


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


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (lambda u, y: u - y.squeeze(1), True),
        (lambda u, y: ((u - y.squeeze(1)) ** 2).mean(), True),
        (lambda u, y: (y.squeeze(1) - 2 * u**2).square().mean(), True),
        (lambda u, y: (u.squeeze(1) - y).square().mean(), True),
        (lambda u, y: (u * u.squeeze(1)).square().mean(), True),
        (lambda u, y: u + u.T - y, False),  # of a separable network on a grid
        (lambda u, y: (u - y).square().mean(), False),
        (lambda u, y: (u.squeeze(1) - y.squeeze(1)).square().mean(), False),
    ],
)
def test_a_column_less_a_vector_is_warned_of(build, shapes):
    net, x = mlp(1), torch.rand(9, 1, dtype=F64)
    ntk = NTKWeights(net)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ntk({"data": build(net(x), torch.sin(x)), "walls": net(x[:2])})
    said = [str(w.message) for w in told if "broadcasting a (9, 1) and a (9,)" in str(w.message)]
    assert len(said) == shapes and all(m.startswith("data: its errors have shape (9, 9)") for m in said)


def test_a_loss_whose_backward_pass_came_first(net):
    u = net(torch.rand(9, 2, dtype=F64))
    loss = u.square().mean()
    loss.backward()
    raises(
        ValueError,
        "^data: its graph was freed by a backward pass; call NTKWeights before backward",
        NTKWeights(net),
        {"data": loss},
    )
    raises(pinntk.LossError, "freed by a backward pass; read it before backward", pinntk.errors_of_loss, loss)


# What is refused.


def raises(error, match, function, *arguments, **settings):
    with pytest.raises(error, match=match) as caught:
        function(*arguments, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda u: u.abs().mean(), pinntk.LossError, "a: loss is not a sum of mean squares: it holds 'abs'.*give its errors"),
        (lambda u: F.mse_loss(u, 0 * u, reduction="none"), ValueError, "a has shape .* is squared already; give the errors"),
        (lambda u: u**2, ValueError, "is squared already"),
        (lambda u: (u**2).mean().reshape(1), ValueError, r"a has shape \(1,\) and is a sum of squares: .* by .squeeze"),
        (lambda u: u.detach(), ValueError, "a has no autograd graph"),
        (lambda u: (u**2).mean().detach(), pinntk.LossError, "a: loss has no autograd graph"),
        (lambda u: (u * float("nan")).square().mean(), pinntk.NonFiniteError, "a is nan: its errors are not finite"),
        (lambda u: u / (torch.arange(5.0) > 1)[:, None], pinntk.NonFiniteError, "a is not finite in 2 of its 5 errors"),
        (lambda u: (u - u.detach()).abs().sqrt(), pinntk.NonFiniteError, "the kernel trace of a is nan"),
        (lambda u: u * 1j, ValueError, "a is torch.complex128; losses are real: give real and imaginary part"),
        (lambda u: u[:0], ValueError, r"a has shape \(0, 1\), no errors; every call needs points"),
        (lambda u: 0.5, TypeError, r"losses\['a'\] is a float; give a torch tensor"),
        (lambda u: mlp(1)(torch.rand(5, 1, dtype=F64)), ValueError, "a depends on none of the 6 parameters"),
        (lambda u: 0 * u.square().mean(), ValueError, "a is zero times its squares, .* leave it out of the losses"),
        (lambda u: nn.BatchNorm1d(1).double()(u), ValueError, "statistics of the batch, .* call network.eval()"),
        (lambda u: u.half(), ValueError, "a is computed in torch.float16, .* outside of torch.autocast"),
    ],
)
def test_values_that_are_no_losses(build, error, match):
    net = mlp(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raises(
            error, match, NTKWeights(net), {"a": build(net(torch.rand(5, 1, dtype=F64))), "b": net(torch.rand(4, 1, dtype=F64))}
        )


def test_half_precision_by_autocast_is_refused_and_autocast_itself_is_not():
    net = mlp(1, dtype=torch.float32)
    x = torch.rand(5, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(x)
        raises(ValueError, "a is computed in torch.bfloat16", NTKWeights(net), {"a": half})
        raises(ValueError, "a is computed in torch.bfloat16", NTKWeights(net), {"a": half.float().square().mean()})
    whole = net(x)
    ntk = NTKWeights(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ntk({"a": whole, "b": whole[:3].square().mean()})
    assert ntk.traces["a"] == pytest.approx(squared_rows(whole, net.parameters()), rel=1e-5)


def test_other_names_and_other_mistakes_of_a_call():
    loop = Loop(every=1)
    loop.loss()
    u = loop.net(loop.x)
    raises(ValueError, r"losses are \['inside'\], and were \['end', 'inside'\] in the calls before", loop.ntk, {"inside": u})
    with torch.no_grad():
        loop.ntk({"inside": u})  # a part of them, for validation
        raises(ValueError, "losses are", loop.ntk, {"inside": u, "third": u})
        raises(ValueError, "update=True under torch.no_grad", loop.loss, update=True)
    raises(TypeError, "losses is a list; give {name: loss}", loop.ntk, [u])
    raises(TypeError, "losses is empty", loop.ntk, {})


def test_a_graph_that_is_gone_or_out_of_date():
    loop = Loop(every=1)
    u = loop.net(loop.x)
    u.sum().backward()
    raises(ValueError, "a: its graph was freed by a backward pass; call NTKWeights before backward", loop.ntk, {"a": u})
    v = loop.net(loop.x)
    with torch.no_grad():
        for p in loop.net.parameters():
            p += 1
    raises(ValueError, r"a: a parameter has changed in place .* before optimizer.step\(\)", loop.ntk, {"a": v})


def test_parameters_that_are_none():
    net = mlp(1)
    used = net.parameters()
    list(used)
    raises(ValueError, "parameters is empty; .* give list", NTKWeights, used)
    raises(TypeError, "parameters is a Adam; give what it trains", NTKWeights, torch.optim.Adam(net.parameters()))
    raises(TypeError, "parameters holds a str", NTKWeights, ["weight"])
    raises(TypeError, "parameters holds a int", NTKWeights, 3)
    raises(ValueError, "every=0", NTKWeights, net, every=0)
    raises(ValueError, "momentum=1", NTKWeights, net, momentum=1)
    raises(ValueError, "normalization='max'", NTKWeights, net, normalization="max")
    ntk = NTKWeights([net[0].weight * 2])
    raises(ValueError, "parameter 0 is computed from others", ntk, {"a": net(torch.rand(3, 1, dtype=F64))})
    frozen = NTKWeights(net.requires_grad_(False))
    raises(
        ValueError,
        "none of the parameters has requires_grad=True.*a state_dict holds copies",
        frozen,
        {"a": torch.ones(3, requires_grad=True)},
    )
    raises(ValueError, r"state is \['weights'\]; give what NTKWeights.state_dict", frozen.load_state_dict, {"weights": {}})


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
