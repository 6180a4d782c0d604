"""One thread for each test process: pytest-xdist starts one a core. Before torch is imported, and for the processes that tests
start. A count in the environment stays."""

import os
import sys
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PINNTK_STATE", tempfile.mkdtemp(prefix="pinntk-state-"))  # not the user's


@pytest.fixture(autouse=True)
def without_pixels(request, monkeypatch):
    """Figures are drawn but not rendered, which costs a second a run, unless a test is marked `pixels`."""
    if request.node.get_closest_marker("pixels") or "matplotlib.figure" not in sys.modules:
        return

    def savefig(figure, file, **settings):
        if not hasattr(file, "write"):
            open(file, "wb").close()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
