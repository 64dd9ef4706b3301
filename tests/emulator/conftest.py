"""Kernels for the emulator, built once per way of building."""

import pytest
from emulated import ASAN, BUILDS, Emulator, loaded


@pytest.fixture(scope="session", params=["asan"] if ASAN else [b for b in BUILDS if b != "asan"])
def any_emulator(request, tmp_path_factory) -> Emulator:
    return loaded(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def emulator(any_emulator: Emulator) -> Emulator:
    any_emulator.settings()
    any_emulator.findings()
    any_emulator.traffic()
    return any_emulator
