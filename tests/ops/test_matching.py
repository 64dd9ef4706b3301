"""match_boxes: decisions on overlaps, so equal everywhere."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ORDINARY, box_arrays, float_dtypes, generators, layouts

from roiops import reference

thresholds = st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.2, 0.2), (1.0, 0.0), (1 / 3, 0.0)])


@st.composite
def crowds(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND) -> tuple[np.ndarray, np.ndarray]:
    """targets (G, 4) and boxes (N, 4) of which many tie: both repeat rows of each other."""
    targets = draw(box_arrays(kinds, max_boxes=6, duplicates=True))
    boxes = draw(box_arrays(kinds, max_boxes=12, duplicates=True))
    rng = draw(generators)
    if len(targets):
        near = targets[rng.integers(0, len(targets), 5)]
        boxes = np.concatenate([near, boxes, near + rng.choice([-1, 0, 1], (5, 4))])
    dtype = draw(float_dtypes)
    return targets.astype(dtype), boxes.astype(dtype)


def by_definition(
    targets: np.ndarray, boxes: np.ndarray, high: float, low: float, allow_low_quality: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair by pair, on the overlaps of the reference."""
    real = targets.dtype.type
    overlaps = reference.box_iou(targets, boxes)
    matched, labels, ious = [], [], []
    for n in range(len(boxes)):
        best, index = real(0), 0
        for g in range(len(targets)):
            if overlaps[g, n] > best:
                best, index = overlaps[g, n], g
        label = 1 if best >= real(high) else 0 if best < real(low) else -1
        if not len(targets):
            label = 0
        if allow_low_quality:
            for g in range(len(targets)):
                if overlaps[g, n] > 0 and overlaps[g, n] == max(overlaps[g]):
                    label = 1
        matched.append(index)
        labels.append(label)
        ious.append(best)
    return np.array(matched, np.int64), np.array(labels, np.int8), np.array(ious, targets.dtype)


@given(crowd=crowds(), limits=thresholds, allow_low_quality=st.booleans(), layout=layouts)
def test_is_the_definition(backend: Backend, crowd, limits, allow_low_quality, layout) -> None:
    targets, boxes = crowd
    expected = by_definition(targets, boxes, *limits, allow_low_quality)
    got = backend(
        "match_boxes", layout(targets), layout(boxes), *limits, allow_low_quality=allow_low_quality
    )
    for one, other in zip(got, expected, strict=True):
        assert_equal(one, other)


@given(
    images=st.lists(crowds(), min_size=1, max_size=3),
    limits=thresholds,
    allow_low_quality=st.booleans(),
    shared=st.booleans(),
    layout=layouts,
)
def test_a_batch_is_one_image_after_the_other(
    compiled: Backend, images, limits, allow_low_quality, shared, layout
) -> None:
    dtype = images[0][0].dtype
    targets = [layout(image.astype(dtype)) for image, _ in images]
    boxes = [layout(image.astype(dtype)) for _, image in images]
    options = {"allow_low_quality": allow_low_quality}
    given_boxes = boxes[0] if shared else boxes
    got = compiled("match_boxes", targets, given_boxes, *limits, **options)
    for result in got:
        assert isinstance(result, np.ndarray if shared else list)
    for i, image_targets in enumerate(targets):
        image_boxes = boxes[0] if shared else boxes[i]
        expected = reference.match_boxes(image_targets, image_boxes, *limits, **options)
        for one, other in zip(got, expected, strict=True):
            assert_equal(one[i], other)


@given(
    crowd=crowds(ORDINARY),
    limits=st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.75, 0.25)]),
    allow_low_quality=st.booleans(),
)
def test_equals_torchvision(backend: Backend, crowd, limits, allow_low_quality) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection._utils import Matcher

    targets, boxes = (array.astype(np.float64) for array in crowd)
    overlaps = reference.box_iou(targets, boxes)
    # theirs refuses an empty side, and makes all boxes positive for a target that none touches
    if not overlaps.size or (overlaps.max(axis=1) == 0).any():
        return
    theirs = Matcher(*limits, allow_low_quality)(torch.tensor(overlaps)).numpy()
    matched, labels, _ = backend(
        "match_boxes", targets, boxes, *limits, allow_low_quality=allow_low_quality
    )
    np.testing.assert_array_equal(np.where(labels == 1, matched, labels - 1), theirs)


# --- one decision a test --------------------------------------------------------------------------

BOX = [0.0, 0.0, 10.0, 10.0]
HALF = [0.0, 0.0, 10.0, 5.0]
APART = [50.0, 50.0, 60.0, 60.0]


def test_the_first_of_equal_targets(backend: Backend) -> None:
    targets = np.array([APART, BOX, BOX, BOX], np.float32)
    boxes = np.array([BOX, HALF, APART], np.float32)
    matched, labels, ious = backend("match_boxes", targets, boxes, 0.5, 0.3)
    assert_equal(matched, np.array([1, 1, 0]))
    assert_equal(labels, np.array([1, 1, 1], np.int8))
    assert_equal(ious, np.float32([1, 0.5, 1]))


def test_thresholds_are_inclusive_above_and_exclusive_below(backend: Backend) -> None:
    # 0.2 and 0.7 as float32 are not the doubles; the overlaps are those floats
    for dtype in (np.float32, np.float64):
        targets = np.array([[0, 0, 10, 10]], dtype)
        boxes = np.array([[0, 0, 10, 7], [0, 0, 10, 2], [0, 0, 10, 1.99]], dtype)
        _, labels, ious = backend("match_boxes", targets, boxes, 0.7, 0.2)
        assert ious[0] == dtype(0.7)
        assert ious[1] == dtype(0.2)
        assert_equal(labels, np.array([1, -1, 0], np.int8))


def test_low_quality_boxes_keep_their_own_target(backend: Backend) -> None:
    # Box 1 is the best that target 1 has, but itself overlaps target 0 more.
    targets = np.array([[0, 0, 10, 10], [0, 0, 10, 100]], np.float32)
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 12], APART], np.float32)
    matched, labels, _ = backend("match_boxes", targets, boxes, 0.95, 0.1)
    assert_equal(labels, np.array([-1, -1, 0], np.int8))
    matched, labels, _ = backend("match_boxes", targets, boxes, 0.95, 0.1, allow_low_quality=True)
    assert_equal(labels, np.array([1, 1, 0], np.int8))
    assert_equal(matched, np.array([0, 0, 0]))


def test_low_quality_needs_an_overlap_and_takes_all_ties(backend: Backend) -> None:
    targets = np.array([APART, BOX], np.float32)
    boxes = np.array([[0, 0, 1, 10], [9, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    _, labels, _ = backend("match_boxes", targets, boxes, 0.7, 0.3, allow_low_quality=True)
    assert_equal(labels, np.array([1, 1, 0], np.int8))


@pytest.mark.parametrize("allow_low_quality", [False, True])
def test_nothing_to_match(backend: Backend, allow_low_quality) -> None:
    none, boxes = np.zeros((0, 4), np.float32), np.array([BOX, HALF], np.float32)
    options = {"allow_low_quality": allow_low_quality}
    matched, labels, ious = backend("match_boxes", none, boxes, 0.7, 0.0, **options)
    assert_equal(matched, np.zeros(2, np.int64))
    assert_equal(labels, np.zeros(2, np.int8))
    assert_equal(ious, np.zeros(2, np.float32))
    for result in backend("match_boxes", boxes, none, 0.7, 0.3, **options):
        assert result.shape == (0,)
    matched, labels, ious = backend("match_boxes", [none, boxes], boxes, 0.7, 0.3, **options)
    assert matched.shape == labels.shape == ious.shape == (2, 2)
    assert_equal(labels, np.array([[0, 0], [1, 1]], np.int8))


# --- many boxes: a backend may skip those that no target can touch -------------------------------


@pytest.mark.parametrize("allow_low_quality", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thousands_of_boxes(compiled: Backend, dtype, allow_low_quality) -> None:
    # Anchors in the order of a grid, with odd ones among them, and targets that copy some.
    rng = np.random.default_rng(0)
    (anchors,) = reference.grid_anchors([(25, 33)], [16], [(32, 64)], [(0.5, 1, 2)])
    anchors = anchors[:4909].astype(dtype)  # no multiple of anything
    odd = rng.permutation(len(anchors))
    anchors[odd[:40], rng.integers(0, 4, 40)] = rng.choice([np.nan, np.inf, -np.inf], 40)
    anchors[odd[40:80]] = anchors[odd[40:80]][:, [2, 3, 0, 1]]
    anchors[odd[80:120], 2:] = anchors[odd[80:120], :2]
    anchors[odd[120:130]] *= dtype(1e25)
    targets = np.concatenate([anchors[odd[:200:5]], anchors[odd[500:530]] + rng.normal(0, 5)])
    targets = np.concatenate([targets, targets[::3], np.full((2, 4), 9000, dtype)]).astype(dtype)
    for boxes in (anchors, anchors[odd]):
        expected = reference.match_boxes(
            targets, boxes, 0.7, 0.3, allow_low_quality=allow_low_quality
        )
        got = compiled("match_boxes", targets, boxes, 0.7, 0.3, allow_low_quality=allow_low_quality)
        for one, other in zip(got, expected, strict=True):
            assert_equal(one, other)
        assert {-1, 0, 1} <= set(expected[1])
