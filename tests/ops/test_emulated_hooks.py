"""The CUDA kernels while every access is watched: bounds, races, memory that nobody wrote.

In several orders of threads and blocks, on small shapes that fit neither tiles, warps nor blocks.
"""

import numpy as np
import pytest
from backends import Backend, convert, emulated_backend, emulated_device_of, flat, is_numpy
from comparison import assert_same_bits, assert_sums_agree
from emulated_device import available
from strategies import channels_last, with_gaps

from roiops._arrays import NUMPY
from roiops._operators import OPERATORS

pytestmark = pytest.mark.skipif(not available(), reason="without the kernels' sources")

ORDERS = {"in order": (0, 0), "shuffled": (1, 0), "shuffled anew": (2, 0), "preempted": (3, 5)}


@pytest.fixture(scope="module")
def plain() -> Backend:
    """The same kernels unwatched, which other tests compare with the reference."""
    return emulated_backend("plain")


@pytest.fixture(params=ORDERS)
def hooked(request: pytest.FixtureRequest) -> Backend:
    emulated_device_of("hooks").settings(*ORDERS[request.param])
    return emulated_backend("hooks")


def regions(rng: np.random.Generator, count: int, reach: float) -> np.ndarray:
    """Over the edges, inverted, of no size, not finite."""
    low = rng.uniform(-4, reach, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(-2, reach, (count, 2))], 1)
    rois = np.concatenate([rng.integers(0, 2, (count, 1)), boxes], 1)
    rois[0, 3:] = rois[0, 1:3]
    rois[1, 2] = np.nan
    return rois


# Bins: more than a warp's lanes; one. Channels: one more than a block's share; one. Maps: one cell
# past a tile; one cell.
SHAPES = {
    "bins beyond a tile": ((2, 1, 9, 7), (33, 33), 4),
    "channels beyond a block": ((2, 65, 3, 9), (2, 3), 3),
    "one cell": ((2, 2, 1, 1), (2, 2), 4),
    "RoIs beyond a block": ((1, 1, 5, 5), (1, 1), 258),
    "cells beyond the table": ((1, 1, 2, 1100), (1, 2), 4),
    "channels last": ((2, 33, 9, 7), (3, 2), 4, channels_last, np.float32),
    "vectors of channels": ((2, 24, 9, 7), (2, 3), 4, channels_last, np.float16),
}
OPTIONS = {
    "fixed grid": {"sampling_ratio": 2},
    "adaptive grid, aligned": {"aligned": True},
    "maximum": {"sampling_ratio": 2, "reduction": "max"},
}


def assert_alike(hooked: Backend, plain: Backend, operator: str, *arguments, **options) -> None:
    got, expected = (flat([b(operator, *arguments, **options)]) for b in (hooked, plain))
    for g, e in zip(got, expected, strict=True):
        assert_same_bits(g, e)


def check_pooling(hooked: Backend, plain: Backend, operator: str, shape, options) -> None:
    (images, channels, height, width), size, count, *of_maps = shape
    lie, dtype = of_maps or (np.ascontiguousarray, np.float32)
    rng = np.random.default_rng(0)
    input = lie(rng.standard_normal((images, channels, height, width)).astype(dtype))
    rois = regions(rng, count, max(height, width)).astype(np.float32)
    rois[:, 0] %= images
    rois[2, 0] = images
    grad = lie(rng.standard_normal((count, channels, *size)).astype(dtype))
    calls = {operator: (input, rois, size, 0.9), f"{operator}_backward": (grad, input, rois, 0.9)}
    for name, arguments in calls.items():
        assert_alike(hooked, plain, name, *arguments, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_roi_align(hooked: Backend, plain: Backend, shape, options) -> None:
    check_pooling(hooked, plain, "roi_align", shape, options)


def test_cells_beyond_the_table_are_read_too(plain: Backend, cpu: Backend) -> None:
    # Adaptive, one bin of 900 cells: more than shared memory holds of an axis.
    rng = np.random.default_rng(0)
    input = rng.standard_normal((1, 2, 3, 1100))
    rois = np.array([[0, 50, 0, 950, 2], [0, 100.5, -1, 900.25, 3]])
    grad = rng.standard_normal((2, 2, 1, 1))
    calls = {"roi_align": (input, rois, 1), "roi_align_backward": (grad, input, rois)}
    for name, arguments in calls.items():
        got, expected = (flat([backend(name, *arguments)]) for backend in (plain, cpu))
        for g, e in zip(got, expected, strict=True):
            assert_sums_agree(g, e, np.abs(input).max() * np.abs(grad).max(), 4 * 900)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_roi_pool(hooked: Backend, plain: Backend, shape) -> None:
    check_pooling(hooked, plain, "roi_pool", shape, {})


@pytest.mark.parametrize("count", [1, 255, 257, 513])
def test_nms(hooked: Backend, plain: Backend, count: int) -> None:
    rng = np.random.default_rng(count)
    low = rng.uniform(0, 50, (2, count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 30, (2, count, 2))], 2).astype(np.float32)
    scores = np.round(rng.random((2, count)), 2).astype(np.float32)
    scores[0, :: count // 3 + 1] = np.nan
    groups = rng.integers(0, 2, (2, count))
    assert_alike(hooked, plain, "nms", boxes[0], scores[0], 0.5)
    assert_alike(hooked, plain, "batched_nms", boxes[1], scores[1], groups[1], 0.3)
    assert_alike(
        hooked, plain, "padded_nms", boxes, scores, groups, 0.7, max_output=30, score_threshold=0.2
    )


def test_fpn_levels(hooked: Backend, plain: Backend) -> None:
    boxes = np.random.default_rng(0).uniform(0, 600, (257, 5)).astype(np.float32)
    assert_alike(hooked, plain, "fpn_levels", boxes, 2, 5)


# A row shorter than a warp and a longer one, slices that do not end with a mask, no pixel at all.
@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 257, 3), (2, 5, 1100), (9, 130, 65), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.float64])
def test_masks_to_boxes(hooked: Backend, plain: Backend, shape, dtype) -> None:
    masks = (np.random.default_rng(0).random(shape) < 0.003).astype(dtype)
    masks[0] = 0
    assert_alike(hooked, plain, "masks_to_boxes", masks)
    assert_alike(hooked, plain, "masks_to_boxes", masks.swapaxes(1, 2)[::-1, ::2])


# Pictures of one pixel, of a tile and one more, of more tiles than warps; more rows than pixels.
@pytest.mark.parametrize("sides", [(1, 1), (33, 32), (300, 40), (5, 9)])
@pytest.mark.parametrize("cells", [(1, 1), (14, 5), (40, 3)])
def test_heatmaps_to_keypoints(hooked: Backend, plain: Backend, sides, cells) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.standard_normal((3, 2, *cells)).astype(np.float32)
    boxes = np.tile(np.float32([3, 5, 3 + sides[0], 5 + sides[1]]), (3, 1))
    boxes[1, 2] = np.nan
    assert_alike(hooked, plain, "heatmaps_to_keypoints", heatmaps, boxes)
    backwards = heatmaps[:, ::-1, ::-1, ::2]
    assert_alike(hooked, plain, "heatmaps_to_keypoints", backwards, boxes[::-1])


@pytest.mark.parametrize("count", [1, 255, 257])
def test_keypoints_to_heatmap(hooked: Backend, plain: Backend, count: int) -> None:
    keypoints = np.random.default_rng(0).uniform(-1, 9, (1, count, 3))[:, ::-1]
    assert_alike(hooked, plain, "keypoints_to_heatmap", keypoints, np.array([[0, 1, 7.5, 6]]), 56)


# Boxes as high as the picture, in a corner, over all edges, of no pixel; more rows than a block's
# taps, more columns than its threads; outside is inside where the threshold is negative.
@pytest.mark.parametrize("size", [(1, 1), (33, 129), (260, 5), (7, 300)])
@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
def test_paste_masks(hooked: Backend, plain: Backend, size, convention) -> None:
    rng = np.random.default_rng(0)
    height, width = size
    low, high = (0.2 * width, -3), (0.7 * width, height + 3)
    boxes = np.array([[*low, *high], [-3, -3, width / 2, height / 2], [-2, -2, width + 2, height],
                      [1, 1, np.nan, 5], [width / 3, height / 2, width, height]])  # fmt: skip
    masks = rng.random((5, 6, 6)).astype(np.float32)[:, ::-1]
    for threshold in (0.5, -1.0, None):
        options = {"threshold": threshold, "convention": convention}
        assert_alike(hooked, plain, "paste_masks", masks, boxes, size, **options)
        if threshold is not None:
            calls = (b("paste_masks_rle", masks, boxes, size, **options) for b in (hooked, plain))
            assert next(calls) == next(calls)


def test_run_lengths_of_more_masks_than_a_block(hooked: Backend, plain: Backend) -> None:
    masks = np.random.default_rng(0).random((520, 2, 2))
    boxes = np.tile([[1, 1, 3, 2.0]], (520, 1))
    hooked_runs, runs = (b("paste_masks_rle", masks, boxes, (4, 5)) for b in (hooked, plain))
    assert hooked_runs == runs


# --- boxes ----------------------------------------------------------------------------------------

LENGTHS = {"xyxy": 4, "cxcywh": 4, "xywhr": 5, "xyxyxyxy": 8}
COUNTS = [1, 255, 257]
ODD_STRIDES = {"contiguous": lambda a: a, "strided": lambda a: with_gaps(a)[::-1]}
counts = pytest.mark.parametrize("count", COUNTS)
strided = pytest.mark.parametrize("layout", ODD_STRIDES.values(), ids=ODD_STRIDES)


def some_boxes(count: int, columns: int = 4, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(count).uniform(-5, 40, (count, columns)).astype(dtype)


def assert_as_on_the_cpu(operator: str, *arguments) -> None:
    """Of an operator that is no public function: a gradient."""
    device = emulated_device_of("hooks")
    got = OPERATORS[operator].run(device, *convert(arguments, is_numpy, device.library.asarray))
    assert not device.findings()
    assert_same_bits(device.to_numpy(got), OPERATORS[operator].run(NUMPY, *arguments))


@strided
@counts
def test_box_area_and_clip(hooked: Backend, plain: Backend, count: int, layout) -> None:
    boxes, by_area = layout(some_boxes(count)), layout(some_boxes(count, 1))[:, 0]
    assert_alike(hooked, plain, "box_area", boxes, "xywh")
    assert_alike(hooked, plain, "clip_boxes_to_image", boxes, (20, 30))
    assert_as_on_the_cpu("box_area_backward", by_area, boxes, False)
    assert_as_on_the_cpu("box_area_backward", by_area, boxes, True)
    assert_as_on_the_cpu("clip_boxes_to_image_backward", boxes[::-1], boxes, 20, 30)


@pytest.mark.parametrize("formats", [("xyxy", "cxcywh"), ("xywhr", "xyxyxyxy")])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@strided
@counts
def test_box_convert(hooked: Backend, plain: Backend, count, layout, dtype, formats) -> None:
    boxes = layout(some_boxes(count, 5 if formats[0] == "xywhr" else 4, dtype))
    assert_alike(hooked, plain, "box_convert", boxes, *formats)
    for there, back in (formats, formats[::-1]) if dtype == np.float32 else ():
        there_of, back_of = (some_boxes(count, LENGTHS[f]) for f in (there, back))
        assert_as_on_the_cpu("box_convert_backward", layout(back_of), layout(there_of), there, back)


@strided
@counts
def test_box_coding(hooked: Backend, plain: Backend, count: int, layout) -> None:
    boxes, others = layout(some_boxes(count)), layout(some_boxes(count)[::-1])
    deltas, several = layout(some_boxes(count, 12)), layout(some_boxes(2 * count, 12))
    several = several.reshape(2, count, 12)
    assert_alike(hooked, plain, "encode_boxes", boxes, others)
    assert_alike(hooked, plain, "encode_boxes_backward", boxes, others, boxes)
    assert_alike(hooked, plain, "decode_boxes", deltas, boxes)
    assert_alike(hooked, plain, "decode_boxes", several, boxes)
    assert_alike(hooked, plain, "decode_boxes_backward", deltas, deltas, boxes)
    assert_alike(hooked, plain, "decode_boxes_backward", several, several, boxes)


@pytest.mark.parametrize("grid", [(1, 1), (3, 7), (17, 5)])
def test_grid_anchors(hooked: Backend, cpu: Backend, grid) -> None:
    shapes = {"one launch": (1, 3), "more than a launch's share": (13, 5)}
    for sizes, ratios in shapes.values():
        arguments = [grid], [(16, 8)], [[*range(8, 8 + sizes)]], [[*range(1, 1 + ratios)]]
        assert_alike(hooked, cpu, "grid_anchors", *arguments)


@pytest.mark.parametrize("kind", ["box_iou", "generalized_box_iou", "complete_box_iou"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 257), (33, 31)])
@strided
def test_box_iou(hooked: Backend, plain: Backend, cpu: Backend, shape, kind, layout) -> None:
    boxes1, boxes2 = (layout(some_boxes(2 * n)).reshape(2, n, 4) for n in shape)
    grad = layout(some_boxes(2 * shape[0], shape[1])).reshape(2, *shape)
    assert_alike(hooked, plain, kind, boxes1, boxes2)
    gradients = f"{kind}_backward", grad, boxes1, boxes2
    assert_alike(hooked, plain, *gradients)
    assert_alike(plain, cpu, *gradients)


@pytest.mark.parametrize("counts", [(1, 1), (31, 257), (300, 255)])
@strided
def test_match_boxes(hooked: Backend, plain: Backend, counts: tuple[int, int], layout) -> None:
    targets, boxes = (layout(some_boxes(n)) for n in counts)
    low_quality = {"allow_low_quality": True}
    assert_alike(hooked, plain, "match_boxes", targets, boxes, 0.7, 0.3, **low_quality)
    several = [targets, targets[:0], targets[1:2]]
    assert_alike(hooked, plain, "match_boxes", several, boxes, 0.5, 0.5)
    assert_alike(
        hooked, plain, "match_boxes", several, [boxes, boxes[:3], boxes[:0]], 0.7, 0.3,
        **low_quality,
    )  # fmt: skip


def test_match_boxes_of_more_images_than_a_launch_has(plain: Backend, cpu: Backend) -> None:
    targets = [some_boxes(n % 7) for n in range(70)]
    boxes = [some_boxes(300 - n) for n in range(70)]
    for given in (boxes, boxes[0]):
        assert_alike(plain, cpu, "match_boxes", targets, given, 0.7, 0.3, allow_low_quality=True)


# Targets of one bin, of a block and one more; boxes of one cell, of more cells than the table has.
@pytest.mark.parametrize("size", [(1, 1), (9, 33), (3, 70)])
@pytest.mark.parametrize("masks", [(4, 9, 7), (4, 1, 1), (4, 3, 300), (4, 150, 5)])
@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
def test_crop_masks(hooked: Backend, plain: Backend, masks, size, convention) -> None:
    rng = np.random.default_rng(0)
    reach = max(masks)
    boxes = regions(rng, 4, reach)[:, 1:]
    boxes[3] = 0.3, -1, reach, reach - 0.2
    bitmaps = rng.random(masks) < 0.5
    for cells in (bitmaps, bitmaps[::-1, :, ::-1].astype(np.float16)):
        arguments = (cells, boxes.astype(np.float32), size)
        assert_alike(hooked, plain, "crop_masks", *arguments, convention=convention)


def test_bins_of_more_cells_than_the_table(plain: Backend, cpu: Backend) -> None:
    masks = np.random.default_rng(0).random((2, 90, 210))
    boxes = np.array([[-3, -2, 220.5, 80], [1, 1, 67, 9]])
    for convention in ("torchvision", "detectron2"):
        for size in (1, (2, 3)):
            got, expected = (
                b("crop_masks", masks, boxes, size, convention=convention) for b in (plain, cpu)
            )
            assert_same_bits(got, expected)


@strided
@pytest.mark.parametrize("count", [0, *COUNTS, 1025])
def test_remove_small_boxes(hooked: Backend, plain: Backend, count: int, layout) -> None:
    assert_alike(hooked, plain, "remove_small_boxes", layout(some_boxes(count)), 3)


def test_more_blocks_are_counted_than_a_block_has_threads(plain: Backend, cpu: Backend) -> None:
    assert_alike(plain, cpu, "remove_small_boxes", some_boxes(256 * 256 * 2 + 1), 3)


@pytest.mark.parametrize("method", ["linear", "gaussian", "hard"])
@pytest.mark.parametrize("count", [1, 31, 257])
@strided
def test_soft_nms(hooked: Backend, plain: Backend, count: int, method: str, layout) -> None:
    rng = np.random.default_rng(count)
    boxes = some_boxes(count)
    boxes[:, 2:] += boxes[:, :2]
    scores = (rng.choice(9, count) / 8).astype(np.float32)
    scores[:: count // 3 + 2] = np.nan
    groups = rng.integers(-1, 2, count)
    boxes, scores, groups = layout(boxes), layout(scores), layout(groups)
    for idxs in (None, groups):
        assert_alike(
            hooked, plain, "soft_nms", boxes, scores, idxs=idxs, method=method, score_threshold=0.3
        )


@pytest.mark.parametrize("size", [(1, 1), (64, 5), (65, 257), (130, 3)])
def test_rasterize_polygons(hooked: Backend, plain: Backend, size) -> None:
    rng = np.random.default_rng(0)
    polygons = [
        [rng.uniform(0, 20, (count, 2)) for count in counts] for counts in ([5, 9], [], [3])
    ]
    boxes = np.array([[2, 3, 17, 16], [0, 0, 9, 9], [4, np.inf, 5, 9]])[:, ::-1]
    assert_alike(hooked, plain, "rasterize_polygons", polygons, boxes, size)


def test_offsets_of_polygons_that_no_host_reads() -> None:
    device = emulated_device_of("hooks")
    vertices = np.array([[1, 2], [np.nan, 5], [np.inf, 9], [6, 1], [7, 7.0]])
    for polygons, objects in (([0, 9, 5], [0, 2]), ([-7, 3, 10**18], [5, 2]), ([4, 2], [-1, 9])):
        arrays = (
            np.empty((1, 70, 9), np.bool_), vertices, np.array(polygons), np.array(objects),
            np.array([[0, 0, 8, 8.0]]),
        )  # fmt: skip
        described = [device.describe(device.library.asarray(array)) for array in arrays]
        device.core.rasterize_polygons(*described, device.execution())
        assert not device.findings()


def test_soft_nms_of_more_groups_than_blocks(plain: Backend, cpu: Backend) -> None:
    boxes = np.tile(np.float32([0, 0, 9, 9]), (2 * 4100, 1))
    scores = np.random.default_rng(0).random(len(boxes)).astype(np.float32)
    groups = np.arange(len(boxes)) % 4100
    assert_alike(plain, cpu, "soft_nms", boxes, scores, idxs=groups)
