"""A run that the tests of reports look at."""

import pytest

from tests.reporting.reports import trained


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return trained("poisson1d", tmp_path_factory.mktemp("runs") / "p1")
