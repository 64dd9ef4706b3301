"""box_convert: every format, dtype and gradient."""

import itertools

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, box_arrays, float_dtypes, generators, layouts

import roiops
from roiops import reference

UPRIGHT = list(itertools.product(("xyxy", "xywh", "cxcywh"), repeat=2))
ROTATED = list(itertools.product(("xywhr", "cxcywhr", "xyxyxyxy"), repeat=2))
DTYPES = (np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64)


def boxes_of(fmt: str, rng: np.random.Generator, count: int = 40) -> np.ndarray:
    """Proper boxes, float64, that fit an int8."""
    low, side = rng.uniform(1, 20, (count, 2)), rng.uniform(1, 30, (count, 2))
    angle = rng.uniform(-180, 180, (count, 1))
    match fmt:
        case "xyxy":
            return np.concatenate([low, low + side], 1)
        case "xywh" | "cxcywh":
            return np.concatenate([low, side], 1)
        case "xyxyxyxy":
            boxes = np.concatenate([low + 40, side, angle], 1)
            return reference.box_convert(boxes, "xywhr", "xyxyxyxy")
    return np.concatenate([low, side, angle], 1)


@given(box_arrays(EVERY_KIND), st.sampled_from(UPRIGHT), float_dtypes, layouts)
def test_upright_is_the_references(compiled: Backend, boxes, formats, dtype, layout) -> None:
    boxes = boxes.astype(dtype)
    assert_equal(
        compiled("box_convert", layout(boxes), *formats), reference.box_convert(boxes, *formats)
    )


@given(generators, st.sampled_from(ROTATED), float_dtypes, layouts)
def test_rotated_is_the_references(compiled: Backend, rng, formats, dtype, layout) -> None:
    boxes = boxes_of(formats[0], rng).astype(dtype)
    got = compiled("box_convert", layout(boxes), *formats)
    expected = reference.box_convert(boxes, *formats)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=2000 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("formats", UPRIGHT + ROTATED, ids="-".join)
def test_equals_torchvision(backend: Backend, formats, dtype) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = boxes_of(formats[0], np.random.default_rng(0))
    boxes = (np.abs(boxes) if dtype == np.uint8 else boxes).astype(dtype)
    if formats[0] == "xyxyxyxy" and np.dtype(dtype).itemsize == 1:
        # They subtract corners in 8 bits, which wraps around.
        theirs = vision.box_convert(torch.from_numpy(boxes).int(), *formats).numpy().astype(dtype)
    else:
        theirs = vision.box_convert(torch.from_numpy(boxes), *formats).numpy()
    got = backend("box_convert", boxes, *formats)
    assert got.dtype == theirs.dtype
    assert got.shape == theirs.shape
    if dtype == np.float16:  # computed in float32 and rounded once: theirs rounds every step
        np.testing.assert_allclose(got, theirs, rtol=2e-3, atol=0.3)
    elif np.issubdtype(got.dtype, np.integer):
        # A rounding tie may fall to either side; uint8 and int8 wrap around beyond their range.
        off = (got.astype(int) - theirs.astype(int) + 128) % 256 - 128
        assert np.abs(off).max() <= (1 if formats in ROTATED else 0)
        assert (off == 0).mean() > 0.97
    else:
        atol = 2000 * np.finfo(got.dtype).eps if formats in ROTATED else 1e-5
        np.testing.assert_allclose(got, theirs, rtol=1e-6, atol=atol)


def test_by_hand(backend: Backend) -> None:
    xyxy = np.array([[10, 20, 30, 60]], np.float32)
    xywh, cxcywh = np.float32([[10, 20, 20, 40]]), np.float32([[20, 40, 20, 40]])
    for (a, one), (b, other) in itertools.product(
        {"xyxy": xyxy, "xywh": xywh, "cxcywh": cxcywh}.items(), repeat=2
    ):
        assert_equal(backend("box_convert", one, a, b), other)
    # A quarter turn counter-clockwise about corner 1: the width goes up, the height to the right.
    turned = np.array([[10, 20, 4, 2, 90]], np.float64)
    corners = backend("box_convert", turned, "xywhr", "xyxyxyxy")
    np.testing.assert_allclose(corners, [[10, 20, 10, 16, 12, 16, 12, 20]], atol=1e-12)
    centred = backend("box_convert", turned, "xywhr", "cxcywhr")
    np.testing.assert_allclose(centred, [[11, 18, 4, 2, 90]], atol=1e-12)


@pytest.mark.parametrize("formats", [f for f in UPRIGHT + ROTATED if f[0] < f[1]], ids="-".join)
def test_there_and_back(backend: Backend, formats) -> None:
    boxes = boxes_of(formats[0], np.random.default_rng(1))
    there = backend("box_convert", boxes, *formats)
    back = backend("box_convert", there, formats[1], formats[0])
    np.testing.assert_allclose(back, boxes, rtol=0, atol=1e-10)


def test_leading_dimensions_and_none(backend: Backend) -> None:
    boxes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    got = backend("box_convert", boxes, "xywh", "xyxy")
    assert_equal(got[1], backend("box_convert", boxes[1], "xywh", "xyxy"))
    assert backend("box_convert", boxes[0, 0], "xywh", "xyxy").shape == (4,)
    assert backend("box_convert", boxes[:, :0], "xywh", "xyxy").shape == (2, 0, 4)


def test_the_result_is_a_new_array(compiled: Backend) -> None:
    boxes = np.ones((2, 4), np.float32)
    got = compiled("box_convert", boxes, "xyxy", "xyxy")
    assert not np.shares_memory(got, boxes)


@pytest.mark.parametrize("formats", UPRIGHT + ROTATED, ids="-".join)
def test_gradients(formats) -> None:
    torch = pytest.importorskip("torch")
    boxes = torch.from_numpy(boxes_of(formats[0], np.random.default_rng(2), 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: roiops.box_convert(b, *formats), boxes)


def test_half_boxes_get_half_gradients() -> None:
    torch = pytest.importorskip("torch")
    boxes = torch.rand(3, 4).half().requires_grad_()
    roiops.box_convert(boxes, "xyxy", "cxcywh").sum().backward()
    assert boxes.grad.dtype == torch.float16
