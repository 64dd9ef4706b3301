"""torch: the same bits as NumPy, gradients, and what torch.library promises."""

import functools

import numpy as np
import pytest
from backends import convert, flat, is_numpy
from comparison import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import ORDINARY, SAMPLING_RATIOS, box_arrays, float_dtypes, generators, to_rois

import roiops

torch = pytest.importorskip("torch")


def to_torch(value):
    """Every NumPy array in `value` as a tensor."""
    return convert(value, is_numpy, torch.from_numpy)


def to_numpy(value):
    return convert(value, torch.is_tensor, lambda tensor: tensor.detach().numpy())


def both(operator: str, *args, **kwargs) -> None:
    """The operator on NumPy arrays and on tensors: equal kinds of results, equal bits."""
    expected = getattr(roiops, operator)(*args, **kwargs)
    got = getattr(roiops, operator)(*to_torch(args), **to_torch(kwargs))
    assert all(torch.is_tensor(leaf) for leaf in flat(got))
    assert type(got) is type(to_torch(expected))
    for one, other in zip(flat(to_numpy(got)), flat(expected), strict=True):
        assert_same_bits(one, other)


# --- the same bits --------------------------------------------------------------------------------


@given(
    boxes=box_arrays(max_boxes=6),
    rng=generators,
    dtype=float_dtypes,
    sampling_ratio=st.sampled_from(SAMPLING_RATIOS),
    reduction=st.sampled_from(["mean", "max"]),
    last=st.booleans(),
)
def test_roi_align(boxes, rng, dtype, sampling_ratio, reduction, last) -> None:
    maps = [rng.standard_normal((2, 17, size, size)).astype(dtype) for size in (12, 6)]
    if last:
        maps = [
            np.ascontiguousarray(map.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for map in maps
        ]
    rois = to_rois(boxes, 2, rng).astype(np.float32)
    grad = rng.standard_normal((len(rois), 17, 3, 2)).astype(dtype)
    options = (sampling_ratio, True)
    both("roi_align", maps[0], rois, (3, 2), 0.5, *options, reduction=reduction)
    both("roi_align_backward", grad, maps[0], rois, 0.5, *options, reduction=reduction)
    scales = [1.0, 0.5]
    both("multiscale_roi_align", maps, rois, (3, 2), scales, *options, reduction=reduction)
    both("multiscale_roi_align_backward", grad, maps, rois, scales, *options, reduction=reduction)
    levels = rng.integers(0, 2, len(rois))
    both("multiscale_roi_align", maps, rois, (3, 2), scales, *options, levels=levels)
    per_image = [rois[rois[:, 0] == image, 1:].copy() for image in range(2)]
    both("roi_align", maps[0], per_image, (3, 2), 0.5, *options, reduction=reduction)


@given(boxes=box_arrays(max_boxes=20, duplicates=True), rng=generators, dtype=float_dtypes)
def test_boxes(boxes, rng, dtype) -> None:
    boxes = boxes.astype(dtype)
    scores = rng.choice([0.1, 0.5, np.nan, 0.7], len(boxes)).astype(dtype)
    both("nms", boxes, scores, 0.5)
    both("nms", boxes, scores, 0.2, plus_one=True)
    both("batched_nms", boxes, scores, rng.integers(0, 3, len(boxes)), 0.5)
    both("box_iou", boxes, boxes[:4])
    both("clip_boxes_to_image", boxes, (7, 9))
    both("fpn_levels", boxes, 2, 5)
    both("encode_boxes", boxes, boxes + dtype(1))
    deltas = rng.standard_normal((len(boxes), 8)).astype(dtype)
    both("decode_boxes", deltas, boxes, (10, 10, 5, 5), clip_to=(9, 9))
    both("decode_boxes", np.stack([deltas, deltas]), boxes)
    targets = boxes[:3].copy()
    both("match_boxes", targets, boxes, 0.5, 0.3, allow_low_quality=True)
    both("match_boxes", [targets, targets[:1]], boxes, 0.5, 0.3)
    both("match_boxes", [targets, targets[:1]], [boxes, boxes[:2]], 0.5, 0.3)
    masks = rng.random((len(boxes), 7, 7)).astype(dtype)
    both("paste_masks", masks, boxes, (12, 15))
    both("paste_masks", masks, boxes, (12, 15), threshold=None, convention="detectron2")
    keypoints = rng.uniform(0, 12, (len(boxes), 5, 3)).astype(dtype)
    both("keypoints_to_heatmap", keypoints, boxes, 7)
    small = boxes % dtype(50)  # of an enormous box the map would be resized to 4096 x 4096
    both("heatmaps_to_keypoints", masks[:, None], small)


@pytest.mark.parametrize("convention", ["torchvision", "detectron2", "detectron"])
def test_anchors(convention) -> None:
    grid = ([(3, 4), (2, 2)], [8, 16], [(32,), (64, 128)], [(0.5, 1, 2), (1,)])
    for dtype in (torch.float32, torch.float64):
        cell = {"convention": convention, "stride": 8}
        one = roiops.cell_anchors((32,), (0.5, 1), **cell, like=torch.zeros(2, dtype=dtype))
        assert one.dtype == dtype
        like = np.zeros(2, "float32" if dtype == torch.float32 else "float64")
        assert_same_bits(one.numpy(), roiops.cell_anchors((32,), (0.5, 1), **cell, like=like))
        got = roiops.grid_anchors(*grid, convention=convention, like=torch.zeros(2, dtype=dtype))
        expected = roiops.grid_anchors(*grid, convention=convention, like=like)
        for one, other in zip(got, expected, strict=True):
            assert one.dtype == dtype
            assert_same_bits(one.numpy(), other)


def test_strided_tensors() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((1, 8, 9, 10)).astype(np.float32))
    rois = torch.tensor([[0, 1, 1, 7, 7.5]])
    expected = roiops.roi_align(features, rois, 3)
    for tensor in (
        features.transpose(2, 3).contiguous().transpose(2, 3),
        features.contiguous(memory_format=torch.channels_last),
        torch.stack([features, features], dim=-1)[..., 0],
        features.expand(3, -1, -1, -1)[1:2],
    ):
        assert torch.equal(roiops.roi_align(tensor, rois, 3), expected)
    assert torch.equal(roiops.roi_align(features, rois.repeat(1, 2)[:, :5], 3), expected)


def test_output_is_channels_last_where_the_input_is() -> None:
    features = torch.randn(2, 8, 9, 9).contiguous(memory_format=torch.channels_last)
    rois = torch.tensor([[0, 1, 1, 7, 7.5], [1, 0, 0, 3, 3]])
    out = roiops.roi_align(features.requires_grad_(), rois, 3)
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.relu_().sum().backward()  # in place, as in a head
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


def test_threads_do_not_change_a_bit() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 40, 50, 50, requires_grad=True)
    low = torch.rand(300, 2) * 40
    rois = torch.cat([torch.randint(0, 2, (300, 1)).float(), low, low + 12], 1).requires_grad_()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            out = roiops.roi_align(features, rois, 7)
            grads = torch.autograd.grad((out * out).sum(), (features, rois))
            results.append((out, *grads))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


# --- gradients ------------------------------------------------------------------------------------


IMAGE = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64)


def smooth_inputs() -> tuple:
    """Features, and boxes of the images IMAGE, in float64, whose samples lie away from every kink
    (whole coordinates, borders, whole bin sizes with an adaptive grid, equal samples)."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 2, 7, 6, dtype=torch.float64, generator=generator)
    boxes = torch.tensor(
        [[0.37, 0.81, 4.93, 5.21], [1.63, -2.29, 8.17, 3.11], [2.13, 2.41, 3.67, 3.89]],
        dtype=torch.float64,
    )
    return features.requires_grad_(), boxes.requires_grad_()


def to_rois_of(boxes):
    """rois (3, 5); a batch index is not to be perturbed."""
    return torch.cat([IMAGE, boxes], dim=1)


@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_gradcheck(reduction, aligned, sampling_ratio) -> None:
    features, boxes = smooth_inputs()

    def align(features, boxes):
        return roiops.roi_align(
            features,
            to_rois_of(boxes),
            (2, 3),
            0.9,
            sampling_ratio,
            aligned,
            reduction=reduction,
        )

    assert torch.autograd.gradcheck(align, (features, boxes))
    assert torch.autograd.gradcheck(align, (features, boxes.detach()))
    assert torch.autograd.gradcheck(align, (features.detach(), boxes))


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_gradgradcheck_by_features_and_grad_output(reduction) -> None:
    features, boxes = smooth_inputs()
    rois = to_rois_of(boxes.detach())

    def align(features):
        return roiops.roi_align(features, rois, (2, 3), 0.9, 2, True, reduction=reduction)

    grad_output = torch.randn_like(align(features)).requires_grad_()
    assert torch.autograd.gradgradcheck(align, (features,), (grad_output,))


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_multiscale_gradients(reduction) -> None:
    features, boxes = smooth_inputs()
    coarse = torch.randn(2, 2, 3, 4, dtype=torch.float64).requires_grad_()
    levels = torch.tensor([0, 1, 0])

    def align(fine, coarse, boxes):
        return roiops.multiscale_roi_align(
            [fine, coarse],
            to_rois_of(boxes),
            2,
            [0.9, 0.45],
            2,
            True,
            levels=levels,
            reduction=reduction,
        )

    assert torch.autograd.gradcheck(align, (features, coarse, boxes))
    boxes = boxes.detach()
    assert torch.autograd.gradgradcheck(lambda a, b: align(a, b, boxes), (features, coarse))


def test_backward_function_is_autograds() -> None:
    features, boxes = smooth_inputs()
    rois = to_rois_of(boxes.detach()).requires_grad_()
    for reduction in ("mean", "max"):
        out = roiops.roi_align(features, rois, 3, 0.9, 2, True, reduction=reduction)
        grad = torch.randn_like(out)
        expected = torch.autograd.grad(out, (features, rois), grad)
        got = roiops.roi_align_backward(
            grad, features.detach(), rois.detach(), 0.9, 2, True, reduction=reduction
        )
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one, other)


def test_gradients_reach_a_list_of_boxes() -> None:
    features, boxes = smooth_inputs()
    per_image = [boxes[:1].detach().requires_grad_(), boxes[1:].detach().requires_grad_()]
    out = roiops.roi_align(features, per_image, 2, 0.9, 2, True)
    grads = torch.autograd.grad(out.square().sum(), per_image)
    together = roiops.roi_align(features, to_rois_of(boxes), 2, 0.9, 2, True)
    expected = torch.autograd.grad(together.square().sum(), boxes)[0]
    assert torch.equal(torch.cat(grads), expected)


def test_the_mixed_derivative_through_boxes_is_refused() -> None:
    features, boxes = smooth_inputs()
    out = roiops.roi_align(features, to_rois_of(boxes), 2, 0.9, 2, True)
    (grad_boxes,) = torch.autograd.grad(out.sum(), boxes, create_graph=True)
    with pytest.raises(RuntimeError, match=r"roi_align: .*boxes"):
        grad_boxes.sum().backward()
    out = roiops.roi_align(features, to_rois_of(boxes), 2, 0.9, 2, True)
    (grad_features,) = torch.autograd.grad(out.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match=r"roi_align: .*boxes"):
        grad_features.sum().backward()


def test_boxes_without_gradient_allow_a_second_derivative() -> None:
    features, boxes = smooth_inputs()
    out = roiops.roi_align(features, to_rois_of(boxes.detach()), 2, 0.9, 2, True)
    (grad_features,) = torch.autograd.grad(out.square().sum(), features, create_graph=True)
    grad_features.square().sum().backward()
    assert features.grad.abs().sum() > 0


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_input_gradient_equals_torchvision(aligned, sampling_ratio) -> None:
    vision = pytest.importorskip("torchvision.ops")
    features, boxes = smooth_inputs()
    grads = []
    for align in (roiops.roi_align, vision.roi_align):
        rois = to_rois_of(boxes.detach())
        out = align(features, rois, (3, 2), 0.9, sampling_ratio, aligned)
        grads.append(torch.autograd.grad(out.square().sum(), features)[0])
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


def coding_inputs() -> tuple:
    """boxes, other boxes, deltas of two classes; away from the clamp and the image's edges."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(5, 4, dtype=torch.float64, generator=generator) * 8
    boxes = low + torch.tensor([0.0, 0.0, 9.0, 11.0])
    deltas = torch.randn(5, 8, dtype=torch.float64, generator=generator) * 0.4
    return boxes.requires_grad_(), (boxes.detach() * 1.1 + 0.7).requires_grad_(), deltas


@pytest.mark.parametrize("plus_one", [False, True])
def test_coding_gradients(plus_one) -> None:
    boxes, proposals, deltas = coding_inputs()
    deltas.requires_grad_()
    weights = (10.0, 5.0, 2.0, 3.0)

    def encode(boxes, proposals):
        return roiops.encode_boxes(boxes, proposals, weights, plus_one=plus_one)

    def decode(deltas, boxes):
        options = {"scale_clamp": 0.1, "clip_to": (19, 17), "plus_one": plus_one}
        return roiops.decode_boxes(deltas, boxes, weights, **options)

    assert torch.autograd.gradcheck(encode, (boxes, proposals))
    assert torch.autograd.gradcheck(decode, (deltas, boxes))
    batched = torch.stack([deltas, 2 * deltas]).detach().requires_grad_()
    assert torch.autograd.gradcheck(decode, (batched, boxes))
    assert torch.autograd.gradcheck(decode, (batched, torch.stack([boxes, proposals])))


def test_clip_gradients() -> None:
    boxes, _, _ = coding_inputs()

    def clip(boxes):
        return roiops.clip_boxes_to_image(boxes, (12, 13))

    assert torch.autograd.gradcheck(clip, (boxes,))
    assert torch.autograd.gradgradcheck(clip, (boxes,))


@pytest.mark.parametrize("plus_one", [False, True])
def test_iou_gradients(plus_one) -> None:
    boxes, others, _ = coding_inputs()
    others = others[:3].detach().requires_grad_()
    iou = functools.partial(roiops.box_iou, plus_one=plus_one)
    assert torch.autograd.gradcheck(iou, (boxes, others))


def test_backward_functions_are_autograds() -> None:
    boxes, proposals, deltas = coding_inputs()
    deltas.requires_grad_()
    for name, inputs in (
        ("encode_boxes", (boxes, proposals)),
        ("decode_boxes", (deltas, boxes)),
        ("box_iou", (boxes, proposals)),
    ):
        out = getattr(roiops, name)(*inputs)
        grad = torch.randn_like(out)
        expected = torch.autograd.grad(out, inputs, grad)
        arrays = [tensor.detach().numpy() for tensor in (grad, *inputs)]
        got = getattr(roiops, f"{name}_backward")(*arrays)
        for one, other in zip(got, expected, strict=True):
            assert_same_bits(one, other.numpy())


def test_second_derivatives_of_boxes_are_refused() -> None:
    boxes, proposals, deltas = coding_inputs()
    for name, result in (
        ("box_iou", roiops.box_iou(boxes, proposals)),
        ("encode_boxes", roiops.encode_boxes(boxes, proposals)),
        ("decode_boxes", roiops.decode_boxes(deltas, boxes)),
    ):
        (grad,) = torch.autograd.grad(result.square().sum(), boxes, create_graph=True)
        with pytest.raises(RuntimeError, match=f"{name}: .*second derivative"):
            grad.sum().backward()


# --- in a model -----------------------------------------------------------------------------------


def test_ordinary_use_in_a_training_step() -> None:
    """Features with gradients, boxes decoded without: what a detector does."""
    torch.manual_seed(0)
    features = torch.randn(1, 4, 16, 16, requires_grad=True)
    deltas = torch.randn(5, 4) * 0.1
    boxes = torch.rand(5, 4) * 4 + torch.tensor([0.0, 0, 6, 6])
    decoded = roiops.decode_boxes(deltas, boxes, clip_to=(16, 16))
    keep = roiops.nms(decoded, torch.rand(5), 0.7)
    out = roiops.roi_align(features, [decoded[keep]], 2)
    out.sum().backward()
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().sum() > 0


@given(boxes=box_arrays(ORDINARY, min_boxes=1))
def test_no_grad_and_inference_mode(boxes) -> None:
    features = torch.ones(1, 1, 12, 12, requires_grad=True)
    rois = torch.from_numpy(boxes).float()
    with torch.no_grad():
        assert not roiops.roi_align(features, [rois], 2).requires_grad
    with torch.inference_mode():
        roiops.roi_align(features, [rois], 2)
        roiops.nms(rois, torch.ones(len(rois)), 0.5)
