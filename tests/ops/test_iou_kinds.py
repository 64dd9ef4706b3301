"""generalized, distance and complete IoU, formats and dtypes of all four; their gradients."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, ORDINARY, box_arrays, float_dtypes, layouts, several_times

import roiops
from roiops import reference

KINDS = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
kinds = pytest.mark.parametrize("kind", KINDS)
INTEGERS = (np.uint8, np.int8, np.int16, np.int32, np.int64)


@several_times
@given(
    first=box_arrays(EVERY_KIND, duplicates=True),
    second=box_arrays(EVERY_KIND),
    dtype=float_dtypes,
    layout=layouts,
    kind=st.sampled_from(KINDS),
)
def test_is_the_references(compiled: Backend, first, second, dtype, layout, kind) -> None:
    first = first.astype(dtype)
    second = np.concatenate([second.astype(dtype), first[:3]])
    expected = getattr(reference, kind)(first, second)
    got = compiled(kind, layout(first), layout(second))
    assert got.dtype == expected.dtype
    # Sides of 1e30 squared, and an angle of almost 90 degrees: few digits are left of the terms.
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 if dtype == np.float32 else 1e-9)


@kinds
@given(first=box_arrays(ORDINARY, min_boxes=1), second=box_arrays(ORDINARY, min_boxes=1))
def test_equals_torchvision(backend: Backend, kind, first, second) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    apart = (first[:, 2:] > first[:, :2]).all(1), (second[:, 2:] > second[:, :2]).all(1)
    first, second = first[apart[0]], second[apart[1]]
    theirs = getattr(vision, kind)(torch.tensor(first), torch.tensor(second)).numpy()
    np.testing.assert_allclose(backend(kind, first, second), theirs, rtol=1e-9, atol=1e-12)


def test_by_hand(backend: Backend) -> None:
    a = np.array([[0, 0, 4, 2]], np.float64)
    others = np.array([[0, 0, 4, 2], [4, 0, 8, 2], [8, 0, 12, 2], [0, 0, 2, 4]], np.float64)
    assert_equal(backend("generalized_box_iou", a, others)[0, :3], np.array([1, 0, -4 * 2 / 24]))
    got = backend("generalized_box_iou", a, others)[0, 3]
    np.testing.assert_allclose(got, 4 / 12 - (16 - 12) / 16)
    # Centres 4 and 8 apart, in hulls of 8 x 2 and 12 x 2.
    expected = [1, -16 / (64 + 4), -64 / (144 + 4), 4 / 12 - 2 / 32]
    np.testing.assert_allclose(backend("distance_box_iou", a, others)[0], expected, rtol=1e-6)
    v = (2 / np.pi * (np.arctan(2) - np.arctan(0.5))) ** 2
    expected[3] -= v * v / (1 - 4 / 12 + v)
    np.testing.assert_allclose(backend("complete_box_iou", a, others)[0], expected, rtol=1e-6)


def test_odd_boxes_give_numbers(backend: Backend) -> None:
    odd = np.array(
        [[0, 0, 0, 0], [np.nan, 0, 1, 1], [np.inf, 0, 1, 1], [3, 3, 1, 1], [5, 5, 9, 9],
         [-1e30, -1e30, 1e30, 1e30], [2, 2, 2, 9]],
        np.float32,
    )  # fmt: skip
    for kind in KINDS:
        values = backend(kind, odd, odd)
        assert np.isfinite(values).all(), kind
        assert not values[1:3].any()  # the union is not finite
        assert not values[:, 1:3].any()


@kinds
@pytest.mark.parametrize("dtype", [*INTEGERS, np.float16])
def test_dtypes_are_torchvisions(kind: str, dtype) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = np.array([[1, 2, 60, 99], [10, 12, 50, 40], [0, 0, 120, 120]], dtype)
    theirs = getattr(vision, kind)(torch.from_numpy(boxes), torch.from_numpy(boxes[:2]))
    for got in (
        getattr(roiops, kind)(torch.from_numpy(boxes), torch.from_numpy(boxes[:2])),
        torch.from_numpy(getattr(roiops, kind)(boxes, boxes[:2])),
        torch.from_numpy(getattr(reference, kind)(boxes, boxes[:2])),
    ):
        assert got.dtype == theirs.dtype == torch.float32
        torch.testing.assert_close(got, theirs)


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_formats_are_torchvisions(backend: Backend, fmt: str) -> None:
    torch = pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.ops")
    boxes = np.array([[5, 6, 9, 10], [7, 7, 8, 9], [1, 1, 30, 30]], np.float64)
    theirs = vision.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes[1:]), fmt).numpy()
    np.testing.assert_allclose(backend("box_iou", boxes, boxes[1:], fmt), theirs, rtol=1e-12)


@kinds
def test_leading_dimensions(backend: Backend, kind: str) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 9, (2, 3, 5, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 9, low.shape)], -1)
    others = boxes[..., :4, :] + 1
    got = backend(kind, boxes, others)
    assert got.shape == (2, 3, 5, 4)
    for i in np.ndindex(2, 3):
        assert_equal(got[i], backend(kind, boxes[i], others[i]))
    assert backend(kind, boxes[:0], others[:0]).shape == (0, 3, 5, 4)
    assert backend(kind, boxes[..., :0, :], others).shape == (2, 3, 0, 4)


# --- gradients ------------------------------------------------------------------------------------


def tensors():
    """Boxes that overlap, lie within each other, and apart; no two sides coincide."""
    torch = pytest.importorskip("torch")
    first = [[0.3, 0.1, 9.7, 8.9], [2.2, 1.7, 5.6, 4.1], [-4.3, -3.9, -1.1, -2.2]]
    second = [[1.1, 2.3, 8.2, 11.3], [20.1, 3.3, 24.7, 9.6]]
    make = lambda rows: torch.tensor(rows, dtype=torch.float64, requires_grad=True)  # noqa: E731
    return torch, make(first), make(second)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradcheck(kind: str) -> None:
    torch, first, second = tensors()
    assert torch.autograd.gradcheck(getattr(roiops, kind), (first, second))
    if kind == "box_iou":
        iou = lambda a, b: roiops.box_iou(a, b, "cxcywh")  # noqa: E731
        assert torch.autograd.gradcheck(iou, (first, second))
    batched = [torch.stack([x, x + 0.05]).detach().requires_grad_() for x in (first, second)]
    assert torch.autograd.gradcheck(getattr(roiops, kind), batched)


def test_complete_holds_alpha_constant() -> None:
    torch, first, second = tensors()

    def parts(a, b):
        angle = [torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b)]
        return 4 / torch.pi**2 * (angle[0][:, None] - angle[1]) ** 2

    v = parts(first, second)
    alpha = (v / (1 - roiops.box_iou(first, second) + v + 1e-7)).detach()
    expected = roiops.distance_box_iou(first, second) - alpha * v
    torch.testing.assert_close(roiops.complete_box_iou(first, second), expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    wanted = torch.autograd.grad((expected * weights).sum(), (first, second))
    got = torch.autograd.grad(
        (roiops.complete_box_iou(first, second) * weights).sum(), (first, second)
    )
    for g, w in zip(got, wanted, strict=True):
        torch.testing.assert_close(g, w)


@kinds
def test_gradients_equal_torchvisions(kind: str) -> None:
    vision = pytest.importorskip("torchvision.ops")
    torch, first, second = tensors()
    theirs = getattr(vision, kind)(first, second)
    grad = torch.randn(theirs.shape, dtype=torch.float64)
    expected = torch.autograd.grad(theirs, (first, second), grad)
    got = torch.autograd.grad(getattr(roiops, kind)(first, second), (first, second), grad)
    arrays = [x.detach().numpy() for x in (grad, first, second)]
    by_function = getattr(roiops, f"{kind}_backward")(*arrays)
    for g, f, e in zip(got, by_function, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-9)
        assert_equal(f, g.numpy())


@kinds
def test_gradients_of_odd_boxes_are_numbers(kind: str) -> None:
    odd = np.array(
        [[0, 0, 0, 0], [np.nan, 0, 1, 1], [np.inf, 0, 1, 1], [3, 3, 1, 1], [5, 5, 9, 9],
         [2, 2, 2, 9], [2, 2, 9, 2], [5, 5, 9, 9]],
        np.float32,
    )  # fmt: skip
    grad = np.ones((len(odd), len(odd)), np.float32)
    for result in getattr(roiops, f"{kind}_backward")(grad, odd, odd):
        assert np.isfinite(result).all()


def test_half_boxes_get_half_gradients() -> None:
    torch, first, second = tensors()
    half = first.detach().half().requires_grad_()
    roiops.generalized_box_iou(half, second.detach().half()).sum().backward()
    assert half.grad.dtype == torch.float16
    assert half.grad.abs().sum() > 0
