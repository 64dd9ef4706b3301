"""Kernels for the emulator, built once per way of building."""

import ctypes
from pathlib import Path

import pytest
from emulated import ASAN, BUILDS, Emulator, compiled


@pytest.fixture(scope="session", params=["asan"] if ASAN else [b for b in BUILDS if b != "asan"])
def any_emulator(request, tmp_path_factory) -> Emulator:
    folder = tmp_path_factory.mktemp(request.param)
    library = ctypes.CDLL(
        str(compiled(request.param, [Path(__file__).parent / "kernels.cu"], folder))
    )
    library.emulator_allocate.restype = ctypes.c_void_p
    return Emulator(request.param, library)


@pytest.fixture
def emulator(any_emulator: Emulator) -> Emulator:
    any_emulator.settings()
    any_emulator.findings()
    any_emulator.traffic()
    return any_emulator
