"""What `NTKWeights` refuses or warns of."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pinntk
from pinntk import NTKWeights
from tests.integrations.losses import F64, Loop, mlp, raises, squared_rows


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
