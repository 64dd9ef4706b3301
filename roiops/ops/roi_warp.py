"""RoIWarp: regions rounded to whole cells, then sampled bilinearly."""

from __future__ import annotations

from collections.abc import Sequence

from roiops import _check
from roiops._arrays import Array
from roiops._fx import leaf
from roiops.ops._roi_align import pool, pool_backward

PLACEMENTS = {"paper": "warp", "mnc": "warp_mnc"}


@leaf
def roi_warp(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    reduction: str = "mean",
    convention: str = "paper",
) -> Array:
    """Pool each box to a fixed grid: its ends are rounded to whole feature cells, what lies between
    is sampled bilinearly.

    It stands between RoIPool and RoIAlign: in Table 2c of the Mask R-CNN paper it is hardly better
    than RoIPool, which shows that the rounding is what costs accuracy.

    Args:
        input, boxes, output_size, spatial_scale: as in ``roi_align``.
        sampling_ratio: as in ``roi_align`` ("mnc" always takes one sample per bin).
        reduction: "mean" of a bin's samples, or their "max".
        convention: "paper": ends rounded as in RoIPool (half away from zero), then RoIAlign's bins
            and samples with aligned=False, boxes smaller than a cell being widened to one.
            "mnc": the published layer of MNC: no widening, one sample at the low corner of each
            bin, 0 where it is more than half a cell outside the map. Its users follow it by a
            2 x 2 max pooling.

    Returns:
        (K, C, height, width) in the features' dtype and memory format. A box with a non-finite
        coordinate gives zeros.

    Differentiable in ``input`` and ``boxes``. The gradient of the boxes passes straight through the
    rounding, as in MNC: an estimator, the true one being 0 almost everywhere.

    Raises: as ``roi_align``; ValueError for an unknown convention.

    Source: Dai et al., "Instance-aware Semantic Segmentation via Multi-task Network Cascades"
    (2016); He et al., "Mask R-CNN" (2017), section 3.

    >>> import numpy as np, roiops
    >>> ramp = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> boxes = np.array([[0, 0.3, 0, 2.4, 2]], np.float32)
    >>> roiops.roi_warp(ramp, boxes, 2, convention="mnc")[0, 0]
    array([[0., 1.],
           [4., 5.]], dtype=float32)
    """
    op = "roi_warp"
    _check.choice(op, "convention", convention, tuple(PLACEMENTS))
    return pool(
        op, input, boxes, output_size, spatial_scale, sampling_ratio, PLACEMENTS[convention],
        reduction,
    )  # fmt: skip


@leaf
def roi_warp_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    reduction: str = "mean",
    convention: str = "paper",
) -> tuple[Array, Array]:
    """Gradients of ``roi_warp`` for those who work without autograd: ``grad_input`` and
    ``grad_rois`` (K, 5), see ``roi_align_backward``.
    """
    op = "roi_warp_backward"
    _check.choice(op, "convention", convention, tuple(PLACEMENTS))
    return pool_backward(
        op, grad_output, input, boxes, spatial_scale, sampling_ratio, PLACEMENTS[convention],
        reduction,
    )  # fmt: skip
