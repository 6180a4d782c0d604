"""An extension of mkdocstrings: docstrings as this package writes them, plain text for a terminal, as Markdown.

Lines "name: what it is" become a list, lines after >>> a block of code; all else is Markdown already.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ENTRY = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*): (.+)$", re.DOTALL)


def to_markdown(docstring: str) -> str:
    """The docstring, paragraph by paragraph.

    >>> print(to_markdown("What.\\n\\nx: a number\\n    of size 1\\ny, z: others\\n\\n>>> f(1)\\n2"))
    What.
    <BLANKLINE>
    - `x`: a number of size 1
    - `y, z`: others
    <BLANKLINE>
    ```pycon
    >>> f(1)
    2
    ```
    """
    return "\n\n".join(map(_paragraph, re.split(r"\n[ ]*\n", docstring.strip())))


def _paragraph(text: str) -> str:
    if text.startswith(">>>"):
        return f"```pycon\n{text}\n```"
    entries = re.split(r"\n(?! )", text)
    found = [_ENTRY.match(entry) for entry in entries]
    if not all(found):
        return text
    return "\n".join(f"- `{match[1]}`: {' '.join(match[2].split())}" for match in found if match)


class Docstrings(Extension):
    """What griffe calls for every object of the package."""

    def on_object(self, *, obj: Object, **others: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
