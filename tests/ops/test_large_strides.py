"""Arrays whose elements lie more than 2^31 elements apart: indices are 64-bit everywhere.

Such an array lies in a mapping of which only the pages that are touched exist.
"""

import mmap

import numpy as np
import pytest
from backends import Backend, convert, is_numpy
from test_every_operator import assert_bits, every_case, made, run

from roiops.testing import Case

FARTHEST = 2**31 + 2**20  # elements from the first to the last


def mapping(nbytes: int) -> mmap.mmap:
    no_reserve = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python 3.13 has the name, Linux the flag
    return mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)


def spread(array: np.ndarray, axis: int) -> np.ndarray:
    """The same numbers, the first and the last along `axis` FARTHEST elements apart."""
    if array.ndim <= axis or array.shape[axis] < 2 or array.size == 0:
        return array
    step = -(-FARTHEST // (array.shape[axis] - 1))
    # The other axes lie packed in front of the step; they must fit.
    rest = np.moveaxis(array, axis, 0)
    assert rest[0].size < step
    elements = step * (array.shape[axis] - 1) + rest[0].size
    memory = mapping(elements * array.itemsize)
    inner = np.empty(rest.shape[1:], array.dtype).strides
    apart = np.ndarray(rest.shape, array.dtype, memory, strides=(step * array.itemsize, *inner))
    apart[...] = rest
    return np.moveaxis(apart, 0, axis)


@pytest.mark.parametrize("axis", [0, 1, -1])
@every_case
def test_results_do_not_depend_on_the_distance(compiled: Backend, case: Case, axis: int) -> None:
    if compiled.name == "cuda":
        pytest.skip("a GPU has no pages that come when they are touched")
    arguments = made(case)
    apart = convert(arguments, is_numpy, lambda array: spread(array, axis % array.ndim))
    assert_bits(run(compiled, case, apart), run(compiled, case, arguments))


def test_the_arrays_are_as_large_as_they_say() -> None:
    array = spread(np.arange(12, dtype=np.float32).reshape(3, 4), 0)
    assert array.strides[0] // array.itemsize * 2 > 2**31
    np.testing.assert_array_equal(array, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("operator", ["roi_pool", "ps_roi_pool", "roi_align"])
def test_nothing_is_read_beyond_a_side_that_float32_cannot_count(
    fast: Backend, operator: str
) -> None:
    # 2^24 + 3 is no float32. The cell after the map must not be read, nor written.
    width = 2**24 + 3
    row = np.ndarray((1, 1, 1, width + 1), np.float32, mapping(4 * (width + 1)))
    row[..., -3:] = [1, 2, 7]
    rois = np.array([[0, 2**24 - 2, 0, 2**24 + 20, 0]], np.float32)
    got = fast(operator, row[..., :width], rois, 1)
    if operator == "roi_pool":
        assert got.item() == 2
        grad = np.ones((1, 1, 1, 1), np.float32)
        back = fast("roi_pool_backward", grad, row[..., :width], rois)
        assert back[..., -1].item() == back.sum() == 1
    else:
        assert 0 <= got.item() <= 2


def test_a_map_of_more_than_two_billion_cells(cpu: Backend) -> None:
    # One cell's value everywhere, but for the far corner, where the box lies.
    side = 2**16
    map = np.ndarray((1, 1, side, side), np.float32, mapping(4 * side * side))
    map[0, 0, -4:, -4:] = np.arange(16).reshape(4, 4)
    rois = np.array([[0, side - 4, side - 4, side, side]], np.float64)
    out = cpu("roi_align", map, rois, 4, 1.0, 1, True)
    np.testing.assert_array_equal(out[0, 0], np.arange(16).reshape(4, 4))
