"""soft_nms: which boxes are returned, and with which scores, is equal everywhere."""

import math

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import ODD, ORDINARY, box_arrays, float_dtypes, generators, layouts, several_times
from test_nms import thresholds

import roiops
from roiops import reference
from roiops.reference.exponential import exponential

methods = st.sampled_from(["linear", "gaussian", "hard"])


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = ODD, odd_scores: bool = True):
    """(boxes, scores), options; with duplicates and ties."""
    boxes = draw(box_arrays(kinds, max_boxes=30, duplicates=True)).astype(draw(float_dtypes))
    rng = draw(generators)
    scores = rng.choice(draw(st.sampled_from([2, 5, 1000])), len(boxes)) / 7
    if odd_scores and draw(st.booleans()):
        odd = rng.random(len(boxes)) < 0.3
        scores[odd] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30], odd.sum())
    options = {
        "method": draw(methods),
        "iou_threshold": draw(thresholds),
        "sigma": draw(st.sampled_from([0.5, 0.1, 3.0, 1e-30])),
        "score_threshold": draw(st.sampled_from([0.001, 0.0, 0.3])),
        "idxs": rng.integers(0, 3, len(boxes)) if draw(st.booleans()) else None,
    }
    return (boxes, scores.astype(draw(float_dtypes))), options


@several_times
@given(cases(), layouts)
def test_is_the_references(compiled: Backend, case, layout) -> None:
    (boxes, scores), options = case
    expected = reference.soft_nms(boxes, scores, **options)
    got = compiled("soft_nms", layout(boxes), layout(scores), **options)
    assert_equal(got[0], expected[0])
    assert_same_bits(got[1], expected[1])


@given(cases(ORDINARY, odd_scores=False))
def test_is_the_definition(backend: Backend, case) -> None:
    """In plain Python and float64, where rounding decides nothing."""
    (boxes, scores), options = case
    boxes, score = boxes.astype(np.float64), list(scores.astype(np.float64))
    idxs = np.zeros(len(boxes)) if options["idxs"] is None else options["idxs"]
    overlaps = reference.box_iou(boxes, boxes)
    least, limit = options["score_threshold"], options["iou_threshold"]
    left = [i for i in range(len(boxes)) if score[i] >= least]
    keep = []
    while left:
        best = max(left, key=lambda i: (score[i], -i))
        left.remove(best)
        keep.append(best)
        for i in list(left):
            if idxs[i] != idxs[best]:
                continue
            overlap = overlaps[i, best]
            if options["method"] == "gaussian":
                score[i] *= math.exp(-(overlap**2) / options["sigma"])
            elif overlap > limit:
                score[i] *= 1 - overlap if options["method"] == "linear" else 0
                if options["method"] == "hard":
                    left.remove(i)
                    continue
            if score[i] < least:
                left.remove(i)
    got, new_scores = backend("soft_nms", boxes, scores.astype(np.float64), **options)
    assert (np.diff(new_scores) <= 0).all()
    np.testing.assert_array_equal(got, keep)
    np.testing.assert_allclose(new_scores, [score[i] for i in keep], rtol=1e-12)


@given(cases(odd_scores=False))
def test_hard_is_nms(backend: Backend, case) -> None:
    (boxes, scores), options = case
    idxs = np.zeros(len(boxes), np.int64) if options["idxs"] is None else options["idxs"]
    keep, new_scores = backend(
        "soft_nms",
        boxes,
        scores,
        idxs=idxs,
        method="hard",
        iou_threshold=options["iou_threshold"],
        score_threshold=0.0,
    )
    expected = backend("batched_nms", boxes, scores, idxs, options["iou_threshold"])
    assert_equal(keep, expected)
    assert_same_bits(new_scores, scores[expected])


@pytest.mark.parametrize("method", ["linear", "gaussian", "hard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thousands_of_boxes(compiled: Backend, method, dtype) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 200, (3000, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 90, (3000, 2))], 1).astype(dtype)
    scores = (rng.choice(500, 3000) / 500).astype(np.float32)  # with ties
    expected = reference.soft_nms(boxes, scores, method=method)
    got = compiled("soft_nms", boxes, scores, method=method)
    assert_equal(got[0], expected[0])
    assert_same_bits(got[1], expected[1])


def test_by_hand(backend: Backend) -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)
    scores = np.array([0.8, 0.6, 0.1], np.float32)
    keep, new_scores = backend("soft_nms", boxes, scores)
    np.testing.assert_array_equal(keep, [0, 1, 2])
    np.testing.assert_allclose(new_scores, [0.8, 0.3, 0.1], rtol=1e-6)
    keep, new_scores = backend("soft_nms", boxes, scores, method="gaussian", sigma=0.5)
    np.testing.assert_array_equal(keep, [0, 1, 2])
    np.testing.assert_allclose(new_scores, [0.8, 0.6 * math.exp(-0.5), 0.1], rtol=1e-6)
    keep, _ = backend("soft_nms", boxes, scores, score_threshold=0.35)
    np.testing.assert_array_equal(keep, [0])
    # An overlap equal to the threshold lowers nothing; a score equal to the threshold stays.
    keep, new_scores = backend("soft_nms", boxes, scores, iou_threshold=0.5, score_threshold=0.1)
    np.testing.assert_array_equal(keep, [0, 1, 2])
    assert_same_bits(new_scores, scores)
    # Equal scores: the lower index first.
    keep, _ = backend("soft_nms", boxes[[2, 2, 0]], np.full(3, 0.5, np.float32))
    np.testing.assert_array_equal(keep, [0, 2])


def test_odd_scores_and_boxes(backend: Backend) -> None:
    boxes = np.array([[0, 0, 9, 9]] * 4 + [[0, np.nan, 9, 9]] * 2, np.float32)
    scores = np.array([np.nan, 0.5, -1, 0.4, 0.9, 0.3], np.float32)
    keep, new_scores = backend("soft_nms", boxes, scores)
    np.testing.assert_array_equal(keep, [4, 1, 5])
    assert_same_bits(new_scores, scores[[4, 1, 5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponential_is_numpys_to_rounding(dtype) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-120, 90, 20_000), -np.exp(rng.uniform(-30, 5, 20_000))])
    if dtype == np.float64:
        x = np.concatenate([x, rng.uniform(-760, 720, 20_000)])
    x = x.astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        finite = np.isfinite(np.exp(x))
        expected = np.exp(x.astype(np.longdouble))
        got = exponential(x)
        least = np.finfo(dtype).smallest_subnormal
        error = np.abs(got - expected) / np.spacing(np.maximum(np.exp(x), least))
    assert np.nanmax(error[finite]) <= 2
    assert np.isinf(got[~finite]).all()


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 9, (30, 4)).astype(np.float16)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.random(30).astype(np.float16)
    got = roiops.soft_nms(torch.from_numpy(boxes), torch.from_numpy(scores), method="gaussian")
    expected = reference.soft_nms(boxes, scores, method="gaussian")
    assert got[1].dtype == torch.float32
    assert_equal(got[0].numpy(), expected[0])
    assert_same_bits(got[1].numpy(), expected[1])

    def step(boxes, scores):
        keep, new_scores = roiops.soft_nms(boxes, scores)
        return new_scores + keep  # one size for both

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    tensors = torch.from_numpy(boxes).float(), torch.from_numpy(scores).float()
    assert torch.equal(compiled(*tensors), step(*tensors))
