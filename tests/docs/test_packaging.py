"""What an installed pinntk holds."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_listed():
    """An editable install works without the entry; a wheel would lack the folder."""
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("pinntk/**/__init__.py")]
    assert len(folders) > 5
    assert [name for folder in folders if f'"{(name := ".".join(folder.parts))}"' not in listed] == []
