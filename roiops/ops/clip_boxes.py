"""Boxes clamped to an image."""

from __future__ import annotations

from typing import Any

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator


@leaf
def clip_boxes_to_image(boxes: Array, size: tuple[int, int]) -> Array:
    """Clamp boxes to an image: x to [0, width], y to [0, height].

    The far edge is ``width``, not ``width - 1``: coordinates are continuous.

    Args:
        boxes: (..., 4) [x1, y1, x2, y2] pixels, floating or integer, any leading dimensions.
        size: (height, width) of the image, each at least 1.

    Returns:
        A new array like ``boxes``. NaN stays NaN.

    Differentiable (twice) in ``boxes``: the gradient passes where the coordinate lies in the
    image, edges included.

    Raises:
        ValueError: wrong shape or size.
        TypeError: an array of another kind or dtype; a size that is no pair of ints.

    Source: as torchvision.ops.clip_boxes_to_image.

    >>> import numpy as np, roiops
    >>> roiops.clip_boxes_to_image(np.array([[-3, 2, 50, 20]], np.float32), (16, 32))
    array([[ 0.,  2., 32., 16.]], dtype=float32)
    """
    op = "clip_boxes_to_image"
    xp, boxes = adopt(op, boxes=boxes)
    height, width = image_size(op, "size", size)
    _check.numeric(op, "boxes", xp, boxes)
    dtype = xp.dtype(boxes)
    wide = xp.astype(boxes, "int64") if dtype in _check.INTEGERS else _check.promoted(xp, boxes)
    return xp.astype(xp.call(_CLIP, wide, height, width), dtype)


def image_size(op: str, name: str, value: Any) -> tuple[int, int]:
    """(height, width) of an image, each at least 1."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{op}: {name} must be a pair (height, width); got {value!r}")
    if len(value) != 2:
        raise ValueError(f"{op}: {name} must be a pair (height, width); got {value!r}")
    return _check.size_pair(op, name, value)


# fmt: off
def _allocate(xp, boxes, height, width):
    _check.shape("clip_boxes_to_image", "boxes", "(..., 4) [x1, y1, x2, y2]", boxes,
                 len(boxes.shape) > 0 and boxes.shape[-1] == 4)
    return xp.empty(tuple(boxes.shape), xp.dtype(boxes), boxes)


def _compute(xp, clipped, boxes, height, width):
    xp.core.clip_boxes(
        xp.describe(clipped.reshape(-1, 4)), xp.describe(boxes.reshape(-1, 4)), height, width,
        xp.execution(),
    )


def _allocate_backward(xp, grad_output, boxes, height, width):
    return _allocate(xp, boxes, height, width)


def _compute_backward(xp, grad_boxes, grad_output, boxes, height, width):
    xp.core.clip_boxes_backward(
        xp.describe(grad_boxes.reshape(-1, 4)), xp.describe(grad_output.reshape(-1, 4)),
        xp.describe(boxes.reshape(-1, 4)), height, width, xp.execution(),
    )


def _save(ctx, inputs, output):
    boxes, *ctx.size = inputs
    ctx.save_for_backward(boxes)


def _backward(xp, ctx, grad_output):
    (boxes,) = ctx.saved_tensors
    return xp.call(_CLIP_BACKWARD, grad_output, boxes, *ctx.size), None, None


def _save_backward(ctx, inputs, output):
    _grad_output, boxes, *ctx.size = inputs
    ctx.save_for_backward(boxes)


def _backward_backward(xp, ctx, grad):
    """The gradient is linear in the output's gradient, with the same mask."""
    return _backward(xp, ctx, grad)[0], None, None, None


_CLIP = Operator(
    "clip_boxes_to_image", "(Tensor boxes, SymInt height, SymInt width) -> Tensor",
    _allocate, _compute, _save, _backward,
)
_CLIP_BACKWARD = Operator(
    "clip_boxes_to_image_backward",
    "(Tensor grad_output, Tensor boxes, SymInt height, SymInt width) -> Tensor",
    _allocate_backward, _compute_backward, _save_backward, _backward_backward,
)
