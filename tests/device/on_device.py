"""What the tests in device_*.py share, and the pytest plugin that gives them their device.

    PINNTK_TEST_DEVICE=pretend python -m pytest -p on_device tests/device_*.py      (tests on PYTHONPATH)

PINNTK_TEST_DEVICE is "pretend" (tests/pretend_device.py) or a real one, such as "cuda". tests/test_pretend_device.py runs them
in a process of their own, since a device registered in Python stays registered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pinntk
from pinntk.diagnostics import Dynamics, Precision, Spectrum
from tests.device import pretend_device

NAME = os.environ.get("PINNTK_TEST_DEVICE", pretend_device.NAME)
PRETEND = NAME == pretend_device.NAME
TOLERANCE = 1e-12 if PRETEND else 1e-8  # a GPU adds in another order
COVERED: dict[int, list[str]] = {}  # id of a public object -> the tests that use it
F64 = {"dtype": torch.float64}
SMALL = {"width": 6, "depth": 2, **F64}


def pytest_sessionstart() -> None:
    if NAME == pretend_device.NAME:
        pretend_device.install()


def covers(*public: Any) -> Callable[[Callable], Callable]:
    """Marks a test as the one that runs these public functions and classes on the device."""

    def mark(test: Callable) -> Callable:
        for part in public:
            COVERED.setdefault(id(part), []).append(f"{test.__module__}::{test.__name__}")
        return test

    return mark


def twins(problem: pinntk.Problem, kind: Callable = pinntk.nn.MLP, **settings: Any) -> tuple[nn.Module, nn.Module]:
    """A network on the CPU, and the same on the device."""
    here = kind(problem, **{**SMALL, **settings})
    return here, deepcopy(here).to(NAME)


def there(points: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Points on the device; a tensor shared by conditions stays shared."""
    moved = {id(rows): rows.to(NAME) for rows in points.values()}
    return {name: moved[id(rows)] for name, rows in points.items()}


def on_device(value: Any) -> bool:
    """Whether all tensors in a nested result live on the device, and there is one."""
    tensors = _tensors(value)
    return bool(tensors) and all(tensor.device.type == NAME.partition(":")[0] for tensor in tensors)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for _, part in _parts(value) for tensor in _tensors(part)]


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return [(part.name, getattr(value, part.name)) for part in fields(value) if not _opaque(getattr(value, part.name))]
    return []


def _opaque(value: Any) -> bool:
    return callable(value) or isinstance(value, (pinntk.Problem, pinntk.Run, nn.Module))


def same(found: Any, expected: Any, tolerance: float = TOLERANCE, path: str = "result", size: float = 1e-300) -> None:
    """Asserts that nested results are equal, numbers to rounding relative to the largest of their array.

    Not on the pretend device, which is this CPU: relative to `size` where that is larger; eigenvectors as the matrix that they
    make; rounding itself to a factor of two.
    """
    size = 1e-300 if PRETEND else size
    if isinstance(expected, Precision) and not PRETEND:
        assert 0.5 <= found.noise / expected.noise <= 2, f"{path}.noise: {found.noise} for {expected.noise}"
        found, expected = found.error, expected.error
    if isinstance(expected, (Spectrum, Dynamics)) and not PRETEND:
        found, expected = _without_eigenvectors(found), _without_eigenvectors(expected)
    if isinstance(expected, (Tensor, np.ndarray, float, np.floating)):
        a, b = (_array(value) for value in (found, expected))
        assert a.shape == b.shape, f"{path}: {a.shape} on the device, {b.shape} on the CPU"
        finite = np.isfinite(b)
        assert np.array_equal(np.where(finite, 0, a), np.where(finite, 0, b), equal_nan=True), f"{path}: {a} for {b}"
        scale = np.abs(b[finite]).max(initial=size)
        off = np.abs(a - b)[finite].max(initial=0.0)
        assert off <= tolerance * scale, f"{path}: off by {off / scale:.1e}"
        return
    if isinstance(expected, pinntk.Origin):  # how J came is the same, not how long it took
        assert found == expected, f"{path}: {found} for {expected}"
        return
    parts = _parts(expected)
    if parts:
        others = dict(_parts(found))
        assert set(others) == {key for key, _ in parts}, f"{path}: {set(others)} for {[key for key, _ in parts]}"
        for key, part in parts:
            same(others[key], part, tolerance, f"{path}.{key}", size)
    elif isinstance(expected, (str, int, bool, type(None))):
        assert found == expected, f"{path}: {found!r} for {expected!r}"


def same_errors_and_kernel(
    problem: pinntk.Problem, points: Mapping[str, Tensor], **settings: Any
) -> tuple[nn.Module, nn.Module]:
    """Of two networks alike, which it returns: one here and one on the device."""
    here, moved = twins(problem, **settings)
    found = pinntk.errors(moved, problem, there(points))
    assert on_device(found)
    same(found, pinntk.errors(here, problem, points), size=1.0)
    same(pinntk.kernel(moved, problem, there(points)).values, pinntk.kernel(here, problem, points).values)
    return here, moved


def _without_eigenvectors(found: Any) -> dict[str, Any]:
    """With V diag(l) V^T in place of V, and V c of components c: what V is, another device says as well with other signs."""
    parts = dict(_parts(found))
    if isinstance(found, Spectrum):
        V = parts.pop("vectors")
        return parts | {"matrix": V * found.values @ V.T}
    V, components = parts.pop("modes"), parts.pop("components")
    return parts | {"matrix": V * found.rates @ V.T, "errors": V @ components}


def _array(value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=complex))
