"""Which target a box is responsible for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roiops import _check
from roiops._arrays import Array, adopt
from roiops._fx import leaf
from roiops._operators import Operator


@leaf
def match_boxes(
    targets: Array | Sequence[Array],
    boxes: Array | Sequence[Array],
    high: float,
    low: float,
    *,
    allow_low_quality: bool = False,
) -> tuple[Any, Any, Any]:
    """Match each box to the target that it overlaps most, and label it positive or negative.

    Overlap, argmax and labels are found in one pass: the (targets x boxes) matrix is never stored.

    Args:
        targets: (G, 4) [x1, y1, x2, y2], any floating dtype (16-bit ones are read as float32); or a
            list of B such arrays, one per image.
        boxes: (N, 4) anchors or proposals of the targets' dtype; with a list of targets, one
            array that the images share, or a list of B arrays.
        high: a box whose greatest IoU is at least this is positive.
        low: one whose greatest IoU is less than this is negative; at most ``high``.
        allow_low_quality: also make positive every box that ties a target's greatest IoU with any
            box, if that is not 0, so that no target goes without; it keeps its own match.

    Returns:
        ``matched_idxs`` (N,) int64, the target of greatest IoU (the lowest index among equals, 0
        without targets); ``labels`` (N,) int8, 1 positive, 0 negative, -1 between, all 0 without
        targets; ``ious`` (N,), the greatest IoU, float32 or float64. For a list of targets each
        is stacked to (B, N) with shared boxes, or a list of B arrays. Not differentiable.

    Raises:
        ValueError: wrong shape, ``low`` greater than ``high``, lists of different length.
        TypeError: an array of another kind or dtype.

    Source: Ren et al., Faster R-CNN (2015), section 3.1.2 (0.7, 0.3, low quality); He et al.,
    "Mask R-CNN" (2017), section 3.1 (0.5, 0.5); labels as torchvision's and detectron2's Matcher.

    >>> import numpy as np, roiops
    >>> targets = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    >>> boxes = np.array([[0, 0, 10, 9], [20, 20, 30, 24], [40, 0, 50, 10]], np.float32)
    >>> roiops.match_boxes(targets, boxes, 0.7, 0.3, allow_low_quality=True)
    (array([0, 1, 0]), array([1, 1, 0], dtype=int8), array([0.9, 0.4, 0. ], dtype=float32))
    """
    op = "match_boxes"
    several, shared = isinstance(targets, (list, tuple)), not isinstance(boxes, (list, tuple))
    if not (several or shared):
        raise TypeError(f"{op}: boxes must be one array when targets is one; got {type(boxes)}")
    target_list: list[Array] = list(targets) if several else [targets]
    box_list: list[Array] = [boxes] if shared else list(boxes)
    if not target_list or (not shared and len(box_list) != len(target_list)):
        raise ValueError(
            f"{op}: targets and boxes must be lists of equal length, at least 1; "
            f"got {len(target_list)} and {len(box_list)}"
        )
    xp, target_list, box_list = adopt(
        op, lists=["targets", "boxes"], targets=target_list, boxes=box_list
    )
    target_list, box_list = (
        [_check.promoted(xp, x) for x in arrays] for arrays in (target_list, box_list)
    )
    low, high = _check.number(op, "low", low), _check.number(op, "high", high)
    if low > high:
        raise ValueError(f"{op}: low must be at most high ({high}); got {low}")
    matches = xp.call(
        _MATCH,
        target_list,
        box_list,
        high,
        low,
        _check.flag(op, "allow_low_quality", allow_low_quality),
    )
    if not several:
        return matches
    if shared:
        return tuple(x.reshape(len(target_list), box_list[0].shape[0]) for x in matches)
    per_image, begin = [], 0
    for b in box_list:
        per_image.append([x[begin : begin + b.shape[0]] for x in matches])
        begin += b.shape[0]
    matched_idxs, labels, ious = (list(results) for results in zip(*per_image, strict=True))
    return matched_idxs, labels, ious


# fmt: off
def _allocate(xp, targets, boxes, high, low, allow_low_quality):
    op, first = "match_boxes", boxes[0]
    for name, arrays in (("boxes", boxes), ("targets", targets)):
        for i, x in enumerate(arrays):
            label = f"{name}[{i}]" if len(arrays) > 1 else name
            _check.boxes(op, label, xp, x)
            _check.same_dtype(op, label, xp, x, "boxes", first)
    total = len(targets) * first.shape[0] if len(boxes) == 1 else sum(b.shape[0] for b in boxes)
    return (xp.empty((total,), "int64", first), xp.empty((total,), "int8", first),
            xp.empty((total,), xp.dtype(first), first))


def _compute(xp, outputs, targets, boxes, high, low, allow_low_quality):
    xp.core.match_boxes(
        *(xp.describe(x) for x in outputs), [xp.describe(x) for x in targets],
        [xp.describe(x) for x in boxes], high, low, allow_low_quality, xp.execution(),
    )


_MATCH = Operator(
    "match_boxes",
    "(Tensor[] targets, Tensor[] boxes, float high, float low, bool allow_low_quality) "
    "-> (Tensor, Tensor, Tensor)",
    _allocate, _compute,
)
