"""config.json of a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinntk._util.files import replacing
from pinntk._util.likeness import nearest
from pinntk.run._folder import CONFIG, CURRICULUM, ENSEMBLE, SLAB, SLABS

FORMAT = 1
_SECTIONS = ("problem", "network", "training", "weighting")
_REQUIRED = {
    "problem": ("name", "source", "parameters"),
    "network": ("class", "arguments", "dtype"),
    "training": ("steps", "optimizer", "points"),
}
_NONE, _NUMBER = type(None), (int, float)
_KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "problem": {"name": (str,), "source": (str,), "parameters": (dict,), "slab": (dict,)},
    "network": {"class": (str,), "arguments": (dict, _NONE), "dtype": (str,)},
    "training": {
        "steps": (int,),
        "seconds": (*_NUMBER, _NONE),
        "optimizer": (str,),
        "optimizer_options": (dict, _NONE),
        "schedule": (str, _NONE),
        "decay": _NUMBER,
        "points": (dict, str, _NONE),
        "grow": (*_NUMBER, _NONE),
        "seed": (int,),
    },
    "weighting": {"name": (str,)},
}


def _nearby(folder: Path) -> str:
    """What to give in its place: the runs in it, or the one beside it or in runs/ whose name is most like."""
    inside = sorted(path.parent for below in ("*", "runs/*") for path in folder.glob(f"{below}/{CONFIG}"))
    if inside:
        return f"it holds folders of runs: give one of them, such as {inside[0]}"
    beside = {path.parent.name: path.parent for where in (folder.parent, Path("runs")) for path in where.glob(f"*/{CONFIG}")}
    close = nearest(folder.name, beside)
    return f"did you mean {beside[close]}?" if close else "give the folder that `pinntk train -o` wrote"


def read_config(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """Raises FileNotFoundError for a folder without one, ValueError, naming the file, for one that is not a run's."""
    path = folder / name
    if not path.is_file() and (folder / SLABS).is_file():
        raise FileNotFoundError(
            f"{folder} holds time slabs, each a run: give one, such as {folder / 'slab_00'}, or load all with pinntk.load_slabs"
        )
    if not path.is_file() and (folder / CURRICULUM).is_file():
        stages = sorted(folder.glob("stage_*")) or [folder / "stage_00"]
        raise FileNotFoundError(
            f"{folder} holds the stages of a curriculum, each a run: give one, such as {stages[-1]}, the last"
        )
    if not path.is_file() and (folder / ENSEMBLE).is_file():
        raise FileNotFoundError(f"{folder} holds the members of an ensemble, each a run: give one, as {folder / 'member_00'}")
    if not path.is_file() and SLAB.fullmatch(folder.name) and (folder.parent / SLABS).is_file():
        raise FileNotFoundError(f"{folder} holds no run: that slab is not trained yet; go on with --resume {folder.parent}")
    if not path.is_file():
        why = f"{name} is missing" if folder.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{folder} holds no run ({why}); {_nearby(folder)}")
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
    for section, names in _REQUIRED.items():
        if absent := [name for name in names if name not in config[section]]:
            raise ValueError(f"{path} is damaged: {section}.{absent[0]} is missing; restore it or train anew")
    check_entries(config, path)
    return config


def check_entries(config: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError, naming the file and the entry, where an entry of a section is of another type than pinntk writes."""
    for section, kinds in _KINDS.items():
        for name, expected in kinds.items():
            entries = config.get(section)
            if isinstance(entries, dict) and name in entries and not isinstance(entries[name], expected):
                known = " or ".join("null" if kind is _NONE else kind.__name__ for kind in expected)
                raise ValueError(f"{path}: {section}.{name} is {entries[name]!r}; expected {known}")


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")
