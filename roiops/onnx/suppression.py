"""NMS by NonMaxSuppression, from the boxes in the order of their scores.

Scores are replaced by ranks: equal scores are then no question of the runtime's, scores of any type
are compared exactly, and a box takes part in its own group alone by having a rank of 0 in the
others, which the operator's score threshold leaves out.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from roiops.onnx.values import FLOAT, INT64, Size, Value, all_of, columns, constants, nonzero, op


def nms(
    boxes: Value, scores: Value, idxs: Value | None, iou_threshold: float, plus_one: bool
) -> Value:
    if plus_one:
        raise NotImplementedError("nms: plus_one must be False for ONNX; got True")
    operator, every = "nms" if idxs is None else "batched_nms", op.Shape(scores)
    order, kept = suppress(operator, boxes, scores, idxs, iou_threshold, every)
    return op.Gather(op.Squeeze(order, [0]), nonzero(op.Squeeze(kept, [0])))


def padded_nms(
    boxes: Value,
    scores: Value,
    idxs: Value | None,
    iou_threshold: float,
    max_output: Size,
    score_threshold: float | None,
) -> tuple[Value, Value]:
    most = op.Reshape(max_output, [1])
    order, kept = suppress("padded_nms", boxes, scores, idxs, iou_threshold, most, score_threshold)
    number = op.CumSum(op.Cast(kept, to=INT64), 1)  # of the kept, from 1
    taken = op.And(kept, number <= most)
    counts = op.ReduceSum(op.Cast(taken, to=INT64), [1], keepdims=0)
    at = op.Transpose(op.NonZero(taken), perm=[1, 0])  # (M, 2): image and rank
    image = op.Gather(at, [0], axis=1)
    place = op.Unsqueeze(op.GatherND(number, at), [1]) - constants(INT64)(1)
    size = op.Concat(op.Shape(boxes, end=1), most, axis=0)
    empty = op.Expand(constants(INT64)(-1), size)
    indices = op.ScatterND(empty, op.Concat(image, place, axis=1), op.GatherND(order, at))
    return indices, counts


def suppress(
    operator: str,
    boxes: Value,
    scores: Value,
    idxs: Value | None,
    iou_threshold: float,
    most: Value,
    score_threshold: float | None = None,
) -> tuple[Value, Value]:
    """The boxes' indices by rank, and which of these are kept, both (B, N); B is 1 for one image.

    Of a group no more than the ``most`` first are kept.
    """
    if boxes.dtype != FLOAT:
        raise NotImplementedError(
            f"{operator}: boxes must be float32 for ONNX, whose NonMaxSuppression takes no others; "
            f"got {boxes.dtype.numpy()}"
        )
    real, ranked = constants(FLOAT), constants(scores.dtype)
    scores = op.Where(op.IsNaN(scores), ranked(-np.inf), scores)
    if len(boxes.shape) == 2:
        boxes, scores = op.Unsqueeze(boxes, [0]), op.Unsqueeze(scores, [0])
        idxs = None if idxs is None else op.Unsqueeze(idxs, [0])
    count = op.Shape(scores, start=-1)
    scores, order = op.TopK(scores, count)
    boxes = of_rank(boxes, order)

    # (B, groups, N): the greatest number is the best box's, the least is 1.
    shape = op.Concat(op.Shape(order, end=1), constants(INT64)([1]), count, axis=0)
    ranks = op.Expand(op.Cast(op.Range(op.Squeeze(count), 0, -1), to=FLOAT), shape)
    if score_threshold is not None:
        high = op.Unsqueeze(scores > ranked(score_threshold), [1])
        ranks = op.Where(high, ranks, real(0))
    if idxs is not None:
        groups, *_ = op.Unique(idxs)
        member = op.Equal(op.Unsqueeze(of_rank(idxs, order), [1]), op.Unsqueeze(groups, [1]))
        ranks = op.Where(member, ranks, real(0))

    # Flipped boxes meet nobody here; the operator would turn them round. Nor do those not finite.
    x1, y1, x2, y2 = columns(boxes)
    usable = (
        condition
        for side in (x2 - x1, y2 - y1)
        for condition in (side > real(0), side < real(np.inf))
    )
    boxes = op.Where(all_of(*usable), boxes, real(0))
    chosen = op.NonMaxSuppression(boxes, ranks, most, real([iou_threshold]), real([0]))
    at = op.Gather(chosen, [0, 2], axis=1)  # image and rank
    nobody = op.ConstantOfShape(op.Shape(order), value=ir.tensor(np.array([False])))
    everybody = op.ConstantOfShape(op.Shape(at, end=1), value=ir.tensor(np.array([True])))
    return order, op.ScatterND(nobody, at, everybody)


def of_rank(values: Value, order: Value) -> Value:
    """(B, N, ...) in the order (B, N)."""
    return op.GatherND(values, op.Unsqueeze(order, [-1]), batch_dims=1)


TRANSLATIONS = {"nms": nms, "padded_nms": padded_nms}
