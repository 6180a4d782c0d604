"""What tests of losses in plain PyTorch share."""

import pytest
import torch

from tests.integrations.losses import mlp


@pytest.fixture
def net():
    torch.manual_seed(0)
    return mlp(outputs=2)
