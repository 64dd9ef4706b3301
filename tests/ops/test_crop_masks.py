"""crop_masks: mask targets are decisions, equal everywhere; soft ones are RoIAlign's values."""

import math

import ml_dtypes
import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_sums_agree
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ODD, box_arrays, float_dtypes, generators, layouts, several_times

from roiops import reference

CONVENTIONS = ("torchvision", "detectron2")
conventions = st.sampled_from(CONVENTIONS)
bitmap_dtypes = st.sampled_from([np.bool_, np.uint8])
mask_dtypes = st.sampled_from(
    [np.bool_, np.uint8, np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
)


@st.composite
def annotations(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND, dtypes=mask_dtypes) -> tuple:
    """masks, boxes, size."""
    rng = draw(generators)
    boxes = draw(box_arrays(kinds, max_boxes=5, extent=14.0))
    shape = (len(boxes), draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    dtype = draw(dtypes)
    # Blocks rather than noise: edges through the middle of a bin, means of exactly 1/2.
    masks = np.repeat(rng.random((shape[0], 1, shape[2])) < 0.5, shape[1], 1)
    if draw(st.booleans()):
        masks = masks ^ (rng.random(shape) < 0.3)
    if np.dtype(dtype) == np.uint8:
        masks = masks * np.uint8(draw(st.sampled_from([1, 255])))
    elif np.dtype(dtype) != np.bool_:
        masks = masks - draw(st.sampled_from([0, 0.25])) * rng.random(shape)
    size = draw(st.sampled_from([1, 2, 7, (3, 5), (14, 1), 28]))
    return masks.astype(dtype), boxes.astype(draw(float_dtypes)), size


@several_times
@given(annotation=annotations(), convention=conventions, layout=layouts)
def test_targets_are_the_references(compiled: Backend, annotation, convention, layout) -> None:
    masks, boxes, size = annotation
    expected = reference.crop_masks(masks, boxes, size, convention=convention)
    got = compiled("crop_masks", layout(masks), layout(boxes), size, convention=convention)
    assert_equal(got, expected)


@given(annotation=annotations(ODD, st.sampled_from([np.bool_, np.uint8, np.float32, np.float64])))
def test_soft_targets_are_roi_aligns(backend: Backend, annotation) -> None:
    masks, boxes, size = annotation
    maps = masks[:, None].astype(np.float64 if masks.dtype == np.float64 else np.float32)
    rois = np.concatenate([np.arange(len(boxes), dtype=boxes.dtype)[:, None], boxes], 1)
    height, width = (size, size) if isinstance(size, int) else size
    if not len(boxes):
        maps = np.zeros((1, 1, 3, 3), maps.dtype)
    aligned = backend("roi_align", maps, rois, (height, width))[:, 0]
    # Terms: the samples of a bin, whose taps are added to weights of cells, and those to the mean.
    samples = 2 + np.nan_to_num(np.clip(np.abs(boxes[:, 2:] - boxes[:, :2]), 0, 50)).max(initial=0)
    magnitude = np.abs(maps).max(initial=0)
    got = backend("crop_masks", masks, boxes, size)
    assert_sums_agree(got, aligned, magnitude, float(4 * samples))


@given(annotation=annotations(ODD, bitmap_dtypes))
def test_hard_targets_are_the_thresholded_mean(backend: Backend, annotation) -> None:
    masks, boxes, size = annotation
    masks = masks.astype(np.float64)
    height, width = (size, size) if isinstance(size, int) else size
    rois = np.concatenate([np.arange(len(boxes), dtype=boxes.dtype)[:, None], boxes], 1)
    maps = masks[:, None] if len(boxes) else np.zeros((1, 1, 3, 3))
    means = backend("roi_align", maps, rois, (height, width), aligned=True)[:, 0]
    got = backend("crop_masks", masks, boxes, size, convention="detectron2")
    clear = np.abs(means - 0.5) > 1e-6
    assert_equal(got[clear], (means >= 0.5)[clear])


# --- the definition, sample by sample -------------------------------------------------------------


def bilinear(mask: np.ndarray, y: float, x: float) -> float:
    """Value at a point in cells (cell i centred at i), 0 more than a cell outside."""
    rows, columns = mask.shape
    if not (-1 <= y <= rows and -1 <= x <= columns):
        return 0.0
    y, x = min(max(y, 0.0), rows - 1), min(max(x, 0.0), columns - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = (1 - (x - left)) * mask[top, left] + (x - left) * mask[top, right]
    lower = (1 - (x - left)) * mask[bottom, left] + (x - left) * mask[bottom, right]
    return (1 - (y - top)) * upper + (y - top) * lower


@given(
    annotation=annotations(("inside", "overhanging", "larger", "whole", "empty"), bitmap_dtypes),
    convention=conventions,
)
def test_targets_are_the_definition(backend: Backend, annotation, convention) -> None:
    masks, boxes, size = (x[:2] if isinstance(x, np.ndarray) else x for x in annotation)
    boxes = boxes.astype(np.float64)
    height, width = (size, size) if isinstance(size, int) else size
    shift = 0.5 if convention == "detectron2" else 0.0
    means = np.zeros((len(masks), height, width))
    for n, (mask, (x1, y1, x2, y2)) in enumerate(zip(masks.astype(float), boxes, strict=True)):
        tall, wide = y2 - y1, x2 - x1
        if convention == "torchvision":
            tall, wide = max(tall, 1), max(wide, 1)
        rows, columns = math.ceil(tall / height), math.ceil(wide / width)
        for p in range(height):
            for q in range(width):
                values = [
                    bilinear(
                        mask,
                        y1 - shift + (p + (i + 0.5) / rows) * tall / height,
                        x1 - shift + (q + (j + 0.5) / columns) * wide / width,
                    )
                    for i in range(rows)
                    for j in range(columns)
                ]
                means[n, p, q] = sum(values) / max(len(values), 1)
    got = backend("crop_masks", masks, boxes, size, convention=convention)
    assert got.shape == means.shape
    if convention == "torchvision":
        np.testing.assert_allclose(got, means, atol=1e-4 * masks.max(initial=1))
    else:
        clear = np.abs(means - 0.5) > 1e-9
        assert_equal(got[clear], (means >= 0.5)[clear])


def test_an_edge_in_the_middle_of_a_bin_is_set(backend: Backend) -> None:
    # Bins of 6 x 6 pixels, each half covered: 18 / 36, which sums of 1/36 in float32 miss.
    mask = np.zeros((1, 42, 42), bool)
    mask[:, :, [6 * q + i for q in range(7) for i in range(3)]] = True
    box = np.array([[0, 0, 42, 42]], np.float32)
    for masks in (mask, mask.swapaxes(1, 2), mask.astype(np.float32)):
        assert backend("crop_masks", masks, box, 7, convention="detectron2").all()
    assert not backend("crop_masks", 0.99 * mask, box, 7, convention="detectron2").any()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_odd_boxes(backend: Backend, convention) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [
            [nan, 0, 5, 5],
            [0, 0, inf, 5],
            [0, -inf, 5, 5],
            [2, 2, -inf, 5],
            [2, 2, 5, -inf],
            [1e30, 0, 2e30, 5],
            [-9, -9, -5, -5],
        ]
    ).astype(np.float32)
    masks = np.ones((len(boxes), 8, 8), bool)
    assert not backend("crop_masks", masks, boxes, 4, convention=convention).any()
    # One bin of an enormous box holds the whole mask, and nearly nothing of it.
    for extent in (1e6, 1e15, 1e30):
        huge = np.array([[-extent, -extent, extent, extent]], np.float32)
        got = backend("crop_masks", masks[:1], huge, 5, convention=convention)
        assert not got.any() or got.max() < 1e-6


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_empty(backend: Backend, convention) -> None:
    none = np.zeros((0, 4), np.float32)
    got = backend("crop_masks", np.zeros((0, 8, 9), bool), none, (3, 4), convention=convention)
    dtype = np.float32 if convention == "torchvision" else np.bool_
    assert_equal(got, np.zeros((0, 3, 4), dtype))


# --- peers ----------------------------------------------------------------------------------------


def photographs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    low = rng.uniform(-10, 70, (20, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 90, (20, 2))], 1).astype(np.float32)
    yx = np.mgrid[:80, :100]
    centre, radius = rng.uniform(0, 90, (20, 2, 1, 1)), rng.uniform(5, 50, (20, 1, 1))
    return np.hypot(yx[0] - centre[:, 0], yx[1] - centre[:, 1]) < radius, boxes


def test_equals_torchvision(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection.roi_heads import project_masks_on_boxes

    masks, boxes = photographs(np.random.default_rng(0))
    theirs = project_masks_on_boxes(
        torch.from_numpy(masks), torch.from_numpy(boxes), torch.arange(20), 28
    ).numpy()
    assert 0.1 < theirs.mean() < 0.9
    got = backend("crop_masks", masks, boxes, 28)
    assert got.dtype == theirs.dtype
    np.testing.assert_allclose(got, theirs, atol=1e-5)


def test_equals_detectron2s_rule(backend: Backend) -> None:
    """BitMasks.crop_and_resize, with torchvision's RoIAlign in float64."""
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import roi_align

    masks, boxes = photographs(np.random.default_rng(1))
    means = roi_align(
        torch.from_numpy(masks)[:, None].double(),
        list(torch.from_numpy(boxes).double()[:, None]),
        28,
        sampling_ratio=0,
        aligned=True,
    ).numpy()[:, 0]
    got = backend("crop_masks", masks, boxes.astype(np.float64), 28, convention="detectron2")
    clear = np.abs(means - 0.5) > 1e-12
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(got[clear], (means >= 0.5)[clear])
