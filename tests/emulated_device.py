"""CuPy as far as roiops uses it, with arrays in the memory of the CUDA emulator.

To roiops they are arrays of CuPy on a GPU; the kernels of that GPU run in the emulator.
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
from types import SimpleNamespace
from typing import Any

import numpy as np

import roiops
from roiops._cupy import CuPyOnGpu

ROOT = Path(__file__).resolve().parent.parent
FAR_APART = 2**28  # bytes
SEED = int(os.environ.get("EMULATOR_SEED", "0"))
"""Of the order of threads and blocks; 0: one after the other."""


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


def traffic_of(machine: ctypes.CDLL) -> dict[str, int]:
    """What kernels asked of device memory since this was asked last (cuda/emulator/accesses.h)."""
    numbers = (ctypes.c_uint64 * 12)()
    machine.emulator_traffic(numbers)
    fields = ("requests", "sectors", "bytes", "useful", "distinct", "floor")
    names = [f"{field} {of}" for of in ("loaded", "stored") for field in fields]
    return dict(zip(names, numbers, strict=True))


class Device:
    """A GPU, current while one is within it."""

    id = 0
    current = 0  # how often it was entered and not left

    def __enter__(self) -> Device:
        self.current += 1
        return self

    def __exit__(self, *error: Any) -> None:
        self.current -= 1


class DeviceArray:
    """An array on the emulated device. ``host`` sees its memory, between launches."""

    device = Device()
    library: EmulatedCuPy

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    dtype = property(lambda self: self.host.dtype)
    shape = property(lambda self: self.host.shape)
    strides = property(lambda self: self.host.strides)
    itemsize = property(lambda self: self.host.itemsize)
    ndim = property(lambda self: self.host.ndim)
    data = property(lambda self: SimpleNamespace(ptr=self.host.__array_interface__["data"][0]))

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, index: Any) -> DeviceArray:
        return type(self)(self.host[index])

    def __sub__(self, number: int) -> DeviceArray:
        return self.library.asarray(self.host - number)

    def view(self, dtype: str) -> DeviceArray:
        return type(self)(self.host.view(dtype))

    def transpose(self, *axes: int) -> DeviceArray:
        return type(self)(self.host.transpose(*axes))

    def reshape(self, *shape: Any) -> DeviceArray:
        host = self.host.reshape(*shape)
        shared = host.size == 0 or np.may_share_memory(host, self.host)
        return type(self)(host) if shared else self.library.asarray(host)

    def astype(self, dtype: str, copy: bool = True) -> DeviceArray:
        same = self.dtype == dtype and not copy
        return self if same else self.library.asarray(self.host.astype(dtype))


class EmulatedCuPy:
    """The functions of ``cupy``, on memory of the emulator whose module is ``core``."""

    cuda = SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=0))

    def __init__(self, core: Any) -> None:
        self.ndarray = type("ndarray", (DeviceArray,), {"library": self})
        self.machine = ctypes.CDLL(core.__file__)
        self.machine.emulator_allocate.restype = ctypes.c_void_p

    def _bytes(self, count: int) -> np.ndarray:
        """The host's view of device memory that is given back when nobody looks at it any more."""
        address = self.machine.emulator_allocate(ctypes.c_size_t(count))
        memory = (ctypes.c_uint8 * count).from_address(address)
        release = self.machine.emulator_release
        weakref.finalize(memory, release, ctypes.c_void_p(address)).atexit = False
        return np.frombuffer(memory, np.uint8) if count else np.empty(0, np.uint8)

    def asarray(self, x: np.ndarray) -> DeviceArray:
        """A copy with the same strides, and what lies between the elements unless it is much."""
        if x.size == 0:
            return self.empty(x.shape, x.dtype)
        low, high = np.lib.array_utils.byte_bounds(x)
        memory = self._bytes(high - low)
        first = x.__array_interface__["data"][0] - low
        to = np.ndarray(x.shape, x.dtype, memory, first, x.strides)
        if high - low < FAR_APART:
            self.machine.emulator_copy(
                ctypes.c_void_p(memory.ctypes.data),
                ctypes.c_void_p(low),
                ctypes.c_size_t(high - low),
            )
        else:
            to[...] = x
        return self.ndarray(to)

    def asnumpy(self, x: DeviceArray) -> np.ndarray:
        return x.host.copy()

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        memory = self._bytes(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        return self.ndarray(memory.view(dtype).reshape(shape))

    def concatenate(self, arrays: Sequence[DeviceArray], axis: int) -> DeviceArray:
        return self.asarray(np.concatenate([x.host for x in arrays], axis))

    def full_like(self, x: DeviceArray, value: float) -> DeviceArray:
        return self.asarray(np.full_like(x.host, value))

    def argsort(self, x: DeviceArray, axis: int) -> DeviceArray:
        return self.asarray(np.argsort(x.host, axis, kind="stable"))


class EmulatedDevice(CuPyOnGpu):
    """The namespace of such arrays: that of CuPy's, but for the module that computes."""

    core: Any = None

    def __init__(self, kind: str) -> None:
        self.core = built(kind)
        super().__init__(EmulatedCuPy(self.core), 0)
        self._machine = self.library.machine
        self._machine.emulator_findings.restype = ctypes.c_char_p
        self.settings()

    def settings(self, seed: int = SEED, preempt: int = 0) -> None:
        self._machine.emulator_settings(ctypes.c_uint64(seed), preempt, 80)

    def findings(self) -> str:
        return self._machine.emulator_findings().decode()

    def traffic(self) -> dict[str, int]:
        return traffic_of(self._machine)
