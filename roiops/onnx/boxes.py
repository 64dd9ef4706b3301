"""Boxes and anchors: arithmetic, step by step as the kernels do it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from roiops.onnx.values import (
    DOUBLE,
    FLOAT,
    INT64,
    Size,
    Value,
    all_of,
    columns,
    constants,
    nonzero,
    op,
    static,
)
from roiops.ops.anchors import cell_anchors
from roiops.ops.box_convert import UPRIGHT
from roiops.ops.box_iou import _name as public_name
from roiops.ops.fpn_levels import thresholds


def decode_boxes(
    deltas: Value,
    boxes: Value,
    weights: list[float],
    scale_clamp: float,
    clip_to: list[Size] | None,
    plus_one: bool,
) -> Value:
    real = constants(deltas.dtype)
    one, half = real(float(plus_one)), real(0.5)
    width = static("decode_boxes", "deltas' last dimension", deltas.shape[-1])
    rows = [0] * (len(deltas.shape) - 1)  # to Reshape: as they are
    by_class = op.Reshape(deltas, [*rows, width // 4, 4])
    dx, dy, dw, dh = columns(by_class / real(weights))
    x1, y1, x2, y2 = columns(op.Unsqueeze(boxes, [-2]))

    def along(low: Value, high: Value, shift: Value, scale: Value) -> tuple[Value, Value]:
        size = high - low + one
        centre = shift * size + (low + half * size)
        extent = half * (op.Exp(op.Min(scale, real(scale_clamp))) * size)
        return centre - extent, centre + extent - one

    left, right = along(x1, x2, dx, dw)
    top, bottom = along(y1, y2, dy, dh)
    decoded = op.Concat(left, top, right, bottom, axis=-1)
    if clip_to is not None:
        image_height, image_width = clip_to
        decoded = clipped(decoded, image_height, image_width, deltas.dtype)
    return op.Reshape(decoded, [*rows, width])


def clip_boxes_to_image(boxes: Value, height: Size, width: Size) -> Value:
    return clipped(boxes, height, width, boxes.dtype)


def clipped(boxes: Value, height: Size, width: Size, dtype: ir.DataType) -> Value:
    limits = op.Cast([width, height, width, height], to=dtype)
    return op.Min(op.Max(boxes, constants(dtype)(0)), limits)


def remove_small_boxes(boxes: Value, min_size: float) -> Value:
    x1, y1, x2, y2 = columns(boxes)
    least = constants(boxes.dtype)(min_size)
    large = op.And(x2 - x1 >= least, y2 - y1 >= least)
    return nonzero(op.Squeeze(large, [1]))


def box_area(boxes: Value, sized: bool) -> Value:
    x1, y1, x2, y2 = columns(boxes)
    return op.Squeeze(x2 * y2 if sized else (x2 - x1) * (y2 - y1), [-1])


def box_convert(boxes: Value, in_fmt: str, out_fmt: str) -> Value:
    for name, fmt in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if fmt not in UPRIGHT:
            expected = " or ".join(repr(upright) for upright in UPRIGHT)
            raise NotImplementedError(
                f"box_convert: {name} must be {expected} for ONNX; got {fmt!r}"
            )
    if in_fmt == out_fmt:
        return op.Identity(boxes)
    real = FLOAT if boxes.dtype == INT64 else boxes.dtype
    half = constants(real)(0.5)
    if in_fmt == "cxcywh":
        x, y, width, height = columns(op.Cast(boxes, to=real))
        to_x, to_y = half * width, half * height
        x1, y1, x2, y2 = x - to_x, y - to_y, x + to_x, y + to_y
    else:
        x1, y1, x2, y2 = columns(boxes)
        if in_fmt == "xywh":
            x2, y2 = x1 + x2, y1 + y2
    if out_fmt == "xyxy":
        return op.Concat(x1, y1, x2, y2, axis=-1)
    sides = x2 - x1, y2 - y1
    if out_fmt == "xywh":
        return op.Concat(x1, y1, *sides, axis=-1)
    ends = op.Cast(op.Concat(x1 + x2, y1 + y2, axis=-1), to=real)
    return op.Concat(half * ends, op.Cast(op.Concat(*sides, axis=-1), to=real), axis=-1)


def box_iou(boxes1: Value, boxes2: Value, kind: str, eps: float, plus_one: bool) -> Value:
    if kind != "iou":
        raise NotImplementedError(
            f"{public_name(kind)}: it cannot be exported to ONNX; box_iou can"
        )
    real = constants(boxes1.dtype)
    nothing, one = real(0), real(float(plus_one))
    a, b = columns(op.Unsqueeze(boxes1, [-2])), columns(op.Unsqueeze(boxes2, [-3]))

    def area(x1: Value, y1: Value, x2: Value, y2: Value) -> Value:
        return (x2 - x1 + one) * (y2 - y1 + one)

    width, height = (op.Min(a[c + 2], b[c + 2]) - op.Max(a[c], b[c]) + one for c in (0, 1))
    common = op.Max(width, nothing) * op.Max(height, nothing)
    union = area(*a) + area(*b) - common
    usable = op.And(union > nothing, union < real(np.inf))
    return op.Squeeze(op.Where(usable, common / union, nothing), [-1])


def fpn_levels(
    boxes: Value, min_level: int, max_level: int, canonical_scale: float, canonical_level: int
) -> Value:
    real = constants(boxes.dtype)
    sides = op.Split(boxes, num_outputs=boxes.shape[1], axis=-1)
    x1, y1, x2, y2 = sides[-4:]
    area = (x2 - x1) * (y2 - y1)
    with np.errstate(over="ignore"):  # a threshold beyond the type's range is never reached
        begin = real(thresholds(min_level, max_level, canonical_scale, canonical_level))
    reached = all_of(area > real(0), area < real(np.inf), area >= begin)
    above = op.ReduceSum(op.Cast(reached, to=INT64), [1], keepdims=0)
    return above + constants(INT64)(min_level)


def grid_anchors(
    like: Value,
    height: Size,
    width: Size,
    stride_y: float,
    stride_x: float,
    sizes: list[float],
    aspect_ratios: list[float],
    convention: str,
) -> Value:
    real = constants(DOUBLE)
    cell = cell_anchors(
        sizes, aspect_ratios, convention=convention, stride=stride_x, like=np.zeros(0)
    )
    x, y = (op.Cast(op.Range(0, length, 1), to=DOUBLE) for length in (width, height))
    to_x = op.Unsqueeze(x, [0, 2, 3]) * real([stride_x, 0, stride_x, 0])
    to_y = op.Unsqueeze(y, [1, 2, 3]) * real([0, stride_y, 0, stride_y])
    anchors = to_x + to_y + real(cell)  # (height, width, A, 4)
    return op.Reshape(op.Cast(anchors, to=like.dtype), [-1, 4])


TRANSLATIONS = {
    "box_area": box_area,
    "box_convert": box_convert,
    "box_iou": box_iou,
    "clip_boxes_to_image": clip_boxes_to_image,
    "decode_boxes": decode_boxes,
    "fpn_levels": fpn_levels,
    "grid_anchors": grid_anchors,
    "remove_small_boxes": remove_small_boxes,
}
