"""A result does not depend on what else is in the call. (Threads, layouts and repetition:
test_every_operator.py.)"""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_same_bits

from roiops.testing import clustered_rois

reductions = pytest.mark.parametrize("reduction", ["mean", "max"])


@pytest.fixture(scope="module")
def work() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    map = rng.standard_normal((2, 50, 64, 64), np.float32)
    return map, clustered_rois(rng, 700, (512, 512), 2)


@reductions
def test_a_box_does_not_depend_on_its_company(compiled: Backend, work, reduction) -> None:
    # 1 box alone, among 3, among 700: other tasks, other blocks, the same bits.
    map, rois = work
    together = compiled("roi_align", map, rois, 7, 1 / 8, reduction=reduction)
    for rows in ([5], [0, 100, 699]):
        alone = compiled("roi_align", map, rois[rows], 7, 1 / 8, reduction=reduction)
        assert_same_bits(alone, together[rows])


@reductions
def test_a_channel_does_not_depend_on_its_neighbours(compiled: Backend, work, reduction) -> None:
    map, rois = work
    together = compiled("roi_align", map, rois[:20], 7, 1 / 8, reduction=reduction)
    for channels in ([0], [3, 49], list(range(1, 34))):
        some = np.ascontiguousarray(map[:, channels])
        alone = compiled("roi_align", some, rois[:20], 7, 1 / 8, reduction=reduction)
        assert_same_bits(alone, together[:, channels])
