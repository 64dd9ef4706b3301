"""Box coding: a box as an offset from another, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator, once_only
from roiops.ops.clip_boxes import image_size

SCALE_CLAMP = math.log(1000 / 16)


@leaf
def encode_boxes(
    reference_boxes: Array,
    proposals: Array,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    *,
    plus_one: bool = False,
) -> Array:
    """Deltas that take ``proposals`` to ``reference_boxes``; the inverse of ``decode_boxes``.

    dx = weights[0] * (centre_x* - centre_x) / width and dw = weights[2] * log(width* / width),
    starred values being the reference box's; dy and dh alike.

    Args:
        reference_boxes: (N, 4) or (B, N, 4) [x1, y1, x2, y2], the boxes to be reached; any
            floating dtype (16-bit ones are read as float32).
        proposals: the boxes to start from, of the same shape and (so read) dtype. Both should have
            positive width and height: others give infinities or NaN, as the formula says.
        weights: of dx, dy, dw, dh, greater than 0; (1, 1, 1, 1) for a region proposal network,
            (10, 10, 5, 5) for a box head.
        plus_one: the legacy convention, width = x2 - x1 + 1.

    Returns:
        Deltas (dx, dy, dw, dh), of the inputs' shape, float32 or float64.

    Differentiable in ``reference_boxes`` and ``proposals``.

    Raises:
        ValueError: wrong shape or weights.
        TypeError: an array of another kind or dtype.

    Source: Girshick et al., R-CNN (2014), appendix C; arithmetic as torchvision's BoxCoder.

    >>> import numpy as np, roiops
    >>> wanted = np.array([[2, 0, 12, 10]], np.float32)
    >>> proposal = np.array([[0, 0, 10, 10]], np.float32)
    >>> roiops.encode_boxes(wanted, proposal, (10, 10, 5, 5))
    array([[2., 0., 0., 0.]], dtype=float32)
    """
    op = "encode_boxes"
    xp, reference_boxes, proposals = adopt(op, reference_boxes=reference_boxes, proposals=proposals)
    return xp.call(
        _ENCODE,
        _check.promoted(xp, reference_boxes),
        _check.promoted(xp, proposals),
        _weights(op, weights),
        _check.flag(op, "plus_one", plus_one),
    )


@leaf
def encode_boxes_backward(
    grad_output: Array,
    reference_boxes: Array,
    proposals: Array,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    *,
    plus_one: bool = False,
) -> tuple[Array, Array]:
    """Gradients of ``encode_boxes`` for those who work without autograd.

    Args:
        grad_output: gradient of the deltas, of their shape and dtype.
        reference_boxes, proposals, weights, plus_one: as in ``encode_boxes``.

    Returns:
        ``grad_reference_boxes`` and ``grad_proposals``, like the two arrays (float32 for 16-bit
        ones).

    Raises: as ``encode_boxes``.
    """
    op = "encode_boxes_backward"
    xp, grad_output, reference_boxes, proposals = adopt(
        op, grad_output=grad_output, reference_boxes=reference_boxes, proposals=proposals
    )
    arrays = (_check.promoted(xp, x) for x in (grad_output, reference_boxes, proposals))
    return xp.call(
        _ENCODE_BACKWARD, *arrays, _weights(op, weights), _check.flag(op, "plus_one", plus_one)
    )


@leaf
def decode_boxes(
    deltas: Array,
    boxes: Array,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    *,
    scale_clamp: float = SCALE_CLAMP,
    clip_to: tuple[int, int] | None = None,
    plus_one: bool = False,
) -> Array:
    """The boxes that ``deltas`` lead to from ``boxes``, optionally clipped to the image.

    Args:
        deltas: (N, 4 K) or (B, N, 4 K): (dx, dy, dw, dh) for each of K classes; any floating
            dtype (16-bit ones are read as float32).
        boxes: (N, 4) [x1, y1, x2, y2], or (B, N, 4); with batched deltas, (N, 4) is shared by the
            images. Of the (so read) deltas' dtype.
        weights: of dx, dy, dw, dh, greater than 0; as in ``encode_boxes``.
        scale_clamp: upper limit of dw and dh (after division by their weights), so that the
            exponential stays in bounds; there is no lower limit.
        clip_to: (height, width): clamp the result as ``clip_boxes_to_image`` does.
        plus_one: the legacy convention, width = x2 - x1 + 1 and x2 = centre + width / 2 - 1.

    Returns:
        Boxes of the deltas' shape, float32 or float64, contiguous.

    Differentiable in ``deltas`` and ``boxes``; no gradient passes where a size or a coordinate is
    clamped.

    Raises:
        ValueError: wrong shape, weights, clamp or image size.
        TypeError: an array of another kind or dtype.

    Source: Girshick et al., R-CNN (2014), appendix C; arithmetic and default clamp (log(1000/16))
    as torchvision's BoxCoder.

    >>> import numpy as np, roiops
    >>> anchors = np.array([[0, 0, 10, 10]], np.float32)
    >>> deltas = np.array([[0.2, 0, 0, np.log(2)]], np.float32)
    >>> roiops.decode_boxes(deltas, anchors)
    array([[ 2., -5., 12., 15.]], dtype=float32)
    >>> roiops.decode_boxes(deltas, anchors, clip_to=(12, 12))
    array([[ 2.,  0., 12., 12.]], dtype=float32)
    """
    op = "decode_boxes"
    xp, deltas, boxes = adopt(op, deltas=deltas, boxes=boxes)
    options = _decode_options(op, weights, scale_clamp, clip_to, plus_one)
    return xp.call(_DECODE, _check.promoted(xp, deltas), _check.promoted(xp, boxes), *options)


@leaf
def decode_boxes_backward(
    grad_output: Array,
    deltas: Array,
    boxes: Array,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    *,
    scale_clamp: float = SCALE_CLAMP,
    clip_to: tuple[int, int] | None = None,
    plus_one: bool = False,
) -> tuple[Array, Array]:
    """Gradients of ``decode_boxes`` for those who work without autograd.

    Args:
        grad_output: gradient of the decoded boxes, of the deltas' shape and dtype.
        deltas, boxes, weights, scale_clamp, clip_to, plus_one: as in ``decode_boxes``.

    Returns:
        ``grad_deltas`` and ``grad_boxes``, like the two arrays (float32 for 16-bit ones); shared
        boxes have the sum over the images.

    Raises: as ``decode_boxes``.
    """
    op = "decode_boxes_backward"
    xp, grad_output, deltas, boxes = adopt(op, grad_output=grad_output, deltas=deltas, boxes=boxes)
    options = _decode_options(op, weights, scale_clamp, clip_to, plus_one)
    arrays = (_check.promoted(xp, x) for x in (grad_output, deltas, boxes))
    return xp.call(_DECODE_BACKWARD, *arrays, *options)


def _weights(op: str, weights: Sequence[float]) -> list[float]:
    if not isinstance(weights, (list, tuple)) or len(weights) != 4:
        raise ValueError(f"{op}: weights must be four numbers (dx, dy, dw, dh); got {weights!r}")
    return [_check.number(op, "weights", w, low=0) for w in weights]


def _decode_options(
    op: str, weights: Sequence[float], scale_clamp: float, clip_to: Any, plus_one: bool
) -> tuple[list[float], float, list[int] | None, bool]:
    return (
        _weights(op, weights),
        _check.number(op, "scale_clamp", scale_clamp),
        None if clip_to is None else list(image_size(op, "clip_to", clip_to)),
        _check.flag(op, "plus_one", plus_one),
    )


def _check_encode(op: str, xp: Namespace, reference_boxes: Array, proposals: Array) -> None:
    dims = len(reference_boxes.shape)
    _check.shape(op, "reference_boxes", "(N, 4) or (B, N, 4)", reference_boxes,
                 dims in (2, 3) and reference_boxes.shape[-1] == 4)  # fmt: skip
    _check.floating(op, "reference_boxes", xp, reference_boxes)
    _check_like(op, "proposals", xp, proposals, "reference_boxes", reference_boxes)


def _check_like(op: str, name: str, xp: Namespace, x: Array, like_name: str, like: Array) -> None:
    expected = tuple(like.shape)
    _check.shape(op, name, f"{expected} like {like_name}", x, tuple(x.shape) == expected)
    _check.same_dtype(op, name, xp, x, like_name, like)


def _check_decode(op: str, xp: Namespace, deltas: Array, boxes: Array) -> None:
    dims = len(deltas.shape)
    _check.shape(op, "deltas", "(N, 4 K) or (B, N, 4 K)", deltas,
                 dims in (2, 3) and deltas.shape[-1] % 4 == 0)  # fmt: skip
    _check.floating(op, "deltas", xp, deltas)
    rows = tuple(deltas.shape[:-1])
    _check.shape(
        op, "boxes", f"{(*rows[-1:], 4)}" + (f" or {(*rows, 4)}" if dims == 3 else ""), boxes,
        tuple(boxes.shape) in ((*rows[-1:], 4), (*rows, 4)),
    )  # fmt: skip
    _check.same_dtype(op, "boxes", xp, boxes, "deltas", deltas)


def _batched(x: Array) -> Array:
    return x if len(x.shape) == 3 else x[None]


# fmt: off
def _allocate_encode(xp, reference_boxes, proposals, weights, plus_one):
    _check_encode("encode_boxes", xp, reference_boxes, proposals)
    return xp.empty(tuple(proposals.shape), xp.dtype(proposals), proposals)


def _compute_encode(xp, deltas, reference_boxes, proposals, weights, plus_one):
    xp.core.encode_boxes(
        *(xp.describe(x.reshape(-1, 4)) for x in (deltas, reference_boxes, proposals)),
        weights, plus_one, xp.execution(),
    )


def _allocate_encode_backward(xp, grad_output, reference_boxes, proposals, weights, plus_one):
    op = "encode_boxes_backward"
    _check_encode(op, xp, reference_boxes, proposals)
    _check_like(op, "grad_output", xp, grad_output, "proposals", proposals)
    shape, dtype = tuple(proposals.shape), xp.dtype(proposals)
    return xp.empty(shape, dtype, proposals), xp.empty(shape, dtype, proposals)


def _compute_encode_backward(
    xp, grads, grad_output, reference_boxes, proposals, weights, plus_one
):
    arrays = (*grads, grad_output, reference_boxes, proposals)
    xp.core.encode_boxes_backward(
        *(xp.describe(x.reshape(-1, 4)) for x in arrays), weights, plus_one, xp.execution(),
    )


def _allocate_decode(xp, deltas, boxes, weights, scale_clamp, clip_to, plus_one):
    _check_decode("decode_boxes", xp, deltas, boxes)
    return xp.empty(tuple(deltas.shape), xp.dtype(deltas), deltas)


def _compute_decode(xp, decoded, deltas, boxes, weights, scale_clamp, clip_to, plus_one):
    xp.core.decode_boxes(
        *(xp.describe(_batched(x)) for x in (decoded, deltas, boxes)),
        weights, scale_clamp, clip_to, plus_one, xp.execution(),
    )


def _allocate_decode_backward(
    xp, grad_output, deltas, boxes, weights, scale_clamp, clip_to, plus_one
):
    op = "decode_boxes_backward"
    _check_decode(op, xp, deltas, boxes)
    _check_like(op, "grad_output", xp, grad_output, "deltas", deltas)
    return tuple(xp.empty(tuple(x.shape), xp.dtype(x), x) for x in (deltas, boxes))


def _compute_decode_backward(
    xp, grads, grad_output, deltas, boxes, weights, scale_clamp, clip_to, plus_one
):
    arrays = (*grads, grad_output, deltas, boxes)
    xp.core.decode_boxes_backward(
        *(xp.describe(_batched(x)) for x in arrays),
        weights, scale_clamp, clip_to, plus_one, xp.execution(),
    )


# torch's autograd. Both functions have two arrays in front, then options.


def _save(ctx, inputs, output):
    first, second, *ctx.options = inputs
    ctx.save_for_backward(first, second)


def _encode_backward(xp, ctx, grad_output):
    return *xp.call(_ENCODE_BACKWARD, grad_output, *ctx.saved_tensors, *ctx.options), None, None


def _decode_backward(xp, ctx, grad_output):
    return *xp.call(_DECODE_BACKWARD, grad_output, *ctx.saved_tensors, *ctx.options), *[None] * 4


_DECODE_OPTIONS = "float[] weights, float scale_clamp, SymInt[]? clip_to, bool plus_one"
_ENCODE = Operator(
    "encode_boxes",
    "(Tensor reference_boxes, Tensor proposals, float[] weights, bool plus_one) -> Tensor",
    _allocate_encode, _compute_encode, _save, _encode_backward,
)
_ENCODE_BACKWARD = Operator(
    "encode_boxes_backward",
    "(Tensor grad_output, Tensor reference_boxes, Tensor proposals, float[] weights, "
    "bool plus_one) -> (Tensor, Tensor)",
    _allocate_encode_backward, _compute_encode_backward, backward=once_only("encode_boxes"),
)
_DECODE = Operator(
    "decode_boxes",
    f"(Tensor deltas, Tensor boxes, {_DECODE_OPTIONS}) -> Tensor",
    _allocate_decode, _compute_decode, _save, _decode_backward,
)
_DECODE_BACKWARD = Operator(
    "decode_boxes_backward",
    f"(Tensor grad_output, Tensor deltas, Tensor boxes, {_DECODE_OPTIONS}) -> (Tensor, Tensor)",
    _allocate_decode_backward, _compute_decode_backward, backward=once_only("decode_boxes"),
)
