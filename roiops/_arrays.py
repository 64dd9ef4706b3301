"""Whose array is this? NumPy, torch and CuPy behind one small set of verbs.

An operator adopts its arguments once, and does everything through the ``Namespace`` it gets:
allocate outputs like the inputs, describe arrays to the compiled module, say where that computes.
torch and CuPy are never imported here: only a caller who has imported them can hold their arrays.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from roiops import _cpu

Array = Any
"""A NumPy or CuPy array, a torch tensor, or another object with ``__dlpack__``."""


class Namespace(Protocol):
    """What operators need to know of an array library."""

    name: str

    @property
    def core(self) -> Any:
        """The compiled module that computes on its arrays: one has the functions of any other."""
        ...

    def call(self, operator: Any, *args: Any) -> Any:
        """Run an operator: directly, or through torch's dispatcher."""
        ...

    def empty(self, shape: Sequence[int], dtype: str, like: Array) -> Array: ...

    def empty_channels_last(self, shape: Sequence[int], dtype: str, like: Array) -> Array:
        """(N, C, H, W) of which the channels are next to each other."""
        ...

    def from_numpy(self, x: np.ndarray, like: Array) -> Array:
        """The same memory as an array of this library (a copy where ``like`` lies elsewhere)."""
        ...

    def to_numpy(self, x: Array) -> np.ndarray:
        """The same memory, without gradient."""
        ...

    def dtype(self, x: Array) -> str:
        """Name of the element type: "float32", "int64", "bool", ..."""
        ...

    def strides(self, x: Array) -> tuple[int, ...]:
        """In elements."""
        ...

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array: ...

    def full_like(self, x: Array, value: float) -> Array: ...

    def astype(self, x: Array, dtype: str) -> Array: ...

    def describe(self, x: Array) -> Any:
        """What the compiled module takes as an array."""
        ...

    def execution(self) -> Any:
        """Where the compiled module computes: its number of threads, or the device, the stream and
        the allocator of a GPU (see ``cpp/roiops/execution.h``)."""
        ...


class NumPy:
    name = "numpy"
    library: Any = np
    core: Any = _cpu

    def call(self, operator: Any, *args: Any) -> Any:
        return operator.run(self, *args)

    def empty(self, shape: Sequence[int], dtype: str, like: Array) -> Array:
        # bfloat16 has no name in NumPy itself: the caller's array brings the type.
        return self.library.empty(shape, like.dtype if dtype == like.dtype.name else dtype)

    def empty_channels_last(self, shape: Sequence[int], dtype: str, like: Array) -> Array:
        n, c, h, w = shape
        return self.empty((n, h, w, c), dtype, like).transpose(0, 3, 1, 2)

    def from_numpy(self, x: np.ndarray, like: Array) -> Array:
        return x

    def to_numpy(self, x: Array) -> np.ndarray:
        return x

    def dtype(self, x: Array) -> str:
        return x.dtype.name

    def strides(self, x: Array) -> tuple[int, ...]:
        return tuple(s // x.itemsize for s in x.strides)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        return self.library.concatenate(arrays, axis)

    def full_like(self, x: Array, value: float) -> Array:
        return self.library.full_like(x, value)

    def astype(self, x: Array, dtype: str) -> Array:
        return x.astype(dtype, copy=False)

    def describe(self, x: Array) -> Any:
        if x.dtype.name == "bfloat16":
            return (x.__array_interface__["data"][0], "bfloat16", x.shape, self.strides(x), x)
        return x

    def execution(self) -> Any:
        return _cpu.num_threads()


NUMPY = NumPy()

NAMESPACES: dict[type, Namespace] = {}
"""Of kinds of arrays that are known by their type: CuPy's, once it is there."""


def load_cupy() -> None:
    """Know CuPy's arrays if the caller has imported it."""
    cupy = getattr(sys.modules.get("cupy"), "ndarray", None)
    if cupy is not None and cupy not in NAMESPACES:
        from roiops._cupy import CuPy

        NAMESPACES[cupy] = CuPy(sys.modules["cupy"])


_torch: Any = None
"""The module of that name, once torch is there."""


def load_torch() -> bool:
    """Register the torch operators if the caller has imported torch."""
    global _torch
    if _torch is None:
        if sys.modules.get("torch") is None:
            return False
        from roiops import _torch
    return True


# Dynamo cannot trace the registration of an operator. With this mark (what
# torch.compiler.assume_constant_result sets) it calls the function while it compiles instead, so
# that the very first use of an operator may be inside torch.compile.
load_torch._dynamo_marked_constant = True  # type: ignore[attr-defined]


def adopt(
    op: str, *, lists: Sequence[str] = (), optional: Sequence[str] = (), **arrays: Array
) -> tuple[Any, ...]:
    """The common namespace of the caller's ``arrays``, then each of them as an array of it.

    Arguments named in ``lists`` may be lists of arrays, those in ``optional`` may be None. An
    object of another library that offers ``__dlpack__`` becomes a NumPy array over the same memory,
    or a CuPy array where that is a GPU's.

    Raises TypeError if one of them is no array, or if they differ in kind or device.
    """
    found: Namespace | None = None
    first, first_device = "", None
    adopted: list[Any] = []
    for name, value in arrays.items():
        if value is None and name in optional:
            adopted.append(None)
            continue
        several = name in lists and isinstance(value, (list, tuple))
        members = []
        for x in value if several else (value,):
            kind, x = _adopt_one(op, name, x)
            members.append(x)
            device = None if kind is NUMPY else x.device
            if found is None:
                found, first, first_device = kind, name, device
            elif found is not kind:
                raise TypeError(
                    f"{op}: {name} must be of the same kind as {first} ({found.name}); "
                    f"got {_type_name(x)}"
                )
            elif device != first_device:
                raise TypeError(
                    f"{op}: {name} must be on the device of {first} ({first_device}); got {device}"
                )
        adopted.append(members if several else members[0])
    if found is None:
        raise TypeError(f"{op}: {next(iter(arrays))} must hold at least one array; got none")
    return found, *adopted


def first_of(kind: type, args: Sequence[Any]) -> Array:
    """The first array of a kind among an operator's arguments, some of which are lists: all lie on
    one device."""
    lists = [arg if isinstance(arg, list) else [arg] for arg in args]
    return next(x for members in lists for x in members if isinstance(x, kind))


def _adopt_one(op: str, name: str, x: Any) -> tuple[Namespace, Array]:
    if isinstance(x, np.ndarray):
        return NUMPY, _checked(op, name, x)
    if load_torch():
        if isinstance(x, _torch.Tensor):
            if not (x.is_cpu or x.is_cuda or x.is_meta):
                raise TypeError(
                    f"{op}: {name} must be on the CPU or a CUDA device; got a tensor on {x.device}"
                )
            if x.layout is not _torch.STRIDED:
                raise TypeError(f"{op}: {name} must be a dense tensor; got layout {x.layout}")
            return _torch.TORCH, x
        if isinstance(x, _torch.Proxy):  # it seems to have every attribute
            raise TypeError(f"{op}: {name} is a torch.fx.Proxy")
    load_cupy()
    if type(x) in NAMESPACES:
        return NAMESPACES[type(x)], x
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        return _from_dlpack(op, name, x)
    raise TypeError(
        f"{op}: {name} must be a NumPy or CuPy array or a torch tensor; got {_type_name(x)}"
    )


def _checked(op: str, name: str, x: np.ndarray) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{op}: {name} must be an array without a mask; got {_type_name(x)}")
    if not x.dtype.isnative or not x.flags.aligned:
        raise TypeError(
            f"{op}: {name} must be aligned and in native byte order; got dtype {x.dtype.str}, "
            f"aligned={x.flags.aligned} (numpy.ascontiguousarray(x, x.dtype.newbyteorder('=')))"
        )
    return x


_DLPACK_CPU, _DLPACK_CUDA = 1, 2


def _from_dlpack(op: str, name: str, x: Any) -> tuple[Namespace, Array]:
    """A NumPy array over the memory of another library's array; a CuPy array on a GPU."""
    device = int(x.__dlpack_device__()[0])
    library: Any = np
    if device == _DLPACK_CUDA:
        try:
            library = importlib.import_module("cupy")
        except ImportError:
            raise TypeError(
                f"{op}: {name} must be on the CPU where CuPy is not installed (it would take it); "
                f"got {_type_name(x)} on a CUDA device"
            ) from None
    elif device != _DLPACK_CPU:
        raise TypeError(
            f"{op}: {name} must be on the CPU or a CUDA device; got {_type_name(x)} on DLPack "
            f"device type {device}"
        )
    try:
        array = library.from_dlpack(x)
    except Exception as error:  # whatever another library's exporter raises
        raise TypeError(
            f"{op}: {name} must be an array that {library.__name__} can take through DLPack; "
            f"got {_type_name(x)}: {error}"
        ) from error
    return _adopt_one(op, name, array)


def _type_name(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
