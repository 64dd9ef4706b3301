"""The CUDA kernels while every access is watched: bounds, races, memory that nobody wrote.

In several orders of threads and blocks, on small shapes that fit neither tiles, warps nor blocks.
"""

import numpy as np
import pytest
from backends import Backend, emulated_backend, emulated_device_of, flat
from comparison import assert_same_bits
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
    """Over the edges, inverted, of no size, without a map."""
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
}
OPTIONS = {
    "fixed grid": {"sampling_ratio": 2},
    "adaptive grid, aligned": {"aligned": True},
    "maximum": {"sampling_ratio": 2, "reduction": "max"},
    "too many cells for the table": {"sampling_ratio": 40},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_roi_align(hooked: Backend, plain: Backend, shape, options) -> None:
    (images, channels, height, width), size, count = shape
    rng = np.random.default_rng(0)
    input = rng.standard_normal((images, channels, height, width)).astype(np.float32)
    rois = regions(rng, count, max(height, width)).astype(np.float32)
    rois[:, 0] %= images
    grad = rng.standard_normal((count, channels, *size)).astype(np.float32)
    arguments = (input, rois, size, 0.9), (grad, input, rois, 0.9)
    for name, args in zip(("roi_align", "roi_align_backward"), arguments, strict=True):
        got, expected = (flat(backend(name, *args, **options)) for backend in (hooked, plain))
        for g, e in zip(got, expected, strict=True):
            assert_same_bits(g, e)


def test_fpn_levels(hooked: Backend, plain: Backend) -> None:
    boxes = np.random.default_rng(0).uniform(0, 600, (257, 5)).astype(np.float32)
    assert_same_bits(hooked("fpn_levels", boxes, 2, 5), plain("fpn_levels", boxes, 2, 5))
