"""paste_masks_rle: the pixels of paste_masks, in COCO's text, without the pictures."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import layouts, several_times
from test_paste_masks import predictions

import roiops
from roiops import reference

# Below 0 ("torchvision") or at 0 ("detectron2") everything outside the box counts as inside.
THRESHOLDS = (0.5, 0.25, 0.3, 0.0, -0.0, -0.5, 1.0, 2.0, 1e30, -1e30)


def run_lengths(rle: dict) -> list[int]:
    """The numbers of an RLE's text, read character by character."""
    counts: list[int] = []
    number = shift = 0
    for character in rle["counts"]:
        group = character - ord("0")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    return counts


def decoded(rle: dict) -> np.ndarray:
    """The picture of an RLE."""
    runs = [np.full(count, i % 2 == 1) for i, count in enumerate(run_lengths(rle))]
    return np.concatenate(runs).reshape(rle["size"], order="F")


@several_times
@given(prediction=predictions(), threshold=st.sampled_from(THRESHOLDS), layout=layouts)
def test_bytes_are_the_references(compiled: Backend, prediction, threshold, layout) -> None:
    expected = reference.paste_masks_rle(**prediction, threshold=threshold)
    for name in ("masks", "boxes"):
        prediction[name] = layout(prediction[name])
    assert compiled("paste_masks_rle", **prediction, threshold=threshold) == expected


@given(prediction=predictions(), threshold=st.sampled_from(THRESHOLDS))
def test_the_text_says_what_paste_masks_says(backend: Backend, prediction, threshold) -> None:
    pasted = backend("paste_masks", **prediction, threshold=threshold)
    encoded = backend("paste_masks_rle", **prediction, threshold=threshold)
    assert [rle["size"] for rle in encoded] == [list(prediction["image_size"])] * len(pasted)
    for rle, picture in zip(encoded, pasted, strict=True):
        assert_equal(decoded(rle), picture)


@given(prediction=predictions(), threshold=st.sampled_from(THRESHOLDS))
def test_bytes_are_those_of_pycocotools(backend: Backend, prediction, threshold) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    pasted = backend("paste_masks", **prediction, threshold=threshold)
    expected = [coco.encode(np.asfortranarray(picture.astype(np.uint8))) for picture in pasted]
    assert backend("paste_masks_rle", **prediction, threshold=threshold) == expected


def flat_masks(count: int, dtype: type, value: float, rng: np.random.Generator) -> np.ndarray:
    """Masks whose values lie within a few roundings of one value."""
    spread = rng.integers(-4, 5, (count, 6, 6)) * np.finfo(dtype).eps * (abs(value) or 1e-300)
    return (value + spread).astype(dtype)


@pytest.mark.parametrize("convention", ["torchvision", "detectron2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.3, 0.5, 1 / 3, 1e-30, 0.0, -0.7, 1e30])
def test_values_next_to_the_threshold_decide_alike(compiled: Backend, convention, dtype, value):
    rng = np.random.default_rng(0)
    masks = flat_masks(40, dtype, value, rng)
    low = rng.uniform(-5, 20, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 40, (40, 2))], 1).astype(np.float32)
    options = {"threshold": float(dtype(value)), "padding": 0, "convention": convention}
    pasted = compiled("paste_masks", masks, boxes, (50, 40), **options)
    encoded = compiled("paste_masks_rle", masks, boxes, (50, 40), **options)
    for rle, picture in zip(encoded, pasted, strict=True):
        assert_equal(decoded(rle), picture)
    if value > 0.2:  # both sides occur inside the boxes
        assert 0 < pasted.sum() < pasted.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_that_are_not_finite_or_subnormal(compiled: Backend, dtype) -> None:
    rng = np.random.default_rng(1)
    tiny = np.finfo(dtype).smallest_subnormal
    masks = rng.choice([0, 0.4, 0.6, np.nan, np.inf, -np.inf, 1], (30, 5, 5)).astype(dtype)
    masks[15:] = rng.choice([0, 1, 2, 3], (15, 5, 5)).astype(dtype) * tiny
    low = rng.uniform(-5, 20, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 30, (30, 2))], 1)
    for threshold in (0.5, 0.0, -1.0):  # below 0 the picture outside the box is set
        with np.errstate(invalid="ignore"):
            expected = reference.paste_masks_rle(masks, boxes, (40, 30), threshold=threshold)
        got = compiled("paste_masks_rle", masks, boxes, (40, 30), threshold=threshold)
        assert got == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_least_number_blended_with_itself_may_vanish(backend: Backend, dtype) -> None:
    # Six cells over nine pixels: each third pixel takes half of two cells, and half of the least
    # number is 0.
    masks = np.full((1, 6, 6), np.finfo(dtype).smallest_subnormal)
    boxes, options = np.array([[0, 0, 8, 8.0]]), {"threshold": 0.0, "padding": 0}
    expected = np.add.outer(np.arange(9) % 3 == 1, np.arange(9) % 3 == 1) == 0
    (rle,) = backend("paste_masks_rle", masks, boxes, (9, 9), **options)
    assert_equal(decoded(rle), expected)


def test_long_runs(backend: Backend) -> None:
    # Differences of lengths of every number of characters, negative ones too.
    masks = np.ones((3, 3, 3), np.float32)
    boxes = np.array([[3, 1, 900, 2], [3, 0, 40, 70], [500, 60, 501, 69.0]], np.float32)
    for rle, picture in zip(
        backend("paste_masks_rle", masks, boxes, (70, 1000)),
        backend("paste_masks", masks, boxes, (70, 1000)),
        strict=True,
    ):
        assert picture.any()
        assert_equal(decoded(rle), picture)


def test_by_hand(backend: Backend) -> None:
    masks, boxes = np.ones((1, 2, 2), np.float32), np.array([[1, 1, 3, 3]], np.float32)
    # Columns of four pixels: 0000 0110 0110 0000 0000, so 5, 2, 2, 2 - 2, 9 - 2.
    assert backend("paste_masks_rle", masks, boxes, (4, 5), convention="detectron2") == [
        {"size": [4, 5], "counts": b"52207"}
    ]
    # Nothing inside: 20 is 10100, and a second group keeps its sign. All inside: no zeros first.
    options = {"convention": "detectron2", "threshold": 2.0}
    assert backend("paste_masks_rle", masks, boxes, (4, 5), **options)[0]["counts"] == b"d0"
    options["threshold"] = 0.0
    assert backend("paste_masks_rle", masks, boxes, (4, 5), **options)[0]["counts"] == b"0d0"


def test_no_masks(backend: Backend) -> None:
    none = np.zeros((0, 4), np.float32)
    assert backend("paste_masks_rle", np.zeros((0, 28, 28), np.float32), none, (5, 6)) == []


def test_a_picture_too_large_to_make(compiled: Backend) -> None:
    masks = np.ones((200, 4, 4), np.float32)
    boxes = np.tile(np.float32([[10, 20, 30, 50]]), (200, 1))
    encoded = compiled("paste_masks_rle", masks, boxes, (60_000, 60_000))  # 720 GB as pictures
    assert encoded == [encoded[0]] * 200
    first = compiled("paste_masks_rle", masks[:1], boxes[:1], (60_000, 60))[0]
    assert sum(run_lengths(encoded[0])) == 60_000**2
    assert run_lengths(encoded[0])[:-1] == run_lengths(first)[:-1]


def test_torch_gives_the_same_dicts() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    masks, boxes = rng.random((5, 9, 9)), rng.uniform(0, 20, (5, 4))
    expected = roiops.paste_masks_rle(masks, boxes, (20, 30))
    tensors = torch.from_numpy(masks).requires_grad_(), torch.from_numpy(boxes)
    got = roiops.paste_masks_rle(*tensors, (20, 30))
    assert got == expected
    assert {type(rle["counts"]) for rle in got} == {bytes}
    data, offsets = torch.ops.roiops.paste_masks_rle(*tensors, 20, 30, 0.5, 1, "torchvision")
    assert (data.dtype, offsets.dtype) == (torch.uint8, torch.int64)
    assert bytes(data[offsets[1] : offsets[2]].tolist()) == expected[1]["counts"]


def test_16_bit_boxes_are_read_as_float32(compiled: Backend) -> None:
    rng = np.random.default_rng(0)
    masks, boxes = rng.random((5, 9, 9)), rng.uniform(0, 20, (5, 4)).astype(np.float16)
    wide = boxes.astype(np.float32)
    for operator in ("paste_masks", "paste_masks_rle"):
        got = compiled(operator, masks, boxes, (20, 30))
        np.testing.assert_equal(got, compiled(operator, masks, wide, (20, 30)))
