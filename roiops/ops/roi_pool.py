"""RoIPool: the maximum over whole cells."""

from __future__ import annotations

from collections.abc import Sequence

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator
from roiops.ops._roi_align import (
    as_rois,
    check_grad_output,
    check_map,
    check_rois,
    empty_like_map,
)


@leaf
def roi_pool(
    input: Array,
    boxes: Array | Sequence[Array],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Array:
    """Pool each box to a fixed grid by taking the maximum over whole feature cells.

    Both the box and its bins are rounded to cells, which moves them by up to a cell: at stride 16,
    16 image pixels. ``roi_align`` does without.

    Args:
        input: (N, C, H, W) features, float16, bfloat16, float32 or float64; contiguous,
            channels_last or any strides.
        boxes: (K, 5) [batch_index, x1, y1, x2, y2] in image pixels, or a list of N arrays (L, 4).
        output_size: bins (height, width), or one int for both.
        spatial_scale: feature cells per image pixel, 1 / stride.

    Returns:
        (K, C, height, width) in the features' dtype and memory format. An empty bin, outside the
        map, is 0; a box with a non-finite coordinate gives zeros. A NaN in a bin is its maximum.

    Differentiable, twice, in ``input``. Boxes have no gradient. The first of equal maxima gets it.

    Raises:
        ValueError: wrong shape, output size or scale.
        TypeError: an array of another kind or dtype.
        IndexError: a batch index that is not a whole number in [0, N).

    Source: Girshick, "Fast R-CNN" (2015), section 2.1; rounding as torchvision.ops.roi_pool: half
    away from zero, both end cells belong to the box.

    >>> import numpy as np, roiops
    >>> ramp = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> roiops.roi_pool(ramp, np.array([[0, 0, 0, 3, 3]], np.float32), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    op = "roi_pool"
    xp, input, boxes = adopt(op, lists=["boxes"], input=input, boxes=boxes)
    rois = as_rois(op, xp, boxes, input)
    height, width = _check.size_pair(op, "output_size", output_size)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    return xp.call(_FORWARD, input, rois, height, width, scale)


@leaf
def roi_pool_backward(
    grad_output: Array,
    input: Array,
    boxes: Array | Sequence[Array],
    spatial_scale: float = 1.0,
) -> Array:
    """Gradient of ``roi_pool`` for those who work without autograd: ``grad_input`` like ``input``.

    ``grad_output`` is (K, C, height, width) in the features' dtype; otherwise as ``roi_pool``.
    """
    op = "roi_pool_backward"
    xp, grad_output, input, boxes = adopt(
        op, lists=["boxes"], grad_output=grad_output, input=input, boxes=boxes
    )
    rois = as_rois(op, xp, boxes, input)
    scale = _check.number(op, "spatial_scale", spatial_scale, low=0)
    return xp.call(_GRAD_INPUT, grad_output, input, rois, scale)


# fmt: off
def _check_arguments(op: str, xp: Namespace, input: Array, rois: Array) -> None:
    check_map(op, "input", xp, input)
    check_rois(op, xp, rois)


def _allocate(xp, input, rois, height, width, spatial_scale):
    _check_arguments("roi_pool", xp, input, rois)
    return empty_like_map(xp, (rois.shape[0], input.shape[1], height, width), input)


def _compute(xp, output, input, rois, height, width, spatial_scale):
    xp.core.roi_pool_forward(
        xp.describe(output), xp.describe(input), xp.describe(rois), spatial_scale, xp.execution(),
        None,
    )


def _allocate_directional(xp, values, input, rois, height, width, spatial_scale):
    return _allocate(xp, input, rois, height, width, spatial_scale)


def _compute_directional(xp, output, values, input, rois, height, width, spatial_scale):
    xp.core.roi_pool_forward(
        xp.describe(output), xp.describe(input), xp.describe(rois), spatial_scale, xp.execution(),
        xp.describe(values),
    )


def _allocate_grad_input(xp, grad_output, input, rois, spatial_scale):
    _check_arguments("roi_pool_backward", xp, input, rois)
    check_grad_output("roi_pool_backward", xp, grad_output, input, rois)
    return empty_like_map(xp, tuple(input.shape), input)


def _compute_grad_input(xp, grad_input, grad_output, input, rois, spatial_scale):
    xp.core.roi_pool_grad_input(
        xp.describe(grad_input), xp.describe(grad_output), xp.describe(input), xp.describe(rois),
        spatial_scale, xp.execution(),
    )


# torch's autograd. The maximum picks cells, so everything is linear once the input has picked them.


def _save_forward(ctx, inputs, output):
    input, rois, _height, _width, ctx.scale = inputs
    ctx.save_for_backward(input, rois)


def _backward(xp, ctx, grad_output):
    return xp.call(_GRAD_INPUT, grad_output, *ctx.saved_tensors, ctx.scale), None, None, None, None


def _save_directional(ctx, inputs, output):
    _values, input, rois, _height, _width, ctx.scale = inputs
    ctx.save_for_backward(input, rois)


def _backward_directional(xp, ctx, grad_output):
    grad = xp.call(_GRAD_INPUT, grad_output, *ctx.saved_tensors, ctx.scale)
    return grad, None, None, None, None, None


def _save_grad_input(ctx, inputs, output):
    grad_output, input, rois, ctx.scale = inputs
    ctx.size = grad_output.shape[2:]
    ctx.save_for_backward(input, rois)


def _backward_grad_input(xp, ctx, grad):
    result = xp.call(_DIRECTIONAL, grad, *ctx.saved_tensors, *ctx.size, ctx.scale)
    return result, None, None, None


_FORWARD = Operator(
    "roi_pool",
    "(Tensor input, Tensor rois, SymInt height, SymInt width, float spatial_scale) -> Tensor",
    _allocate, _compute, _save_forward, _backward,
)
_GRAD_INPUT = Operator(
    "roi_pool_grad_input",
    "(Tensor grad_output, Tensor input, Tensor rois, float spatial_scale) -> Tensor",
    _allocate_grad_input, _compute_grad_input, _save_grad_input, _backward_grad_input,
)
# The derivative of the maximum in the direction ``values``: its second derivative needs it.
_DIRECTIONAL = Operator(
    "roi_pool_directional",
    "(Tensor values, Tensor input, Tensor rois, SymInt height, SymInt width, float spatial_scale) "
    "-> Tensor",
    _allocate_directional, _compute_directional, _save_directional, _backward_directional,
)
