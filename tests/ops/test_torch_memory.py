"""Where tensors lie: copies outlive their use, devices are not mixed, results are small."""

import pytest

torch = pytest.importorskip("torch")

import roiops  # noqa: E402


def boxes(*shape: int):
    low = torch.rand(*shape, 2) * 4
    return torch.cat([low, low + 1 + torch.rand(*shape, 2)], -1)


# Views whose rows of four cannot be seen as one (N, 4) array: the operator works on a copy of them,
# which must not be freed, and its memory given to the next, before the kernel has read it.
VIEWS = {
    "sliced": lambda: boxes(3, 40)[:, :7],
    "transposed": lambda: boxes(7, 40).transpose(0, 1),
    "expanded": lambda: boxes(7).expand(40, 7, 4),
}
views = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


@views
def test_copies_live_as_long_as_they_are_read(view) -> None:
    a, b = view(), view()
    same = [x.contiguous() for x in (a, b)]
    for _ in range(20):
        clipped = roiops.clip_boxes_to_image(a, (3, 3))
        assert torch.equal(clipped, roiops.clip_boxes_to_image(same[0], (3, 3)))
        assert torch.equal(roiops.encode_boxes(a, b), roiops.encode_boxes(*same))
        assert torch.equal(roiops.decode_boxes(a, b), roiops.decode_boxes(*same))


@views
def test_gradients_of_copies(view) -> None:
    a, b = (x.requires_grad_() for x in (view(), view()))
    for function in (
        lambda a, b: roiops.clip_boxes_to_image(a + b, (9, 9)),
        roiops.encode_boxes,
        roiops.decode_boxes,
    ):
        # The sum's gradient is one number, expanded: the same to the eye as a full array of it.
        got = torch.autograd.grad(function(a, b).sum(), (a, b))
        out = function(a, b)
        expected = torch.autograd.grad(out, (a, b), torch.ones(out.shape))
        for g, e in zip(got, expected, strict=True):
            assert torch.equal(g, e)


def test_devices_are_not_mixed() -> None:
    here, there = boxes(5), boxes(5).to("meta")
    for call in (
        lambda: roiops.box_iou(here, there),
        lambda: roiops.match_boxes(there, here, 0.5, 0.5),
        lambda: roiops.roi_align(torch.zeros(1, 1, 4, 4), [there], 2),
    ):
        with pytest.raises(TypeError, match=r"must be on the device of \w+ \(\w+\); got \w+"):
            call()


def test_kept_indices_hold_no_more_memory_than_their_own() -> None:
    same = boxes(1).expand(1000, 4)
    keep = roiops.nms(same, torch.rand(1000), 0.5)
    assert keep.untyped_storage().nbytes() == 8 * len(keep) == 8
