"""What comes with `import pinntk`: none of the packages that it works with, and nothing slow that is not used yet."""

import subprocess
import sys


def test_pinntk_imports_no_package_that_it_works_with():
    code = "import sys, pinntk, pinntk.integrations; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"deepxde", "pina", "lightning", "neurodiffeq", "tensorboard", "trimesh", "wandb"} & set(
        done.stdout.split()
    ) == set()
    assert "pinntk" in done.stdout.split()


def test_what_is_not_used_yet_is_not_loaded():
    """Of SciPy's parts each takes up to a second."""
    code = "import scipy, sys; bare = set(sys.modules); import pinntk, pinntk.cli; print(*sorted(set(sys.modules) - bare))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {".".join(name.split(".")[:2]) for name in done.stdout.split()}
    slow = {f"scipy.{part}" for part in ("integrate", "linalg", "optimize", "sparse", "spatial", "special", "stats")}
    assert loaded & slow == set()
    assert "matplotlib.pyplot" not in loaded
