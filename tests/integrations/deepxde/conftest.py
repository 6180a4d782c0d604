"""Skips what is made for DeepXDE where it is not installed; each test has float64 and leaves the defaults as they were."""

from importlib.util import find_spec

import pytest
import torch

collect_ignore_glob = [] if find_spec("deepxde") else ["test_*.py"]


@pytest.fixture(autouse=True)
def precision():
    """DeepXDE's default float type is global, and so is torch's."""
    import deepxde as dde

    before = torch.get_default_dtype()
    dde.config.set_default_float("float64")
    yield
    dde.config.set_default_float("float32")
    torch.set_default_dtype(before)
