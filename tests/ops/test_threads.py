"""The thread pool, from outside: it survives a fork, runs concurrently, and lets Python run."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import roiops

FORKING = """
import multiprocessing
import numpy as np
import roiops

roiops.set_num_threads(4)
rng = np.random.default_rng(0)
features = rng.standard_normal((1, 64, 64, 64)).astype(np.float32)
low = rng.uniform(0, 40, (300, 2))
rois = np.concatenate([np.zeros((300, 1)), low, low + 20], 1).astype(np.float32)
expected = roiops.roi_align(features, rois, 7)  # the pool is running now

def work(queue):
    queue.put(np.array_equal(roiops.roi_align(features, rois, 7), expected))

context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=work, args=(queue,)) for _ in range(3)]
for child in children:
    child.start()
assert all(queue.get(timeout=60) for _ in children)
for child in children:
    child.join(60)
    assert child.exitcode == 0
assert np.array_equal(roiops.roi_align(features, rois, 7), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_its_own_pool() -> None:
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=180)


def test_calls_from_several_python_threads() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 40, 40, 40)).astype(np.float32)
    low = rng.uniform(0, 30, (200, 2))
    rois = np.concatenate([np.zeros((200, 1)), low, low + 9], 1).astype(np.float32)
    expected = roiops.roi_align(features, rois, 5)
    wrong = []

    def work() -> None:
        for _ in range(10):
            if not np.array_equal(roiops.roi_align(features, rois, 5), expected):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive()
    assert not wrong


def test_number_of_threads() -> None:
    before = roiops.get_num_threads()
    try:
        roiops.set_num_threads(3)
        assert roiops.get_num_threads() == 3
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=r"set_num_threads: threads must .*; got"):
                roiops.set_num_threads(wrong)
        for wrong in (1.5, "2", None, True):
            with pytest.raises(TypeError, match=r"set_num_threads: threads must .*; got"):
                roiops.set_num_threads(wrong)
        assert roiops.get_num_threads() == 3
    finally:
        roiops.set_num_threads(before)


def test_configuration_can_be_shown() -> None:
    assert {"reference", "cpu"} <= set(roiops.backends())
    text = roiops.show_config() or ""
    assert isinstance(text, str)
