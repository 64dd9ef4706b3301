"""Arrays in the memory of the CUDA emulator, and the compiled module whose kernels run there.

To roiops they are arrays of some GPU library: an address on a device, a stream, an allocator.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import roiops
from roiops import _arrays

ROOT = Path(__file__).resolve().parent.parent


def available() -> bool:
    """Not beside an installed wheel: the kernels' sources are not there."""
    return Path(roiops.__file__).parent.parent == ROOT


def built(kind: str) -> Any:
    """The compiled module, "plain" or with "hooks", built where it is not up to date."""
    import pybind11

    folder = Path(sys.prefix) / f"cmake-emulated-{kind}"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
        ["-S", ROOT, "-B", folder, *generator, f"-DROIOPS_EMULATED={kind}",
         f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"],
        ["--build", folder, "--parallel", str(len(os.sched_getaffinity(0)))],
    ):  # fmt: skip
        done = subprocess.run(["cmake", *command], capture_output=True, text=True, timeout=1200)
        assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    name = f"_cuda_emulated_{kind}"
    (file,) = folder.glob(f"{name}*.so")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class DeviceArray:
    """An array on the emulated device. ``host`` sees its memory, between launches."""

    device = "cuda:0"
    namespace: EmulatedDevice

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    dtype = property(lambda self: self.host.dtype)
    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    __cuda_array_interface__ = property(lambda self: self.host.__array_interface__)

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, index: Any) -> DeviceArray:
        return type(self)(self.host[index])

    def __sub__(self, number: int) -> DeviceArray:
        return self.namespace.asarray(self.host - number)


class EmulatedDevice(_arrays.NumPy):
    """The namespace of such arrays: what NumPy does with host memory, in the emulator's."""

    name = "emulated"

    def __init__(self, kind: str) -> None:
        self.array = type(f"{kind.capitalize()}Array", (DeviceArray,), {"namespace": self})
        self.core = built(kind)
        self._library = ctypes.CDLL(self.core.__file__)
        self._library.emulator_allocate.restype = ctypes.c_void_p
        self._library.emulator_findings.restype = ctypes.c_char_p
        self.settings()

    def settings(self, seed: int = 0, preempt: int = 0) -> None:
        self._library.emulator_settings(ctypes.c_uint64(seed), preempt, 80)

    def _bytes(self, count: int) -> tuple[int, np.ndarray]:
        """Device memory and the host's view of it, given back when nobody looks at it any more."""
        address = self._library.emulator_allocate(ctypes.c_size_t(count))
        memory = (ctypes.c_uint8 * count).from_address(address)
        release = self._library.emulator_release
        weakref.finalize(memory, release, ctypes.c_void_p(address)).atexit = False
        return address, np.frombuffer(memory, np.uint8) if count else np.empty(0, np.uint8)

    def asarray(self, x: np.ndarray) -> DeviceArray:
        """A copy with the same strides, whatever lies between the elements."""
        if x.size == 0:
            return self.empty(x.shape, x.dtype, x)
        low, high = np.lib.array_utils.byte_bounds(x)
        address, memory = self._bytes(high - low)
        self._library.emulator_copy(
            ctypes.c_void_p(address), ctypes.c_void_p(low), ctypes.c_size_t(high - low)
        )
        first = x.__array_interface__["data"][0] - low
        return self.array(np.ndarray(x.shape, x.dtype, memory, first, x.strides))

    def to_numpy(self, x: DeviceArray) -> np.ndarray:
        return x.host.copy()

    def findings(self) -> str:
        return self._library.emulator_findings().decode()

    def empty(self, shape: Sequence[int], dtype: Any, like: Any) -> DeviceArray:
        kind = like.dtype if dtype == like.dtype.name else np.dtype(dtype)
        _, memory = self._bytes(int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
        return self.array(memory.view(kind).reshape(shape))

    def empty_channels_last(self, shape: Sequence[int], dtype: str, like: Any) -> DeviceArray:
        n, c, h, w = shape
        return self.array(self.empty((n, h, w, c), dtype, like).host.transpose(0, 3, 1, 2))

    def strides(self, x: DeviceArray) -> tuple[int, ...]:
        return super().strides(x.host)

    def concatenate(self, arrays: Sequence[DeviceArray], axis: int) -> DeviceArray:
        return self.asarray(np.concatenate([x.host for x in arrays], axis))

    def full_like(self, x: DeviceArray, value: float) -> DeviceArray:
        return self.asarray(np.full_like(x.host, value))

    def astype(self, x: DeviceArray, dtype: str) -> DeviceArray:
        return x if x.dtype == dtype else self.asarray(x.host.astype(dtype))

    def describe(self, x: DeviceArray) -> Any:
        address = x.__cuda_array_interface__["data"][0]
        return (address, x.dtype.name, x.shape, self.strides(x), x)

    def execution(self) -> Any:
        held = []

        def workspace(count: int) -> int:
            address, memory = self._bytes(count)
            held.append(memory)
            return address

        def order(keys: int, rows: int, columns: int) -> int:
            numbers = (ctypes.c_int64 * (rows * columns)).from_address(keys)
            host = np.argsort(
                np.frombuffer(numbers, np.int64).reshape(rows, columns), kind="stable"
            )
            held.append(self.asarray(host))
            return held[-1].host.__array_interface__["data"][0]

        return 0, 0, workspace, order
