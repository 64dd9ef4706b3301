"""paste_masks: the pasted booleans are decisions, equal everywhere."""

import math

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ODD, box_arrays, float_dtypes, generators, layouts

from roiops import reference

conventions = st.sampled_from(["torchvision", "detectron2"])


@st.composite
def predictions(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND) -> dict:
    """The arguments of one call."""
    rng = draw(generators)
    boxes = draw(box_arrays(kinds, max_boxes=4, extent=20.0))
    cells = draw(st.sampled_from([1, 2, 5, 14, 28]))
    masks = rng.random((len(boxes), cells, cells))
    if draw(st.booleans()):  # many values and averages of values that are exactly a threshold
        masks = rng.choice([0, 0.25, 0.5, 0.75, 1], masks.shape)
    return {
        "masks": masks.astype(draw(float_dtypes)),
        "boxes": boxes.astype(draw(float_dtypes)),
        "image_size": (draw(st.integers(1, 30)), draw(st.integers(1, 30))),
        "padding": draw(st.integers(0, 2)),
        "convention": draw(conventions),
    }


@given(
    prediction=predictions(),
    threshold=st.sampled_from([0.5, 0.25, 0.3, 0.0]),
    layout=layouts,
)
def test_booleans_are_the_references(compiled: Backend, prediction, threshold, layout) -> None:
    expected = reference.paste_masks(**prediction, threshold=threshold)
    for name in ("masks", "boxes"):
        prediction[name] = layout(prediction[name])
    assert_equal(compiled("paste_masks", **prediction, threshold=threshold), expected)


@given(prediction=predictions(), layout=layouts)
def test_probabilities_are_the_references(compiled: Backend, prediction, layout) -> None:
    expected = reference.paste_masks(**prediction, threshold=None)
    prediction["masks"] = layout(prediction["masks"])
    got = compiled("paste_masks", **prediction, threshold=None)
    assert_equal(got, expected)


@given(prediction=predictions(ODD), threshold=st.sampled_from([0.5, 0.3]))
def test_booleans_are_the_thresholded_probabilities(backend, prediction, threshold) -> None:
    values = backend("paste_masks", **prediction, threshold=None)
    limit = values.dtype.type(threshold)
    above = values > limit if prediction["convention"] == "torchvision" else values >= limit
    assert_equal(backend("paste_masks", **prediction, threshold=threshold), above)


# --- the definitions, pixel by pixel --------------------------------------------------------------


def bilinear(mask: np.ndarray, y: float, x: float, clamp: bool) -> float:
    """Value at a point in cells (cell i centred at i); beyond the mask its edge, or zeros."""
    size = mask.shape[0]
    if clamp:
        y, x = max(y, 0.0), max(x, 0.0)
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if clamp:
                total += weight_y * weight_x * mask[min(row, size - 1), min(column, size - 1)]
            elif 0 <= row < size and 0 <= column < size:
                total += weight_y * weight_x * mask[row, column]
    return total


@given(prediction=predictions(("inside", "overhanging", "larger", "whole", "tiny", "empty")))
def test_probabilities_are_the_definition(backend: Backend, prediction) -> None:
    prediction["boxes"] = prediction["boxes"][:2].astype(np.float64)
    prediction["masks"] = prediction["masks"][:2].astype(np.float64)
    height, width = prediction["image_size"]
    expected = np.zeros((len(prediction["boxes"]), height, width))
    for k, (mask, box) in enumerate(zip(prediction["masks"], prediction["boxes"], strict=True)):
        cells, padding = mask.shape[0], prediction["padding"]
        x1, y1, x2, y2 = box.tolist()
        if prediction["convention"] == "torchvision":
            mask = np.pad(mask, padding)
            grow = (cells + 2 * padding) / cells
            half_x, half_y = (x2 - x1) * 0.5 * grow, (y2 - y1) * 0.5 * grow
            centre_x, centre_y = (x2 + x1) * 0.5, (y2 + y1) * 0.5
            left, right = math.trunc(centre_x - half_x), math.trunc(centre_x + half_x)
            top, bottom = math.trunc(centre_y - half_y), math.trunc(centre_y + half_y)
            for y in range(max(top, 0), min(bottom + 1, height)):
                for x in range(max(left, 0), min(right + 1, width)):
                    row = (y - top + 0.5) * len(mask) / max(bottom - top + 1, 1) - 0.5
                    column = (x - left + 0.5) * len(mask) / max(right - left + 1, 1) - 0.5
                    expected[k, y, x] = bilinear(mask, row, column, clamp=True)
        elif x2 > x1 and y2 > y1:
            for y in range(height):
                for x in range(width):
                    row = (y + 0.5 - y1) / (y2 - y1) * cells - 0.5
                    column = (x + 0.5 - x1) / (x2 - x1) * cells - 0.5
                    expected[k, y, x] = bilinear(mask, row, column, clamp=False)
    got = backend("paste_masks", **prediction, threshold=None)
    # far from a tiny box, the position in cells is large and its fraction less precise
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_a_full_mask_by_hand(backend: Backend) -> None:
    masks, boxes = np.ones((1, 2, 2), np.float32), np.array([[2, 3, 6, 5]], np.float32)
    # Padded to 4 x 4 cells in a box grown to (0, 2, 8, 6): pixels 0..8 and 2..6 inclusive.
    values = backend("paste_masks", masks, boxes, (8, 10), threshold=None)
    assert values.shape == (1, 8, 10)
    assert not values[0, [0, 1, 7]].any()
    assert not values[0, :, 9].any()
    assert (values[0, 2:7, 0:9] > 0).sum() > 0
    np.testing.assert_allclose(values[0, 4, 4], 1)
    # detectron2: pixel centres in the box, exactly; half of them at its edges would be 0.5
    pasted = backend("paste_masks", masks, boxes, (8, 10), convention="detectron2")
    expected = np.zeros((8, 10), bool)
    expected[3:5, 2:6] = True
    assert_equal(pasted[0], expected)


def test_the_threshold_itself(backend: Backend) -> None:
    # A constant mask of exactly the threshold: above is strict, detectron2's is not.
    for dtype in (np.float32, np.float64):
        for value in (0.5, 0.3):
            masks = np.full((1, 5, 5), value, dtype)
            boxes = np.array([[0, 0, 10, 10]], dtype)
            arguments = (masks, boxes, (10, 10))
            options = {"threshold": value, "padding": 0}
            assert not backend("paste_masks", *arguments, **options)[0, 5, 5]
            inside = backend("paste_masks", *arguments, **options, convention="detectron2")
            assert inside[0, 5, 5]


@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
def test_odd_boxes_leave_their_image_empty(backend: Backend, convention) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [[nan, 0, 5, 5], [0, 0, inf, 5], [0, -inf, 5, 5], [9, 9, 2, 2], [1e30, 0, 2e30, 5]]
    ).astype(np.float32)
    masks = np.ones((len(boxes), 4, 4), np.float32)
    pasted = backend("paste_masks", masks, boxes, (12, 12), convention=convention)
    assert not pasted.any()


def test_an_enormous_box_shows_its_middle(backend: Backend) -> None:
    masks = np.ones((1, 4, 4), np.float32)
    for extent in (1e6, 1e15, 1e30):
        boxes = np.array([[-extent, -extent, extent, extent]], np.float32)
        for convention in ("torchvision", "detectron2"):
            assert backend("paste_masks", masks, boxes, (6, 7), convention=convention).all()


def test_no_masks(backend: Backend) -> None:
    none = np.zeros((0, 4), np.float32)
    pasted = backend("paste_masks", np.zeros((0, 28, 28), np.float32), none, (5, 6))
    assert_equal(pasted, np.zeros((0, 5, 6), bool))


def test_equals_torchvision(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    rng = np.random.default_rng(0)
    low = rng.uniform(-30, 60, (40, 2))
    high = np.maximum(low + rng.uniform(0, 90, (40, 2)), 8)  # theirs fails on boxes left of 0
    boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    masks = rng.random((40, 28, 28)).astype(np.float32)
    theirs = paste_masks_in_image(
        torch.tensor(masks)[:, None], torch.tensor(boxes), (80, 100)
    ).numpy()[:, 0]
    ours = backend("paste_masks", masks, boxes, (80, 100), threshold=None)
    # theirs rounds positions of up to 30 cells to float32
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    pasted = backend("paste_masks", masks, boxes, (80, 100))
    undecided = np.abs(theirs - 0.5) < 1e-5
    np.testing.assert_array_equal(pasted[~undecided], (theirs > 0.5)[~undecided])
