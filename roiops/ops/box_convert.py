"""Boxes from one way of writing them to another."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator, once_only

UPRIGHT = ("xyxy", "xywh", "cxcywh")
_ROTATED = {"xywhr": 5, "cxcywhr": 5, "xyxyxyxy": 8}
_LENGTHS = dict.fromkeys(UPRIGHT, 4) | _ROTATED


@leaf
def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Rewrite boxes from one format to another.

    ========  ===========================================================================
    xyxy      x1, y1, x2, y2: two corners
    xywh      x1, y1, width, height
    cxcywh    centre x, centre y, width, height
    xywhr     first corner, width, height, angle
    cxcywhr   centre, width, height, angle
    xyxyxyxy  corners top left, top right, bottom right, bottom left (of the box unrotated)
    ========  ===========================================================================

    The angle is in degrees, counter-clockwise as the picture is seen (y points down).

    Args:
        boxes: (..., 4), (..., 5) or (..., 8) by ``in_fmt``; floating or integer.
        in_fmt, out_fmt: names from the table; both of its upper half (upright) or both of its lower
            half (rotated).

    Returns:
        A new array, (..., 4, 5 or 8) by ``out_fmt``, in the boxes' dtype (16-bit floats are
        computed in float32). Integers become float32 where one of two upright formats is
        "cxcywh"; rotated ones are rounded half to even, also at "xywhr" on the way between
        "cxcywhr" and "xyxyxyxy".

    Differentiable in floating boxes.

    Raises:
        ValueError: wrong shape, an unknown format, an upright format with a rotated one.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.box_convert, which subtracts rotated 8-bit corners in
    8 bits.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[10, 20, 30, 60]], np.float32)
    >>> roiops.box_convert(boxes, "xyxy", "cxcywh")
    array([[20., 40., 20., 40.]], dtype=float32)
    """
    op = "box_convert"
    xp, boxes = adopt(op, boxes=boxes)
    _check.choice(op, "in_fmt", in_fmt, tuple(_LENGTHS))
    _check.choice(op, "out_fmt", out_fmt, tuple(_LENGTHS))
    if (in_fmt in _ROTATED) != (out_fmt in _ROTATED):
        kind = "a rotated" if in_fmt in _ROTATED else "an upright"
        raise ValueError(f"{op}: out_fmt must be {kind} format like in_fmt; got {out_fmt!r}")
    _check.numeric(op, "boxes", xp, boxes)
    dtype = xp.dtype(boxes)
    integers = dtype in _check.INTEGERS
    wide = xp.astype(boxes, "int64") if integers else _check.promoted(xp, boxes)
    converted = xp.call(_CONVERT, wide, in_fmt, out_fmt)
    becomes_float = integers and xp.dtype(converted) == "float32"
    return converted if becomes_float else xp.astype(converted, dtype)


# fmt: off
def _allocate(xp, boxes, in_fmt, out_fmt):
    _check_shape("box_convert", boxes, in_fmt)
    centred = in_fmt != out_fmt and "cxcywh" in (in_fmt, out_fmt)
    dtype = "float32" if centred and xp.dtype(boxes) == "int64" else xp.dtype(boxes)
    return xp.empty((*boxes.shape[:-1], _LENGTHS[out_fmt]), dtype, boxes)


def _check_shape(op, boxes, fmt):
    length = _LENGTHS[fmt]
    _check.shape(op, "boxes", f"(..., {length}), as {fmt}", boxes,
                 len(boxes.shape) > 0 and boxes.shape[-1] == length)


def _compute(xp, converted, boxes, in_fmt, out_fmt):
    xp.core.box_convert(
        *(xp.describe(_rows(x)) for x in (converted, boxes)), in_fmt, out_fmt, xp.execution()
    )


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _allocate_backward(xp, grad_output, boxes, in_fmt, out_fmt):
    return xp.empty(tuple(boxes.shape), xp.dtype(boxes), boxes)


def _compute_backward(xp, grad_boxes, grad_output, boxes, in_fmt, out_fmt):
    xp.core.box_convert_backward(
        *(xp.describe(_rows(x)) for x in (grad_boxes, grad_output, boxes)), in_fmt, out_fmt,
        xp.execution(),
    )


def _save(ctx, inputs, output):
    boxes, *ctx.formats = inputs
    ctx.save_for_backward(boxes)


def _backward(xp, ctx, grad_output):
    (boxes,) = ctx.saved_tensors
    return xp.call(_CONVERT_BACKWARD, grad_output, boxes, *ctx.formats), None, None


_CONVERT = Operator(
    "box_convert", "(Tensor boxes, str in_fmt, str out_fmt) -> Tensor",
    _allocate, _compute, _save, _backward,
)
_CONVERT_BACKWARD = Operator(
    "box_convert_backward",
    "(Tensor grad_output, Tensor boxes, str in_fmt, str out_fmt) -> Tensor",
    _allocate_backward, _compute_backward, backward=once_only("box_convert"),
)
