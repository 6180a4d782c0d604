"""What the Taylor engine refuses: never a silent wrong value."""

import numpy as np
import pytest
import torch
from test_taylor import jet, tensor
from torch import nn
from torch.nn import functional as F

from pinntk.taylor import DependentPoints, UnsupportedOperation

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
    "norm 1": lambda x: x.norm(p=1, dim=1),
    "einsum of two": lambda x: torch.einsum("ni,ni->n", x, x),
    "constant @ x": lambda x: tensor(6, 6) @ x,
    "weight from x": lambda x: F.linear(tensor(3, 6), x.unsqueeze(1)),
    "transpose points": lambda x: x.transpose(0, 1),
    "remainder": lambda x: x % 1,
    "rounded division": lambda x: torch.div(x, 2, rounding_mode="floor"),
    "floor division": lambda x: x // 2,
    "unknown keyword": lambda x: torch.sum(x, 1, dtype=torch.float32),
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
    "where": lambda x: torch.where(tensor(6) > 0, x[:, 0], tensor(6, 1)),
    "where of a condition": lambda x: torch.where(tensor(6, 1) > 0, x[:, 0], x[:, 0]),
}
ORDERS = [(), ((2, 0), (0, 1))]  # the value alone is its own code path


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
@pytest.mark.parametrize("function", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_operation_without_a_rule(function, indices):
    with pytest.raises(UnsupportedOperation):
        function(jet(indices))


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
@pytest.mark.parametrize("function", DEPENDENT.values(), ids=DEPENDENT)
def test_operation_that_mixes_points(function, indices):
    with pytest.raises(DependentPoints):
        function(jet(indices))


@pytest.mark.parametrize("indices", ORDERS, ids=["value", "derivatives"])
def test_points_are_not_taken_for_features(indices):
    with pytest.raises((DependentPoints, UnsupportedOperation)):
        jet(indices, n=1).expand(5, 2)
    with pytest.raises((DependentPoints, UnsupportedOperation)):
        F.linear(jet(indices)[:, 0], tensor(6, 6))


def test_errors_name_the_operation():
    with pytest.raises(UnsupportedOperation, match="cumsum") as caught:
        jet().cumsum(1)
    assert caught.value.operation == "Tensor.cumsum"
    with pytest.raises(UnsupportedOperation, match=r"Tensor\.sin_ changes a tensor in place"):
        jet().sin_()
    with pytest.raises(UnsupportedOperation, match=r"torch\.sin_"):
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
    except UnsupportedOperation:
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
    except UnsupportedOperation:
        return
    assert torch.equal(found, expected)
