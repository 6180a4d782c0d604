"""What tests of losses in plain PyTorch share; and scripts that tests run by themselves, not pytest in search of examples."""

import pytest
import torch

from tests.integrations.losses import mlp

collect_ignore_glob = ["plain_scripts/*.py"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return mlp(outputs=2)
