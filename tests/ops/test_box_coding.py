"""encode_boxes and decode_boxes."""

import math

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import ODD, box_arrays, float_dtypes, generators, layouts

from roiops import reference

WEIGHTS = st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (3.0, 0.5, 2.0, 7.0)])


def proper_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    """boxes (count, 4), float64, of positive size."""
    low = rng.uniform(-20, 100, (count, 2))
    return np.concatenate([low, low + np.exp(rng.uniform(-1, 5, (count, 2)))], axis=1)


def close(got: np.ndarray, expected: np.ndarray, scale: np.ndarray | float = 1.0) -> None:
    """Equal but for a few roundings of numbers of that magnitude; infinities and NaN in place."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(got), finite)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    tolerance = 16 * np.finfo(expected.dtype).eps * (np.abs(expected) + scale)
    assert (np.abs(got - expected) <= tolerance)[finite].all()


# --- against the reference ------------------------------------------------------------------------


@given(
    count=st.integers(0, 9),
    rng=generators,
    dtype=float_dtypes,
    weights=WEIGHTS,
    plus_one=st.booleans(),
    layout=layouts,
    batched=st.booleans(),
)
def test_encode_is_the_references(
    compiled: Backend, count, rng, dtype, weights, plus_one, layout, batched
) -> None:
    boxes, proposals = (proper_boxes(count, rng).astype(dtype) for _ in range(2))
    if batched:
        boxes, proposals = np.stack([boxes, proposals]), np.stack([proposals, boxes])
    expected = reference.encode_boxes(boxes, proposals, weights, plus_one=plus_one)
    got = compiled("encode_boxes", layout(boxes), layout(proposals), weights, plus_one=plus_one)
    # centres are differences of coordinates near 200, divided by sides from 0.4
    close(got, expected, scale=200 * max(weights) / 0.3)


@given(
    rng=generators,
    count=st.integers(0, 9),
    classes=st.integers(1, 5),
    dtype=float_dtypes,
    weights=WEIGHTS,
    plus_one=st.booleans(),
    clip_to=st.sampled_from([None, (50, 70)]),
    layout=layouts,
    batch=st.sampled_from(["none", "shared boxes", "boxes per image"]),
)
def test_decode_is_the_references(
    compiled: Backend, rng, count, classes, dtype, weights, plus_one, clip_to, layout, batch
) -> None:
    boxes = proper_boxes(count, rng).astype(dtype)
    shape = (count, 4 * classes)
    if batch != "none":
        shape = (2, *shape)
    if batch == "boxes per image":
        boxes = np.stack([boxes, boxes + 3])
    deltas = rng.normal(0, 3, shape).astype(dtype)
    arguments = (weights,)
    options = {"plus_one": plus_one, "clip_to": clip_to}
    expected = reference.decode_boxes(deltas, boxes, *arguments, **options)
    got = compiled("decode_boxes", layout(deltas), layout(boxes), *arguments, **options)
    # the largest decoded side is 150 * 1000 / 16, its centre 20 sides away
    close(got, expected, scale=2e4)


@given(boxes=box_arrays(ODD), rng=generators, dtype=float_dtypes)
def test_odd_boxes_and_deltas_have_the_references_infinities(
    compiled: Backend, boxes, rng, dtype
) -> None:
    boxes = boxes.astype(dtype)
    other = boxes[rng.permutation(len(boxes))]
    with np.errstate(all="ignore"):
        expected = reference.encode_boxes(other, boxes)
        got = compiled("encode_boxes", other, boxes)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
        deltas = rng.choice([0, 1, 1e30, -1e30, np.nan, np.inf, -np.inf], boxes.shape).astype(dtype)
        expected = reference.decode_boxes(deltas, boxes)
        got = compiled("decode_boxes", deltas, boxes)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


# --- against the definition -----------------------------------------------------------------------


@pytest.mark.parametrize("plus_one", [False, True])
@given(rng=generators, count=st.integers(0, 8), weights=WEIGHTS, dtype=float_dtypes)
def test_decode_undoes_encode(backend: Backend, plus_one, rng, count, weights, dtype) -> None:
    boxes, proposals = (proper_boxes(count, rng).astype(dtype) for _ in range(2))
    deltas = backend("encode_boxes", boxes, proposals, weights, plus_one=plus_one)
    back = backend("decode_boxes", deltas, proposals, weights, scale_clamp=10.0, plus_one=plus_one)
    np.testing.assert_allclose(back, boxes, atol=3000 * np.finfo(dtype).eps, rtol=0)


def test_by_hand(backend: Backend) -> None:
    proposals = np.array([[10, 20, 14, 28]], np.float64)  # centre (12, 24), 4 wide, 8 high
    boxes = np.array([[12, 20, 20, 36]], np.float64)  # centre (16, 28), 8 wide, 16 high
    deltas = backend("encode_boxes", boxes, proposals)
    np.testing.assert_allclose(deltas, [[1, 0.5, math.log(2), math.log(2)]])
    deltas = backend("encode_boxes", boxes, proposals, (10, 10, 5, 5))
    np.testing.assert_allclose(deltas, [[10, 5, 5 * math.log(2), 5 * math.log(2)]])
    # counting the last pixel: 5 wide, 9 high, centre (12.5, 24.5); 9 wide, 17 high, (16.5, 28.5)
    deltas = backend("encode_boxes", boxes, proposals, plus_one=True)
    np.testing.assert_allclose(deltas, [[4 / 5, 4 / 9, math.log(9 / 5), math.log(17 / 9)]])
    back = backend("decode_boxes", deltas, proposals, plus_one=True)
    np.testing.assert_allclose(back, boxes)


def test_only_the_upper_end_of_the_scale_is_clamped(backend: Backend) -> None:
    box = np.array([[0, 0, 16, 16]], np.float64)
    deltas = np.array([[0, 0, 50, -50]], np.float64)
    decoded = backend("decode_boxes", deltas, box)
    np.testing.assert_allclose(decoded, [[8 - 500, 8, 8 + 500, 8]], atol=1e-12)
    decoded = backend("decode_boxes", deltas, box, scale_clamp=math.log(2))
    np.testing.assert_allclose(decoded, [[-8, 8, 24, 8]], atol=1e-12)


def test_clip_to_is_clip_boxes_to_image(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    boxes, deltas = proper_boxes(50, rng), rng.normal(0, 1, (50, 12))
    decoded = backend("decode_boxes", deltas, boxes)
    clipped = backend("clip_boxes_to_image", decoded.reshape(50, 3, 4), (60, 40))
    got = backend("decode_boxes", deltas, boxes, clip_to=(60, 40))
    assert_equal(got, clipped.reshape(50, 12))


@given(rng=generators, count=st.integers(1, 8), weights=WEIGHTS, dtype=float_dtypes)
def test_equals_torchvision(backend: Backend, rng, count, weights, dtype) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection._utils import BoxCoder

    coder = BoxCoder(weights)
    boxes, proposals = (proper_boxes(count, rng).astype(dtype) for _ in range(2))
    theirs = coder.encode_single(torch.tensor(boxes), torch.tensor(proposals)).numpy()
    close(backend("encode_boxes", boxes, proposals, weights), theirs, 200 * max(weights) / 0.3)
    deltas = rng.normal(0, 3, (count, 12)).astype(dtype)
    theirs = coder.decode_single(torch.tensor(deltas), torch.tensor(boxes)).numpy()
    close(backend("decode_boxes", deltas, boxes, weights), theirs, 2e4)
