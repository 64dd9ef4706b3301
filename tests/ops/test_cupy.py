"""Arrays of CuPy, known by the module the caller has imported. It is a stand-in here, whose GPU is
the emulator."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulated_device import Device, DeviceArray, EmulatedCuPy, available, built

import roiops
from roiops import _arrays, _gpu

pytestmark = pytest.mark.skipif(not available(), reason="without the kernels' sources")

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
SCORES = np.array([0.8, 0.9, 0.3], np.float32)


@pytest.fixture(scope="module")
def core():
    return built("plain")


@pytest.fixture
def cupy(core, monkeypatch):
    """As if the caller had imported it, and its GPU were there."""
    module = EmulatedCuPy(core)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(_arrays, "NAMESPACES", {})
    monkeypatch.setattr(_gpu, "core", lambda device: core)
    return module


def test_arrays_are_answered_on_their_device(cupy) -> None:
    keep = roiops.nms(cupy.asarray(BOXES), cupy.asarray(SCORES), 0.5)
    assert type(keep) is cupy.ndarray
    np.testing.assert_array_equal(cupy.asnumpy(keep), [1, 2])


def test_their_device_is_current_while_it_computes(cupy, core, monkeypatch) -> None:
    seen = []

    def fpn_levels(*arguments):
        seen.append(DeviceArray.device.current)
        return core.fpn_levels(*arguments)

    monkeypatch.setattr(_gpu, "core", lambda device: SimpleNamespace(fpn_levels=fpn_levels))
    roiops.fpn_levels(cupy.asarray(BOXES), 2, 5)
    assert seen == [1]
    assert DeviceArray.device.current == 0


def test_kinds_and_devices_are_not_mixed(cupy) -> None:
    boxes, scores = cupy.asarray(BOXES), cupy.asarray(SCORES)
    with pytest.raises(TypeError, match="nms: scores must be of the same kind as boxes"):
        roiops.nms(boxes, SCORES, 0.5)
    scores.device = Device()
    with pytest.raises(TypeError, match="nms: scores must be on the device of boxes"):
        roiops.nms(boxes, scores, 0.5)


class Foreign:
    """An array of a library that nobody knows, on a GPU."""

    def __init__(self, array: DeviceArray) -> None:
        self.array = array

    def __dlpack__(self) -> DeviceArray:
        return self.array  # to the stand-in's from_dlpack, below

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


def test_other_arrays_on_a_gpu_are_answered_in_cupy(cupy) -> None:
    cupy.from_dlpack = lambda x: x.__dlpack__()
    levels = roiops.fpn_levels(Foreign(cupy.asarray(BOXES)), 2, 5)
    assert type(levels) is cupy.ndarray


def test_without_cupy_other_arrays_on_a_gpu_are_refused(core, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # no import finds it
    array = Foreign(EmulatedCuPy(core).asarray(BOXES))
    message = "fpn_levels: boxes must be on the CPU where CuPy is not installed"
    with pytest.raises(TypeError, match=message):
        roiops.fpn_levels(array, 2, 5)
