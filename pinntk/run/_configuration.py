"""config.json of a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinntk._util.files import replacing
from pinntk.run._folder import CONFIG

FORMAT = 1
_Kinds = type | tuple[type, ...]
_SECTIONS: dict[str, dict[str, _Kinds]] = {  # what every run writes, and its type
    "problem": {"name": str, "source": str, "parameters": dict},
    "network": {"class": str, "arguments": (dict, type(None)), "dtype": str},
    "training": {"steps": int, "optimizer": str, "points": (dict, str)},
    "weighting": {},
}


def read_config(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError for a folder without one, ValueError, naming the file, for one that is not a run's."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run ({CONFIG} is missing); give the folder that `pinntk train -o` wrote")
    try:
        config = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise ValueError(f"{path} is damaged ({error}); restore it or train anew") from error
    missing = [name for name in _SECTIONS if not isinstance(config, dict) or not isinstance(config.get(name), dict)]
    if missing:
        raise ValueError(f"{path} is not of a run of pinntk: it has no section {missing[0]!r}; restore it or train anew")
    if config.get("format") != FORMAT:
        versions = config.get("versions")
        wrote = versions.get("pinntk", "unknown") if isinstance(versions, dict) else "unknown"
        raise ValueError(
            f"{path} has format {config.get('format')}, and this pinntk reads {FORMAT}; use the version that wrote it "
            f"({wrote}), or train anew"
        )
    _check_entries(path, config)
    return config


def _check_entries(path: Path, config: Mapping[str, Any]) -> None:
    for section, kinds in _SECTIONS.items():
        for name, kind in kinds.items():
            if name not in config[section]:
                raise ValueError(f"{path} is damaged: {section}.{name} is missing; restore it or train anew")
            if not isinstance(config[section][name], kind):
                raise ValueError(f"{path} is damaged: {section}.{name} is {config[section][name]!r}; restore it or train anew")


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")
