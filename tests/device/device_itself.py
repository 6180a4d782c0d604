"""The pretend device refuses what CUDA refuses, and allows what it allows.

Run by tests/test_pretend_device.py; see tests/on_device.py. On a real device the same holds.
"""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch

from tests.device.on_device import NAME

HERE = torch.arange(12.0).reshape(4, 3)
NUMBER = torch.tensor(2.0)
PLACES = torch.tensor([2, 0])


@pytest.fixture
def x() -> torch.Tensor:
    return HERE.to(NAME)


REFUSED = {
    "sum": lambda x: x + HERE,
    "sum with a number of the device": lambda x: HERE + x.sum(),
    "in place": lambda x: HERE.clone().add_(x.sum()),
    "in place on a number": lambda x: NUMBER.clone().add_(x.sum()),
    "product": lambda x: x @ HERE.T,
    "linear": lambda x: torch.nn.functional.linear(x, HERE),
    "cat": lambda x: torch.cat([x, HERE]),
    "stack of numbers": lambda x: torch.stack([x.sum(), NUMBER]),
    "where": lambda x: torch.where(HERE > 0, x, x),
    "index_select": lambda x: x.index_select(0, PLACES),
    "gather": lambda x: x.gather(0, PLACES[:, None]),
    "take": lambda x: x.take(PLACES),
    "index of the device": lambda x: HERE[PLACES.to(x.device)],
    "values at places": lambda x: x.index_put_((PLACES,), HERE[:2]),
    "solve": lambda x: torch.linalg.solve(x[:3], HERE[:3]),
    "CPU generator": lambda x: torch.rand(3, generator=torch.Generator(), device=x.device),
    "CPU generator in place": lambda x: x.normal_(generator=torch.Generator()),
    "CPU driver": lambda x: torch.linalg.lstsq(x, x, driver="gelsd"),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "array of numbers": lambda x: np.array([x.sum(), 1.0]),
    "ufunc": lambda x: np.sqrt(x),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(x, what):
    with pytest.raises((RuntimeError, TypeError), match=r"same device|device type|driver|numpy|cpu"):
        REFUSED[what](x)
    assert torch.equal(x.cpu(), HERE)


ALLOWED = {
    "a CPU number": lambda x, _: NUMBER * x / NUMBER,
    "a Python number": lambda x, _: 2 * x + np.float64(1.5),
    "a CPU number in place": lambda x, _: x.clone().fill_(NUMBER),
    "masked by a CPU number": lambda x, _: x.masked_fill(x > 5, NUMBER),
    "CPU places": lambda x, _: x[PLACES],
    "CPU mask": lambda x, _: x[torch.tensor([True, False, True, False])],
    "a CPU number at CPU places": lambda x, _: x.clone().index_put_((PLACES,), NUMBER),
    "a slice set": lambda x, _: x.clone().index_put_((PLACES,), x[:2]),
    "copied from the CPU": lambda x, _: torch.zeros_like(x).copy_(HERE),
    "vector times matrix": lambda x, _: x[0] @ x.T,
    "conjugates": lambda x, _: (torch.fft.rfft(x).conj() * 1j).real,
    "factories": lambda x, place: torch.cat([torch.eye(3, device=place), torch.linspace(0, 1, 3, device=place)[None]]) @ x.T,
    "triangles": lambda x, place: torch.tril_indices(2, 2, device=place) + torch.arange(1, 4, device=place),
    "as tensor": lambda x, place: torch.as_tensor(np.ones(3), device=place) + x.new_tensor([1.0, 2.0, 3.0]),
    "vmap of grad": lambda x, _: torch.func.vmap(torch.func.grad(lambda row: (row @ x.T).sin().sum()))(x),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(x, what):
    found, expected = ALLOWED[what](x, NAME), ALLOWED[what](HERE, "cpu")
    assert found.device == x.device
    assert torch.allclose(found.cpu(), expected)


def test_python_values(x):
    assert (x.tolist(), x.sum().item(), float(x.max()), bool(x.any())) == (HERE.tolist(), 66.0, 11.0, True)
    assert f"{x.sum():.1f}" == "66.0"
    assert torch.tensor([x.sum(), x.max()]).device.type == "cpu"
    assert np.array_equal(x.cpu().numpy(), HERE.numpy())


def test_random_numbers_are_the_device_s_own(x):
    module = torch.get_device_module(x.device)
    states = torch.get_rng_state(), module.get_rng_state(x.device)
    torch.manual_seed(0)
    here, there = torch.rand(3), torch.rand(3, device=x.device)
    torch.rand(3, device=x.device)
    with torch.random.fork_rng(devices=[x.device], device_type=x.device.type):
        torch.manual_seed(0)
        assert torch.equal(torch.rand(3, device=x.device), there)
        assert torch.equal(torch.rand(3), here)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), here)  # whatever was drawn there
    torch.set_rng_state(states[0])
    module.set_rng_state(states[1], x.device)


def test_networks_move_copy_train_and_are_saved(x):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    parameters = list(network.parameters())
    network.to(x.device).double()
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))  # moved in place
    optimizer = torch.optim.Adam(network.parameters())
    network(x.double()).square().mean().backward()
    optimizer.step()
    copied = copy.deepcopy(network)
    assert all(p.device == x.device and p.requires_grad for p in copied.parameters())
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    for place, expected in ((None, x.device.type), ("cpu", "cpu")):
        file.seek(0)
        state = torch.load(file, map_location=place, weights_only=True)
        assert {part.device.type for part in state["network"].values()} == {expected}
        assert state["optimizer"]["state"][0]["exp_avg"].device.type == expected
    network.load_state_dict(state["network"])
    assert torch.equal(network.cpu()(HERE.double()), copied.cpu()(HERE.double()))
