"""The settings of the parts of a chain of optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pinntk.solvers._chain import Chain, Part
from pinntk.weighting._point_scheme import keeps_points

Config = TypeVar("Config")
_OWN = ("lr", "schedule", "decay", "decay_every", "clip", "sampling", "resample", "adaptive", "grow", "compile")


def parts_of(chain: Chain, common: Mapping[str, Any], make: Callable[..., Config]) -> tuple[Config, ...]:
    """Each part's settings: what is common to all, and over it its own. What is none of a training's belongs to its optimizer.

    make: from settings to a configuration

    Raises what `make` raises, naming the part.
    """
    return tuple(_settings_of(part, common, make) for part in chain.parts)


def _settings_of(part: Part, common: Mapping[str, Any], make: Callable[..., Config]) -> Config:
    own = {name: value for name, value in part.settings.items() if name in _OWN}
    options = {name: value for name, value in part.settings.items() if name not in _OWN}
    given = {**common, **own, "optimizer": part.optimizer, "steps": part.steps}
    if options:
        given["optimizer_options"] = options
    try:
        return make(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"optimizer: part {part}: {error}") from error


def check_chain(config: Any, chain: Chain, belongs_to: Mapping[str, str]) -> None:
    """Raises ValueError for what a chain's parts have for themselves, or does not go with several."""
    if config.steps != chain.steps:
        raise ValueError(f"steps={config.steps!r}: the parts of optimizer={str(chain)!r} take {chain.steps}; leave steps out")
    for name, whose in belongs_to.items():
        default = type(config).__dataclass_fields__[name].default
        if whose in ("optimizer", "schedule") and getattr(config, name) not in (default, {}, None):
            raise ValueError(
                f"{name}={getattr(config, name)!r} beside a chain of optimizers: give it to a part, as in "
                f"'{_example(name, getattr(config, name))}'"
            )
    drawn = {part.settings.get("sampling", config.sampling) for part in chain.parts}
    if keeps_points(config.point_scheme) and len(drawn) > 1:
        raise ValueError("weights of points belong to them, and a part with another sampling would replace them")


def _example(name: str, value: Any) -> str:
    if name == "optimizer_options":
        return f"adam:2000:{next(iter(value))}={next(iter(value.values()))}"
    return f"{'gauss-newton:50' if name == 'grow' else 'adam:2000'}:{name}={value}"
