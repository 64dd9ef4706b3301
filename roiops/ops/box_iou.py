"""Overlap of every box of one list with every box of another."""

from __future__ import annotations

from roiops import _check, _cpu
from roiops._arrays import Array, adopt
from roiops._operators import Operator


def box_iou(boxes1: Array, boxes2: Array, *, plus_one: bool = False) -> Array:
    """Intersection over union of every pair of boxes.

    Args:
        boxes1: (N, 4) [x1, y1, x2, y2], float32 or float64.
        boxes2: (M, 4) of the same dtype.
        plus_one: the legacy convention, width = x2 - x1 + 1.

    Returns:
        (N, M), of the boxes' dtype. Where the union is not positive or not finite (two empty
        boxes, a NaN coordinate) it is 0.

    Differentiable in both arrays. Where two boxes share a side, each has half of that side's
    gradient, as with torch's minimum and maximum.

    Raises:
        ValueError: wrong shape.
        TypeError: an array of another kind or dtype.

    Source: as torchvision.ops.box_iou, which gives NaN where the union is 0.

    >>> import numpy as np, roiops
    >>> a = np.array([[0, 0, 10, 10]], np.float32)
    >>> b = np.array([[0, 0, 10, 5], [10, 0, 20, 10], [0, 0, 10, 10]], np.float32)
    >>> roiops.box_iou(a, b)
    array([[0.5, 0. , 1. ]], dtype=float32)
    """
    op = "box_iou"
    xp, boxes1, boxes2 = adopt(op, boxes1=boxes1, boxes2=boxes2)
    return xp.call(_FORWARD, boxes1, boxes2, _check.flag(op, "plus_one", plus_one))


def box_iou_backward(
    grad_output: Array, boxes1: Array, boxes2: Array, *, plus_one: bool = False
) -> tuple[Array, Array]:
    """Gradients of ``box_iou`` for those who work without autograd.

    Args:
        grad_output: (N, M) gradient of the output, of its dtype.
        boxes1, boxes2, plus_one: as in ``box_iou``.

    Returns:
        ``grad_boxes1`` (N, 4) and ``grad_boxes2`` (M, 4).

    Raises: as ``box_iou``.
    """
    op = "box_iou_backward"
    xp, grad_output, boxes1, boxes2 = adopt(
        op, grad_output=grad_output, boxes1=boxes1, boxes2=boxes2
    )
    return xp.call(_BACKWARD, grad_output, boxes1, boxes2, _check.flag(op, "plus_one", plus_one))


# fmt: off
def _check_boxes(op, xp, boxes1, boxes2):
    _check.boxes(op, "boxes1", xp, boxes1)
    _check.boxes(op, "boxes2", xp, boxes2)
    _check.same_dtype(op, "boxes2", xp, boxes2, "boxes1", boxes1)


def _allocate(xp, boxes1, boxes2, plus_one):
    _check_boxes("box_iou", xp, boxes1, boxes2)
    return xp.empty((boxes1.shape[0], boxes2.shape[0]), xp.dtype(boxes1), boxes1)


def _compute(xp, iou, boxes1, boxes2, plus_one):
    _cpu.box_iou(
        xp.describe(iou), xp.describe(boxes1), xp.describe(boxes2), plus_one, xp.threads()
    )


def _allocate_backward(xp, grad_output, boxes1, boxes2, plus_one):
    op, shape = "box_iou_backward", (boxes1.shape[0], boxes2.shape[0])
    _check_boxes(op, xp, boxes1, boxes2)
    _check.shape(op, "grad_output", f"{shape}", grad_output, tuple(grad_output.shape) == shape)
    _check.same_dtype(op, "grad_output", xp, grad_output, "boxes1", boxes1)
    return tuple(xp.empty(tuple(x.shape), xp.dtype(x), x) for x in (boxes1, boxes2))


def _compute_backward(xp, grads, grad_output, boxes1, boxes2, plus_one):
    arrays = (*grads, grad_output, boxes1, boxes2)
    _cpu.box_iou_backward(*(xp.describe(x) for x in arrays), plus_one, xp.threads())


def _save(ctx, inputs, output):
    boxes1, boxes2, ctx.plus_one = inputs
    ctx.save_for_backward(boxes1, boxes2)


def _backward(ctx, grad_output):
    from roiops._torch import TORCH

    grads = TORCH.call(_BACKWARD, grad_output, *ctx.saved_tensors, ctx.plus_one)
    return *grads, None


def _save_nothing(ctx, inputs, output):
    pass


def _refuse_second(ctx, *grads):
    raise RuntimeError("box_iou: the second derivative is not implemented")


_FORWARD = Operator(
    "box_iou", "(Tensor boxes1, Tensor boxes2, bool plus_one) -> Tensor",
    _allocate, _compute, _save, _backward,
)
_BACKWARD = Operator(
    "box_iou_backward",
    "(Tensor grad_output, Tensor boxes1, Tensor boxes2, bool plus_one) -> (Tensor, Tensor)",
    _allocate_backward, _compute_backward, _save_nothing, _refuse_second,
)
