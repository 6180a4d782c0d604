"""Every finding that a test of the diagnostics comes by says numbers of its evidence only."""

import pytest

from pinntk.diagnostics import EVIDENCE, Finding
from tests.support.sentences import unexplained_numbers


@pytest.fixture(autouse=True)
def honest(monkeypatch):
    check = Finding.__post_init__

    def checked(finding):
        check(finding)
        assert not unexplained_numbers(finding), f"{unexplained_numbers(finding)} of {finding.sentence!r}: {finding.evidence}"
        unknown = [key for key in finding.evidence if key not in EVIDENCE and f"{key.partition('/')[0]}/" not in EVIDENCE]
        assert not unknown, f"{unknown} is not in the table EVIDENCE"

    monkeypatch.setattr(Finding, "__post_init__", checked)
