"""Areas of boxes."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator, once_only
from roiops.ops.box_convert import UPRIGHT


@leaf
def box_area(boxes: Array, fmt: str = "xyxy") -> Array:
    """Width times height of each box.

    Args:
        boxes: (..., 4) boxes in image pixels, floating or integer.
        fmt: "xyxy", "xywh" or "cxcywh" (``box_convert`` says more).

    Returns:
        (...) in the boxes' dtype; float32 for 16-bit floats, int32 for integers of 8 and 16 bits.
        Negative for a box that is flipped along one axis.

    Differentiable in ``boxes``.

    Raises:
        ValueError: wrong shape or format.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.box_area.

    >>> import numpy as np, roiops
    >>> roiops.box_area(np.array([[10, 20, 30, 60], [0, 0, 1, 1]], np.float32))
    array([800.,   1.], dtype=float32)
    """
    op = "box_area"
    xp, boxes = adopt(op, boxes=boxes)
    _check.choice(op, "fmt", fmt, UPRIGHT)
    _check.numeric(op, "boxes", xp, boxes)
    dtype = xp.dtype(boxes)
    if dtype not in _check.INTEGERS:
        return xp.call(_AREA, _check.promoted(xp, boxes), fmt != "xyxy")
    area = xp.call(_AREA, xp.astype(boxes, "int64"), fmt != "xyxy")
    return xp.astype(area, "int64" if dtype == "int64" else "int32")


# fmt: off
def _allocate(xp, boxes, sized):
    _check.shape("box_area", "boxes", "(..., 4)", boxes,
                 len(boxes.shape) > 0 and boxes.shape[-1] == 4)
    return xp.empty(tuple(boxes.shape[:-1]), xp.dtype(boxes), boxes)


def _compute(xp, area, boxes, sized):
    xp.core.box_area(
        xp.describe(area.reshape(-1)), xp.describe(boxes.reshape(-1, 4)), sized, xp.execution()
    )


def _allocate_backward(xp, grad_output, boxes, sized):
    return xp.empty(tuple(boxes.shape), xp.dtype(boxes), boxes)


def _compute_backward(xp, grad_boxes, grad_output, boxes, sized):
    xp.core.box_area_backward(
        xp.describe(grad_boxes.reshape(-1, 4)), xp.describe(grad_output.reshape(-1)),
        xp.describe(boxes.reshape(-1, 4)), sized, xp.execution(),
    )


def _save(ctx, inputs, output):
    boxes, ctx.sized = inputs
    ctx.save_for_backward(boxes)


def _backward(xp, ctx, grad_output):
    (boxes,) = ctx.saved_tensors
    return xp.call(_AREA_BACKWARD, grad_output, boxes, ctx.sized), None


_AREA = Operator(
    "box_area", "(Tensor boxes, bool sized) -> Tensor", _allocate, _compute, _save, _backward
)
_AREA_BACKWARD = Operator(
    "box_area_backward", "(Tensor grad_output, Tensor boxes, bool sized) -> Tensor",
    _allocate_backward, _compute_backward, backward=once_only("box_area"),
)
