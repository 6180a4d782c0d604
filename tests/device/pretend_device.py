"""A pretend accelerator, so that a device fault shows on any machine: tensors compute on the CPU but live on "pretend:0".

`install()` registers the device in this process, for good: run it in a process of its own (tests/test_pretend_device.py does).

What it emulates of CUDA
- an operation on tensors of both devices is refused. Excepted, as on CUDA: copies; a CPU tensor without dimensions in a
  pointwise operation; CPU tensors as indices in `x[i]` and `x[i] = y` (not in gather, index_select, take), with values
  without dimensions
- `numpy()`, `np.asarray` and whatever calls them are refused; `item`, `tolist`, `float` and formats work
- random numbers drawn on the device come from the device's own generator, which `torch.manual_seed` seeds too, and whose
  state `torch.get_rng_state` does not hold; a CPU generator is refused there
- `torch.save` writes tensors as of this device, `torch.load` brings them back there, or to the CPU by map_location
- functions of torch.linalg that run on the CPU only (the drivers of `lstsq` but "gels") are refused

What it does not
- `is_cuda` is False, and `device.type == "cuda"` too: branches on them do not run
- rounding, speed, memory, streams and asynchronous errors are the CPU's; so is what CUDA has no kernel for
- torch.compile, CUDA graphs, NCCL, pinned memory, and several devices
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch

if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip(f"torch {torch.__version__} cannot be given a device in Python", allow_module_level=True)

NAME = "pretend"
CPU, DEVICE = torch.device("cpu"), f"{NAME}:0"  # a torch.device only once installed
aten = torch.ops.aten
_COPIES = (aten.copy_.default, aten._copy_from.default)
_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
_POINTWISE = (aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor)  # as pointwise ones, though not tagged so
_CPU_DRIVERS = ("gelsd", "gelsy", "gelss")
_random_state: list[Tensor] = []  # of the device's generator


class PretendTensor(Tensor):
    """A tensor on the pretend device; `raw` holds its values on the CPU."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> PretendTensor:
        return Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )

    def __init__(self, raw: Tensor):
        self.raw = raw

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _computed(func, args, kwargs or {})

    # What torch's own methods cannot do for a class of Python.

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.cpu().numpy(force=True)
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first.")

    def tolist(self) -> Any:
        return self.raw.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else repr(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.raw!r} on {DEVICE}"

    def __reduce_ex__(self, protocol: int) -> tuple:
        raw = self.raw.detach().resolve_conj()
        storage = raw._typed_storage()
        storage._untyped_storage._pretend = True
        return _restored, (storage, raw.storage_offset(), tuple(raw.shape), raw.stride(), self.requires_grad)


def _restored(storage: Any, offset: int, shape: tuple, stride: tuple, requires_grad: bool) -> Tensor:
    """What `torch.save` wrote; on the CPU where map_location had the storage left there."""
    raw = torch._utils._rebuild_tensor_v2(storage, offset, shape, stride, False, {})
    here = getattr(storage._untyped_storage, "_pretend", False)
    return (PretendTensor(raw) if here else raw).requires_grad_(requires_grad)


@dataclass(frozen=True)
class _Kind:
    """What an operation does beside computing."""

    copies: bool  # from one device to another
    pointwise: bool
    draws: bool  # random numbers
    changes: bool  # an argument
    reshapes: bool  # its argument, in place


@cache
def _kind(func: Any) -> _Kind:
    pointwise = torch.Tag.pointwise in func.tags or func in _POINTWISE
    draws, reshapes = (tag in func.tags for tag in (torch.Tag.nondeterministic_seeded, torch.Tag.inplace_view))
    return _Kind(func in _COPIES, pointwise, draws, func._schema.is_mutable, reshapes)


def _computed(func: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on the tensors' values, after the checks that CUDA makes."""
    kind, ours, strangers = _kind(func), [], []
    raw_args = [_unwrapped(arg, ours, strangers) for arg in args]
    given = {key: _unwrapped(value, ours, strangers) for key, value in kwargs.items()}
    there = bool(ours)  # whether the result lives on the device
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
        given["device"] = CPU
    if ours and strangers and not kind.copies:
        _check_devices(func, args)
    if there and kind.draws:
        found = _with_device_generator(func, raw_args, given)
    elif there and kwargs.get("driver") in _CPU_DRIVERS:
        raise RuntimeError(f"{func}: parameter `driver` should be one of (gels) on {NAME}, not {kwargs['driver']}")
    else:
        found = func(*raw_args, **given)
    if kind.copies:
        return args[0]
    if kind.reshapes:  # the values have their new shape; the tensor around them has not
        with no_dispatch():
            return func(*args, **kwargs)
    if kind.changes:  # an operation in place returns what it was given
        held = {id(tensor.raw): tensor for tensor in ours}
        return _wrapped(found, held) if there else found
    return _wrapped(found, {}) if there else found


def _unwrapped(value: Any, ours: list[Tensor], strangers: list[Tensor]) -> Any:
    """The CPU's tensors in place of the device's, which are added to `ours`; those of the CPU to `strangers`."""
    kind = type(value)
    if kind is PretendTensor:
        ours.append(value)
        return value.raw
    if kind is list or kind is tuple:
        return kind([_unwrapped(part, ours, strangers) for part in value])
    if isinstance(value, Tensor):
        strangers.append(value)
    return value


def _wrapped(found: Any, held: dict[int, Tensor]) -> Any:
    if isinstance(found, Tensor):
        if id(found) in held:
            return held[id(found)]
        return PretendTensor(found.resolve_conj().resolve_neg() if found.is_complex() else found.resolve_neg())
    if isinstance(found, (list, tuple)):
        return type(found)(_wrapped(part, held) for part in found)
    return found


def _check_devices(func: Any, args: tuple) -> None:
    """Raises RuntimeError for tensors on two devices, where CUDA does."""
    strangers: list[Tensor] = []
    first = isinstance(args[0], PretendTensor)
    if func in _INDEXED and first:
        allowed = True
        _unwrapped(args[2:3], [], strangers)  # of the indices any may be the CPU's
    else:
        kind = _kind(func)
        allowed = kind.pointwise and not (kind.changes and not first)
        _unwrapped(args, [], strangers)
    if not (allowed and all(stranger.ndim == 0 for stranger in strangers)):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! ({func})"
        )


def _with_device_generator(func: Any, args: list, kwargs: dict) -> Any:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Generator):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{value.device.type}'")
    of_the_cpu = torch.get_rng_state()
    torch.set_rng_state(_random_state[0])
    try:
        return func(*args, **kwargs)
    finally:
        _random_state[0] = torch.get_rng_state()
        torch.set_rng_state(of_the_cpu)


class _Module(backend_registration._DummyBackendModule):
    """`torch.pretend`: what torch asks a device's module for."""

    def manual_seed_all(self, seed: int) -> None:
        _random_state[:] = [torch.Generator().manual_seed(seed + 1).get_state()]

    def manual_seed(self, seed: int) -> None:
        self.manual_seed_all(seed)

    def device(self, device: Any) -> AbstractContextManager:
        return nullcontext()

    def get_rng_state(self, device: Any = NAME) -> Tensor:
        return _random_state[0].clone()

    def set_rng_state(self, state: Tensor, device: Any = NAME) -> None:
        _random_state[:] = [state.clone()]


def install() -> None:
    """Registers the device in this process."""
    module = _Module()
    module.manual_seed_all(0)
    backend_registration._setup_privateuseone_for_python_backend(NAME, module)
    torch.serialization.register_package(0, _location_tag, _left_or_brought)
    torch.serialization.add_safe_globals([_restored])
    torch.__future__.set_swap_module_params_on_conversion(True)  # network.to keeps its parameters, as on CUDA
    for make in _FACTORIES:
        torch.library.impl(make.name(), "PrivateUse1")(_factory(make))
    for name, kernel in (("_copy_from", _copy_from), ("_local_scalar_dense", _number)):
        torch.library.impl(f"aten::{name}", "PrivateUse1")(kernel)


# What makes a tensor from none; zeros, full and others are made of these.
_FACTORIES = (
    aten.empty.memory_format,
    aten.empty_strided.default,
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
    aten.logspace.default,
    aten.eye.default,
    aten.eye.m,
    aten.randperm.default,
    aten.randperm.generator,
    aten.tril_indices.default,
    aten.triu_indices.default,
)


def _factory(make: Any) -> Callable:
    def kernel(*args: Any, device: Any = None, pin_memory: Any = None, **kwargs: Any) -> Tensor:
        return _computed(make, args, {**kwargs, "device": DEVICE})

    return kernel


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    to, values = (part.raw if isinstance(part, PretendTensor) else part for part in (target, source))
    to.copy_(values)
    return target


def _number(tensor: Tensor) -> Any:
    return tensor.raw.item()


def _location_tag(storage: Any) -> str | None:
    return DEVICE if getattr(storage, "_pretend", False) else None


def _left_or_brought(storage: Any, location: str) -> Any:
    if location.startswith(NAME):
        storage._pretend = True
        return storage
    return None
