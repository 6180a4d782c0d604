"""Scripts that tests run by themselves, and that pytest would run whole in search of examples."""

collect_ignore_glob = ["plain_scripts/*.py"]
