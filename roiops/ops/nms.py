"""Non-maximum suppression, of all boxes together or group by group."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator

_MAX_OUTPUT = 2**24  # per image: memory is taken for as many


@leaf
def nms(boxes: Array, scores: Array, iou_threshold: float, *, plus_one: bool = False) -> Array:
    """Keep the boxes that overlap no better one by more than a threshold.

    A box is suppressed if its IoU with a kept box of higher score is strictly greater than
    ``iou_threshold``. IoU and threshold are compared in the boxes' dtype, without fused
    multiply-add, so the list is the same on every machine. (torchvision's CPU compares a float32
    IoU with a float64 threshold: at IoU = 0.2 and threshold 0.2 it suppresses, its GPU does not.)

    Args:
        boxes: (N, 4) [x1, y1, x2, y2], continuous coordinates, any floating dtype (16-bit ones are
            read as float32).
        scores: (N,) any floating dtype.
        iou_threshold: in [0, 1].
        plus_one: legacy convention in which width is x2 - x1 + 1.

    Returns:
        (M,) int64 indices of the kept boxes by descending score; equal scores by lower index, NaN
        scores last. A box with a non-finite coordinate is kept and suppresses nothing; a NaN score
        suppresses nothing.

    Raises:
        ValueError: wrong shape, threshold outside [0, 1].
        TypeError: an array of another kind or dtype.

    Source: greedy NMS as in Faster R-CNN's reference implementation; order as torchvision.ops.nms.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
    >>> roiops.nms(boxes, np.array([0.8, 0.9, 0.3], np.float32), 0.5)
    array([1, 2])
    """
    xp, boxes, scores = adopt("nms", boxes=boxes, scores=scores)
    iou_threshold = threshold("nms", iou_threshold)
    boxes, scores = _check.promoted(xp, boxes), _check.promoted(xp, scores)
    return xp.call(
        _NMS, boxes, scores, None, iou_threshold, _check.flag("nms", "plus_one", plus_one)
    )


@leaf
def batched_nms(boxes: Array, scores: Array, idxs: Array, iou_threshold: float) -> Array:
    """NMS in which boxes of different groups (classes, pyramid levels, images) never meet.

    Groups are compared as such. torchvision shifts the boxes of each group apart instead, which
    loses float digits and lets some groups meet: (0, 0, 10, 10) of group 0 and (-12, -12, -1, -1)
    of group 1 get an IoU of 0.83 there.

    Args:
        boxes, scores, iou_threshold: as in ``nms``.
        idxs: (N,) int64 group of each box, any values.

    Returns:
        (M,) int64 indices of the kept boxes of all groups by descending score.

    Raises: as ``nms``.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]], np.float32)
    >>> scores = np.array([0.8, 0.9, 0.3], np.float32)
    >>> roiops.batched_nms(boxes, scores, np.array([0, 1, 1]), 0.5)
    array([1, 0])
    """
    xp, boxes, scores, idxs = adopt("batched_nms", boxes=boxes, scores=scores, idxs=idxs)
    iou_threshold = threshold("batched_nms", iou_threshold)
    boxes, scores = _check.promoted(xp, boxes), _check.promoted(xp, scores)
    return xp.call(_NMS, boxes, scores, idxs, iou_threshold, False)


@leaf
def padded_nms(
    boxes: Array,
    scores: Array,
    idxs: Array | None,
    iou_threshold: float,
    *,
    max_output: int,
    score_threshold: float | None = None,
) -> tuple[Array, Array]:
    """NMS of several images in one call, with outputs whose shape is known beforehand.

    Each image is treated by itself, as by ``batched_nms`` (``nms`` without ``idxs``); the first
    ``max_output`` of what it keeps are returned.

    Args:
        boxes: (B, N, 4) [x1, y1, x2, y2], continuous coordinates, any floating dtype (16-bit ones
            are read as float32).
        scores: (B, N) any floating dtype.
        idxs: (B, N) int64 group of each box, or None: all boxes of an image are one group.
        iou_threshold: in [0, 1].
        max_output: how many to keep of an image at most, from 1 to 2^24.
        score_threshold: only boxes with a score greater than this take part (a NaN never does),
            compared in the scores' dtype; None: all.

    Returns:
        indices (B, max_output) int64, of each image the kept boxes by descending score, equal
        scores by lower index, then -1; and counts (B,) int64, how many there are.

    Not differentiable.

    Raises:
        ValueError: wrong shape, threshold outside [0, 1], max_output out of bounds.
        TypeError: an array of another kind or dtype.

    Source: as ``nms``; the form is that of TensorFlow's combined and padded NMS.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]]] * 2, np.float32)
    >>> scores = np.array([[0.8, 0.9, 0.3], [0.8, 0.1, 0.2]], np.float32)
    >>> roiops.padded_nms(boxes, scores, None, 0.5, max_output=3, score_threshold=0.25)
    (array([[ 1,  2, -1],
           [ 0, -1, -1]]), array([2, 1]))
    """
    op = "padded_nms"
    xp, boxes, scores, idxs = adopt(op, optional=("idxs",), boxes=boxes, scores=scores, idxs=idxs)
    iou_threshold = threshold(op, iou_threshold)
    max_output = _check.whole(op, "max_output", max_output, 1, _MAX_OUTPUT)
    if score_threshold is not None:
        score_threshold = _check.number(op, "score_threshold", score_threshold)
    boxes, scores = _check.promoted(xp, boxes), _check.promoted(xp, scores)
    return xp.call(_PADDED_NMS, boxes, scores, idxs, iou_threshold, max_output, score_threshold)


def threshold(op: str, iou_threshold: float) -> float:
    result = _check.number(op, "iou_threshold", iou_threshold)
    if not 0 <= result <= 1:
        raise ValueError(f"{op}: iou_threshold must be in [0, 1]; got {iou_threshold!r}")
    return result


def check_candidates(
    op: str, xp: Namespace, shape: tuple[int, ...], scores: Array, idxs: Array | None
) -> None:
    """Raise unless scores and idxs have one entry per box, ``shape`` being that of the boxes."""
    for name, array, check in (("scores", scores, _check.floating), ("idxs", idxs, _check.integer)):
        if array is not None:
            _check.shape(
                op, name, f"{tuple(shape)}, one per box", array, tuple(array.shape) == tuple(shape)
            )
            check(op, name, xp, array)


# fmt: off
def _allocate(xp: Namespace, boxes, scores, idxs, iou_threshold, plus_one):
    op = "nms" if idxs is None else "batched_nms"
    _check.boxes(op, "boxes", xp, boxes)
    n = boxes.shape[0]
    check_candidates(op, xp, (n,), scores, idxs)
    return xp.empty((n,), "int64", boxes)


def _compute(xp: Namespace, keep, boxes, scores, idxs, iou_threshold, plus_one):
    count = xp.core.nms(
        xp.describe(keep), xp.describe(boxes), xp.describe(scores),
        None if idxs is None else xp.describe(idxs), iou_threshold, plus_one, xp.execution(),
    )
    # A copy: the few kept must not hold the memory of all.
    return xp.concatenate([keep[:count]], 0)


def _fake(xp, boxes, scores, idxs, iou_threshold, plus_one):
    """How many are kept is known only at run time: a new symbol."""
    _allocate(xp, boxes, scores, idxs, iou_threshold, plus_one)
    return xp.empty((xp.unknown_size(),), "int64", boxes)


_NMS = Operator(
    "nms",
    "(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold, bool plus_one) -> Tensor",
    _allocate, _compute, fake=_fake,
)


def _allocate_padded(xp: Namespace, boxes, scores, idxs, iou_threshold, max_output,
                     score_threshold):
    op = "padded_nms"
    _check.shape(op, "boxes", "(B, N, 4) [x1, y1, x2, y2]", boxes,
                 len(boxes.shape) == 3 and boxes.shape[2] == 4)
    _check.floating(op, "boxes", xp, boxes)
    images, n, _ = boxes.shape
    check_candidates(op, xp, (images, n), scores, idxs)
    return xp.empty((images, max_output), "int64", boxes), xp.empty((images,), "int64", boxes)


def _compute_padded(xp: Namespace, outputs, boxes, scores, idxs, iou_threshold, max_output,
                    score_threshold):
    indices, counts = outputs
    xp.core.padded_nms(
        xp.describe(indices), xp.describe(counts), xp.describe(boxes), xp.describe(scores),
        None if idxs is None else xp.describe(idxs), iou_threshold, score_threshold, xp.execution(),
    )


_PADDED_NMS = Operator(
    "padded_nms",
    "(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold, SymInt max_output,"
    " float? score_threshold) -> (Tensor, Tensor)",
    _allocate_padded, _compute_padded,
)
