"""The same weights in torchvision's Mask R-CNN and in ours: the same losses, the same detections.

It holds every choice that papers leave open (matching, sampling, loss weights, thresholds, order
of steps), because ours are torchvision's.
"""

import re

import pytest
import torch

import roiops
from detector.config import update
from detector.mask_rcnn import build_model
from detector.presets import MASK_RCNN_R50_FPN_1X

torchvision = pytest.importorskip("torchvision")

NAMES = (
    (r"backbone\.stem\.conv", "backbone.body.conv1"),
    (r"backbone\.stem\.norm", "backbone.body.bn1"),
    (r"(backbone.*)shortcut\.conv", r"\1downsample.0"),
    (r"(backbone.*)shortcut\.norm", r"\1downsample.1"),
    (r"(backbone.*)norm(\d)", r"\1bn\2"),
    (r"backbone\.res(\d)", lambda m: f"backbone.body.layer{int(m[1]) - 1}"),
    (r"fpn\.lateral(\d)\.conv", lambda m: f"backbone.fpn.inner_blocks.{int(m[1]) - 2}.0"),
    (r"fpn\.output(\d)\.conv", lambda m: f"backbone.fpn.layer_blocks.{int(m[1]) - 2}.0"),
    (r"rpn\.conv1", "rpn.head.conv.0.0"),
    (r"rpn\.objectness", "rpn.head.cls_logits"),
    (r"rpn\.deltas", "rpn.head.bbox_pred"),
    (r"box_head\.fc(\d)", lambda m: f"roi_heads.box_head.fc{int(m[1]) + 5}"),
    (r"^box_head\.cls", "roi_heads.box_predictor.cls_score"),
    (r"^box_head\.deltas", "roi_heads.box_predictor.bbox_pred"),
    (r"^mask_head\.conv(\d)\.conv", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0"),
    (r"^mask_head\.deconv", "roi_heads.mask_predictor.conv5_mask"),
    (r"^mask_head\.logits", "roi_heads.mask_predictor.mask_fcn_logits"),
)


def torchvision_name(name):
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def copy_weights(source, model):
    theirs = source.state_dict()
    names = {name: torchvision_name(name) for name in model.state_dict()}
    assert sorted(names.values()) == sorted(theirs)
    model.load_state_dict({name: theirs[other] for name, other in names.items()})


def example(number, height, width):
    generator = torch.Generator().manual_seed(number)
    image = torch.rand(3, height, width, generator=generator)
    corners = torch.rand(4, 2, generator=generator) * 90
    boxes = torch.cat([corners, corners + 10 + torch.rand(4, 2, generator=generator) * 50], 1)
    masks = torch.zeros(4, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    labels = torch.randint(1, 6, (4,), generator=generator)
    return image, {"boxes": boxes, "labels": labels, "masks": masks}


@pytest.fixture(scope="module")
def pair():
    """Both models in training mode, and two images; few proposals, so that it is fast."""
    torch.manual_seed(0)
    fewer = {"rpn_pre_nms_top_n": 200, "rpn_post_nms_top_n": 100}
    options = {f"{k}_{mode}": v for k, v in fewer.items() for mode in ("train", "test")}
    theirs = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=6,
        min_size=160,
        max_size=400,
        box_batch_size_per_image=64,
        **options,
    )
    rpn = {f"{mode}_{k[4:]}": v for k, v in fewer.items() for mode in ("train", "test")}
    config = update(
        MASK_RCNN_R50_FPN_1X,
        {
            "model": {
                "num_classes": 5,
                "backbone": {"norm": "bn", "frozen_stages": 0},
                "rpn": rpn,
                "box_head": {"rois_per_image": 64},
            }
        },
    )
    images, targets = zip(example(1, 160, 210), example(2, 160, 170), strict=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in (config.input.mean, config.input.std))
    return theirs, build_model(config), images, [(i - mean) / std for i in images], targets


def test_training_losses(pair):
    theirs, ours, images, normalised, targets = pair
    copy_weights(theirs, ours)
    theirs.train()
    ours.train()
    torch.manual_seed(5)
    expected = theirs(list(images), [dict(target) for target in targets])
    torch.manual_seed(5)
    for _ in images:
        torch.empty(1).uniform_()  # torchvision draws the size of every image
    losses = ours(normalised, targets)
    for name, other in (
        ("rpn_objectness", "loss_objectness"),
        ("rpn_box", "loss_rpn_box_reg"),
        ("box_class", "loss_classifier"),
        ("box_deltas", "loss_box_reg"),
        ("mask", "loss_mask"),
    ):
        torch.testing.assert_close(losses[name], expected[other], rtol=1e-5, atol=1e-5, msg=name)


def test_detections(pair):
    theirs, ours, images, normalised, targets = pair
    theirs.train()
    with torch.no_grad():
        for _ in range(5):  # statistics of the norms that let features and scores spread
            theirs(list(images), [dict(target) for target in targets])
    copy_weights(theirs, ours)
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        expected, found = theirs(list(images)), ours(normalised)
    for image, other, mine in zip(images, expected, found, strict=True):
        assert len(other["boxes"]) > 10
        torch.testing.assert_close(mine["boxes"], other["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(mine["scores"], other["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(mine["labels"], other["labels"])
        masks = roiops.paste_masks(
            mine["masks"], mine["boxes"], tuple(image.shape[1:]), threshold=None
        )
        torch.testing.assert_close(masks, other["masks"][:, 0], rtol=0, atol=1e-4)
