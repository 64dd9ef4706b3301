"""CuPy: the namespace of its arrays. Imported only when CuPy is already there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from roiops import _gpu
from roiops._arrays import Array, NumPy, first_of


class CuPy(NumPy):
    """Arrays of the module ``cupy``, on whatever GPU: it has NumPy's functions."""

    name = "cupy"

    def __init__(self, cupy: Any) -> None:
        self.library = cupy
        self.on_gpu = functools.cache(functools.partial(CuPyOnGpu, cupy))

    def call(self, operator: Any, *args: Any) -> Any:
        device = first_of(self.library.ndarray, args).device
        with device:
            return operator.run(self.on_gpu(device.id), *args)

    def empty(self, shape: Sequence[int], dtype: str, like: Array) -> Array:
        with like.device:
            return super().empty(shape, dtype, like)

    def from_numpy(self, x: np.ndarray, like: Array) -> Array:
        with like.device:
            return self.library.asarray(x)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        with arrays[0].device:
            return super().concatenate(arrays, axis)

    def full_like(self, x: Array, value: float) -> Array:
        with x.device:
            return super().full_like(x, value)

    def astype(self, x: Array, dtype: str) -> Array:
        with x.device:
            return super().astype(x, dtype)

    def to_numpy(self, x: Array) -> np.ndarray:
        return self.library.asnumpy(x)

    def describe(self, x: Array) -> Any:
        return (x.data.ptr, x.dtype.name, x.shape, self.strides(x), x)


class CuPyOnGpu(CuPy):
    """Arrays on one GPU, which computes on CuPy's current stream."""

    def __init__(self, cupy: Any, device: int) -> None:
        self.library = cupy
        self._device = device

    @property
    def core(self) -> Any:
        return _gpu.core(self._device)

    def call(self, operator: Any, *args: Any) -> Any:
        return operator.run(self, *args)

    def describe(self, x: Array) -> Any:
        if x.device.id != self._device:
            raise TypeError(f"roiops: an array lies on GPU {x.device.id}, others on {self._device}")
        return super().describe(x)

    def execution(self) -> Any:
        held: dict[int, Array] = {}  # as long as the call

        def hold(x: Array) -> int:
            held[x.data.ptr] = x
            return x.data.ptr

        def workspace(count: int) -> int:
            return hold(self.library.empty((count,), "uint8"))

        def order(keys: int, rows: int, columns: int) -> int:
            numbers = held[keys].view("int64")[: rows * columns].reshape(rows, columns)
            return hold(self.library.argsort(numbers, axis=1))  # CuPy's order is stable

        return self._device, self.library.cuda.get_current_stream().ptr, workspace, order
