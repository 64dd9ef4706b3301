"""What stands between callers and the kernels of a GPU: what the module needs, and the check of
values. The kernels themselves are held by the tests of their operators."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from backends import Backend, emulated_backend
from emulated_device import available

from roiops import _gpu


def module(driver=13000, runtime=13000, architecture=90, runnable=True) -> SimpleNamespace:
    found = (driver, runtime, architecture, runnable)
    return SimpleNamespace(look_at=lambda device: found, architectures="75-real, 120")


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (module(driver=0, architecture=0, runnable=False), "there is no NVIDIA driver"),
        (module(driver=12090), "the driver is of CUDA 12.9; CUDA 13.0 is needed"),
        (module(architecture=0, runnable=False), "there is no CUDA device 0"),
        (module(architecture=61, runnable=False),
         "device 0 has architecture 61, and this build has kernels for 75-real, 120"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(machine, reason: str, monkeypatch) -> None:
    monkeypatch.setattr(_gpu, "load", lambda: machine)
    _gpu.core.cache_clear()
    with pytest.raises(RuntimeError, match=f"^roiops: the CUDA kernels cannot run: {reason}$"):
        _gpu.core(0)


@pytest.mark.parametrize("driver", [13000, 13020, 14000])
def test_any_driver_of_the_major_version_or_after_it_will_do(driver: int) -> None:
    assert _gpu.obstacle(module(driver=driver, runtime=13010), 0) is None


def test_what_this_machine_has_is_said_without_an_error() -> None:
    try:
        found = _gpu.load()
    except RuntimeError as error:
        assert "no CUDA kernels" in str(error)  # noqa: PT017
        return
    driver, runtime, architecture, runnable = found.look_at(0)
    assert runtime >= 12000
    assert runnable == (_gpu.obstacle(found, 0) is None)
    assert driver > 0 or architecture == 0
    assert found.look_at(4096)[2:] == (0, False)


MAPS = [np.ones((2, 1, 4, 4), np.float32), np.ones((2, 1, 2, 2), np.float32)]
INPUT = MAPS[0]
ROIS = np.array([[0, 0, 0, 3, 3], [1, 0, 0, 3, 3], [1, 0, 0, 3, 3]], np.float32)
OF_IMAGE_2 = np.where(np.arange(5) == 0, ROIS + 1, ROIS)
OF_NO_IMAGE = np.where(np.arange(5) == 0, np.float32(np.nan), ROIS)
GRAD = np.ones((3, 1, 2, 2), np.float32)
SCALES = (1.0, 0.5)
WRONG = {
    "roi_align": ("roi_align", (INPUT, OF_IMAGE_2, 2), {}),
    "roi_align backward": ("roi_align_backward", (GRAD, INPUT, OF_NO_IMAGE), {}),
    "roi_pool": ("roi_pool", (INPUT, OF_IMAGE_2, 2), {}),
    "roi_pool backward": ("roi_pool_backward", (GRAD, INPUT, OF_NO_IMAGE), {}),
    "level": (
        "multiscale_roi_align",
        (MAPS, ROIS, 2, SCALES),
        {"levels": np.array([0, 1, 2])},
    ),
}


@pytest.mark.skipif(not available(), reason="without the kernels' sources")
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_values_are_checked_on_demand(call, cpu: Backend, monkeypatch) -> None:
    operator, arguments, options = call
    emulated = emulated_backend("plain")
    monkeypatch.delenv("ROIOPS_CHECK_VALUES", raising=False)
    emulated(operator, *arguments, **options)  # such an RoI is worth 0: other tests

    with pytest.raises(IndexError) as expected:
        cpu(operator, *arguments, **options)
    monkeypatch.setenv("ROIOPS_CHECK_VALUES", "1")
    with pytest.raises(IndexError, match=f"^{re.escape(str(expected.value))}$"):
        emulated(operator, *arguments, **options)
