"""Position-sensitive RoIAlign: each bin samples a channel of its own."""

from __future__ import annotations

from collections.abc import Sequence

from roiops._arrays import Array
from roiops._fx import leaf
from roiops.ops._roi_align import pool, pool_backward

_PLACEMENT = "ps_align"


@leaf
def ps_roi_align(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> Array:
    """Pool each box to a fixed grid by bilinear sampling, each bin from a channel of its own.

    Bin (ph, pw) of output channel c reads input channel (c * height + ph) * width + pw. The samples
    are those of ``roi_align`` with aligned=True.

    Args:
        input: (N, C * height * width, H, W) features, float16, bfloat16, float32 or float64 (sums
            are computed in float32, or float64 for float64); contiguous, channels_last or any other
            strides.
        boxes: (K, 5) [batch_index, x1, y1, x2, y2] in image pixels (continuous coordinates), or a
            list of N arrays (L, 4); any floating dtype, independent of the features' (16-bit boxes
            are read as float32).
        output_size: bins (height, width), or one int for both.
        spatial_scale: feature cells per image pixel, 1 / stride.
        sampling_ratio: samples per bin and axis, at most 4096; <= 0: ceil(box side / bins).

    Returns:
        (K, C, height, width) in the features' dtype and memory format. A box with a non-finite
        coordinate gives zeros, and so does an empty one where sampling_ratio <= 0 (torchvision:
        NaN). Samples more than one cell outside the map are 0 and count in the mean.

    Differentiable in ``input`` and ``boxes``; twice differentiable in ``input`` and the output's
    gradient.

    Raises:
        ValueError: wrong shape, channels that are no multiple of the bins, wrong output size, scale
            or sampling ratio.
        TypeError: an array of another kind or dtype.
        IndexError: a batch index that is not a whole number in [0, N).

    Source: Dai et al., "R-FCN" (2016), section 3, with the samples of He et al., "Mask R-CNN"
    (2017); arithmetic as torchvision.ops.ps_roi_align.

    >>> import numpy as np, roiops
    >>> scores = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 4, 8, 8), np.float32)
    >>> roiops.ps_roi_align(scores, np.array([[0, 1, 1, 5, 5]], np.float32), 2)[0, 0]
    array([[0., 1.],
           [2., 3.]], dtype=float32)
    """
    return pool(
        "ps_roi_align", input, boxes, output_size, spatial_scale, sampling_ratio, _PLACEMENT
    )


@leaf
def ps_roi_align_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> tuple[Array, Array]:
    """Gradients of ``ps_roi_align`` for those who work without autograd: ``grad_input`` and
    ``grad_rois`` (K, 5), see ``roi_align_backward``.
    """
    op = "ps_roi_align_backward"
    return pool_backward(op, grad_output, input, boxes, spatial_scale, sampling_ratio, _PLACEMENT)
