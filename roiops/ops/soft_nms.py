"""Soft non-maximum suppression: overlapping boxes lose score."""

from __future__ import annotations

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator
from roiops.ops.nms import check_candidates, threshold

METHODS = ("linear", "gaussian", "hard")
_LEAST_SIGMA = 1e-30


@leaf
def soft_nms(
    boxes: Array,
    scores: Array,
    *,
    idxs: Array | None = None,
    method: str = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Array, Array]:
    """Lower the scores of boxes that overlap better ones, instead of suppressing them.

    Again and again the box with the greatest score that is left is selected, and the score s of
    each other one (of its group) becomes, with ``method``

    - "linear": s (1 - IoU) where IoU > ``iou_threshold``;
    - "gaussian": s exp(-IoU^2 / ``sigma``);
    - "hard": nothing, where IoU > ``iou_threshold``: the box is dropped, as ``nms`` does.

    A box whose score is less than ``score_threshold``, from the start or after it was lowered, is
    dropped: it is not returned and lowers no scores.

    Args:
        boxes: (N, 4) [x1, y1, x2, y2], continuous coordinates, any floating dtype (16-bit ones are
            read as float32).
        scores: (N,) any floating dtype.
        idxs: (N,) int64 group of each box: boxes of different groups never meet.
        method: "linear", "gaussian" or "hard".
        iou_threshold: in [0, 1]; not used by "gaussian".
        sigma: greater than 0 (at least 1e-30); used by "gaussian" alone.
        score_threshold: at least 0.

    Returns:
        (M,) int64 indices in the order of selection, that is by descending new score, equal ones by
        lower index; and the (M,) new scores, in the scores' dtype (float32 for 16-bit ones). A box
        whose score is NaN is dropped. One with a non-finite coordinate keeps its score and lowers
        no other.

        Which boxes are returned does not depend on the machine: IoU and factor are computed in
        the boxes' dtype, the product in the scores', without fused multiply-add, and exp(x) by the
        plain arithmetic of ``roiops.reference.exponential``.

    Not differentiable.

    Raises:
        ValueError: wrong shape, method or threshold.
        TypeError: an array of another kind or dtype.

    Source: Bodla et al., Soft-NMS (2017); defaults as Detectron.

    >>> import numpy as np, roiops
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)
    >>> scores = np.array([0.8, 0.7, 0.5], np.float32)
    >>> roiops.soft_nms(boxes, scores)
    (array([0, 2, 1]), array([0.8 , 0.5 , 0.35], dtype=float32))
    """
    op = "soft_nms"
    xp, boxes, scores, idxs = adopt(op, optional=("idxs",), boxes=boxes, scores=scores, idxs=idxs)
    _check.choice(op, "method", method, METHODS)
    iou_threshold = threshold(op, iou_threshold)
    sigma = _check.number(op, "sigma", sigma, 0)
    if sigma < _LEAST_SIGMA:  # it would be 0 as a float32
        raise ValueError(f"{op}: sigma must be at least {_LEAST_SIGMA:g}; got {sigma!r}")
    least = _check.number(op, "score_threshold", score_threshold)
    if least < 0:
        # A negative score would be raised, not lowered.
        raise ValueError(f"{op}: score_threshold must be at least 0; got {score_threshold!r}")
    boxes, scores = _check.promoted(xp, boxes), _check.promoted(xp, scores)
    return xp.call(_SOFT_NMS, boxes, scores, idxs, method, iou_threshold, sigma, least)


# fmt: off
def _allocate(xp: Namespace, boxes, scores, idxs, method, iou_threshold, sigma, score_threshold):
    _check.boxes("soft_nms", "boxes", xp, boxes)
    n = boxes.shape[0]
    check_candidates("soft_nms", xp, (n,), scores, idxs)
    return xp.empty((n,), "int64", boxes), xp.empty((n,), xp.dtype(scores), boxes)


def _compute(xp: Namespace, outputs, boxes, scores, idxs, method, iou_threshold, sigma,
             score_threshold):
    keep, new_scores = outputs
    count = xp.core.soft_nms(
        xp.describe(keep), xp.describe(new_scores), xp.describe(boxes), xp.describe(scores),
        None if idxs is None else xp.describe(idxs), method, iou_threshold, sigma, score_threshold,
        xp.execution(),
    )
    # Copies: the few kept must not hold the memory of all.
    return xp.concatenate([keep[:count]], 0), xp.concatenate([new_scores[:count]], 0)


def _fake(xp, boxes, scores, idxs, *options):
    """How many are kept is known only at run time: a new symbol, the same for both."""
    _allocate(xp, boxes, scores, idxs, *options)
    count = xp.unknown_size()
    return xp.empty((count,), "int64", boxes), xp.empty((count,), xp.dtype(scores), boxes)


_SOFT_NMS = Operator(
    "soft_nms",
    "(Tensor boxes, Tensor scores, Tensor? idxs, str method, float iou_threshold, float sigma,"
    " float score_threshold) -> (Tensor, Tensor)",
    _allocate, _compute, fake=_fake,
)
