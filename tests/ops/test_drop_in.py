"""torchvision's own detectors on our operators: the same detections and the same losses.

In float64, so that the order of nearly equal scores is not decided by rounding.
"""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torchvision.models import detection  # noqa: E402
from torchvision.models.detection import (  # noqa: E402
    _utils,
    faster_rcnn,
    keypoint_rcnn,
    mask_rcnn,
    roi_heads,
    rpn,
    transform,
)

import roiops  # noqa: E402


class Counted:
    """roiops, counting what is taken from it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str):
        operator = getattr(roiops, name)

        def call(*args, **kwargs):
            self.calls[name] += 1
            return operator(*args, **kwargs)

        return call


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Every operator of torchvision's detectors replaced by ours. Where torchvision has the name,
    by nothing more than the name."""
    ops = Counted()
    for module in (rpn, roi_heads):
        monkeypatch.setattr(module, "box_ops", ops)
    monkeypatch.setattr(roi_heads, "roi_align", ops.roi_align)
    for module in (faster_rcnn, mask_rcnn, keypoint_rcnn):
        monkeypatch.setattr(module, "MultiScaleRoIAlign", roiops.MultiScaleRoIAlign)
    monkeypatch.setattr(faster_rcnn, "AnchorGenerator", roiops.AnchorGenerator)

    # What torchvision keeps outside torchvision.ops, with shapes of its own.
    def decode(self, deltas, boxes):
        return ops.decode_boxes(deltas, boxes, self.weights, scale_clamp=self.bbox_xform_clip)

    def encode(self, reference_boxes, proposals):
        return ops.encode_boxes(reference_boxes, proposals, self.weights)

    def paste(masks, boxes, size, padding=1):
        return ops.paste_masks(masks[:, 0], boxes, size, threshold=None, padding=padding)[:, None]

    def keypoints(heatmaps, boxes):
        found = ops.heatmaps_to_keypoints(heatmaps, boxes).float()
        scores = found[..., 2]
        return torch.cat([found[..., :2], torch.ones_like(scores)[..., None]], -1), scores

    def heatmap_targets(keypoints, boxes, size):
        return ops.keypoints_to_heatmap(keypoints.to(boxes.dtype), boxes, size)

    monkeypatch.setattr(_utils.BoxCoder, "decode_single", decode)
    monkeypatch.setattr(_utils.BoxCoder, "encode_single", encode)
    monkeypatch.setattr(transform, "paste_masks_in_image", paste)
    monkeypatch.setattr(roi_heads, "heatmaps_to_keypoints", keypoints)
    monkeypatch.setattr(roi_heads, "keypoints_to_heatmap", heatmap_targets)
    return ops


MODELS = {
    "fasterrcnn": detection.fasterrcnn_resnet50_fpn,
    "maskrcnn": detection.maskrcnn_resnet50_fpn,
    "keypointrcnn": detection.keypointrcnn_resnet50_fpn,
}
OPTIONS = {
    "weights": None,
    "weights_backbone": None,
    "num_classes": 4,
    "min_size": 120,
    "max_size": 160,
    "box_score_thresh": 0.05,
    "rpn_pre_nms_top_n_train": 300,
    "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_train": 60,
    "rpn_post_nms_top_n_test": 60,
    "box_detections_per_img": 20,
    "box_batch_size_per_image": 32,
}


def build(name: str):
    torch.manual_seed(0)
    return MODELS[name](**OPTIONS).double()


def images():
    generator = torch.Generator().manual_seed(1)
    return [
        torch.rand(3, *size, dtype=torch.float64, generator=generator)
        for size in ((120, 150), (140, 130))
    ]


def targets():
    boxes = torch.tensor([[10, 12, 60, 80], [50, 40, 110, 100.0]], dtype=torch.float64)
    masks = torch.zeros(2, 120, 150, dtype=torch.uint8)
    masks[0, 12:80, 10:60] = masks[1, 40:100, 50:110] = 1
    # 17 points in each box, some on its edge, some not visible.
    steps = torch.linspace(0, 1, 17, dtype=torch.float64)[None, :, None]
    points = boxes[:, None, :2] + steps * (boxes[:, None, 2:] - boxes[:, None, :2])
    visible = (torch.arange(17, dtype=torch.float64) % 3 > 0)[None, :, None].expand(2, -1, 1)
    keypoints = torch.cat([points, visible], -1).float()  # as torchvision insists
    labels = torch.tensor([1, 2])
    first = {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints}
    second = first | {"boxes": boxes + 7, "masks": masks[:, :130, :130].new_zeros(2, 140, 130)}
    second["masks"][:, 30:90, 30:90] = 1
    second["keypoints"] = keypoints + torch.tensor([7.0, 7.0, 0.0])
    return [first, second]


def detections(name: str):
    with torch.no_grad():
        return build(name).eval()(images())


def losses(name: str):
    model = build(name).train()
    torch.manual_seed(2)  # the samplers draw
    return model(images(), targets())


@pytest.mark.parametrize("name", MODELS)
def test_detections_are_equal(name: str, request: pytest.FixtureRequest) -> None:
    expected = detections(name)
    ops = request.getfixturevalue("ops")
    got = detections(name)
    assert all(len(image["boxes"]) for image in expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert ours[key].dtype == theirs[key].dtype
            torch.testing.assert_close(ours[key], theirs[key], rtol=1e-6, atol=1e-6, msg=key)
    own = {"maskrcnn": {"paste_masks"}, "keypointrcnn": {"heatmaps_to_keypoints"}}
    everywhere = {"batched_nms", "clip_boxes_to_image", "decode_boxes", "remove_small_boxes"}
    assert set(ops.calls) == everywhere | own.get(name, set())


@pytest.mark.parametrize("name", MODELS)
def test_losses_are_equal(name: str, request: pytest.FixtureRequest) -> None:
    expected = losses(name)
    ops = request.getfixturevalue("ops")
    got = losses(name)
    assert got.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(got[key], expected[key], rtol=1e-8, atol=1e-8, msg=key)
    own = {"maskrcnn": {"roi_align"}, "keypointrcnn": {"keypoints_to_heatmap"}}
    assert {"box_iou", "encode_boxes"} | own.get(name, set()) <= set(ops.calls)
