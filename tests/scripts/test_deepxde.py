"""The scripts about DeepXDE, small."""

import json
import os
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("deepxde") is None or not hasattr(os, "fork"), reason="needs DeepXDE and os.fork")

EXAMPLE = """
import deepxde as dde
import numpy as np

def pde(x, y):
    return dde.grad.hessian(y, x) - 2

geom = dde.geometry.Interval(-1, 1)
bc = dde.icbc.DirichletBC(geom, lambda x: x**2, lambda x, on_boundary: on_boundary)
data = dde.data.PDE(geom, pde, bc, 16, 2, solution=lambda x: x**2, num_test=20)
model = dde.Model(data, dde.nn.FNN([1, 8, 1], "tanh", "Glorot uniform"))
model.compile("adam", lr=0.001)
model.train(iterations=10000)
model.compile("L-BFGS")
losshistory, train_state = model.train()
dde.saveplot(losshistory, train_state, issave=True, isplot=False)
"""


@pytest.mark.slow
def test_an_example_is_checked(tmp_path, capsys):
    check = pytest.importorskip("check_deepxde_examples")
    for folder in ("dataset", "pinn_inverse", "pinn_forward"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pinn_forward" / "parabola.py").write_text(EXAMPLE)
    code = check.main([str(tmp_path), "parabola", "--dtype", "float64", "-o", str(tmp_path / "found.json")])
    (good,) = json.loads((tmp_path / "found.json").read_text())
    assert good["float64"]["rows"] < 1e-10 and good["float64"]["acts"] and good["float64"]["same"]
    assert good["float64"]["losses"] == ["pde", "DirichletBC"] and good["float64"]["overhead"] > 0
    assert code == 0 and check.line({"example": "a", "float64": {"failed": "E: two"}}) == "| a | E: two | | | | | | |"
    assert "| parabola | pde, DirichletBC | 20 |" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "pinn_forward").iterdir()] == ["parabola.py"]


def test_the_benchmark_runs(tmp_path):
    benchmark = pytest.importorskip("benchmark_deepxde")
    try:
        found = benchmark.main(["--quick", "-o", str(tmp_path)])
    finally:
        benchmark.dde.config.set_default_float("float32")
    assert found["ratio"] > 0 and (tmp_path / "result.json").exists()
    assert found["runs"]["with"][0]["weights"]["DirichletBC"] > 10
