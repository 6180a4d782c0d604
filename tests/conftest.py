"""What all tests have: one thread per process, a state folder of their own, random numbers of their own, figures that are not
rendered; and the fast set.

One thread, since pytest-xdist starts a process per core: set before torch is imported, also for processes that tests start. A
count in the environment stays.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DDE_BACKEND", "pytorch")  # else DeepXDE looks for one, and notes it in the user's home
if "PINNTK_STATE" not in os.environ:  # not the user's; workers have it from the process that started them
    os.environ["PINNTK_STATE"] = tempfile.mkdtemp(prefix="pinntk-state-")
    atexit.register(shutil.rmtree, os.environ["PINNTK_STATE"], ignore_errors=True)

HERE = Path(__file__).parent
# By folder: what `-m fast` runs, beside the examples in docstrings. Every room, within a minute on two cores.
FAST = {
    "": ("test_architecture",),
    "cli": ("test_cli", "test_refusals"),
    "comparison": ("test_comparison",),
    "diagnostics": ("test_balance", "test_drift", "test_estimate", "test_layers", "test_sanity", "test_spectrum"),
    "docs": ("test_packaging",),
    "gaussian": ("test_posterior",),
    "geometry": ("test_box",),
    "integrations": ("test_imports",),
    "nn": ("test_nn",),
    "ntk": ("test_blocks", "test_dual", "test_gram", "test_losses"),
    "problem": ("test_problem", "test_registry"),
    "reporting": ("test_plot",),
    "residuals": ("test_evaluate", "test_values"),
    "run": ("test_folder",),
    "solvers": ("test_line_search", "test_natural_gradient"),
    "taylor": ("test_fused", "test_normalizations", "test_taylor", "test_taylor_refusals"),
    "training": ("test_configuration", "test_train_config"),
    "util": ("test_factorization", "test_files", "test_memory", "test_warn"),
    "weighting": ("test_weighting",),
}
FILES = {HERE / folder / f"{name}.py" for folder, names in FAST.items() for name in names}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    for item in items:
        assert " at 0x" not in item.nodeid, f"{item.nodeid}: xdist needs the same name in every process"
        if (item.path in FILES or HERE not in item.path.parents) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.fast)


@pytest.fixture(autouse=True)
def same_numbers():
    """Every test draws the same random numbers, whatever ran before it."""
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(0)


@pytest.fixture(autouse=True)
def few_pixels(request, monkeypatch):
    """Figures are drawn but not rendered, which costs a second a run, and do not move, unless a test is marked `pixels` or
    `slow`; then PNG are coarse.
    """
    if (matplotlib := sys.modules.get("matplotlib.figure")) is None:
        return
    plain = matplotlib.Figure.savefig

    def coarse(figure, file, **settings):
        plain(figure, file, **settings | ({"dpi": 40} if settings.get("format") == "png" else {}))

    def savefig(figure, file, **settings):
        if not hasattr(file, "write"):
            open(file, "wb").close()

    rendered = request.node.get_closest_marker("pixels") or request.node.get_closest_marker("slow")
    monkeypatch.setattr(matplotlib.Figure, "savefig", coarse if rendered else savefig)
    if not rendered and (animation := sys.modules.get("pinntk.reporting.plot._animation")):
        monkeypatch.setattr(animation, "gif", lambda pictures: b"GIF89a")
        monkeypatch.setattr(animation, "frames", lambda maps: [])


@pytest.fixture
def interpreted(monkeypatch):
    """A compiled step is its traced graph, run operation by operation: what the compiler is given, without waiting for it, and
    without what the trace notes of each value for the compiler alone, which is most of its time.
    """
    monkeypatch.setattr("pinntk.training._compiled.torch.compile", lambda graph, **_: graph)
    monkeypatch.setattr("torch.fx.experimental.proxy_tensor.set_meta", lambda proxy, value: proxy, raising=False)
