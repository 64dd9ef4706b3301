"""padded_nms: each image as nms alone would have it, in outputs of a known shape."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import ODD, box_arrays, float_dtypes, generators, layouts
from test_nms import brute_force, thresholds

import roiops
from roiops import reference


@st.composite
def batches(draw: st.DrawFn):
    """boxes (B, N, 4), scores (B, N), idxs (B, N) or None, options."""
    rng = draw(generators)
    images, n = draw(st.integers(0, 3)), draw(st.integers(0, 25))
    rows = draw(box_arrays(ODD, images * n, images * n, duplicates=True)) if images * n else []
    boxes = np.reshape(rows, (images, n, 4)).astype(draw(float_dtypes))
    scores = rng.choice([0.1, 0.3, 0.5, 0.7, np.nan, -np.inf, np.inf], (images, n))
    idxs = rng.integers(0, 3, (images, n)) if draw(st.booleans()) else None
    options = {
        "max_output": draw(st.integers(1, 30)),
        "score_threshold": draw(st.sampled_from([None, 0.0, 0.3, -1.0])),
    }
    return (boxes, scores.astype(draw(float_dtypes)), idxs, draw(thresholds)), options


@given(batches())
def test_is_the_definition_image_by_image(backend: Backend, case) -> None:
    (boxes, scores, idxs, threshold), options = case
    indices, counts = backend("padded_nms", boxes, scores, idxs, threshold, **options)
    assert indices.shape == (len(boxes), options["max_output"])
    assert indices.dtype == counts.dtype == np.int64
    for b in range(len(boxes)):
        limit = options["score_threshold"]
        members = np.arange(len(scores[b]))
        if limit is not None:
            members = members[scores[b] > scores.dtype.type(limit)]
        groups = None if idxs is None else idxs[b, members]
        keep = brute_force(boxes[b, members], scores[b, members], threshold, groups)
        expected = members[keep][: options["max_output"]]
        assert counts[b] == len(expected)
        np.testing.assert_array_equal(indices[b, : len(expected)], expected)
        assert (indices[b, len(expected) :] == -1).all()


@given(batches(), layouts)
def test_is_the_references(compiled: Backend, case, layout) -> None:
    (boxes, scores, idxs, threshold), options = case
    expected = reference.padded_nms(boxes, scores, idxs, threshold, **options)
    idxs = None if idxs is None else layout(idxs)
    got = compiled("padded_nms", layout(boxes), layout(scores), idxs, threshold, **options)
    for one, other in zip(got, expected, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("grouped", [False, True])
def test_thousands_of_boxes_are_batched_nms_of_each_image(compiled: Backend, grouped) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (3, 4000, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 60, (3, 4000, 2))], 2).astype(np.float32)
    scores = rng.random((3, 4000)).astype(np.float32)
    idxs = rng.integers(0, 4, (3, 4000)) if grouped else np.zeros((3, 4000), np.int64)
    for most in (10, 700, 5000):
        indices, counts = compiled(
            "padded_nms", boxes, scores, idxs if grouped else None, 0.4, max_output=most
        )
        for b in range(3):
            keep = compiled("batched_nms", boxes[b], scores[b], idxs[b], 0.4)[:most]
            np.testing.assert_array_equal(indices[b, : counts[b]], keep)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    boxes = torch.from_numpy(rng.uniform(0, 9, (2, 30, 4)).astype(np.float32)).half()
    boxes[..., 2:] += boxes[..., :2]
    scores = torch.from_numpy(rng.random((2, 30)).astype(np.float32)).requires_grad_()
    indices, counts = roiops.padded_nms(boxes, scores, None, 0.5, max_output=7)
    assert not indices.requires_grad
    expected = roiops.padded_nms(
        boxes.float().numpy(), scores.detach().numpy(), None, 0.5, max_output=7
    )
    assert_equal(indices.numpy(), expected[0])
    assert_equal(counts.numpy(), expected[1])
    # The shape is known before anything is computed: no data-dependent size.
    call = torch.compile(roiops.padded_nms, fullgraph=True, backend="aot_eager")
    assert torch.equal(call(boxes, scores, None, 0.5, max_output=7)[0], indices)
