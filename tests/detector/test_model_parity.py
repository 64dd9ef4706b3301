"""The same weights in torchvision's models and in ours: the same losses, the same detections.

It holds every choice that papers leave open (matching, sampling, loss weights, thresholds, order
of steps), because ours are torchvision's.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import roiops
from detector.config import update
from detector.convert import convert_weights
from detector.data.transforms import prepare
from detector.layouts import LAYOUTS, infer_config
from detector.mask_rcnn import build_model
from detector.results import in_image

torchvision = pytest.importorskip("torchvision")
models = torchvision.models.detection

KEYS = {
    "fasterrcnn_resnet50_fpn": 348,
    "fasterrcnn_resnet50_fpn_v2": 404,
    "maskrcnn_resnet50_fpn": 360,
    "maskrcnn_resnet50_fpn_v2": 432,
    "keypointrcnn_resnet50_fpn": 366,
}
"""torchvision's models, and the parameters and statistics that each has."""
LOSSES = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "box_class": "loss_classifier",
    "box_deltas": "loss_box_reg",
    "mask": "loss_mask",
    "keypoint": "loss_keypoint",
}


def example(number, height, width, classes):
    """An image uint8 (H, W, 3) and four objects in it."""
    generator = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    corners = torch.rand(4, 2, generator=generator) * 90
    sides = 10 + torch.rand(4, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + sides], 1)
    masks = torch.zeros(4, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    labels = torch.randint(1, classes + 1, (4,), generator=generator)
    places = corners[:, None] + sides[:, None] * torch.rand(4, 17, 2, generator=generator) * 1.1
    visible = torch.randint(0, 2, (4, 17, 1), generator=generator)
    keypoints = torch.cat([places, visible.float()], 2)
    return image, {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints}


class Pair:
    """A model of torchvision's and ours with its weights; few regions, so that it is fast."""

    def __init__(self, name, dtype=torch.float32):
        torch.manual_seed(0)
        self.classes = 1 if name.startswith("keypoint") else 5
        fewer = {"rpn_pre_nms_top_n": 200, "rpn_post_nms_top_n": 50}
        options = {f"{k}_{mode}": v for k, v in fewer.items() for mode in ("train", "test")}
        build = getattr(models, name)
        self.theirs = build(
            weights=None,
            weights_backbone=None,
            num_classes=1 + self.classes,
            min_size=128,
            max_size=400,
            box_batch_size_per_image=32,
            box_detections_per_img=20,
            **options,
        ).to(dtype)
        assert len(self.theirs.state_dict()) == KEYS[name]
        self.images, self.targets = zip(
            example(1, 128, 170, self.classes), example(2, 150, 128, self.classes), strict=True
        )
        self.targets = [
            {k: v.to(dtype) if v.is_floating_point() else v for k, v in target.items()}
            for target in self.targets
        ]
        self.inputs = [image.permute(2, 0, 1).to(dtype) / 255 for image in self.images]
        self.theirs.train()
        with torch.no_grad():
            for _ in range(4):  # statistics of the norms that let features and scores spread
                self.theirs(list(self.inputs), [dict(target) for target in self.targets])
        rpn = {f"{mode}_{k[4:]}": v for k, v in fewer.items() for mode in ("train", "test")}
        config = update(
            infer_config(LAYOUTS["torchvision"], self.theirs.state_dict()),
            {
                "input": {"short_edge": [128], "max_edge": 400},
                "model": {"rpn": rpn, "box_head": {"rois_per_image": 32, "max_detections": 20}},
            },
        )
        assert config.model.num_classes == self.classes
        self.config = config

    def ours(self, **backbone):
        """Our model with their weights; `backbone` changes keys of its backbone."""
        config = update(self.config, {"model": {"backbone": backbone}})
        model = build_model(config).to(next(self.theirs.parameters()).dtype)
        conversion = convert_weights(
            self.theirs.state_dict(), LAYOUTS["torchvision"], config, model.state_dict()
        )
        assert conversion.complete, conversion.lines()
        model.load_state_dict(conversion.weights)
        return model

    def losses(self, count):
        """Of both models, on the first `count` images."""
        ours = self.ours(norm="bn", frozen_stages=0).train()
        targets = self.targets[:count]
        inputs = self.inputs[:count]
        torch.manual_seed(5)
        self.theirs.train()
        expected = self.theirs(list(inputs), [dict(target) for target in targets])
        torch.manual_seed(5)
        for _ in inputs:
            torch.empty(1).uniform_()  # torchvision draws the size of every image
        # Their sizes: the shorter side is that of the configuration already.
        mean, std = (
            torch.tensor(v, dtype=inputs[0].dtype)[:, None, None]
            for v in (self.config.input.mean, self.config.input.std)
        )
        found = ours([(image - mean) / std for image in inputs], targets)
        assert {LOSSES[name] for name in found} == set(expected)
        return found, expected


@pytest.fixture(scope="module", params=KEYS)
def pair(request):
    return Pair(request.param)


@pytest.mark.parametrize("count", [1, 2])
def test_detections(pair, count):
    """With frozen norms where the configuration has them: they must do what trained ones do."""
    ours, theirs = pair.ours().eval(), pair.theirs.eval()
    with torch.no_grad():
        expected = theirs(pair.inputs[:count])
        found = ours([prepare(i.numpy(), pair.config.input) for i in pair.images[:count]])
    check_detections(found, expected, pair)


def check_detections(found, expected, pair):
    for image, other, mine in zip(pair.images, expected, found, strict=False):
        assert len(other["boxes"]) > 10
        assert other["scores"].unique().numel() > 5
        size = tuple(image.shape[:2])
        torch.testing.assert_close(mine["boxes"], other["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(mine["scores"], other["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(mine["labels"], other["labels"])
        if "masks" in other:
            masks = roiops.paste_masks(mine["masks"], mine["boxes"], size, threshold=None)
            torch.testing.assert_close(masks, other["masks"][:, 0], rtol=0, atol=1e-4)
        if "keypoints" in other:
            places, scores = mine["keypoints"].split([2, 1], -1)
            torch.testing.assert_close(places, other["keypoints"][..., :2], rtol=0, atol=1e-2)
            torch.testing.assert_close(
                scores[..., 0], other["keypoints_scores"], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("count", [1, 2])
def test_training_losses(pair, count):
    found, expected = pair.losses(count)
    for name, value in found.items():
        torch.testing.assert_close(
            value, expected[LOSSES[name]], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_detections_of_images_that_are_resized(pair):
    resized = replace(pair.config.input, short_edge=(144,))
    ours, theirs = pair.ours().eval(), pair.theirs.eval()
    theirs.transform.min_size = (144,)
    try:
        with torch.no_grad():
            expected = theirs(pair.inputs)
            inputs = [prepare(image.numpy(), resized) for image in pair.images]
            found = ours(inputs)
    finally:
        theirs.transform.min_size = (128,)
    assert tuple(inputs[0].shape[1:]) == (144, 191)  # 191.25 is rounded down
    for image, tensor, other, mine in zip(pair.images, inputs, expected, found, strict=True):
        in_pixels = in_image(mine, tuple(tensor.shape[1:]), tuple(image.shape[:2]))
        assert len(other["boxes"]) > 10
        np.testing.assert_allclose(in_pixels["boxes"], other["boxes"], atol=1e-3)
        np.testing.assert_allclose(in_pixels["scores"], other["scores"], atol=1e-5)


def test_training_losses_in_float64():
    found, expected = Pair("maskrcnn_resnet50_fpn", torch.float64).losses(1)
    # The one loss that torchvision sums in float32 whatever it is given.
    assert expected.pop("loss_objectness").dtype == torch.float32
    for name, value in found.items():
        if LOSSES[name] in expected:
            torch.testing.assert_close(value, expected[LOSSES[name]], rtol=1e-8, atol=1e-8)
