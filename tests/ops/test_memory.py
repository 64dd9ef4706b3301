"""How much memory a call needs beside its arguments and results: no copy of a feature map."""

import subprocess
import sys
import textwrap

import pytest

# Peak resident memory while `call` runs, minus what was resident before; in MiB. The map has 128.
PROGRAM = """
import numpy as np
import roiops

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))

def growth(call):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = status("VmRSS")
    result = call()
    return status("VmHWM") - before

roiops.set_num_threads(2)
rng = np.random.default_rng(0)
map = rng.standard_normal((2, 128, 256, 512), np.float32)
{layout}
low = rng.uniform(0, 1500, (200, 2))
boxes = np.concatenate([rng.integers(0, 2, (200, 1)), low, low + 300], 1).astype(np.float32)
grad = np.ones((200, 128, 7, 7), np.float32)
for name, options in {calls}:
    backward = name.endswith("_backward")
    arguments = (grad, map, boxes, 0.25) if backward else (map, boxes, 7, 0.25)
    print(growth(lambda: getattr(roiops, name)(*arguments, **options)))
"""
LAYOUTS = {
    "channels_last": "map = np.ascontiguousarray(map.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)",
    "contiguous": "",
}
FORWARD = [
    ("roi_align", {"sampling_ratio": 2}),
    ("roi_align", {"sampling_ratio": 2, "reduction": "max"}),
    ("roi_warp", {"sampling_ratio": 2}),
    ("roi_pool", {}),
]
BACKWARD = [(f"{name}_backward", options) for name, options in FORWARD]


def measured(layout: str, calls: list) -> list[float]:
    program = textwrap.dedent(PROGRAM).format(layout=LAYOUTS[layout], calls=repr(calls))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_map_is_not_copied(layout: str) -> None:
    # Results have 5 MiB. Scratch is a block of 16 channels of one image (8 MiB) a thread.
    for growth, call in zip(measured(layout, FORWARD), FORWARD, strict=True):
        assert growth < 40, (call, growth)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_backward_pass_needs_its_result_and_little_more(layout: str) -> None:
    for growth, call in zip(measured(layout, BACKWARD), BACKWARD, strict=True):
        assert growth < 128 + 60, (call, growth)


def test_an_enormous_bin_costs_what_its_samples_read() -> None:
    program = textwrap.dedent(PROGRAM).partition("roiops.set_num_threads")[0]
    program += (
        "map = np.ones((1, 1, 3000, 3000), np.float32)\n"
        "roi = np.array([[0, 0, 0, 3000, 3000]], np.float32)\n"
        "print(growth(lambda: roiops.roi_align(map, roi, 7, 1.0, 1)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # 14 rows of the map in 16 channels have 2.6 MiB; all of it would have 550.
    assert float(done.stdout) < 20


def test_a_copy_would_be_seen() -> None:
    program = textwrap.dedent(PROGRAM).partition("roiops.set_num_threads")[0]
    program += "map = np.ones(2**25, np.float32)\nprint(growth(lambda: map.copy()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 120
