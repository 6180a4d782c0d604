"""config.json of a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinntk._util.files import replacing
from pinntk.run._folder import CONFIG

FORMAT = 1
_SECTIONS = ("problem", "network", "training", "weighting")


def read_config(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError for a folder without one, ValueError, naming the file, for one that is not a run's."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run ({CONFIG} is missing); give the folder that `pinntk train -o` wrote")
    try:
        config = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or train anew") from error
    missing = [name for name in _SECTIONS if not isinstance(config, dict) or not isinstance(config.get(name), dict)]
    if missing:
        raise ValueError(f"{path} is not of a run of pinntk: it has no section {missing[0]!r}; restore it or train anew")
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {config.get('format')}, and this pinntk reads {FORMAT}; use the version that wrote it "
            f"({config.get('versions', {}).get('pinntk', 'unknown')}), or train anew"
        )
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")
