"""Every error: its type, and a message with operator, argument, expectation and what was got."""

import re
from collections.abc import Callable

import numpy as np
import pytest

import roiops

F = np.zeros((2, 3, 8, 8), np.float32)
ROIS = np.array([[0, 1, 1, 4, 4], [1, 2, 2, 5, 5.0]], np.float32)
BOXES = np.array([[1, 1, 4, 4], [2, 2, 5, 5], [0, 0, 3, 3.0]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
IDXS = np.array([0, 1, 0])
GRAD = np.zeros((2, 3, 2, 2), np.float32)
WIDE_GRAD = np.broadcast_to(np.float32(1), (2, 3, 2, 2**40))
MASKS = np.zeros((3, 5, 5), np.float32)
KEYPOINTS = np.zeros((3, 17, 3), np.float32)
HEATMAPS = np.zeros((3, 17, 5, 5), np.float32)
DELTAS = np.zeros((3, 8), np.float32)
PYRAMID = [F, np.ascontiguousarray(F[:, :, ::2, ::2])]
SCALES = [0.5, 0.25]

Call = Callable[[], object]


def ops(name: str, *args: object, **kwargs: object) -> Call:
    return lambda: getattr(roiops, name)(*args, **kwargs)


def with_index(value: float) -> np.ndarray:
    """ROIS whose second batch index is `value`."""
    rois = ROIS.copy()
    rois[1, 0] = value
    return rois


def anchors(**changes: object) -> Call:
    arguments = {
        "feature_sizes": [(2, 3)],
        "strides": [8],
        "sizes": [(32,)],
        "aspect_ratios": [(1.0,)],
    } | changes
    return ops("grid_anchors", **arguments)


def cell(*args: object, **kwargs: object) -> Call:
    return ops("cell_anchors", *args, **kwargs)


def encode(keypoints: object = KEYPOINTS, boxes: object = BOXES, size: object = 7) -> Call:
    return ops("keypoints_to_heatmap", keypoints, boxes, size)


def decode(heatmaps: object = HEATMAPS, boxes: object = BOXES) -> Call:
    return ops("heatmaps_to_keypoints", heatmaps, boxes)


def padded(**changes: object) -> Call:
    arguments = {
        "boxes": BOXES[None],
        "scores": SCORES[None],
        "idxs": None,
        "iou_threshold": 0.5,
        "max_output": 2,
    } | changes
    return ops("padded_nms", **arguments)


# (operator named in the message, argument, exception, part of the message, call)
CASES: list[tuple[str, str, type[Exception], str, Call]] = [
    # roi_align: shapes and values
    ("roi_align", "input", ValueError, "(3, 8, 8)", ops("roi_align", F[0], ROIS, 2)),
    ("roi_align", "input", ValueError, "(2, 3, 0, 8)", ops("roi_align", F[:, :, :0], ROIS, 2)),
    ("roi_align", "boxes", ValueError, "(3, 4)", ops("roi_align", F, BOXES, 2)),
    ("roi_align", "boxes", ValueError, "(5,)", ops("roi_align", F, ROIS[0], 2)),
    ("roi_align", "boxes", ValueError, "got 1", ops("roi_align", F, [BOXES], 2)),
    ("roi_align", "boxes", ValueError, "(2, 5)", ops("roi_align", F, [BOXES, ROIS], 2)),
    ("roi_align", "output_size", ValueError, "got 0", ops("roi_align", F, ROIS, 0)),
    ("roi_align", "output_size", ValueError, "got -1", ops("roi_align", F, ROIS, (2, -1))),
    ("roi_align", "output_size", ValueError, "(1, 2, 3)", ops("roi_align", F, ROIS, (1, 2, 3))),
    ("roi_align", "output_size", TypeError, "2.5", ops("roi_align", F, ROIS, 2.5)),
    ("roi_align", "spatial_scale", ValueError, "got 0", ops("roi_align", F, ROIS, 2, 0)),
    ("roi_align", "spatial_scale", TypeError, "'0.5'", ops("roi_align", F, ROIS, 2, "0.5")),
    ("roi_align", "spatial_scale", ValueError, "finite", ops("roi_align", F, ROIS, 2, 10**400)),
    ("roi_align", "sampling_ratio", TypeError, "None", ops("roi_align", F, ROIS, 2, 1.0, None)),
    ("roi_align", "sampling_ratio", TypeError, "2.7", ops("roi_align", F, ROIS, 2, 1.0, 2.7)),
    ("roi_align", "aligned", TypeError, "'no'", ops("roi_align", F, ROIS, 2, 1.0, 2, "no")),
    (
        "multiscale_roi_align",
        "spatial_scales",
        TypeError,
        "got 0.5",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, 0.5),
    ),
    ("roi_align", "spatial_scale", TypeError, "True", ops("roi_align", F, ROIS, 2, True)),
    ("roi_align", "output_size", ValueError, "at most", ops("roi_align", F, ROIS, 10**30)),
    ("roi_align", "reduction", ValueError, "None", ops("roi_align", F, ROIS, 2, reduction=None)),
    ("roi_align", "input", TypeError, "got list", ops("roi_align", [F], ROIS, 2)),
    ("roi_align", "boxes", TypeError, "floating", ops("roi_align", F, ROIS.astype(int), 2)),
    ("nms", "boxes", TypeError, "got list", ops("nms", [BOXES], SCORES, 0.5)),
    ("nms", "iou_threshold", TypeError, "True", ops("nms", BOXES, SCORES, True)),
    (
        "multiscale_roi_align",
        "inputs",
        ValueError,
        "empty",
        ops("multiscale_roi_align", [], ROIS, 2, []),
    ),
    (
        "multiscale_roi_align",
        "boxes",
        ValueError,
        "(5,)",
        ops("multiscale_roi_align", PYRAMID, ROIS[0], 2, SCALES),
    ),
    ("nms", "plus_one", TypeError, "got 1", ops("nms", BOXES, SCORES, 0.5, plus_one=1)),
    ("box_iou", "plus_one", TypeError, "got 1", ops("box_iou", BOXES, BOXES, plus_one=1)),
    ("fpn_levels", "max_level", ValueError, "at most 60", ops("fpn_levels", BOXES, 2, 10**9)),
    (
        "paste_masks",
        "padding",
        ValueError,
        "at most 1000",
        ops("paste_masks", MASKS, BOXES, (9, 9), padding=10**18),
    ),
    ("grid_anchors", "feature_sizes", TypeError, "got None", anchors(feature_sizes=None)),
    ("grid_anchors", "feature_sizes", TypeError, "got 4", anchors(feature_sizes=[4])),
    ("grid_anchors", "sizes", TypeError, "got 32", anchors(sizes=[32])),
    ("grid_anchors", "strides", ValueError, "(1, 2, 3)", anchors(strides=[(1, 2, 3)])),
    ("set_num_threads", "threads", ValueError, "at most", ops("set_num_threads", 10**12)),
    ("roi_align", "spatial_scale", ValueError, "nan", ops("roi_align", F, ROIS, 2, np.nan)),
    ("roi_align", "spatial_scale", ValueError, "inf", ops("roi_align", F, ROIS, 2, np.inf)),
    ("roi_align", "spatial_scale", TypeError, "got []", ops("roi_align", F, ROIS, 2, [])),
    ("roi_align", "sampling_ratio", ValueError, "4097", ops("roi_align", F, ROIS, 2, 1.0, 4097)),
    (
        "roi_align",
        "reduction",
        ValueError,
        "'sum'",
        ops("roi_align", F, ROIS, 2, reduction="sum"),
    ),
    # position-sensitive pooling
    ("ps_roi_align", "input", ValueError, "(2, 3, 8, 8)", ops("ps_roi_align", F, ROIS, 2)),
    ("ps_roi_align", "input", ValueError, "2 * 3", ops("ps_roi_align", F, ROIS, (2, 3))),
    ("ps_roi_align", "input", TypeError, "int64", ops("ps_roi_align", F.astype(int), ROIS, 1)),
    ("ps_roi_align", "boxes", ValueError, "(3, 4)", ops("ps_roi_align", F, BOXES, 1)),
    ("ps_roi_align", "output_size", ValueError, "got 0", ops("ps_roi_align", F, ROIS, 0)),
    ("ps_roi_align", "spatial_scale", ValueError, "nan", ops("ps_roi_align", F, ROIS, 1, np.nan)),
    (
        "ps_roi_align",
        "sampling_ratio",
        ValueError,
        "4097",
        ops("ps_roi_align", F, ROIS, 1, 1, 4097),
    ),
    (
        "ps_roi_align_backward",
        "grad_output",
        ValueError,
        "C * height * width = 3",
        ops("ps_roi_align_backward", GRAD, F, ROIS),
    ),
    (
        "ps_roi_align_backward",
        "grad_output",
        ValueError,
        "(2, 3, 0, 1)",
        ops("ps_roi_align_backward", GRAD[:, :, :0, :1], F, ROIS),
    ),
    ("ps_roi_pool", "input", ValueError, "(2, 3, 8, 8)", ops("ps_roi_pool", F, ROIS, 2)),
    ("ps_roi_pool", "input", ValueError, "(3, 8, 8)", ops("ps_roi_pool", F[0], ROIS, 1)),
    ("ps_roi_pool", "boxes", TypeError, "int64", ops("ps_roi_pool", F, ROIS.astype(int), 1)),
    ("ps_roi_pool", "output_size", TypeError, "None", ops("ps_roi_pool", F, ROIS, None)),
    ("ps_roi_pool", "spatial_scale", TypeError, "'1'", ops("ps_roi_pool", F, ROIS, 1, "1")),
    (
        "ps_roi_pool_backward",
        "grad_output",
        TypeError,
        "float64",
        ops("ps_roi_pool_backward", GRAD[:, :, :1, :1].astype(float), F, ROIS),
    ),
    *(
        (op, "boxes[1, 0]", IndexError, "got 2", ops(op, F, with_index(2), 1))
        for op in ("ps_roi_align", "ps_roi_pool")
    ),
    # roi_align: kinds and dtypes
    ("roi_align", "input", TypeError, "int64", ops("roi_align", F.astype(int), ROIS, 2)),
    ("roi_align", "input", TypeError, "bool", ops("roi_align", F.astype(bool), ROIS, 2)),
    ("roi_align", "input", TypeError, "complex64", ops("roi_align", F + 0j, ROIS, 2)),
    ("roi_align", "boxes", TypeError, "int64", ops("roi_align", F, ROIS.astype(int), 2)),
    ("roi_align", "input", TypeError, "list", ops("roi_align", F.tolist(), ROIS, 2)),
    ("roi_align", "boxes", TypeError, "str", ops("roi_align", F, "boxes", 2)),
    ("roi_align", "input", TypeError, "NoneType", ops("roi_align", None, ROIS, 2)),
    ("roi_align", "boxes", TypeError, "NoneType", ops("roi_align", F, None, 2)),
    ("nms", "scores", TypeError, "NoneType", ops("nms", BOXES, None, 0.5)),
    ("batched_nms", "idxs", TypeError, "NoneType", ops("batched_nms", BOXES, SCORES, None, 0.5)),
    (
        "roi_align",
        "input",
        TypeError,
        ">f4",
        ops("roi_align", F.astype(">f4"), ROIS, 2),
    ),
    # roi_align: batch index
    *(
        ("roi_align", "boxes[1, 0]", IndexError, "[0, 2)", ops("roi_align", F, with_index(i), 2))
        for i in (-1, 2, 0.5, 1e30, np.nan, np.inf)
    ),
    # roi_align_backward
    (
        "roi_align_backward",
        "grad_output",
        ValueError,
        "(1, 3, 2, 2)",
        ops("roi_align_backward", GRAD[:1], F, ROIS),
    ),
    (
        "roi_align_backward",
        "grad_output",
        ValueError,
        "(2, 2, 2, 2)",
        ops("roi_align_backward", GRAD[:, :2], F, ROIS),
    ),
    (
        "roi_align_backward",
        "grad_output",
        TypeError,
        "float64",
        ops("roi_align_backward", GRAD.astype(float), F, ROIS),
    ),
    (
        "roi_align_backward",
        "boxes[1, 0]",
        IndexError,
        "got 7",
        ops("roi_align_backward", GRAD, F, with_index(7)),
    ),
    (
        "roi_align_backward",
        "boxes",
        ValueError,
        "(3, 4)",
        ops("roi_align_backward", GRAD, F, BOXES),
    ),
    # multiscale_roi_align
    (
        "multiscale_roi_align",
        "inputs",
        TypeError,
        "list",
        ops("multiscale_roi_align", F, ROIS, 2, SCALES),
    ),
    (
        "multiscale_roi_align",
        "spatial_scales",
        ValueError,
        "got 1",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, [0.5]),
    ),
    (
        "multiscale_roi_align",
        "spatial_scales",
        ValueError,
        "-0.25",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, [0.5, -0.25]),
    ),
    (
        "multiscale_roi_align",
        "spatial_scales",
        ValueError,
        "0.125",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, [0.5, 0.125]),
    ),
    (
        "multiscale_roi_align",
        "inputs[1]",
        ValueError,
        "(2, 2, 8, 8)",
        ops("multiscale_roi_align", [F, F[:, :2]], ROIS, 2, SCALES),
    ),
    (
        "multiscale_roi_align",
        "inputs[1]",
        TypeError,
        "float64",
        ops("multiscale_roi_align", [F, F.astype(float)], ROIS, 2, SCALES),
    ),
    (
        "multiscale_roi_align",
        "levels",
        ValueError,
        "(3,)",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, SCALES, levels=IDXS),
    ),
    (
        "multiscale_roi_align",
        "levels",
        TypeError,
        "float32",
        ops("multiscale_roi_align", PYRAMID, ROIS, 2, SCALES, levels=ROIS[:, 0].copy()),
    ),
    *(
        (
            "multiscale_roi_align",
            "levels[1]",
            IndexError,
            f"got {level}",
            ops("multiscale_roi_align", PYRAMID, ROIS, 2, SCALES, levels=np.array([0, level])),
        )
        for level in (-1, 2)
    ),
    (
        "multiscale_roi_align",
        "boxes[1, 0]",
        IndexError,
        "got 2",
        ops("multiscale_roi_align", PYRAMID, with_index(2), 2, SCALES),
    ),
    (
        "multiscale_roi_align_backward",
        "boxes[1, 0]",
        IndexError,
        "got 2",
        ops("multiscale_roi_align_backward", GRAD, PYRAMID, with_index(2), SCALES),
    ),
    (
        "multiscale_roi_align_backward",
        "grad_output",
        ValueError,
        "(1, 3, 2, 2)",
        ops("multiscale_roi_align_backward", GRAD[:1], PYRAMID, ROIS, SCALES),
    ),
    # nms and batched_nms
    ("nms", "boxes", ValueError, "(2, 5)", ops("nms", ROIS, SCORES[:2], 0.5)),
    ("cell_anchors", "sizes", TypeError, "float32", ops("cell_anchors", np.float32, (1.0,))),
    ("nms", "boxes", TypeError, "MaskedArray", ops("nms", np.ma.array(BOXES), SCORES, 0.5)),
    *(
        (f"{name}_backward", "grad_output", ValueError, str(2**40), ops(f"{name}_backward", *args))
        for name, args in (
            ("roi_align", (WIDE_GRAD, F, ROIS)),
            ("roi_pool", (WIDE_GRAD, F, ROIS)),
            ("multiscale_roi_align", (WIDE_GRAD, PYRAMID, ROIS, SCALES)),
        )
    ),
    ("nms", "boxes", TypeError, "int64", ops("nms", BOXES.astype(int), SCORES, 0.5)),
    ("nms", "scores", ValueError, "(2,)", ops("nms", BOXES, SCORES[:2], 0.5)),
    ("nms", "scores", ValueError, "(3, 1)", ops("nms", BOXES, SCORES[:, None], 0.5)),
    ("nms", "scores", TypeError, "int64", ops("nms", BOXES, SCORES.astype(int), 0.5)),
    ("nms", "iou_threshold", ValueError, "1.5", ops("nms", BOXES, SCORES, 1.5)),
    ("nms", "iou_threshold", ValueError, "-0.1", ops("nms", BOXES, SCORES, -0.1)),
    ("nms", "iou_threshold", ValueError, "nan", ops("nms", BOXES, SCORES, np.nan)),
    ("nms", "iou_threshold", TypeError, "'half'", ops("nms", BOXES, SCORES, "half")),
    ("batched_nms", "boxes", ValueError, "(4,)", ops("batched_nms", BOXES[0], SCORES, IDXS, 0.5)),
    ("batched_nms", "idxs", ValueError, "(2,)", ops("batched_nms", BOXES, SCORES, IDXS[:2], 0.5)),
    (
        "batched_nms",
        "idxs",
        TypeError,
        "float32",
        ops("batched_nms", BOXES, SCORES, SCORES, 0.5),
    ),
    ("batched_nms", "iou_threshold", ValueError, "2", ops("batched_nms", BOXES, SCORES, IDXS, 2)),
    # boxes
    ("box_iou", "boxes1", ValueError, "(2, 5)", ops("box_iou", ROIS, BOXES)),
    ("box_iou", "boxes2", ValueError, "(4,)", ops("box_iou", BOXES, BOXES[0])),
    ("box_iou", "boxes2", TypeError, "float64", ops("box_iou", BOXES, BOXES.astype(float))),
    ("box_iou", "boxes2", TypeError, "float32", ops("box_iou", BOXES.astype(int), BOXES)),
    (
        "clip_boxes_to_image",
        "boxes",
        ValueError,
        "(2, 5)",
        ops("clip_boxes_to_image", ROIS, (4, 4)),
    ),
    (
        "clip_boxes_to_image",
        "boxes",
        TypeError,
        "bool",
        ops("clip_boxes_to_image", BOXES > 0, (4, 4)),
    ),
    ("clip_boxes_to_image", "size", TypeError, "got 4", ops("clip_boxes_to_image", BOXES, 4)),
    (
        "clip_boxes_to_image",
        "size",
        ValueError,
        "(1, 2, 3)",
        ops("clip_boxes_to_image", BOXES, (1, 2, 3)),
    ),
    ("clip_boxes_to_image", "size", ValueError, "-1", ops("clip_boxes_to_image", BOXES, (4, -1))),
    # box coding
    ("encode_boxes", "reference_boxes", ValueError, "(2, 5)", ops("encode_boxes", ROIS, BOXES)),
    ("encode_boxes", "proposals", ValueError, "(2, 4)", ops("encode_boxes", BOXES, BOXES[:2])),
    (
        "encode_boxes",
        "proposals",
        TypeError,
        "float64",
        ops("encode_boxes", BOXES, BOXES.astype(float)),
    ),
    ("encode_boxes", "weights", ValueError, "(1, 1)", ops("encode_boxes", BOXES, BOXES, (1, 1))),
    (
        "encode_boxes",
        "weights",
        ValueError,
        "got 0",
        ops("encode_boxes", BOXES, BOXES, (1, 1, 0, 1)),
    ),
    ("decode_boxes", "deltas", ValueError, "(3, 7)", ops("decode_boxes", DELTAS[:, :7], BOXES)),
    ("decode_boxes", "boxes", ValueError, "(2, 4)", ops("decode_boxes", DELTAS, BOXES[:2])),
    (
        "decode_boxes",
        "boxes",
        TypeError,
        "float64",
        ops("decode_boxes", DELTAS, BOXES.astype(float)),
    ),
    ("decode_boxes", "deltas", TypeError, "int64", ops("decode_boxes", DELTAS.astype(int), BOXES)),
    (
        "decode_boxes",
        "clip_to",
        ValueError,
        "(3,)",
        ops("decode_boxes", DELTAS, BOXES, clip_to=(3,)),
    ),
    (
        "decode_boxes",
        "scale_clamp",
        ValueError,
        "nan",
        ops("decode_boxes", DELTAS, BOXES, scale_clamp=np.nan),
    ),
    # matching
    ("match_boxes", "targets", ValueError, "(2, 5)", ops("match_boxes", ROIS, BOXES, 0.7, 0.3)),
    ("match_boxes", "boxes", ValueError, "(2, 5)", ops("match_boxes", BOXES, ROIS, 0.7, 0.3)),
    (
        "match_boxes",
        "targets",
        TypeError,
        "float64",
        ops("match_boxes", BOXES.astype(float), BOXES, 0.7, 0.3),
    ),
    ("match_boxes", "low", ValueError, "got 0.7", ops("match_boxes", BOXES, BOXES, 0.3, 0.7)),
    ("match_boxes", "high", ValueError, "nan", ops("match_boxes", BOXES, BOXES, np.nan, 0.3)),
    ("match_boxes", "boxes", TypeError, "list", ops("match_boxes", BOXES, [BOXES], 0.7, 0.3)),
    (
        "match_boxes",
        "targets",
        ValueError,
        "got 2 and 1",
        ops("match_boxes", [BOXES, BOXES], [BOXES], 0.7, 0.3),
    ),
    ("match_boxes", "targets", ValueError, "got 0", ops("match_boxes", [], BOXES, 0.7, 0.3)),
    # anchors
    ("grid_anchors", "strides", ValueError, "got 2", anchors(strides=[8, 16])),
    ("grid_anchors", "sizes", ValueError, "got 0", anchors(sizes=[])),
    ("grid_anchors", "aspect_ratios", ValueError, "got 2", anchors(aspect_ratios=[(1,), (1,)])),
    ("grid_anchors", "convention", ValueError, "'caffe'", anchors(convention="caffe")),
    ("grid_anchors", "sizes", ValueError, "got 0", anchors(sizes=[(0,)])),
    ("grid_anchors", "aspect_ratios", ValueError, "got -1", anchors(aspect_ratios=[(-1,)])),
    ("grid_anchors", "strides", ValueError, "got 0", anchors(strides=[0])),
    ("grid_anchors", "feature_sizes", ValueError, "got -2", anchors(feature_sizes=[(-2, 3)])),
    ("grid_anchors", "feature_sizes", TypeError, "2.5", anchors(feature_sizes=[(2.5, 3)])),
    ("grid_anchors", "like", TypeError, "int64", anchors(like=IDXS)),
    ("cell_anchors", "sizes", TypeError, "got 32", cell(32, (1,))),
    ("cell_anchors", "sizes", TypeError, "None", cell(None, (1,))),
    ("cell_anchors", "sizes", TypeError, "'8'", cell(("8",), (1,))),
    ("cell_anchors", "sizes", ValueError, "got 0", cell((8, 0), (1,))),
    ("cell_anchors", "sizes", ValueError, "finite", cell((10**400,), (1,))),
    ("cell_anchors", "aspect_ratios", ValueError, "nan", cell((8,), (np.nan,))),
    ("cell_anchors", "aspect_ratios", TypeError, "got 1", cell((8,), 1)),
    ("cell_anchors", "convention", ValueError, "None", cell((8,), (1,), convention=None)),
    ("cell_anchors", "convention", ValueError, "'caffe'", cell((8,), (1,), convention="caffe")),
    ("cell_anchors", "stride", ValueError, "None", cell((8,), (1,), convention="detectron")),
    ("cell_anchors", "stride", ValueError, "got 0", cell((8,), (1,), stride=0)),
    ("cell_anchors", "stride", TypeError, "(8, 8)", cell((8,), (1,), stride=(8, 8))),
    ("cell_anchors", "like", TypeError, "int64", cell((8,), (1,), like=IDXS)),
    ("cell_anchors", "like", TypeError, "str", cell((8,), (1,), like="float32")),
    # levels
    ("fpn_levels", "boxes", ValueError, "(2, 3)", ops("fpn_levels", ROIS[:, :3], 2, 5)),
    ("fpn_levels", "boxes", TypeError, "int64", ops("fpn_levels", BOXES.astype(int), 2, 5)),
    ("fpn_levels", "max_level", ValueError, "got 2", ops("fpn_levels", BOXES, 5, 2)),
    ("fpn_levels", "min_level", TypeError, "2.5", ops("fpn_levels", BOXES, 2.5, 5)),
    (
        "fpn_levels",
        "canonical_scale",
        ValueError,
        "got 0",
        ops("fpn_levels", BOXES, 2, 5, canonical_scale=0),
    ),
    # keypoints
    ("keypoints_to_heatmap", "keypoints", ValueError, "(17, 3)", encode(KEYPOINTS[0])),
    ("keypoints_to_heatmap", "keypoints", ValueError, "(3, 17, 2)", encode(KEYPOINTS[..., :2])),
    ("keypoints_to_heatmap", "keypoints", TypeError, "int64", encode(KEYPOINTS.astype(int))),
    ("keypoints_to_heatmap", "keypoints", TypeError, "None", encode(None)),
    ("keypoints_to_heatmap", "boxes", ValueError, "(2, 4)", encode(boxes=BOXES[:2])),
    ("keypoints_to_heatmap", "boxes", ValueError, "(2, 5)", encode(boxes=ROIS)),
    ("keypoints_to_heatmap", "boxes", TypeError, "float64", encode(boxes=BOXES.astype(float))),
    ("keypoints_to_heatmap", "boxes", TypeError, "int64", encode(boxes=BOXES.astype(int))),
    ("keypoints_to_heatmap", "size", ValueError, "got 0", encode(size=0)),
    ("keypoints_to_heatmap", "size", ValueError, "at most", encode(size=10**30)),
    ("keypoints_to_heatmap", "size", TypeError, "7.5", encode(size=7.5)),
    ("keypoints_to_heatmap", "size", TypeError, "(7, 7)", encode(size=(7, 7))),
    ("heatmaps_to_keypoints", "heatmaps", ValueError, "(17, 5, 5)", decode(HEATMAPS[0])),
    ("heatmaps_to_keypoints", "heatmaps", ValueError, "(3, 17, 0, 5)", decode(HEATMAPS[:, :, :0])),
    ("heatmaps_to_keypoints", "heatmaps", TypeError, "bool", decode(HEATMAPS > 0)),
    ("heatmaps_to_keypoints", "heatmaps", TypeError, "str", decode("heatmaps")),
    ("heatmaps_to_keypoints", "boxes", ValueError, "(2, 4)", decode(boxes=BOXES[:2])),
    ("heatmaps_to_keypoints", "boxes", ValueError, "(2, 5)", decode(boxes=ROIS)),
    ("heatmaps_to_keypoints", "boxes", TypeError, "float64", decode(boxes=BOXES.astype(float))),
    ("heatmaps_to_keypoints", "boxes", TypeError, "NoneType", decode(boxes=None)),
    # masks
    ("paste_masks", "masks", ValueError, "(5, 5)", ops("paste_masks", MASKS[0], BOXES, (9, 9))),
    (
        "paste_masks",
        "masks",
        ValueError,
        "(3, 5, 4)",
        ops("paste_masks", MASKS[:, :, :4], BOXES, (9, 9)),
    ),
    ("paste_masks", "masks", TypeError, "bool", ops("paste_masks", MASKS > 0, BOXES, (9, 9))),
    ("paste_masks", "boxes", ValueError, "(2, 4)", ops("paste_masks", MASKS, BOXES[:2], (9, 9))),
    (
        "paste_masks",
        "boxes",
        TypeError,
        "int64",
        ops("paste_masks", MASKS, BOXES.astype(int), (9, 9)),
    ),
    ("paste_masks", "image_size", ValueError, "got 0", ops("paste_masks", MASKS, BOXES, (9, 0))),
    (
        "paste_masks",
        "threshold",
        ValueError,
        "nan",
        ops("paste_masks", MASKS, BOXES, (9, 9), threshold=np.nan),
    ),
    (
        "paste_masks",
        "padding",
        ValueError,
        "got -1",
        ops("paste_masks", MASKS, BOXES, (9, 9), padding=-1),
    ),
    (
        "paste_masks",
        "convention",
        ValueError,
        "'coco'",
        ops("paste_masks", MASKS, BOXES, (9, 9), convention="coco"),
    ),
    (
        "paste_masks_rle",
        "masks",
        ValueError,
        "(5, 5)",
        ops("paste_masks_rle", MASKS[0], BOXES, (9, 9)),
    ),
    (
        "paste_masks_rle",
        "masks",
        TypeError,
        "bool",
        ops("paste_masks_rle", MASKS > 0, BOXES, (9, 9)),
    ),
    (
        "paste_masks_rle",
        "boxes",
        ValueError,
        "(2, 4)",
        ops("paste_masks_rle", MASKS, BOXES[:2], (9, 9)),
    ),
    (
        "paste_masks_rle",
        "boxes",
        TypeError,
        "int64",
        ops("paste_masks_rle", MASKS, BOXES.astype(int), (9, 9)),
    ),
    (
        "paste_masks_rle",
        "image_size",
        ValueError,
        "2^32",
        ops("paste_masks_rle", MASKS, BOXES, (2**16, 2**16)),
    ),
    (
        "paste_masks_rle",
        "image_size",
        TypeError,
        "None",
        ops("paste_masks_rle", MASKS, BOXES, None),
    ),
    (
        "paste_masks_rle",
        "threshold",
        TypeError,
        "None",
        ops("paste_masks_rle", MASKS, BOXES, (9, 9), threshold=None),
    ),
    (
        "paste_masks_rle",
        "threshold",
        ValueError,
        "nan",
        ops("paste_masks_rle", MASKS, BOXES, (9, 9), threshold=np.nan),
    ),
    (
        "paste_masks_rle",
        "padding",
        ValueError,
        "got -1",
        ops("paste_masks_rle", MASKS, BOXES, (9, 9), padding=-1),
    ),
    (
        "paste_masks_rle",
        "convention",
        ValueError,
        "'coco'",
        ops("paste_masks_rle", MASKS, BOXES, (9, 9), convention="coco"),
    ),
    ("crop_masks", "masks", ValueError, "(5, 5)", ops("crop_masks", MASKS[0], BOXES, 7)),
    ("crop_masks", "masks", ValueError, "(3, 0, 5)", ops("crop_masks", MASKS[:, :0], BOXES, 7)),
    ("crop_masks", "masks", TypeError, "int64", ops("crop_masks", MASKS.astype(int), BOXES, 7)),
    ("crop_masks", "masks", TypeError, "int8", ops("crop_masks", MASKS.astype(np.int8), BOXES, 7)),
    ("crop_masks", "masks", TypeError, "str", ops("crop_masks", "masks", BOXES, 7)),
    ("crop_masks", "boxes", ValueError, "(2, 4)", ops("crop_masks", MASKS, BOXES[:2], 7)),
    ("crop_masks", "boxes", TypeError, "int64", ops("crop_masks", MASKS, BOXES.astype(int), 7)),
    ("crop_masks", "size", ValueError, "got 0", ops("crop_masks", MASKS, BOXES, 0)),
    ("crop_masks", "size", ValueError, "(1, 2, 3)", ops("crop_masks", MASKS, BOXES, (1, 2, 3))),
    ("crop_masks", "size", TypeError, "None", ops("crop_masks", MASKS, BOXES, None)),
    (
        "crop_masks",
        "convention",
        ValueError,
        "'coco'",
        ops("crop_masks", MASKS, BOXES, 7, convention="coco"),
    ),
    (
        "rasterize_polygons",
        "polygons",
        TypeError,
        "None",
        ops("rasterize_polygons", None, BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons",
        ValueError,
        "got 2",
        ops("rasterize_polygons", [[], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[1]",
        TypeError,
        "None",
        ops("rasterize_polygons", [[], None, []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        TypeError,
        "got float",
        ops("rasterize_polygons", [[1.0, 2.0], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[2][0]",
        ValueError,
        "(4,)",
        ops("rasterize_polygons", [[], [], [[0, 0, 1, 1]]], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[2][0]",
        ValueError,
        "(7,)",
        ops("rasterize_polygons", [[], [], [list(range(7))]], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        ValueError,
        "(2, 3)",
        ops("rasterize_polygons", [[np.ones((2, 3))], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        TypeError,
        "bool",
        ops("rasterize_polygons", [[np.ones(6, bool)], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        TypeError,
        "<U1",
        ops("rasterize_polygons", [[list("123456")], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        TypeError,
        "object",
        ops("rasterize_polygons", [[[10**30] * 6], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        ValueError,
        "nan",
        ops("rasterize_polygons", [[[0, 0, np.nan, 1, 2, 3]], [], []], BOXES, 7),
    ),
    (
        "rasterize_polygons",
        "polygons[0][0]",
        ValueError,
        "inf",
        ops("rasterize_polygons", [[[0, 0, 4, 1, 2, np.inf]], [], []], BOXES, 7),
    ),
    ("rasterize_polygons", "boxes", ValueError, "(4,)", ops("rasterize_polygons", [], BOXES[0], 7)),
    (
        "rasterize_polygons",
        "boxes",
        TypeError,
        "int64",
        ops("rasterize_polygons", [[]] * 3, BOXES.astype(int), 7),
    ),
    ("rasterize_polygons", "boxes", TypeError, "NoneType", ops("rasterize_polygons", [], None, 7)),
    (
        "rasterize_polygons",
        "size",
        ValueError,
        "got -1",
        ops("rasterize_polygons", [[]] * 3, BOXES, (2, -1)),
    ),
    # padded_nms and soft_nms
    ("padded_nms", "boxes", ValueError, "(3, 4)", padded(boxes=BOXES)),
    ("padded_nms", "boxes", TypeError, "int64", padded(boxes=BOXES[None].astype(int))),
    ("padded_nms", "scores", ValueError, "(3,)", padded(scores=SCORES)),
    ("padded_nms", "idxs", ValueError, "(3,)", padded(idxs=IDXS)),
    ("padded_nms", "idxs", TypeError, "float32", padded(idxs=SCORES[None])),
    ("padded_nms", "iou_threshold", ValueError, "1.5", padded(iou_threshold=1.5)),
    ("padded_nms", "max_output", ValueError, "got 0", padded(max_output=0)),
    ("padded_nms", "max_output", ValueError, "at most", padded(max_output=10**12)),
    ("padded_nms", "max_output", TypeError, "2.5", padded(max_output=2.5)),
    ("padded_nms", "score_threshold", ValueError, "nan", padded(score_threshold=np.nan)),
    ("padded_nms", "score_threshold", TypeError, "'0'", padded(score_threshold="0")),
    ("soft_nms", "boxes", ValueError, "(2, 5)", ops("soft_nms", ROIS, SCORES[:2])),
    ("soft_nms", "scores", ValueError, "(2,)", ops("soft_nms", BOXES, SCORES[:2])),
    ("soft_nms", "scores", TypeError, "int64", ops("soft_nms", BOXES, IDXS)),
    ("soft_nms", "idxs", ValueError, "(2,)", ops("soft_nms", BOXES, SCORES, idxs=IDXS[:2])),
    ("soft_nms", "method", ValueError, "'cubic'", ops("soft_nms", BOXES, SCORES, method="cubic")),
    ("soft_nms", "sigma", ValueError, "got 0", ops("soft_nms", BOXES, SCORES, sigma=0)),
    ("soft_nms", "sigma", ValueError, "1e-50", ops("soft_nms", BOXES, SCORES, sigma=1e-50)),
    (
        "soft_nms",
        "score_threshold",
        ValueError,
        "-1",
        ops("soft_nms", BOXES, SCORES, score_threshold=-1),
    ),
    (
        "soft_nms",
        "iou_threshold",
        ValueError,
        "-0.1",
        ops("soft_nms", BOXES, SCORES, iou_threshold=-0.1),
    ),
    # box functions
    ("box_iou", "fmt", ValueError, "'xyxyxyxy'", ops("box_iou", BOXES, BOXES, "xyxyxyxy")),
    ("box_iou", "boxes2", ValueError, "(3, 4)", ops("box_iou", BOXES[None], BOXES)),
    ("box_iou", "boxes1", TypeError, "bool", ops("box_iou", BOXES > 0, BOXES > 0)),
    ("distance_box_iou", "eps", ValueError, "-1", ops("distance_box_iou", BOXES, BOXES, -1)),
    ("complete_box_iou", "eps", TypeError, "'0'", ops("complete_box_iou", BOXES, BOXES, "0")),
    (
        "generalized_box_iou",
        "boxes2",
        ValueError,
        "(2, 5)",
        ops("generalized_box_iou", BOXES, ROIS),
    ),
    (
        "generalized_box_iou_backward",
        "grad_output",
        ValueError,
        "(3, 2)",
        ops("generalized_box_iou_backward", np.zeros((3, 2), np.float32), BOXES, BOXES),
    ),
    ("box_area", "boxes", ValueError, "(2, 5)", ops("box_area", ROIS)),
    ("box_area", "boxes", TypeError, "complex64", ops("box_area", BOXES + 0j)),
    ("box_area", "fmt", ValueError, "'xywhr'", ops("box_area", BOXES, "xywhr")),
    ("box_convert", "boxes", ValueError, "(3, 4)", ops("box_convert", BOXES, "xywhr", "cxcywhr")),
    ("box_convert", "boxes", TypeError, "bool", ops("box_convert", BOXES > 0, "xyxy", "xywh")),
    ("box_convert", "in_fmt", ValueError, "'voc'", ops("box_convert", BOXES, "voc", "xywh")),
    ("box_convert", "out_fmt", ValueError, "None", ops("box_convert", BOXES, "xyxy", None)),
    (
        "box_convert",
        "out_fmt",
        ValueError,
        "'xywhr'",
        ops("box_convert", BOXES, "xyxy", "xywhr"),
    ),
    ("remove_small_boxes", "boxes", ValueError, "(2, 5)", ops("remove_small_boxes", ROIS, 1)),
    ("remove_small_boxes", "min_size", ValueError, "nan", ops("remove_small_boxes", BOXES, np.nan)),
    ("remove_small_boxes", "min_size", TypeError, "'1'", ops("remove_small_boxes", BOXES, "1")),
    ("masks_to_boxes", "masks", ValueError, "(5, 5)", ops("masks_to_boxes", MASKS[0])),
    ("masks_to_boxes", "masks", TypeError, "complex64", ops("masks_to_boxes", MASKS + 0j)),
]


@pytest.mark.parametrize(
    ("operator", "argument", "exception", "got", "call"),
    CASES,
    ids=[f"{case[0]}-{case[1]}-{case[2].__name__}-{i}" for i, case in enumerate(CASES)],
)
def test_error(operator: str, argument: str, exception: type, got: str, call: Call) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert type(caught.value) is exception
    message = str(caught.value)
    pattern = rf"{re.escape(operator)}: {re.escape(argument)}.* must .*; got .*"
    assert re.match(pattern, message, re.DOTALL), message
    assert got in message, message


def test_an_error_leaves_nothing_half_done() -> None:
    # after each failed call the next one works
    for _, _, exception, _, call in CASES[:10]:
        with pytest.raises(exception):
            call()
    assert roiops.roi_align(F, ROIS, 2).shape == (2, 3, 2, 2)


def test_kinds_are_not_mixed() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy
    for call in (
        ops("roi_align", tensor(F), ROIS, 2),
        ops("roi_align", F, tensor(ROIS), 2),
        ops("roi_align", tensor(F), [BOXES, BOXES], 2),
        ops("roi_align", F, [BOXES, tensor(BOXES)], 2),
        ops("nms", BOXES, tensor(SCORES), 0.5),
        ops("batched_nms", tensor(BOXES), tensor(SCORES), IDXS, 0.5),
        ops("box_iou", tensor(BOXES), BOXES),
        ops("decode_boxes", tensor(DELTAS), BOXES),
        ops("encode_boxes", tensor(BOXES), BOXES),
        ops("match_boxes", [BOXES, tensor(BOXES)], BOXES, 0.7, 0.3),
        ops("paste_masks", MASKS, tensor(BOXES), (9, 9)),
        encode(boxes=tensor(BOXES)),
        decode(tensor(HEATMAPS)),
        ops("paste_masks_rle", MASKS, tensor(BOXES), (9, 9)),
        ops("crop_masks", tensor(MASKS), BOXES, 7),
        ops("multiscale_roi_align", [F, tensor(F)], ROIS, 2, SCALES),
    ):
        with pytest.raises(TypeError, match=r"\w+: .* must be of the same kind as .*; got "):
            call()


def test_tensors_get_the_same_messages() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy
    for exception, on_numpy, on_torch in (
        (ValueError, ops("roi_align", F, BOXES, 2), ops("roi_align", tensor(F), tensor(BOXES), 2)),
        (
            IndexError,
            ops("roi_align", F, with_index(2), 2),
            ops("roi_align", tensor(F), tensor(with_index(2)), 2),
        ),
        (
            TypeError,
            ops("roi_align", F.astype(int), ROIS, 2),
            ops("roi_align", tensor(F.astype(int)), tensor(ROIS), 2),
        ),
        (
            ValueError,
            ops("nms", BOXES, SCORES[:2], 0.5),
            ops("nms", tensor(BOXES), tensor(SCORES[:2]), 0.5),
        ),
        (
            ValueError,
            ops("decode_boxes", DELTAS, BOXES[:2]),
            ops("decode_boxes", tensor(DELTAS), tensor(BOXES[:2])),
        ),
    ):
        with pytest.raises(exception) as by_numpy:
            on_numpy()
        with pytest.raises(exception) as by_torch:
            on_torch()
        assert str(by_torch.value) == str(by_numpy.value)
