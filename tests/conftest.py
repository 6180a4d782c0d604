"""One thread for each test process: pytest-xdist starts one a core. Before torch is imported, and for the processes that tests
start. A count in the environment stays."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PINNTK_STATE", tempfile.mkdtemp(prefix="pinntk-state-"))  # not the user's
