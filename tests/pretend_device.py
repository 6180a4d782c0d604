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

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
CPU, DEVICE = torch.device("cpu"), f"{NAME}:0"  # a torch.device only once installed
aten = torch.ops.aten
_COPIES = (aten.copy_.default, aten._to_copy.default, aten._copy_from.default)
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
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

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


class PretendMode(TorchDispatchMode):
    """Sees what has no tensor among its arguments: torch.zeros(..., device="pretend")."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: tuple, kwargs: dict) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    pretend = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    place = kwargs.get("device")
    wanted = None if place is None else torch.device(place).type == NAME
    if not pretend and not wanted:
        return func(*args, **kwargs)
    _check_devices(func, args, tensors, pretend)
    there = bool(pretend) if wanted is None else wanted  # whether the result lives on the device
    _check_kinds(func, args, kwargs, there)
    given = {key: CPU if key == "device" and value is not None else value for key, value in kwargs.items()}
    raw_args, given = tree_map(_raw, (args, given))
    drawing = torch.Tag.nondeterministic_seeded in func.tags and there
    found = _with_device_generator(func, raw_args, given) if drawing else func(*raw_args, **given)
    if func in _COPIES and func is not aten._to_copy.default:
        return args[0]
    if torch.Tag.inplace_view in func.tags:  # the values have their new shape; the tensor itself has not
        with no_dispatch():
            return func(*args, **kwargs)
    if func._schema.is_mutable:
        held = {id(tensor.raw): tensor for tensor in pretend}  # an operation in place returns what it was given
        return tree_map(lambda leaf: held.get(id(leaf)) if id(leaf) in held else _wrapped(leaf), found)
    return tree_map(_wrapped, found) if there else found


def _raw(leaf: Any) -> Any:
    return leaf.raw if isinstance(leaf, PretendTensor) else leaf


def _wrapped(leaf: Any) -> Any:
    return PretendTensor(leaf.resolve_conj().resolve_neg()) if isinstance(leaf, Tensor) else leaf


def _check_devices(func: Any, args: tuple, tensors: list[Tensor], pretend: list[Tensor]) -> None:
    """Raises RuntimeError where CUDA would, for tensors on two devices."""
    if len(tensors) == len(pretend) or func in _COPIES:
        return
    strangers = tensors if not pretend else [tensor for tensor in tensors if not isinstance(tensor, PretendTensor)]
    if func in _INDEXED and isinstance(args[0], PretendTensor):
        values = args[2:3]
        strangers = [value for value in values if isinstance(value, Tensor) and not isinstance(value, PretendTensor)]
        allowed = all(value.ndim == 0 for value in strangers)
    else:
        pointwise = torch.Tag.pointwise in func.tags or func in _POINTWISE
        changed = func._schema.is_mutable and not isinstance(args[0], PretendTensor)
        allowed = pointwise and not changed and all(stranger.ndim == 0 for stranger in strangers)
    if not allowed:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! ({func})"
        )


def _check_kinds(func: Any, args: tuple, kwargs: dict, there: bool) -> None:
    """Raises RuntimeError for generators and drivers that the device does not know."""
    for leaf in tree_leaves((args, kwargs)):
        if there and isinstance(leaf, torch.Generator) and leaf.device.type != NAME:
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{leaf.device.type}'")
        if there and isinstance(leaf, str) and leaf in _CPU_DRIVERS:
            raise RuntimeError(f"{func}: parameter `driver` should be one of (gels) on {NAME}, not {leaf}")


def _with_device_generator(func: Any, args: tuple, kwargs: dict) -> Any:
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

    def get_rng_state(self, device: Any = NAME) -> Tensor:
        return _random_state[0].clone()

    def set_rng_state(self, state: Tensor, device: Any = NAME) -> None:
        _random_state[:] = [state.clone()]

    def synchronize(self, device: Any = NAME) -> None:
        pass

    def set_device(self, device: Any) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def install() -> PretendMode:
    """Registers the device in this process, and returns the mode that must be on while it is used."""
    module = _Module()
    module.manual_seed_all(0)
    backend_registration._setup_privateuseone_for_python_backend(NAME, module)
    torch.serialization.register_package(
        0,
        lambda storage: DEVICE if getattr(storage, "_pretend", False) else None,
        _left_or_brought,
    )
    torch.serialization.add_safe_globals([_restored])
    torch.__future__.set_swap_module_params_on_conversion(True)  # network.to keeps its parameters, as on CUDA
    for name, kernel in {"empty.memory_format": _empty, "empty_strided": _empty_strided, "_copy_from": _copy_from}.items():
        torch.library.impl(f"aten::{name}", "PrivateUse1")(kernel)
    return PretendMode()


def _left_or_brought(storage: Any, location: str) -> Any:
    if location.startswith(NAME):
        storage._pretend = True
        return storage
    return None


def _empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return PretendTensor(torch.empty(size, dtype=dtype))


def _empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return PretendTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source, target, non_blocking=False):
    _raw(target).copy_(_raw(source))
    return target
