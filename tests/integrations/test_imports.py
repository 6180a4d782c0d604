"""What comes with `import pinntk`: none of the packages that it works with."""

import subprocess
import sys


def test_pinntk_imports_no_package_that_it_works_with():
    code = "import sys, pinntk, pinntk.integrations; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"deepxde", "pina", "lightning", "neurodiffeq", "tensorboard", "trimesh", "wandb"} & set(
        done.stdout.split()
    ) == set()
    assert "pinntk" in done.stdout.split()
