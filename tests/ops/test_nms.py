"""nms and batched_nms: lists must be equal, everywhere, whatever the input."""

import ml_dtypes
import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import ODD, ORDINARY, box_arrays, float_dtypes, generators, layouts

from roiops import reference

thresholds = st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.7, 1.0])


@st.composite
def candidates(
    draw: st.DrawFn, kinds: tuple[str, ...] = ODD, odd_scores: bool = True, max_boxes: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """boxes (N, 4) and scores (N,), with duplicates and ties."""
    boxes = draw(box_arrays(kinds, max_boxes=max_boxes, duplicates=True))
    rng = draw(generators)
    scores = rng.choice(draw(st.sampled_from([2, 5, 1000])), len(boxes)) / 7
    if odd_scores and draw(st.booleans()):
        odd = rng.random(len(boxes)) < 0.3
        scores[odd] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], odd.sum())
    return boxes.astype(draw(float_dtypes)), scores.astype(draw(float_dtypes))


def brute_force(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    idxs: np.ndarray | None = None,
    one: int = 0,
) -> list[int]:
    """All pairs in plain Python, on scalars of the boxes' dtype."""
    real = boxes.dtype.type
    threshold = real(threshold)

    def overlap(a: np.ndarray, b: np.ndarray) -> np.floating:
        with np.errstate(all="ignore"):
            width = max(real(0), min(a[2], b[2]) - max(a[0], b[0]) + real(one))
            height = max(real(0), min(a[3], b[3]) - max(a[1], b[1]) + real(one))
            area_a, area_b = (
                (box[2] - box[0] + real(one)) * (box[3] - box[1] + real(one)) for box in (a, b)
            )
            union = area_a + area_b - width * height
            return width * height / union if union > 0 else real(0)

    usable = [bool(np.isfinite(box).all()) for box in boxes]
    ranked = sorted(
        range(len(boxes)),
        key=lambda i: (bool(np.isnan(scores[i])), 0 if np.isnan(scores[i]) else -scores[i], i),
    )
    kept: list[int] = []
    for i in ranked:
        suppressed = any(
            usable[i]
            and usable[j]
            and not np.isnan(scores[j])
            and (idxs is None or idxs[i] == idxs[j])
            and overlap(boxes[i], boxes[j]) > threshold
            for j in kept
        )
        if not suppressed:
            kept.append(i)
    return kept


@given(pair=candidates(), threshold=thresholds, plus_one=st.booleans())
def test_keeps_what_the_definition_keeps(backend: Backend, pair, threshold, plus_one) -> None:
    boxes, scores = pair
    keep = backend("nms", boxes, scores, threshold, plus_one=plus_one)
    expected = brute_force(boxes, scores, threshold, one=int(plus_one))
    assert_equal(keep, np.array(expected, np.int64))


@given(pair=candidates(), threshold=thresholds, plus_one=st.booleans(), layout=layouts)
def test_is_the_references(compiled: Backend, pair, threshold, plus_one, layout) -> None:
    boxes, scores = pair
    expected = reference.nms(boxes, scores, threshold, plus_one=plus_one)
    got = compiled("nms", layout(boxes), layout(scores), threshold, plus_one=plus_one)
    assert_equal(got, expected)


@given(pair=candidates(), threshold=thresholds, groups=st.integers(1, 4), seed=generators)
def test_batched_is_nms_of_each_group(backend: Backend, pair, threshold, groups, seed) -> None:
    boxes, scores = pair
    idxs = seed.integers(-1, groups - 1, len(boxes))
    keep = backend("batched_nms", boxes, scores, idxs, threshold)
    assert_equal(keep, np.array(brute_force(boxes, scores, threshold, idxs), np.int64))
    for group in np.unique(idxs):
        members = np.flatnonzero(idxs == group)
        alone = members[backend("nms", boxes[members], scores[members], threshold)]
        np.testing.assert_array_equal(keep[np.isin(keep, members)], alone)


@given(pair=candidates(), threshold=thresholds, seed=generators, layout=layouts)
def test_batched_is_the_references(compiled: Backend, pair, threshold, seed, layout) -> None:
    boxes, scores = pair
    idxs = seed.choice([np.iinfo(np.int64).min, -1, 0, 1, np.iinfo(np.int64).max], len(boxes))
    expected = reference.batched_nms(boxes, scores, idxs, threshold)
    got = compiled("batched_nms", layout(boxes), layout(scores), layout(idxs), threshold)
    assert_equal(got, expected)


@given(pair=candidates(ORDINARY, odd_scores=False), threshold=thresholds)
def test_equals_torchvision(backend: Backend, pair, threshold) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import nms

    boxes, scores = pair
    if boxes.dtype == np.float32:
        # its CPU kernel compares a float overlap with a double threshold
        threshold = float(np.float32(threshold))
    scores = scores.astype(boxes.dtype)
    expected = nms(torch.tensor(boxes), torch.tensor(scores), threshold).numpy()
    assert_equal(backend("nms", boxes, scores, threshold), expected)


# --- one decision a test --------------------------------------------------------------------------


def test_equal_scores_keep_their_order(backend: Backend) -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3 + [[20, 0, 30, 10]] * 3, np.float32)
    keep = backend("nms", boxes, np.ones(6, np.float32), 0.5)
    np.testing.assert_array_equal(keep, [0, 3])
    scores = np.array([1, 2, 2, 2, 1, 2], np.float32)
    np.testing.assert_array_equal(backend("nms", boxes, scores, 0.5), [1, 3])
    apart = np.arange(100, dtype=np.float32)[:, None] * 20 + np.float32([0, 0, 10, 10])
    keep = backend("nms", apart, np.repeat(np.float32([1, 3, 2, 3]), 25), 0.5)
    expected = [*range(25, 50), *range(75, 100), *range(50, 75), *range(25)]
    np.testing.assert_array_equal(keep, expected)


def test_an_overlap_equal_to_the_threshold_suppresses_nothing(backend: Backend) -> None:
    # The overlap is 2 / 10, rounded to float32 as the threshold is. As a double the threshold 0.2
    # is smaller than the float, and torchvision's CPU kernel suppresses.
    boxes = np.array([[0, 0, 6, 1], [4, 0, 10, 1]])
    scores = np.array([2.0, 1.0])
    for dtype in (np.float32, np.float64):
        overlap = reference.box_iou(boxes.astype(dtype), boxes.astype(dtype))[0, 1]
        assert overlap == dtype(0.2)
        keep = backend("nms", boxes.astype(dtype), scores.astype(dtype), 0.2)
        np.testing.assert_array_equal(keep, [0, 1])
        below = float(np.nextafter(dtype(0.2), dtype(0)))
        keep = backend("nms", boxes.astype(dtype), scores.astype(dtype), below)
        np.testing.assert_array_equal(keep, [0])


def test_threshold_one_keeps_duplicates(backend: Backend) -> None:
    boxes = np.array([[0, 0, 3, 3]] * 4, np.float32)
    np.testing.assert_array_equal(backend("nms", boxes, np.arange(4.0), 1.0), [3, 2, 1, 0])


def test_empty_boxes_do_not_suppress_each_other(backend: Backend) -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [5, 5, 5, 9], [4, 4, 9, 9]], np.float32)
    keep = backend("nms", boxes, np.float32([4, 3, 2, 1]), 0.0)
    np.testing.assert_array_equal(keep, [0, 1, 2, 3])
    # with the last pixel counted they are boxes of one pixel
    keep = backend("nms", boxes[:2], np.float32([4, 3]), 0.0, plus_one=True)
    np.testing.assert_array_equal(keep, [0])


def test_a_nan_score_ranks_last_and_suppresses_nothing(backend: Backend) -> None:
    box, apart = [0, 0, 10, 10], [50, 50, 60, 60]
    boxes = np.array([box, box, box, apart, apart], np.float32)
    nan = np.nan
    keep = backend("nms", boxes, np.float32([nan, 1, nan, nan, nan]), 0.5)
    np.testing.assert_array_equal(keep, [1, 3, 4])  # 0 and 2 are suppressed by 1
    keep = backend("nms", boxes, np.float32([nan, -np.inf, nan, nan, nan]), 0.5)
    np.testing.assert_array_equal(keep, [1, 3, 4])  # -inf is a number
    keep = backend("nms", boxes, np.full(5, nan, np.float32), 0.5)
    np.testing.assert_array_equal(keep, range(5))
    for dtype in (np.float16, ml_dtypes.bfloat16):
        keep = backend("nms", boxes, np.array([nan, 1, nan, nan, 2], dtype), 0.5)
        np.testing.assert_array_equal(keep, [4, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_stands_alone(backend: Backend, value) -> None:
    boxes = np.tile(np.float32([0, 0, 10, 10]), (4, 1))
    boxes[1, 2] = value
    keep = backend("nms", boxes, np.float32([1, 4, 3, 2]), 0.5)
    np.testing.assert_array_equal(keep, [1, 2])  # in its rank, and 2 suppresses the others
    keep = backend("nms", boxes, np.float32([4, 3, 2, 1]), 0.0)
    np.testing.assert_array_equal(keep, [0, 1])
    keep = backend("batched_nms", boxes, np.float32([4, 3, 2, 1]), np.array([0, 0, 1, 1]), 0.5)
    np.testing.assert_array_equal(keep, [0, 1, 2])  # it does not spread to other boxes


def test_groups_do_not_meet_at_negative_coordinates(backend: Backend) -> None:
    # Shifted by group times (largest coordinate + 1), as torchvision does, these overlap by 0.826.
    boxes = np.array([[0, 0, 10, 10], [-12, -12, -1, -1]], np.float32)
    keep = backend("batched_nms", boxes, np.float32([2, 1]), np.array([0, 1]), 0.5)
    np.testing.assert_array_equal(keep, [0, 1])


def test_groups_do_not_lose_precision(backend: Backend) -> None:
    # A shift of 1e9 would make all of these one point.
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 1.5, 1], [1e6, 0, 1e6 + 1, 1]], np.float32)
    idxs = np.array([1000, 1000, 0])
    keep = backend("batched_nms", boxes, np.float32([3, 2, 1]), idxs, 0.5)
    np.testing.assert_array_equal(keep, [0, 1, 2])


@pytest.mark.parametrize("operator", ["nms", "batched_nms"])
def test_nothing_in_nothing_out(backend: Backend, operator) -> None:
    groups = [np.zeros(0, np.int64)] if operator == "batched_nms" else []
    keep = backend(operator, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), *groups, 0.5)
    assert_equal(keep, np.zeros(0, np.int64))


# --- many boxes: a backend may compare only those that lie near each other ------------------------


def greedy(
    boxes: np.ndarray, scores: np.ndarray, idxs: np.ndarray, threshold: float, one: int = 0
) -> np.ndarray:
    """Vectorised over all that is left, for proper boxes and finite scores."""
    real = boxes.dtype.type
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1 + real(one)) * (y2 - y1 + real(one))
    alive, kept = np.lexsort((np.arange(len(boxes)), -scores)), []
    while len(alive):
        i, alive = alive[0], alive[1:]
        kept.append(i)
        width = np.minimum(x2[i], x2[alive]) - np.maximum(x1[i], x1[alive]) + real(one)
        height = np.minimum(y2[i], y2[alive]) - np.maximum(y1[i], y1[alive]) + real(one)
        shared = np.maximum(width, real(0)) * np.maximum(height, real(0))
        overlap = shared / (area[i] + area[alive] - shared)
        alive = alive[~(overlap > real(threshold)) | (idxs[alive] != idxs[i])]
    return np.array(kept, np.int64)


def crowd(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """boxes (count, 4), proper, float64, that overlap a lot."""
    match kind:
        case "any size":
            size = np.exp(rng.uniform(-3, 6, (count, 2)))
            centre = rng.uniform(0, 500, (count, 2))
        case "one size":
            size = np.full((count, 2), 32.0)
            centre = rng.uniform(0, 300, (count, 2))
        case "thin":
            size = np.exp(rng.normal(0, 3, (count, 1)) * [1, -1] + rng.normal(0, 0.3, (count, 2)))
            centre = rng.uniform(-20, 20, (count, 2))
        case "whole pixels":  # overlaps that are exactly a threshold, edges that touch
            size = rng.integers(1, 9, (count, 2)) * 2.0
            centre = rng.integers(-30, 30, (count, 2)) * 1.0
        case "concentric":
            size = np.exp(rng.uniform(0, 8, (count, 1))) * [1, 1]
            centre = np.full((count, 2), 100.0)
        case "far out":
            size = np.exp(rng.uniform(0, 2, (count, 2)))
            centre = rng.choice([-1e5, 1e5, 3e6], (count, 2)) + rng.uniform(0, 30, (count, 2))
        case _:
            raise ValueError(kind)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


KINDS = ("any size", "one size", "thin", "whole pixels", "concentric", "far out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.2, 0.3, 1 / 3, 0.5, 0.7, 0.95, 1.0])
def test_thousands_of_boxes(compiled: Backend, kind, threshold) -> None:
    # few enough to be compared with all that are kept, and too many
    rng = np.random.default_rng(0)
    for count, dtype, plus_one in (
        (900, np.float32, False),
        (2500, np.float32, False),
        (2500, np.float64, True),
    ):
        boxes = crowd(kind, count, rng).astype(dtype)
        scores = np.round(rng.random(len(boxes)), 3).astype(dtype)
        one_group = np.zeros(len(boxes), np.int64)
        expected = greedy(boxes, scores, one_group, threshold, int(plus_one))
        assert_equal(compiled("nms", boxes, scores, threshold, plus_one=plus_one), expected)


def test_odd_boxes_among_thousands(compiled: Backend) -> None:
    rng = np.random.default_rng(0)
    boxes = crowd("any size", 2000, rng).astype(np.float32)
    scores = np.round(rng.random(len(boxes)), 2).astype(np.float32)
    odd = rng.permutation(len(boxes))
    boxes[odd[:50], rng.integers(0, 4, 50)] = rng.choice([np.nan, np.inf, -np.inf], 50)
    boxes[odd[50:100]] = boxes[odd[50:100]][:, [2, 3, 0, 1]]
    boxes[odd[100:150], 2:] = boxes[odd[100:150], :2]
    boxes[odd[150:170]] *= np.float32(1e30)
    scores[odd[200:400]] = np.nan
    for threshold in (0.0, 0.3, 0.5):
        expected = reference.nms(boxes, scores, threshold)
        assert_equal(compiled("nms", boxes, scores, threshold), expected)


@pytest.mark.parametrize("order", ["outside in", "inside out", "shuffled"])
def test_boxes_in_the_order_of_their_size(compiled: Backend, order) -> None:
    # An axis along which they are sorted already, whatever the tree sorts them by.
    count = 3000
    r = np.arange(count, dtype=np.float32) / 2
    nest = np.stack([r, r, 2 * count - r, 2 * count - r], 1)
    a = np.exp(np.linspace(-3, 3, count, dtype=np.float32))
    fan = np.stack([-100 * a, -100 / a, 100 * a, 100 / a], 1)
    score = {
        "outside in": -r,
        "inside out": r,
        "shuffled": np.random.default_rng(0).permutation(r),
    }[order]
    for boxes in (nest, fan):
        for threshold in (0.7, 0.99, 0.9999):
            expected = reference.nms(boxes, score, threshold)
            assert_equal(compiled("nms", boxes, score, threshold), expected)


@pytest.mark.parametrize("groups", [1, 80])
def test_twelve_thousand_boxes(backend: Backend, groups) -> None:
    rng = np.random.default_rng(0)
    count = 12_000
    low = rng.uniform(0, 1000, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 200, (count, 2))], 1).astype(np.float32)
    scores = np.round(rng.random(count), 3).astype(np.float32)  # ties
    idxs = rng.integers(0, groups, count)
    keep = backend("batched_nms", boxes, scores, idxs, 0.5)
    assert_equal(keep, greedy(boxes, scores, idxs, 0.5))
    if groups == 1:
        assert_equal(backend("nms", boxes, scores, 0.5), keep)
