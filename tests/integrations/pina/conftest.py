"""What the tests of PINA have: PINA, or they are left out; and the dtypes of those that ask for one."""

import pytest
import torch

pytest.importorskip("pina")


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)
