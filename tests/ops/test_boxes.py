"""box_iou and clip_boxes_to_image."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ODD, ORDINARY, box_arrays, float_dtypes, layouts

from roiops import reference

# --- box_iou: decisions are taken on it, so every bit counts --------------------------------------


@given(
    first=box_arrays(EVERY_KIND, duplicates=True),
    second=box_arrays(EVERY_KIND),
    dtype=float_dtypes,
    layout=layouts,
    plus_one=st.booleans(),
)
def test_iou_has_the_references_bits(
    compiled: Backend, first, second, dtype, layout, plus_one
) -> None:
    first = first.astype(dtype)
    second = np.concatenate([second.astype(dtype), first[:3]])
    expected = reference.box_iou(first, second, plus_one=plus_one)
    got = compiled("box_iou", layout(first), layout(second), plus_one=plus_one)
    assert_equal(got, expected)


def test_iou_by_hand(backend: Backend) -> None:
    boxes1 = np.array([[0, 0, 4, 2], [10, 10, 10, 10]], np.float32)
    boxes2 = np.array([[0, 0, 4, 2], [2, 1, 6, 3], [4, 0, 8, 2], [10, 10, 10, 10]], np.float32)
    got = backend("box_iou", boxes1, boxes2)
    assert_equal(got, np.float32([[1, 2 / 14, 0, 0], [0, 0, 0, 0]]))
    got = backend("box_iou", boxes1, boxes2, plus_one=True)
    assert_equal(got, np.float32([[1, 6 / 24, 3 / 27, 0], [0, 0, 0, 1]]))


@given(first=box_arrays(ORDINARY), second=box_arrays(ORDINARY), dtype=float_dtypes)
def test_iou_equals_torchvision(backend: Backend, first, second, dtype) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import box_iou

    first, second = first.astype(dtype), second.astype(dtype)
    theirs = box_iou(torch.tensor(first), torch.tensor(second)).numpy()
    ours = backend("box_iou", first, second)
    np.testing.assert_allclose(ours, np.nan_to_num(theirs), rtol=4 * np.finfo(dtype).eps)


@given(first=box_arrays(ODD), second=box_arrays(ODD), dtype=float_dtypes)
def test_iou_is_a_ratio_and_symmetric(backend: Backend, first, second, dtype) -> None:
    first, second = first.astype(dtype), second.astype(dtype)
    overlap = backend("box_iou", first, second)
    assert ((overlap >= 0) & (overlap <= 1 + 8 * np.finfo(dtype).eps)).all()
    assert_equal(backend("box_iou", second, first).T, overlap)
    broken = ~np.isfinite(first).all(axis=1)
    assert not overlap[broken].any()


# --- clip_boxes_to_image --------------------------------------------------------------------------


@given(
    boxes=box_arrays(EVERY_KIND),
    dtype=float_dtypes,
    layout=layouts,
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    batched=st.booleans(),
)
def test_clip_has_the_references_bits(
    compiled: Backend, boxes, dtype, layout, size, batched
) -> None:
    boxes = boxes.astype(dtype)
    if batched:
        boxes = np.stack([boxes, boxes + 1])
    before = boxes.copy()
    expected = reference.clip_boxes_to_image(boxes, size)
    assert_equal(compiled("clip_boxes_to_image", layout(boxes), size), expected)
    assert_same_bits(boxes, before)  # not in place


def test_clip_by_hand(backend: Backend) -> None:
    boxes = np.array([[-3, -4, 50, 60], [1, 2, 3, 4], [np.nan, np.inf, -np.inf, 5]], np.float32)
    got = backend("clip_boxes_to_image", boxes, (20, 30))
    assert_equal(got, np.float32([[0, 0, 30, 20], [1, 2, 3, 4], [np.nan, 20, 0, 5]]))


@given(boxes=box_arrays(EVERY_KIND), dtype=float_dtypes)
def test_clip_equals_torchvision(backend: Backend, boxes, dtype) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import clip_boxes_to_image

    boxes = boxes.astype(dtype)
    theirs = clip_boxes_to_image(torch.tensor(boxes), (7, 11)).numpy()
    assert_equal(backend("clip_boxes_to_image", boxes, (7, 11)), theirs)
