"""What people read: the terminal, HTML reports, figures."""

from pinntk.reporting._html import write_comparison, write_diagnosis, write_report

__all__ = ["write_comparison", "write_diagnosis", "write_report"]


def __dir__() -> list[str]:
    return __all__
