"""A hook of mkdocs: links to files outside docs/ go into `repo_url`, or, while mkdocs.yml has none, become text."""

from __future__ import annotations

import re
from posixpath import normpath
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    def replace(found: re.Match) -> str:
        text, target = found[1], normpath(f"docs/{found[2]}")
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{target})" if config.repo_url else text

    return _OUTSIDE.sub(replace, markdown)
