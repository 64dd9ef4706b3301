"""box_iou (values), clip_boxes_to_image, box_area, remove_small_boxes, masks_to_boxes."""

import ml_dtypes
import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ODD, ORDINARY, box_arrays, float_dtypes, generators, layouts

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


DTYPES = (np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@dtypes
def test_clip_keeps_every_dtype(backend: Backend, dtype) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = np.array([[0, 3, 90, 120], [5, 6, 7, 8]], dtype)
    if dtype != np.uint8:
        boxes[0, 0] = -7
    theirs = vision.clip_boxes_to_image(torch.from_numpy(boxes), (40, 50)).numpy()
    assert_equal(backend("clip_boxes_to_image", boxes, (40, 50)), theirs)


# --- box_area -------------------------------------------------------------------------------------


@given(
    boxes=box_arrays(EVERY_KIND),
    dtype=float_dtypes,
    layout=layouts,
    fmt=st.sampled_from(["xyxy", "xywh", "cxcywh"]),
)
def test_area_has_the_references_bits(compiled: Backend, boxes, dtype, layout, fmt) -> None:
    boxes = boxes.astype(dtype)
    with np.errstate(all="ignore"):
        expected = reference.box_area(boxes, fmt)
    assert_equal(compiled("box_area", layout(boxes), fmt), expected)


@dtypes
@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_area_equals_torchvision(backend: Backend, dtype, fmt) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = np.array([[[0, 3, 90, 120], [5, 6, 7, 8]], [[1, 1, 1, 1], [9, 9, 3, 12]]], dtype)
    theirs = vision.box_area(torch.from_numpy(boxes), fmt).numpy()
    assert_equal(backend("box_area", boxes, fmt), theirs)


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_area_gradients(fmt) -> None:
    torch = pytest.importorskip("torch")
    import roiops

    boxes = torch.rand(4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: roiops.box_area(b, fmt), boxes)


# --- remove_small_boxes ---------------------------------------------------------------------------


@given(
    boxes=box_arrays(EVERY_KIND, duplicates=True),
    dtype=float_dtypes,
    layout=layouts,
    least=st.sampled_from([-1.0, 0.0, 1e-3, 1e-2, 0.5, 1.0, 4.0]),
)
def test_large_boxes_are_kept(compiled: Backend, boxes, dtype, layout, least) -> None:
    boxes = boxes.astype(dtype)
    got = compiled("remove_small_boxes", layout(boxes), least)
    assert_equal(got, reference.remove_small_boxes(boxes, least))
    sides = [(box[2] - box[0], box[3] - box[1]) for box in boxes]
    kept = [i for i, (w, h) in enumerate(sides) if w >= dtype(least) and h >= dtype(least)]
    np.testing.assert_array_equal(got, kept)


@dtypes
def test_kept_boxes_are_torchvisions(backend: Backend, dtype) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 2], [0, 0, 2, 10], [1, 1, 4, 4]], dtype)
    for least in (2, 3, 3.5, 20):
        theirs = vision.remove_small_boxes(torch.from_numpy(boxes), least).numpy()
        assert_equal(backend("remove_small_boxes", boxes, least), theirs)


# --- masks_to_boxes -------------------------------------------------------------------------------


@given(
    rng=generators,
    shape=st.tuples(st.integers(0, 3), st.integers(1, 9), st.sampled_from([1, 7, 64, 65, 130])),
    density=st.sampled_from([0.0, 0.003, 0.05, 1.0]),
    dtype=st.sampled_from([bool, np.int8, *DTYPES]),
    layout=layouts,
)
def test_boxes_around_masks(compiled: Backend, rng, shape, density, dtype, layout) -> None:
    masks = (rng.random(shape) < density) * rng.choice([1, 3], shape)
    masks = masks.astype(dtype)
    got = compiled("masks_to_boxes", layout(masks))
    assert_equal(got, reference.masks_to_boxes(masks))
    for box, mask in zip(got, masks, strict=True):
        x1, y1, x2, y2 = box.astype(int)
        inside = np.zeros_like(mask, bool)
        inside[y1 : y2 + 1, x1 : x2 + 1] = True
        assert not mask[~inside].any()
        if mask.any():
            for edge in (mask[y1], mask[y2], mask[:, x1], mask[:, x2]):
                assert edge.any()
        else:
            assert not box.any()


def test_boxes_around_masks_are_torchvisions(backend: Backend) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    masks = np.random.default_rng(0).random((5, 20, 30)) < 0.01
    masks[3] = False
    theirs = vision.masks_to_boxes(torch.from_numpy(masks)).numpy()
    assert_equal(backend("masks_to_boxes", masks), theirs)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_nan_and_negative_zero_in_masks(backend: Backend, dtype) -> None:
    masks = np.zeros((2, 3, 4), dtype)
    masks[0, 1, 2] = np.nan
    masks[1, 2, 1] = -0.0
    assert_equal(backend("masks_to_boxes", masks), np.float32([[2, 1, 2, 1], [0, 0, 0, 0]]))
