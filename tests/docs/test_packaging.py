"""What an installed pinntk holds."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_list():
    """An editable install works without the entry; a wheel would lack the folder."""
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("pinntk/**/__init__.py")]
    assert len(folders) > 5
    assert [name for folder in folders if f'"{(name := ".".join(folder.parts))}"' not in listed] == []


def test_every_file_beside_the_code_is_shipped():
    """The templates, and py.typed: without it a type checker takes an installed pinntk for untyped."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = pyproject.split("[tool.setuptools.package-data]\n")[1].split("\n\n")[0]
    lines = re.findall(r'"(.+?)" = \["(.+?)"\]', table)
    found = {path for package, pattern in lines for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    beside = {path for path in ROOT.glob("pinntk/**/*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert ROOT / "pinntk" / "py.typed" in beside
    assert beside == found
