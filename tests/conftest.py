"""One thread for each test process: pytest-xdist starts one a core. Before torch is imported, and for the processes that tests
start. A count in the environment stays."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
