"""Position-sensitive RoIPool: each bin averages whole cells of a channel of its own."""

from __future__ import annotations

from collections.abc import Sequence

from roiops._arrays import Array
from roiops._fx import leaf
from roiops.ops._roi_align import pool, pool_backward

_OPTIONS = (-1, "ps_pool")  # there are no samples


@leaf
def ps_roi_pool(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Array:
    """Pool each box to a fixed grid: each bin is the mean of the whole cells that it touches, in a
    channel of its own.

    Bin (ph, pw) of output channel c reads input channel (c * height + ph) * width + pw. The box and
    its bins are rounded to cells as in ``roi_pool``, except that the cell at the rounded x2, y2 is
    outside the box, and that the last row and column of the map are never read, as in torchvision
    (whose gradient, unlike this one, does reach them). ``ps_roi_align`` does without all that.

    Args:
        input: (N, C * height * width, H, W) features, float16, bfloat16, float32 or float64;
            contiguous, channels_last or any strides.
        boxes: (K, 5) [batch_index, x1, y1, x2, y2] in image pixels, or a list of N arrays (L, 4).
        output_size: bins (height, width), or one int for both.
        spatial_scale: feature cells per image pixel, 1 / stride.

    Returns:
        (K, C, height, width) in the features' dtype and memory format. An empty bin, outside the
        map, is 0; a box with a non-finite coordinate gives zeros.

    Differentiable, twice, in ``input``. Boxes have no gradient.

    Raises:
        ValueError: wrong shape, channels that are no multiple of the bins, wrong output size or
            scale.
        TypeError: an array of another kind or dtype.
        IndexError: a batch index that is not a whole number in [0, N).

    Source: Dai et al., "R-FCN: Object Detection via Region-based Fully Convolutional Networks"
    (2016), section 3; rounding as torchvision.ops.ps_roi_pool: half away from zero, a box smaller
    than a cell being one cell.

    >>> import numpy as np, roiops
    >>> scores = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((1, 4, 8, 8), np.float32)
    >>> roiops.ps_roi_pool(scores, np.array([[0, 1, 1, 5, 5]], np.float32), 2)[0, 0]
    array([[0., 1.],
           [2., 3.]], dtype=float32)
    """
    return pool("ps_roi_pool", input, boxes, output_size, spatial_scale, *_OPTIONS)


@leaf
def ps_roi_pool_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
) -> Array:
    """Gradient of ``ps_roi_pool`` for those who work without autograd: ``grad_input`` like
    ``input``.

    ``grad_output`` is (K, C, height, width) in the features' dtype; otherwise as ``ps_roi_pool``.
    """
    op = "ps_roi_pool_backward"
    return pool_backward(op, grad_output, input, boxes, spatial_scale, *_OPTIONS)[0]
