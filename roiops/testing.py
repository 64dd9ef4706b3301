"""Every operator on realistic work: one list for the tests and for the benchmarks.

``CASES`` are pieces of work of a detector on an image of 800 x 1333 pixels. Each is also made
small, for comparing with ``roiops.reference``: a few hundred boxes, enough for every block and
every remainder of a kernel's loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roiops.reference.anchors import grid_anchors

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """``getattr(roiops, operator)(*arguments(rng, full), **options)``."""

    name: str
    operator: str
    arguments: Callable[[Rng, bool], tuple[Any, ...]]
    """From a generator: realistic, or small where ``full`` is False."""
    options: dict[str, Any] = field(default_factory=dict)
    decides: bool = False
    """The results are decisions (a kept box, a level, a pixel): equal on every backend and every
    instruction set. Otherwise they are sums, equal to rounding."""


# --- what detectors work on -----------------------------------------------------------------------


def image_size(full: bool) -> tuple[int, int]:
    return (800, 1333) if full else (96, 128)


def clustered_boxes(rng: Rng, count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes (count, 4) as a region proposal network gives them: many around each of some objects,
    whose sides are from 16 pixels to most of the picture. Some overhang its edge."""
    height, width = size
    objects = 1 + min(count // 8, 40)
    centres = rng.uniform(0, 1, (objects, 2)) * (width, height)
    sides = np.exp(rng.uniform(math.log(16), math.log(0.8 * height), (objects, 2)))
    which = rng.integers(0, objects, count)
    centre = centres[which] + 0.15 * sides[which] * rng.standard_normal((count, 2))
    half = sides[which] / 2 * np.exp(0.25 * rng.standard_normal((count, 2)))
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def clustered_rois(rng: Rng, count: int, size: tuple[int, int], images: int) -> np.ndarray:
    image = rng.integers(0, images, (count, 1)).astype(np.float32)
    return np.concatenate([image, clustered_boxes(rng, count, size)], 1)


def feature_map(rng: Rng, full: bool, stride: int, channels: int) -> np.ndarray:
    """(1, channels, H, W) of the whole image; small: two images of 37 channels, two blocks of 16
    and a remainder."""
    height, width = image_size(full)
    shape = (1, channels) if full else (2, 37)
    cells = (-(-height // stride), -(-width // stride))
    return rng.standard_normal((*shape, *cells), np.float32)


def pyramid(rng: Rng, full: bool) -> list[np.ndarray]:
    """P2 to P5."""
    return [feature_map(rng, full, stride, 256) for stride in (4, 8, 16, 32)]


SCALES = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
RPN_SHAPES = [(200, 334), (100, 167), (50, 84), (25, 42), (13, 21)]


def distinct_scores(rng: Rng, count: int) -> np.ndarray:
    return rng.permutation(count).astype(np.float32) / count


def rpn_anchors(full: bool) -> np.ndarray:
    """All anchors (267,069 of the large image) in the order of the grids."""
    shapes = RPN_SHAPES if full else [(12, 16), (6, 8)]
    levels = len(shapes)
    return np.concatenate(
        grid_anchors(
            shapes,
            [4, 8, 16, 32, 64][:levels],
            [(32,), (64,), (128,), (256,), (512,)][:levels],
            [(0.5, 1.0, 2.0)] * levels,
        )
    )


# --- the pooling of regions -----------------------------------------------------------------------


def pooling(
    count: int, bins: int, *options: Any, channels: int = 1024
) -> Callable[[Rng, bool], tuple[Any, ...]]:
    """The C4 map (stride 16) and its regions."""

    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        rois = clustered_rois(rng, count if full else 40, image_size(full), 1 if full else 2)
        return feature_map(rng, full, 16, channels), rois, bins, 1 / 16, *options

    return arguments


def pooling_backward(count: int, bins: int, *options: Any) -> Callable[[Rng, bool], Any]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        input, rois, _, scale, *rest = pooling(count, bins, *options)(rng, full)
        grad = rng.standard_normal((len(rois), input.shape[1], bins, bins), np.float32)
        return grad, input, rois, scale, *rest

    return arguments


def pyramid_pooling(count: int, bins: int) -> Callable[[Rng, bool], tuple[Any, ...]]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        rois = clustered_rois(rng, count if full else 60, image_size(full), 1 if full else 2)
        return pyramid(rng, full), rois, bins, SCALES, 2

    return arguments


def pyramid_backward(count: int, bins: int) -> Callable[[Rng, bool], tuple[Any, ...]]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        inputs, rois, _, *rest = pyramid_pooling(count, bins)(rng, full)
        grad = rng.standard_normal((len(rois), inputs[0].shape[1], bins, bins), np.float32)
        return grad, inputs, rois, *rest

    return arguments


def score_maps(*options: Any) -> Callable[[Rng, bool], tuple[Any, ...]]:
    """R-FCN's position-sensitive scores of 21 classes in 7 x 7 bins; small: 37 in 3 x 3."""

    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        classes, bins = (21, 7) if full else (37, 3)
        images, cells = (1, (50, 84)) if full else (2, (6, 8))
        rois = clustered_rois(rng, 300 if full else 40, image_size(full), images)
        maps = rng.standard_normal((images, classes * bins * bins, *cells), np.float32)
        return maps, rois, bins, 1 / 16, *options

    return arguments


def score_maps_backward(*options: Any) -> Callable[[Rng, bool], tuple[Any, ...]]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        maps, rois, bins, *rest = score_maps(*options)(rng, full)
        shape = (len(rois), maps.shape[1] // bins**2, bins, bins)
        return rng.standard_normal(shape, np.float32), maps, rois, *rest

    return arguments


POOLING = [
    Case("roi_align C4", "roi_align", pooling(300, 14, 2)),
    Case("roi_align C4 max", "roi_align", pooling(300, 14, 2), {"reduction": "max"}, decides=True),
    Case("roi_align C4 backward", "roi_align_backward", pooling_backward(100, 14, 2)),
    Case(
        "roi_align C4 max backward",
        "roi_align_backward",
        pooling_backward(100, 14, 2),
        {"reduction": "max"},
    ),
    Case("box head", "multiscale_roi_align", pyramid_pooling(1000, 7)),
    Case("mask head", "multiscale_roi_align", pyramid_pooling(512, 14)),
    Case("box head backward", "multiscale_roi_align_backward", pyramid_backward(1000, 7)),
    Case("roi_pool C4", "roi_pool", pooling(100, 7), decides=True),
    Case("roi_pool C4 backward", "roi_pool_backward", pooling_backward(100, 7)),
    Case("roi_warp C4", "roi_warp", pooling(100, 14, 2)),
    Case("roi_warp C4 backward", "roi_warp_backward", pooling_backward(100, 14, 2)),
    Case("ps_roi_align R-FCN", "ps_roi_align", score_maps(2)),
    Case("ps_roi_align R-FCN backward", "ps_roi_align_backward", score_maps_backward(2)),
    Case("ps_roi_pool R-FCN", "ps_roi_pool", score_maps()),
    Case("ps_roi_pool R-FCN backward", "ps_roi_pool_backward", score_maps_backward()),
]


# --- suppression ----------------------------------------------------------------------------------


def scattered_boxes(rng: Rng, count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes (count, 4) of all sizes anywhere in the picture: the background's proposals."""
    height, width = size
    centre = rng.uniform(0, 1, (count, 2)) * (width, height)
    half = np.exp(rng.uniform(math.log(8), math.log(height / 2), (count, 2))) / 2
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def candidates(count: int) -> Callable[[Rng, bool], tuple[Any, ...]]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        n, size = count if full else 300, image_size(full)
        halves = clustered_boxes(rng, n // 2, size), scattered_boxes(rng, n - n // 2, size)
        return np.concatenate(halves), distinct_scores(rng, n), 0.5

    return arguments


def grouped_candidates(count: int, groups: int) -> Callable[[Rng, bool], tuple[Any, ...]]:
    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        boxes, scores, threshold = candidates(count)(rng, full)
        return boxes, scores, rng.integers(0, groups, len(boxes)), threshold

    return arguments


def soft_candidates(count: int) -> Callable[[Rng, bool], tuple[Any, ...]]:
    return lambda rng, full: candidates(count)(rng, full)[:2]


def images_of_candidates(rng: Rng, full: bool) -> tuple[Any, ...]:
    """4 images of 1000 boxes in 80 classes."""
    images = [grouped_candidates(1000, 80)(rng, full)[:3] for _ in range(4)]
    return *map(np.stack, zip(*images, strict=True)), 0.5


SUPPRESSION = [
    *(
        Case(f"nms {count}k", "nms", candidates(1000 * count), decides=True)
        for count in (1, 6, 12, 100)
    ),
    Case("batched_nms 5 levels", "batched_nms", grouped_candidates(5000, 5), decides=True),
    Case("batched_nms 80 classes", "batched_nms", grouped_candidates(10_000, 80), decides=True),
    Case(
        "padded_nms 4 images",
        "padded_nms",
        images_of_candidates,
        {"max_output": 100, "score_threshold": 0.05},
        decides=True,
    ),
    Case("soft_nms 1k", "soft_nms", soft_candidates(1000), decides=True),
    Case("soft_nms 4k", "soft_nms", soft_candidates(4000), decides=True),
    Case(
        "soft_nms 4k gaussian",
        "soft_nms",
        soft_candidates(4000),
        {"method": "gaussian"},
        decides=True,
    ),
]


# --- boxes ----------------------------------------------------------------------------------------


def box_pairs(rng: Rng, full: bool) -> tuple[Any, ...]:
    n = 1000 if full else 90
    return tuple(clustered_boxes(rng, k, image_size(full)) for k in (n, n + 1))


def box_pairs_backward(rng: Rng, full: bool) -> tuple[Any, ...]:
    boxes1, boxes2 = box_pairs(rng, full)
    return rng.standard_normal((len(boxes1), len(boxes2)), np.float32), boxes1, boxes2


def many_boxes(rng: Rng, full: bool) -> np.ndarray:
    return clustered_boxes(rng, 267_000 if full else 500, image_size(full))


def rotated_boxes(rng: Rng, full: bool) -> tuple[Any, ...]:
    boxes = many_boxes(rng, full)
    angle = rng.uniform(-180, 180, (len(boxes), 1)).astype(np.float32)
    return (
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], angle], 1),
        "cxcywhr",
        "xyxyxyxy",
    )


def rpn_decoding(rng: Rng, full: bool) -> tuple[Any, ...]:
    anchors = rpn_anchors(full)
    return 0.3 * rng.standard_normal(anchors.shape, np.float32), anchors


def with_grad(
    make: Callable[[Rng, bool], tuple[Any, ...]],
) -> Callable[[Rng, bool], tuple[Any, ...]]:
    """The arguments of a backward function whose output is like its first argument."""

    def arguments(rng: Rng, full: bool) -> tuple[Any, ...]:
        first, *rest = make(rng, full)
        return rng.standard_normal(first.shape, np.float32), first, *rest

    return arguments


def encoding(rng: Rng, full: bool) -> tuple[Any, ...]:
    boxes = many_boxes(rng, full)
    return boxes, boxes + rng.uniform(0, 1, boxes.shape).astype(np.float32)


def rpn_matching(rng: Rng, full: bool) -> tuple[Any, ...]:
    return clustered_boxes(rng, 20, image_size(full)), rpn_anchors(full), 0.7, 0.3


def anchor_grids(rng: Rng, full: bool) -> tuple[Any, ...]:
    shapes = RPN_SHAPES if full else [(3, 4), (2, 2), (1, 1), (1, 1), (1, 1)]
    sizes = [(32,), (64,), (128,), (256,), (512,)]
    return shapes, [4, 8, 16, 32, 64], sizes, [(0.5, 1.0, 2.0)] * 5


def one_cell(rng: Rng, full: bool) -> tuple[Any, ...]:
    return (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)


BOXES = [
    Case("box_iou 1000 x 1001", "box_iou", box_pairs, decides=True),
    Case("box_iou backward", "box_iou_backward", box_pairs_backward),
    *(
        Case(f"{kind}_box_iou 1000 x 1001", f"{kind}_box_iou", box_pairs)
        for kind in ("generalized", "distance", "complete")
    ),
    *(
        Case(f"{kind}_box_iou backward", f"{kind}_box_iou_backward", box_pairs_backward)
        for kind in ("generalized", "distance", "complete")
    ),
    Case("box_area", "box_area", lambda rng, full: (many_boxes(rng, full),), decides=True),
    Case(
        "box_convert",
        "box_convert",
        lambda rng, full: (many_boxes(rng, full), "xyxy", "cxcywh"),
        decides=True,
    ),
    Case("box_convert rotated", "box_convert", rotated_boxes),
    Case(
        "remove_small_boxes",
        "remove_small_boxes",
        lambda rng, full: (many_boxes(rng, full), 20.0),
        decides=True,
    ),
    Case("RPN matching", "match_boxes", rpn_matching, {"allow_low_quality": True}, decides=True),
    Case("RPN decoding", "decode_boxes", rpn_decoding, {"clip_to": (800, 1333)}),
    Case("RPN decoding backward", "decode_boxes_backward", with_grad(rpn_decoding)),
    Case("encode_boxes", "encode_boxes", encoding),
    Case("encode_boxes backward", "encode_boxes_backward", with_grad(encoding)),
    Case(
        "clip_boxes_to_image",
        "clip_boxes_to_image",
        lambda rng, full: (many_boxes(rng, full), image_size(full)),
        decides=True,
    ),
    Case(
        "fpn_levels",
        "fpn_levels",
        lambda rng, full: (many_boxes(rng, full), 2, 5),
        decides=True,
    ),
    Case("RPN anchors", "grid_anchors", anchor_grids, decides=True),
    Case("cell_anchors", "cell_anchors", one_cell, decides=True),
]


# --- masks ----------------------------------------------------------------------------------------


def blobs(rng: Rng, count: int, cells: int) -> np.ndarray:
    """Mask probabilities (count, cells, cells): a smooth blob each, as a mask head gives them."""
    at = (np.arange(cells, dtype=np.float32) + 0.5) / cells - 0.5
    radius = rng.uniform(0.2, 0.6, (2, count, 1, 1)).astype(np.float32)
    distance = (at[:, None] / radius[0]) ** 2 + (at / radius[1]) ** 2
    ripple = 0.2 * rng.standard_normal((count, cells, cells), np.float32)
    return (1 / (1 + np.exp(6 * (distance - 1) + ripple))).astype(np.float32)


def detections(rng: Rng, full: bool) -> tuple[Any, ...]:
    """100 masks of 28 x 28 and their boxes."""
    size, count = image_size(full), 100 if full else 20
    return blobs(rng, count, 28), clustered_boxes(rng, count, size), size


def outlines(rng: Rng, full: bool) -> tuple[Any, ...]:
    """The polygons of 100 objects, one or two star-shaped outlines each, and their boxes."""
    boxes = clustered_boxes(rng, 100 if full else 20, image_size(full))
    polygons = []
    for box in boxes.astype(np.float64):
        stars = []
        for _ in range(rng.integers(1, 3)):
            angle = np.linspace(0, 2 * np.pi, rng.integers(8, 60), endpoint=False)
            radius = rng.uniform(0.5, 1, angle.shape) / 2
            unit = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] + 0.5
            stars.append((box[:2] + unit * (box[2:] - box[:2])).round(2).ravel())
        polygons.append(stars)
    return polygons, boxes, 28


def bitmaps(rng: Rng, full: bool) -> tuple[Any, ...]:
    """100 masks of the image's size, an ellipse each, and their boxes."""
    height, width = image_size(full)
    boxes = clustered_boxes(rng, 100 if full else 20, (height, width))
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        y = 2 * (np.arange(height)[:, None] + 0.5 - y1) / (y2 - y1) - 1
        x = 2 * (np.arange(width) + 0.5 - x1) / (x2 - x1) - 1
        mask[...] = y**2 + x**2 < 1
    return masks, boxes, 28


def full_masks(rng: Rng, full: bool) -> tuple[Any, ...]:
    """100 masks of the whole picture, an ellipse in each."""
    size, count = image_size(full), 100 if full else 20
    y, x = np.ogrid[: size[0], : size[1]]
    masks = np.zeros((count, *size), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, clustered_boxes(rng, count, size), strict=True):
        far = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2
        mask[...] = far < 1
    return (masks,)


MASKS = [
    Case("masks_to_boxes 100 masks", "masks_to_boxes", full_masks, decides=True),
    Case("paste 100 masks", "paste_masks", detections, decides=True),
    Case(
        "paste 100 masks, detectron2",
        "paste_masks",
        detections,
        {"convention": "detectron2"},
        decides=True,
    ),
    Case("paste 100 masks as RLE", "paste_masks_rle", detections, decides=True),
    Case("crop 100 masks", "crop_masks", bitmaps),
    Case(
        "crop 100 masks, detectron2",
        "crop_masks",
        bitmaps,
        {"convention": "detectron2"},
        decides=True,
    ),
    Case("rasterize 100 polygons", "rasterize_polygons", outlines, decides=True),
]


# --- keypoints ------------------------------------------------------------------------------------


def people(rng: Rng, full: bool) -> tuple[Any, ...]:
    """200 boxes with 17 keypoints around each, a third of them not visible."""
    boxes = clustered_boxes(rng, 200 if full else 40, image_size(full))
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    at = low + (high - low) * rng.uniform(-0.1, 1.1, (len(boxes), 17, 2))
    visibility = rng.integers(0, 3, (len(boxes), 17, 1))
    return np.concatenate([at, visibility], 2).astype(np.float32), boxes, 56


def keypoint_logits(rng: Rng, full: bool) -> tuple[Any, ...]:
    """17 heatmaps of 56 x 56 for each of 100 boxes: a peak in noise."""
    boxes = clustered_boxes(rng, 100 if full else 6, image_size(full))
    at = np.arange(56, dtype=np.float32)
    peak = rng.uniform(0, 56, (2, len(boxes), 17, 1, 1)).astype(np.float32)
    distance = (at[:, None] - peak[0]) ** 2 + (at - peak[1]) ** 2
    noise = rng.standard_normal((len(boxes), 17, 56, 56), np.float32)
    return (8 * np.exp(-distance / 32) - 4 + noise).astype(np.float32), boxes


KEYPOINTS = [
    Case("keypoints to heatmap", "keypoints_to_heatmap", people, decides=True),
    Case("heatmaps to keypoints", "heatmaps_to_keypoints", keypoint_logits, decides=True),
]

CASES: list[Case] = [*POOLING, *SUPPRESSION, *BOXES, *MASKS, *KEYPOINTS]
