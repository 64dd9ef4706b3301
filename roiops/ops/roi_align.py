"""RoIAlign on one feature map."""

from __future__ import annotations

from collections.abc import Sequence

from roiops._arrays import Array
from roiops._fx import leaf
from roiops.ops._roi_align import placement_of, pool, pool_backward


@leaf
def roi_align(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> Array:
    """Pool each box to a fixed grid by bilinear sampling, without rounding any coordinate.

    ``aligned`` defaults to False as in torchvision; detectron2 uses True. False shifts every
    sample by half a feature cell, which at stride 16 is 8 image pixels, and widens boxes smaller
    than a cell to one cell: a model must be used with the value that it was trained with.

    Args:
        input: (N, C, H, W) features, float16, bfloat16, float32 or float64 (sums are computed
            in float32, or float64 for float64); contiguous or channels_last, both native, or any
            other strides.
        boxes: (K, 5) [batch_index, x1, y1, x2, y2] in image pixels (continuous coordinates), or a
            list of N arrays (L, 4); any floating dtype, independent of the features' (16-bit boxes
            are read as float32).
        output_size: bins (height, width), or one int for both.
        spatial_scale: feature cells per image pixel, 1 / stride.
        sampling_ratio: samples per bin and axis, at most 4096; <= 0: ceil(box side / bins).
        aligned: subtract half a cell, so that cell i is centred at coordinate i + 0.5.
        reduction: "mean" of a bin's samples, or their "max" (the maximum of interpolated values,
            Table 2c of the paper; ONNX's mode "max" is another function).

    Returns:
        (K, C, height, width) in the features' dtype and memory format. A box with a non-finite
        coordinate gives zeros. Samples more than one cell outside the map are 0 and count in the
        mean.

    Differentiable in ``input`` and ``boxes``; twice differentiable in ``input`` and the output's
    gradient.

    Raises:
        ValueError: wrong shape, output size, scale, sampling ratio or reduction.
        TypeError: an array of another kind or dtype.
        IndexError: a batch index that is not a whole number in [0, N).

    Source: He et al., "Mask R-CNN" (2017), section 3; arithmetic as torchvision.ops.roi_align.

    >>> import numpy as np, roiops
    >>> ramp = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> boxes = np.array([[0, 0, 0, 4, 4]], np.float32)
    >>> roiops.roi_align(ramp, boxes, 2, aligned=True)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    op = "roi_align"
    return pool(
        op, input, boxes, output_size, spatial_scale, sampling_ratio, placement_of(op, aligned),
        reduction,
    )  # fmt: skip


@leaf
def roi_align_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """Gradients of ``roi_align`` for those who work without autograd.

    Args:
        grad_output: (K, C, height, width) gradient of the output, of the features' dtype.
        input, boxes, spatial_scale, sampling_ratio, aligned, reduction: as in ``roi_align``.

    Returns:
        ``grad_input`` like ``input``, and ``grad_rois`` (K, 5) in the boxes' dtype (float32 for
        16-bit ones), whose first column is 0. The number of samples counts as a constant; a
        coordinate has gradient 0 where a sample is clamped at the map's border.

    Raises: as ``roi_align``.
    """
    op = "roi_align_backward"
    return pool_backward(
        op, grad_output, input, boxes, spatial_scale, sampling_ratio, placement_of(op, aligned),
        reduction,
    )  # fmt: skip
