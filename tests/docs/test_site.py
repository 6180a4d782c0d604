"""mkdocs.yml: its pages are there, and its reference has every public module. The site itself is built by .ci/run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
WITHOUT_REFERENCE = {
    "pinntk.cli": "`pinntk --help` has it",
    "pinntk.ntk.graph": "pinntk.ntk has what users need of it",
    "pinntk.ntk.infinite": "pinntk.ntk has what users need of it",
}


def test_every_page_is_in_the_navigation():
    docs = ROOT / "docs"
    assert sorted(PAGES) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


def test_the_style_is_there():
    """Which a strict build does not ask for."""
    named = re.findall(r"^extra_css: \[(.+)\]$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert named == ["site.css"] and (ROOT / "docs" / named[0]).is_file()


def test_every_public_package_is_in_the_reference():
    folders = (path.parent.relative_to(ROOT) for path in (ROOT / "pinntk").rglob("__init__.py"))
    public = {".".join(folder.parts) for folder in folders if not any(part.startswith("_") for part in folder.parts)}
    text = "".join((ROOT / "docs" / page).read_text() for page in PAGES if page.startswith("reference/"))
    assert set(re.findall(r"^::: (\S+)$", text, re.MULTILINE)) == public - set(WITHOUT_REFERENCE)
