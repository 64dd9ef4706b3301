"""A library of kernels, built in one of the emulator's ways, and its machine."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from emulated_device import traffic_of

ROOT = Path(__file__).resolve().parents[2]
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-DROIOPS_EMULATED", "-ffp-contract=off",
          f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'cpp'}", "-Wall", "-Wextra", "-Werror"]  # fmt: skip
# How kernels are compiled, and how the emulator itself.
BUILDS = {
    "plain": (["-O2"], ["-O2"]),
    "ucontext": (["-O1"], ["-O1", "-DROIOPS_EMULATOR_UCONTEXT"]),
    "asan": (
        [
            "-O1",
            "-g",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
            "-fno-omit-frame-pointer",
        ],
        ["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"],
    ),
    "hooks": (
        ["-O1", "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"],
        ["-O2", "-DROIOPS_EMULATOR_HOOKS"],
    ),
}


@dataclass
class Emulator:
    """A library of kernels and the machine they run on."""

    build: str
    library: ctypes.CDLL

    def settings(self, seed: int = 0, preempt: int = 0, architecture: int = 80) -> None:
        self.library.emulator_settings(ctypes.c_uint64(seed), preempt, architecture)

    def device(self, array: np.ndarray, written: bool = True) -> int:
        """The address of a copy in device memory; if not ``written``, of memory of its size."""
        address = self.library.emulator_allocate(ctypes.c_size_t(array.nbytes))
        if written:
            self.library.emulator_copy(
                ctypes.c_void_p(address), array.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_size_t(array.nbytes),
            )  # fmt: skip
        return address

    def host(self, address: int, like: np.ndarray) -> np.ndarray:
        array = np.empty_like(like)
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return array

    def release(self, *addresses: int) -> None:
        for address in addresses:
            self.library.emulator_release(ctypes.c_void_p(address))

    def run(self, name: str, *arguments: int | ctypes.Array) -> str | None:
        """The launch's error, if any. Integers above 32 bits are addresses."""
        function: Callable = getattr(self.library, f"run_{name}")
        function.restype = ctypes.c_char_p
        converted = [
            ctypes.c_void_p(a) if isinstance(a, int) and a > 2**32 else a for a in arguments
        ]
        error = function(*converted)
        return error.decode() if error else None

    def findings(self) -> list[str]:
        self.library.emulator_findings.restype = ctypes.c_char_p
        return self.library.emulator_findings().decode().splitlines()

    def traffic(self) -> dict[str, int]:
        return traffic_of(self.library)


def loaded(build: str, folder: Path) -> Emulator:
    """kernels.cu and the emulator, compiled into ``folder``."""
    kernel_options, machine_options = BUILDS[build]
    machine = sorted((ROOT / "cuda" / "emulator").glob("*.cpp"))
    objects = []
    for source in (Path(__file__).parent / "kernels.cu", *machine):
        objects.append(folder / f"{source.name}.o")
        options = kernel_options if source.suffix == ".cu" else machine_options
        command = ["g++", *COMMON, *options, "-x", "c++", "-c", str(source), "-o", str(objects[-1])]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    library = folder / "kernels.so"
    sanitize = [option for option in kernel_options if "address" in option]
    subprocess.run(
        ["g++", "-shared", *sanitize, *map(str, objects), "-o", str(library)], check=True
    )
    emulator = Emulator(build, ctypes.CDLL(str(library)))
    emulator.library.emulator_allocate.restype = ctypes.c_void_p
    return emulator


# AddressSanitizer must be there when the process begins: such a process has this build alone.
ASAN = "libasan" in os.environ.get("LD_PRELOAD", "")
