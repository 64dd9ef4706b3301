"""float16 and bfloat16: stored as such, computed in float32."""

import ml_dtypes  # NumPy has no bfloat16 of its own
import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits

import roiops

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
halves = pytest.mark.parametrize("dtype", HALVES, ids=str)

POOLING = {
    "roi_align mean": ("roi_align", {"sampling_ratio": 2}),
    "roi_align max": ("roi_align", {"reduction": "max"}),
    "roi_warp": ("roi_warp", {"sampling_ratio": 2}),
    "roi_pool": ("roi_pool", {}),
    "ps_roi_align": ("ps_roi_align", {"sampling_ratio": 2}),
    "ps_roi_pool": ("ps_roi_pool", {}),
}
WITHOUT_BOX_GRADIENT = ("roi_pool", "ps_roi_pool")
pooling = pytest.mark.parametrize("name", POOLING)


def case(dtype: np.dtype, rng: np.random.Generator):
    map = (3 * rng.standard_normal((2, 45, 14, 15))).astype(dtype)
    low = rng.uniform(-4, 20, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 15, (30, 2))], 1)
    rois = np.concatenate([rng.integers(0, 2, (30, 1)), boxes], 1).astype(np.float32)
    return map, rois


@pooling
@halves
def test_a_result_is_the_float32_result_rounded_once(compiled: Backend, dtype, name) -> None:
    operator, options = POOLING[name]
    map, rois = case(dtype, np.random.default_rng(0))
    wide = compiled(operator, map.astype(np.float32), rois, 3, 0.5, **options)
    got = compiled(operator, map, rois, 3, 0.5, **options)
    assert_same_bits(got, wide.astype(dtype))
    grad = np.random.default_rng(1).standard_normal(got.shape).astype(dtype)
    wide_grads = compiled(
        f"{operator}_backward",
        grad.astype(np.float32),
        map.astype(np.float32),
        rois,
        0.5,
        **options,
    )
    grads = compiled(f"{operator}_backward", grad, map, rois, 0.5, **options)
    if operator in WITHOUT_BOX_GRADIENT:
        grads, wide_grads = (grads,), (wide_grads,)
    assert_same_bits(grads[0], wide_grads[0].astype(dtype))
    for g, w in zip(grads[1:], wide_grads[1:], strict=True):  # the boxes': float32 as they are
        assert_same_bits(g, w)


@halves
def test_every_finite_number_is_read_and_written_back(compiled: Backend, dtype) -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(dtype)
    finite = numbers[np.isfinite(numbers.astype(np.float32))]
    map = finite.reshape(1, 1, 1, -1)
    rois = np.array([[0, 0, 0, len(finite), 1]], np.float32)
    got = compiled("roi_align", map, rois, (1, len(finite)), 1.0, 1, True)
    # A sum of 1 * x and 0 * its neighbour: the sign of zero is not kept.
    assert_equal(got.ravel(), finite)


@halves
def test_a_nan_has_the_same_bits_in_any_layout(compiled: Backend, dtype) -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(dtype)
    nans = numbers[np.isnan(numbers.astype(np.float32))]
    map = np.resize(nans, (1, 21, 1, len(nans)))
    rois = np.array([[0, 0, 0, len(nans) - 1, 0]], np.float32)
    last = np.ascontiguousarray(map.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    size = (1, len(nans))
    assert_same_bits(
        compiled("roi_pool", last, rois, size).view(np.uint16),
        compiled("roi_pool", map, rois, size).view(np.uint16),
    )


@halves
def test_rounding_to_half_is_numpys(compiled: Backend, dtype) -> None:
    # Means of neighbouring numbers: exact ties, subnormals, and the step to infinity.
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**15, 4000).astype(np.uint16)
    pairs = np.stack([bits, bits + np.uint16(1)]).view(dtype)
    pairs = pairs[:, np.isfinite(pairs.astype(np.float32)).all(0)]
    map = pairs[None, None]  # (1, 1, 2, n)
    n = map.shape[-1]
    rois = np.array([[0, 0, 0.5, n, 1.5]], np.float32)
    got = compiled("roi_align", map, rois, (1, n), 1.0, 1, True).ravel()
    expected = 0.5 * pairs[0].astype(np.float32) + 0.5 * pairs[1].astype(np.float32)
    assert_equal(got, expected.astype(dtype))


@halves
def test_half_boxes_are_read_as_float32(compiled: Backend, dtype) -> None:
    map, rois = case(dtype, np.random.default_rng(0))
    rois = rois.astype(dtype)
    wide = rois.astype(np.float32)
    assert_same_bits(
        compiled("roi_align", map, rois, 3, 0.5), compiled("roi_align", map, wide, 3, 0.5)
    )
    boxes, scores = rois[:, 1:], rois[:, 1]
    assert_equal(
        compiled("nms", boxes, scores, 0.2),
        compiled("nms", wide[:, 1:], wide[:, 1], 0.2),
    )
    levels = compiled("fpn_levels", boxes, 0, 5, canonical_scale=8)
    assert_equal(levels, compiled("fpn_levels", wide[:, 1:], 0, 5, canonical_scale=8))


@halves
def test_half_coding_matching_and_pasting_are_float32s(compiled: Backend, dtype) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 20, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 15, (30, 2))], 1).astype(dtype)
    deltas = (0.3 * rng.standard_normal((30, 8))).astype(dtype)
    masks = rng.random((30, 5, 5)).astype(dtype)
    wide = boxes.astype(np.float32)
    for operator, arguments in (
        ("encode_boxes", (boxes, boxes[::-1])),
        ("decode_boxes", (deltas, boxes)),
        ("decode_boxes", (deltas, wide)),  # as under autocast
        ("match_boxes", (boxes[:4], boxes, 0.5, 0.3)),
        ("match_boxes", (wide[:4], boxes, 0.5, 0.3)),
        ("box_iou", (boxes, boxes[:9])),
        ("complete_box_iou", (boxes, boxes[:9])),
        ("box_area", (boxes,)),
        ("remove_small_boxes", (boxes, 4.0)),
        ("paste_masks", (masks, boxes, (20, 30))),
    ):
        widened = [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arguments]
        got, expected = compiled(operator, *arguments), compiled(operator, *widened)
        for one, other in zip(
            got if isinstance(got, tuple) else [got],
            expected if isinstance(expected, tuple) else [expected],
            strict=True,
        ):
            assert_equal(one, other)


def test_gradients_come_back_in_half() -> None:
    torch = pytest.importorskip("torch")
    deltas = torch.randn(6, 4).half().requires_grad_()
    boxes = torch.rand(6, 4) * 9 + torch.tensor([0.0, 0, 9, 9])
    decoded = roiops.decode_boxes(deltas, boxes)
    assert decoded.dtype == torch.float32
    decoded.sum().backward()
    assert deltas.grad.dtype == torch.float16


def test_image_numbers_survive_half_boxes() -> None:
    # float16 has no 2049: the number of an image must not be written in the boxes' dtype.
    map = np.arange(2052, dtype=np.float32).reshape(-1, 1, 1, 1)
    boxes = [np.array([[0, 0, 1, 1]], np.float16)] * len(map)
    assert_equal(roiops.roi_align(map, boxes, 1, 1.0, 1).ravel(), map.ravel())


@pooling
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_torch_has_the_same_bits_and_dtypes(dtype, name) -> None:
    torch = pytest.importorskip("torch")
    operator, options = POOLING[name]
    kind = np.dtype(getattr(ml_dtypes, dtype, np.float16))
    map, rois = case(kind, np.random.default_rng(0))
    tensor = torch.from_numpy(map.astype(np.float32)).to(getattr(torch, dtype)).requires_grad_()
    boxes = torch.from_numpy(rois).requires_grad_(operator not in WITHOUT_BOX_GRADIENT)
    got = getattr(roiops, operator)(tensor, boxes, 3, 0.5, **options)
    expected = getattr(roiops, operator)(map, rois, 3, 0.5, **options)
    assert got.dtype == tensor.dtype
    assert_equal(got.detach().float().numpy(), expected.astype(np.float32))
    got.sum().backward()
    assert tensor.grad.dtype == tensor.dtype
    if boxes.requires_grad:
        assert boxes.grad.dtype == torch.float32
