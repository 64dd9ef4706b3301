"""Overlap of every box of one list with every box of another, and three measures that go on where
boxes do not meet."""

from __future__ import annotations

import math
from typing import Any

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator, once_only
from roiops.ops.box_convert import UPRIGHT, box_convert


@leaf
def box_iou(boxes1: Array, boxes2: Array, fmt: str = "xyxy", *, plus_one: bool = False) -> Array:
    """Intersection over union of every pair of boxes.

    Args:
        boxes1: (..., N, 4) boxes in image pixels, floating or integer.
        boxes2: (..., M, 4) of the same dtype and leading dimensions.
        fmt: how they are written: "xyxy", "xywh" or "cxcywh" (``box_convert`` says more).
        plus_one: the legacy convention, width = x2 - x1 + 1.

    Returns:
        (..., N, M) in the boxes' dtype; float32 for 16-bit floats and for integers, which are
        computed in float64. Where the union is not positive or not finite (two empty boxes, a NaN
        coordinate) it is 0.

    Differentiable in both arrays. Where two boxes share a side, each has half of that side's
    gradient, as with torch's minimum and maximum.

    Raises:
        ValueError: wrong shape or format.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.box_iou, which gives NaN where the union is 0, broadcasts leading
    dimensions, and takes rotated boxes too.

    >>> import numpy as np, roiops
    >>> a = np.array([[0, 0, 10, 10]], np.float32)
    >>> b = np.array([[0, 0, 10, 5], [10, 0, 20, 10], [0, 0, 10, 10]], np.float32)
    >>> roiops.box_iou(a, b)
    array([[0.5, 0. , 1. ]], dtype=float32)
    """
    return _pairs("box_iou", boxes1, boxes2, fmt, "iou", 0.0, plus_one)


@leaf
def generalized_box_iou(boxes1: Array, boxes2: Array) -> Array:
    """Generalized IoU of every pair of boxes, in [-1, 1]: the IoU less the share of the smallest
    box around both that neither covers.

    Args, returns, raises: as ``box_iou``, with boxes [x1, y1, x2, y2]. A pair whose union is not
    finite gives 0; where the box around both has no area, the IoU alone counts.

    Differentiable in both arrays.

    Source: Rezatofighi et al., "Generalized Intersection over Union" (2019); as
    torchvision.ops.generalized_box_iou, which gives NaN for empty boxes.

    >>> import numpy as np, roiops
    >>> a, b = np.array([[0, 0, 10, 10]], np.float32), np.array([[10, 0, 30, 10]], np.float32)
    >>> roiops.generalized_box_iou(a, b), roiops.generalized_box_iou(a, b + 10)
    (array([[0.]], dtype=float32), array([[-0.625]], dtype=float32))
    """
    return _pairs("generalized_box_iou", boxes1, boxes2, "xyxy", "generalized", 0.0, False)


@leaf
def distance_box_iou(boxes1: Array, boxes2: Array, eps: float = 1e-7) -> Array:
    """Distance IoU of every pair of boxes: the IoU less the squared distance of the centres in
    units of the diagonal of the smallest box around both.

    Args, returns, raises: as ``box_iou``, with boxes [x1, y1, x2, y2]; ``eps`` is added to the
    squared diagonal. A pair whose union is not finite gives 0.

    Differentiable in both arrays.

    Source: Zheng et al., "Distance-IoU Loss" (2020); as torchvision.ops.distance_box_iou.

    >>> import numpy as np, roiops
    >>> a, b = np.array([[0, 0, 10, 10]], np.float32), np.array([[10, 0, 20, 10]], np.float32)
    >>> roiops.distance_box_iou(a, b).round(3)
    array([[-0.2]], dtype=float32)
    """
    return _pairs("distance_box_iou", boxes1, boxes2, "xyxy", "distance", eps, False)


@leaf
def complete_box_iou(boxes1: Array, boxes2: Array, eps: float = 1e-7) -> Array:
    """Complete IoU of every pair of boxes: the distance IoU less alpha v, where
    v = (2 / pi (atan(w1 / h1) - atan(w2 / h2)))^2 is the difference of their shapes and
    alpha = v / (1 - IoU + v).

    Args, returns, raises: as ``distance_box_iou``; ``eps`` is added to alpha's denominator too. A
    box without width and height has no shape: v does not count.

    Differentiable in both arrays, with alpha held constant, as in the paper and torchvision.

    Source: Zheng et al., "Distance-IoU Loss" (2020); as torchvision.ops.complete_box_iou.

    >>> import numpy as np, roiops
    >>> a, b = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 0, 20, 10]], np.float32)
    >>> roiops.distance_box_iou(a, b).round(3), roiops.complete_box_iou(a, b).round(3)
    (array([[0.45]], dtype=float32), array([[0.447]], dtype=float32))
    """
    return _pairs("complete_box_iou", boxes1, boxes2, "xyxy", "complete", eps, False)


@leaf
def box_iou_backward(
    grad_output: Array, boxes1: Array, boxes2: Array, *, plus_one: bool = False
) -> tuple[Array, Array]:
    """Gradients of ``box_iou`` for those who work without autograd.

    Args:
        grad_output: (..., N, M) gradient of the output, of its dtype.
        boxes1, boxes2, plus_one: as in ``box_iou``; floating, [x1, y1, x2, y2].

    Returns:
        ``grad_boxes1`` (..., N, 4) and ``grad_boxes2`` (..., M, 4); float32 for 16-bit boxes.

    Raises: as ``box_iou``.
    """
    return _gradients("box_iou_backward", grad_output, boxes1, boxes2, "iou", 0.0, plus_one)


@leaf
def generalized_box_iou_backward(
    grad_output: Array, boxes1: Array, boxes2: Array
) -> tuple[Array, Array]:
    """Gradients of ``generalized_box_iou``; see ``box_iou_backward``."""
    op = "generalized_box_iou_backward"
    return _gradients(op, grad_output, boxes1, boxes2, "generalized", 0.0, False)


@leaf
def distance_box_iou_backward(
    grad_output: Array, boxes1: Array, boxes2: Array, eps: float = 1e-7
) -> tuple[Array, Array]:
    """Gradients of ``distance_box_iou``; see ``box_iou_backward``."""
    op = "distance_box_iou_backward"
    return _gradients(op, grad_output, boxes1, boxes2, "distance", eps, False)


@leaf
def complete_box_iou_backward(
    grad_output: Array, boxes1: Array, boxes2: Array, eps: float = 1e-7
) -> tuple[Array, Array]:
    """Gradients of ``complete_box_iou``, alpha held constant; see ``box_iou_backward``."""
    op = "complete_box_iou_backward"
    return _gradients(op, grad_output, boxes1, boxes2, "complete", eps, False)


def _pairs(
    op: str, boxes1: Array, boxes2: Array, fmt: str, kind: str, eps: float, plus_one: Any
) -> Array:
    xp, boxes1, boxes2 = adopt(op, boxes1=boxes1, boxes2=boxes2)
    _check.choice(op, "fmt", fmt, UPRIGHT)
    plus_one, eps = _check.flag(op, "plus_one", plus_one), _eps(op, eps)
    boxes1, boxes2 = _check.promoted(xp, boxes1), _check.promoted(xp, boxes2)
    _check_boxes(op, xp, boxes1, boxes2)
    integers = xp.dtype(boxes1) in _check.INTEGERS
    if integers:  # products of 32-bit coordinates are exact in float64
        boxes1, boxes2 = xp.astype(boxes1, "float64"), xp.astype(boxes2, "float64")
    if fmt != "xyxy":
        boxes1, boxes2 = (box_convert(x, fmt, "xyxy") for x in (boxes1, boxes2))
    values = xp.call(_FORWARD, boxes1, boxes2, kind, eps, plus_one)
    return xp.astype(values, "float32") if integers else values


def _gradients(
    op: str, grad_output: Array, boxes1: Array, boxes2: Array, kind: str, eps: float, plus_one: Any
) -> tuple[Array, Array]:
    xp, grad_output, boxes1, boxes2 = adopt(
        op, grad_output=grad_output, boxes1=boxes1, boxes2=boxes2
    )
    plus_one, eps = _check.flag(op, "plus_one", plus_one), _eps(op, eps)
    arrays = (_check.promoted(xp, x) for x in (grad_output, boxes1, boxes2))
    return xp.call(_BACKWARD, *arrays, kind, eps, plus_one)


def _eps(op: str, eps: float) -> float:
    value = _check.number(op, "eps", eps)
    if value < 0:
        raise ValueError(f"{op}: eps must be at least 0; got {eps!r}")
    return value


def _check_boxes(op: str, xp: Namespace, boxes1: Array, boxes2: Array) -> None:
    shape = tuple(boxes1.shape)
    _check.shape(op, "boxes1", "(..., N, 4)", boxes1, len(shape) > 1 and shape[-1] == 4)
    leading = ", ".join(str(length) for length in (*shape[:-2], "M", 4))
    _check.shape(op, "boxes2", f"({leading})", boxes2,
                 len(boxes2.shape) == len(shape)
                 and (*boxes2.shape[:-2], boxes2.shape[-1]) == (*shape[:-2], 4))  # fmt: skip
    _check.numeric(op, "boxes1", xp, boxes1)
    _check.same_dtype(op, "boxes2", xp, boxes2, "boxes1", boxes1)


def _values_shape(boxes1: Array, boxes2: Array) -> tuple[int, ...]:
    return (*boxes1.shape[:-1], boxes2.shape[-2])


def _name(kind: str) -> str:
    return "box_iou" if kind == "iou" else f"{kind}_box_iou"


# fmt: off
def _one_batch(xp, x):
    """(..., N, K) as (B, N, K)."""
    return xp.describe(x.reshape((math.prod(x.shape[:-2]), *x.shape[-2:])))


def _allocate(xp, boxes1, boxes2, kind, eps, plus_one):
    op = _name(kind)
    _check_boxes(op, xp, boxes1, boxes2)
    _check.floating(op, "boxes1", xp, boxes1)
    return xp.empty(_values_shape(boxes1, boxes2), xp.dtype(boxes1), boxes1)


def _compute(xp, values, boxes1, boxes2, kind, eps, plus_one):
    xp.core.box_iou(
        *(_one_batch(xp, x) for x in (values, boxes1, boxes2)), kind, eps, plus_one, xp.execution()
    )


def _allocate_backward(xp, grad_output, boxes1, boxes2, kind, eps, plus_one):
    op = f"{_name(kind)}_backward"
    _check_boxes(op, xp, boxes1, boxes2)
    _check.floating(op, "boxes1", xp, boxes1)
    shape = _values_shape(boxes1, boxes2)
    _check.shape(op, "grad_output", f"{shape}", grad_output, tuple(grad_output.shape) == shape)
    _check.same_dtype(op, "grad_output", xp, grad_output, "boxes1", boxes1)
    return tuple(xp.empty(tuple(x.shape), xp.dtype(x), x) for x in (boxes1, boxes2))


def _compute_backward(xp, grads, grad_output, boxes1, boxes2, kind, eps, plus_one):
    arrays = (*grads, grad_output, boxes1, boxes2)
    described = (_one_batch(xp, x) for x in arrays)
    xp.core.box_iou_backward(*described, kind, eps, plus_one, xp.execution())


def _save(ctx, inputs, output):
    boxes1, boxes2, *ctx.options = inputs
    ctx.save_for_backward(boxes1, boxes2)


def _backward(xp, ctx, grad_output):
    grads = xp.call(_BACKWARD, grad_output, *ctx.saved_tensors, *ctx.options)
    return *grads, None, None, None


def _save_kind(ctx, inputs, output):
    ctx.operator = _name(inputs[3])


_FORWARD = Operator(
    "box_iou", "(Tensor boxes1, Tensor boxes2, str kind, float eps, bool plus_one) -> Tensor",
    _allocate, _compute, _save, _backward,
)
_BACKWARD = Operator(
    "box_iou_backward",
    "(Tensor grad_output, Tensor boxes1, Tensor boxes2, str kind, float eps, bool plus_one) "
    "-> (Tensor, Tensor)",
    _allocate_backward, _compute_backward, _save_kind, once_only(lambda ctx: ctx.operator),
)
