"""What people read: the terminal, HTML reports, figures."""

from pinntk.reporting._html import write_comparison, write_diagnosis, write_report
from pinntk.reporting._summary import write_summary

__all__ = ["write_comparison", "write_diagnosis", "write_report", "write_summary"]


def __dir__() -> list[str]:
    return __all__
