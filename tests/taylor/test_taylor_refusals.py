"""What the Taylor engine refuses: never a silent wrong value."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pinntk import errors
from pinntk.problem import Box, Problem, residual
from pinntk.taylor import Basis, DependentPointsError, Jet, UnsupportedOperationError, through
from tests.support import reference
from tests.support.networks import build
from tests.taylor.test_taylor import jet, tensor

BOX = Box(x=(0, 1), y=(0, 1))


@residual(BOX)
def equation(u, u_xx, u_y):
    return u + u_xx + u_y


PROBLEM = Problem(BOX, [equation])

UNSUPPORTED = {
    "fft": lambda x: torch.fft.fft(x),
    "cumsum": lambda x: torch.cumsum(x, 1),
    "method": lambda x: x.cumsum(1),
    "sort": lambda x: torch.sort(x, 1),
    "in place": lambda x: x.sin_(),
    "in place function": lambda x: torch.sin_(x),
    "add_": lambda x: x.add_(1),
    "assignment": lambda x: x.__setitem__((slice(None), 0), 1.0),
    "out": lambda x: torch.sin(x, out=torch.empty(6, 2)),
    "norm 3": lambda x: x.norm(p=3, dim=1),
    "matrix norm": lambda x: torch.linalg.norm(x.unsqueeze(2), 2, dim=(1, 2)),
    "einsum without output": lambda x: torch.einsum("ni,ij", x, tensor(2, 3)),
    "einsum that moves the points": lambda x: torch.einsum("ni,ij->jn", x, tensor(2, 3)),
    "weight from x": lambda x: F.linear(tensor(3, 6), x.unsqueeze(1)),
    "transpose points": lambda x: x.transpose(0, 1),
    "remainder by x": lambda x: 1 % (x + 2),
    "rounded division": lambda x: torch.div(x, 2, rounding_mode="floor"),
    "floor division": lambda x: x // 2,
    "unknown keyword": lambda x: x.sum(1, correction=1),
    "unknown approximation": lambda x: F.gelu(x, approximate="sigmoid"),
    "unknown type": lambda x: x + None,
    "bool for a dimension": lambda x: torch.var(x, True),
    "stack in front": lambda x: torch.stack([x, x.sin()]).mean(0),
    "unsqueeze in front": lambda x: x.unsqueeze(0),
    "None in front": lambda x: x[None],
    "separated indices": lambda x: x[:, None, :, None][:, [0], :, [0]],
    "a power with x <= 0": lambda x: (x - 0.5) ** x,
    "data": lambda x: x / x.data.abs().max(),
    "detach": lambda x: x * x.detach(),
    "item": lambda x: x * x[:, 0].item(),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "numpy function": lambda x: np.sin(x),
    "numpy array of it": lambda x: np.asarray(x),
    "float": lambda x: float(x),
    "bool": lambda x: x if x else -x,
    "contains": lambda x: 0.5 in x,
    "complex number": lambda x: x * 1j,
    "complex numpy": lambda x: np.complex128(1j) * x,
    "complex tensor": lambda x: x + torch.tensor([1j, 2]),
    "complex dtype": lambda x: x.to(torch.complex128),
    "torch.complex": lambda x: torch.complex(x, x),
    "no_grad": lambda x: torch.no_grad()(torch.sin)(x),
    "inference_mode": lambda x: torch.inference_mode()(torch.sin)(x),
    "gathered statistics": lambda x: nn.InstanceNorm1d(2, track_running_stats=True).double()(x.unsqueeze(2) * tensor(1, 2, 3)),
    "attention": lambda x: F.scaled_dot_product_attention(x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1)),
    "transformer": lambda x: nn.TransformerEncoderLayer(2, 1).double()(x.unsqueeze(1)),
}
DEPENDENT = {
    "sum": lambda x: x.sum(0),
    "sum of all": lambda x: x.sum(),
    "mean": lambda x: torch.mean(x, dim=0, keepdim=True),
    "norm": lambda x: x.norm(),
    "softmax": lambda x: torch.softmax(x, 0),
    "flip": lambda x: x.flip(0),
    "cat": lambda x: torch.cat([x, x]),
    "split": lambda x: torch.split(x, 3),
    "first point": lambda x: x[0],
    "last points": lambda x: x[2:],
    "mask of points": lambda x: x[x[:, 0] > 0.5],
    "iteration": lambda x: [*x],
    "batch norm": lambda x: nn.BatchNorm1d(2).double()(x),
    "batch norm without statistics": lambda x: nn.BatchNorm1d(2, track_running_stats=False).double().eval()(x),
    "dropout": lambda x: nn.Dropout(0.5)(x),
    "alpha dropout": lambda x: nn.AlphaDropout(0.5)(x),
    "product of two": lambda x: x @ x,
    "(n,) + (n, 1)": lambda x: x[:, 0] + tensor(6, 1),
    "(n,) * (n, 1) of numpy": lambda x: x[:, 0] * np.ones((6, 1)),
    "(n, 1) * (n,) of jets": lambda x: x[:, :1] * x[:, 0],
    "(n, 2) + (m, 2)": lambda x: x + tensor(5, 2),
    "(n, 2) + (n, n, 2)": lambda x: x + tensor(6, 6, 2),
    "(n,) + (2,)": lambda x: x[:, 0] + tensor(2),
    "repeat": lambda x: x.repeat(2, 1),
    "einsum": lambda x: torch.einsum("ni,ij->j", x, tensor(2, 3)),
    "hstack of columns": lambda x: torch.hstack([x[:, 0], x[:, 1]]),
    "constant @ x": lambda x: tensor(6, 6) @ x,
    "mask of all": lambda x: x[..., tensor(6, 2) > 0],
    "implicit softmax of (n, a, b)": lambda x: F.softmax(x.unsqueeze(2)),
    "sum over no dimension": lambda x: x.sum(()),
    "argmax": lambda x: x.argmax(),
    "comparison": lambda x: x[:, 0] > tensor(6, 1),
    "clamp": lambda x: x[:, 0].clamp(min=tensor(6, 1)),
    "random leak": lambda x: F.rrelu(x, training=True),
    "channel dropout": lambda x: F.dropout1d(x.unsqueeze(2)),
    "where": lambda x: torch.where(tensor(6) > 0, x[:, 0], tensor(6, 1)),
    "where of a condition": lambda x: torch.where(tensor(6, 1) > 0, x[:, 0], x[:, 0]),
}
ORDERS = [(), ((2, 0), (0, 1))]  # the value alone is its own code path


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
@pytest.mark.parametrize("function", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_operation_without_a_rule(function, indices):
    with pytest.raises(UnsupportedOperationError):
        function(jet(indices))


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
@pytest.mark.parametrize("function", DEPENDENT.values(), ids=DEPENDENT)
def test_operation_that_mixes_points(function, indices):
    with pytest.raises(DependentPointsError):
        function(jet(indices))


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
def test_points_are_not_taken_for_features(indices):
    with pytest.raises((DependentPointsError, UnsupportedOperationError)):
        jet(indices, n=1).expand(5, 2)
    with pytest.raises((DependentPointsError, UnsupportedOperationError)):
        F.linear(jet(indices)[:, 0], tensor(6, 6))


def test_errors_name_the_operation():
    with pytest.raises(UnsupportedOperationError, match="cumsum") as caught:
        jet().cumsum(1)
    assert caught.value.operation == "Tensor.cumsum"
    with pytest.raises(UnsupportedOperationError, match=r"Tensor\.sin_ changes a tensor in place"):
        jet().sin_()
    with pytest.raises(UnsupportedOperationError, match=r"torch\.sin_"):
        torch.sin_(jet())


def test_an_attribute_that_no_tensor_has():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = jet().nonsense


@pytest.mark.parametrize(
    "network",
    [lambda x: x + 0 * nn.ReLU(inplace=True)(x), lambda x: F.leaky_relu(x, inplace=True) + x],
    ids=["ReLU", "leaky_relu"],
)
def test_an_in_place_activation_changes_its_input_or_is_refused(network):
    x = jet(()).value - 0.5
    shifted = jet(()) - 0.5
    expected = network(x.clone())
    try:
        found = network(shifted).value
    except UnsupportedOperationError:
        return
    assert torch.equal(found, expected)


def test_an_augmented_assignment_reaches_every_name_of_the_tensor_or_is_refused():
    def network(x):
        h = 2 * x
        z = h
        h += 1
        return h * z

    expected = network(jet().value)
    try:
        found = network(jet()).value
    except UnsupportedOperationError:
        return
    assert torch.equal(found, expected)


# What a jet cannot see from inside: the engine's own call of the network refuses it.


def checkpointed(x):
    return torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True)


OPAQUE = {
    "vmap": lambda x: torch.func.vmap(torch.sin)(x),
    "jvp": lambda x: torch.func.jvp(torch.sin, (x,), (x,))[1],
    "scripted function": lambda x: SCRIPTED(x),
    "scripted module": lambda x: torch.jit.script(nn.Tanh())(x),
    "checkpoint": checkpointed,
    "a test of the type": lambda x: torch.sin(torch.as_tensor(x)),
    "a test of its own": lambda x: 1 / 0,
}


@torch.jit.script
def SCRIPTED(x):
    return torch.sin(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", OPAQUE.values(), ids=OPAQUE)
def test_what_the_network_raises_on_a_jet_is_an_operation_without_a_rule(network):
    with pytest.raises(UnsupportedOperationError):
        through(network, jet())


def test_the_engines_own_refusals_pass_as_they_are():
    with pytest.raises(DependentPointsError, match="sum"):
        through(lambda x: x.sum(), jet())
    with pytest.raises(UnsupportedOperationError, match="cumsum has no Taylor rule"):
        through(lambda x: x.cumsum(1), jet())

    def exhausted(x):
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        through(exhausted, jet())


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
@pytest.mark.parametrize("name", ["vmap", "scripted function", "data", "complex number"])
def test_a_network_that_jets_cannot_follow_is_differentiated_by_autograd(name):
    use = {**OPAQUE, **UNSUPPORTED}[name]

    class Opaque(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = build("plain", 2, 2)

        def forward(self, x):
            found = use(self.first(x))
            return (found.imag if found.is_complex() else found).sum(1, keepdim=True)

    network, points = Opaque(), {"equation": 0.1 + 0.8 * tensor(3, 2).sigmoid()}
    if name == "data":
        points = {"equation": points["equation"][:1]}  # of the largest of all points
    found, expected = errors(network, PROBLEM, points), reference.errors(network, PROBLEM, points)
    assert reference.relative(found["equation"], expected["equation"]) <= 1e-12


def test_an_augmented_assignment_keeps_dtype_and_shape():
    x = Jet.seed(Basis.spanning([(2, 0)], 2), tensor(6, 2).float()) * 2
    x += tensor(2)
    assert x.dtype == torch.float32
    column = x[:, :1] * 1
    with pytest.raises(UnsupportedOperationError, match=r"x \*= y"):
        column *= tensor(3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_inside_the_network(dtype):
    x, layer = Jet.seed(Basis.spanning([(2, 0)], 2), tensor(6, 2).float()), nn.Linear(2, 3)
    with torch.autocast("cpu", dtype), pytest.raises(UnsupportedOperationError, match="autocast"):
        layer(torch.sin(x))


def test_conversions_to_whole_numbers_are_constants():
    x = jet(((2, 0),)) * 5
    for found in (x.long(), x.int(), x.to(torch.int32), x.bool(), x.type(torch.LongTensor)):
        assert not isinstance(found, Jet)
        assert found.shape == (6, 2)


def test_the_names_of_tensors_are_not_those_of_jets():
    """h.data is a tensor's values, not a jet's components."""
    for name in set(Jet.__slots__) | {"value", "derivative", "laplacian", "like", "seed", "changed"}:
        assert not hasattr(torch.Tensor, name)
