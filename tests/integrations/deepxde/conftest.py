"""Skips what is made for DeepXDE where it is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("deepxde") else ["test_*.py"]
