"""The CUDA kernels while every access is watched: bounds, races, memory that nobody wrote.

In several orders of threads and blocks, on small shapes that fit neither tiles, warps nor blocks.
"""

import numpy as np
import pytest
from backends import Backend, emulated_backend, emulated_device_of, flat
from comparison import assert_same_bits, assert_sums_agree
from emulated_device import available

pytestmark = pytest.mark.skipif(not available(), reason="without the kernels' sources")

ORDERS = {"in order": (0, 0), "shuffled": (1, 0), "shuffled anew": (2, 0), "preempted": (3, 5)}


@pytest.fixture(scope="module")
def plain() -> Backend:
    """The same kernels unwatched, which other tests compare with the reference."""
    return emulated_backend("plain")


@pytest.fixture(params=ORDERS)
def hooked(request: pytest.FixtureRequest) -> Backend:
    emulated_device_of("hooks").settings(*ORDERS[request.param])
    return emulated_backend("hooks")


def regions(rng: np.random.Generator, count: int, reach: float) -> np.ndarray:
    """Over the edges, inverted, of no size, not finite."""
    low = rng.uniform(-4, reach, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(-2, reach, (count, 2))], 1)
    rois = np.concatenate([rng.integers(0, 2, (count, 1)), boxes], 1)
    rois[0, 3:] = rois[0, 1:3]
    rois[1, 2] = np.nan
    return rois


# Bins: more than a warp's lanes; one. Channels: one more than a block's share; one. Maps: one cell
# past a tile; one cell.
SHAPES = {
    "bins beyond a tile": ((2, 1, 9, 7), (33, 33), 4),
    "channels beyond a block": ((2, 65, 3, 9), (2, 3), 3),
    "one cell": ((2, 2, 1, 1), (2, 2), 4),
    "RoIs beyond a block": ((1, 1, 5, 5), (1, 1), 258),
    "cells beyond the table": ((1, 1, 2, 1100), (1, 2), 4),
}
OPTIONS = {
    "fixed grid": {"sampling_ratio": 2},
    "adaptive grid, aligned": {"aligned": True},
    "maximum": {"sampling_ratio": 2, "reduction": "max"},
}


def assert_alike(hooked: Backend, plain: Backend, operator: str, *arguments, **options) -> None:
    got, expected = (flat([b(operator, *arguments, **options)]) for b in (hooked, plain))
    for g, e in zip(got, expected, strict=True):
        assert_same_bits(g, e)


def check_pooling(hooked: Backend, plain: Backend, operator: str, shape, options) -> None:
    (images, channels, height, width), size, count = shape
    rng = np.random.default_rng(0)
    input = rng.standard_normal((images, channels, height, width)).astype(np.float32)
    rois = regions(rng, count, max(height, width)).astype(np.float32)
    rois[:, 0] %= images
    rois[2, 0] = images
    grad = rng.standard_normal((count, channels, *size)).astype(np.float32)
    calls = {operator: (input, rois, size, 0.9), f"{operator}_backward": (grad, input, rois, 0.9)}
    for name, arguments in calls.items():
        assert_alike(hooked, plain, name, *arguments, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_roi_align(hooked: Backend, plain: Backend, shape, options) -> None:
    check_pooling(hooked, plain, "roi_align", shape, options)


def test_cells_beyond_the_table_are_read_too(plain: Backend, cpu: Backend) -> None:
    # Adaptive, one bin of 900 cells: more than shared memory holds of an axis.
    rng = np.random.default_rng(0)
    input = rng.standard_normal((1, 2, 3, 1100))
    rois = np.array([[0, 50, 0, 950, 2], [0, 100.5, -1, 900.25, 3]])
    grad = rng.standard_normal((2, 2, 1, 1))
    calls = {"roi_align": (input, rois, 1), "roi_align_backward": (grad, input, rois)}
    for name, arguments in calls.items():
        got, expected = (flat([backend(name, *arguments)]) for backend in (plain, cpu))
        for g, e in zip(got, expected, strict=True):
            assert_sums_agree(g, e, np.abs(input).max() * np.abs(grad).max(), 4 * 900)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_roi_pool(hooked: Backend, plain: Backend, shape) -> None:
    check_pooling(hooked, plain, "roi_pool", shape, {})


@pytest.mark.parametrize("count", [1, 255, 257, 513])
def test_nms(hooked: Backend, plain: Backend, count: int) -> None:
    rng = np.random.default_rng(count)
    low = rng.uniform(0, 50, (2, count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 30, (2, count, 2))], 2).astype(np.float32)
    scores = np.round(rng.random((2, count)), 2).astype(np.float32)
    scores[0, :: count // 3 + 1] = np.nan
    groups = rng.integers(0, 2, (2, count))
    assert_alike(hooked, plain, "nms", boxes[0], scores[0], 0.5)
    assert_alike(hooked, plain, "batched_nms", boxes[1], scores[1], groups[1], 0.3)
    assert_alike(
        hooked, plain, "padded_nms", boxes, scores, groups, 0.7, max_output=30, score_threshold=0.2
    )


def test_fpn_levels(hooked: Backend, plain: Backend) -> None:
    boxes = np.random.default_rng(0).uniform(0, 600, (257, 5)).astype(np.float32)
    assert_alike(hooked, plain, "fpn_levels", boxes, 2, 5)
