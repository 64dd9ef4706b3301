"""Mask R-CNN (He et al. 2017): backbone, pyramid, proposals, box head, mask and keypoint heads.

One forward pass, in the order of the code: `backbone.py`, `rpn.py`, `box_head.py`, `mask_head.py`,
`keypoint_head.py`; what training adds to it draws its boxes by `sampler.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import roiops
from detector.backbone import FPN, ResNet
from detector.box_head import BoxHead, box_losses, detect
from detector.config import Config, ModelConfig, PoolingConfig
from detector.keypoint_head import KeypointHead, find_keypoints, keypoint_loss
from detector.mask_head import MaskHead, mask_loss, mask_probabilities
from detector.rpn import RPN
from detector.sampler import SampledProposals, sample_proposals

SIZE_DIVISOR = 32  # the stride of C5: every level of the pyramid then halves exactly
STRIDES = {"fpn": (4, 8, 16, 32), "c4": (16,), "c5": (32,)}  # of the levels that heads pool from


class MaskRCNN(nn.Module):
    """images → losses in training, detections in evaluation.

    `forward(images, targets)`: `images` is a list of float tensors (C, H_i, W_i), normalised, of
    any sizes. In training `targets` has for each image a dict with `boxes` (G, 4) in pixels of the
    image tensor, `labels` (G,) int64 in 1..K, for a mask head `masks` (G, H_i, W_i) 0/1 and for a
    keypoint head `keypoints` (G, P, 3) [x, y, visibility]; G = 0 is an image of background.
    Returned is a dict of scalar losses, to be summed.
    In evaluation a list of dicts: `boxes` (D, 4), `scores` (D,), `labels` (D,); of a mask head
    `masks` (D, M, M), probabilities inside the boxes, for `roiops.paste_masks`; of a keypoint head
    `keypoints` (D, P, 3) [x, y, logit].
    """

    def __init__(self, config: ModelConfig, in_channels: int) -> None:
        super().__init__()
        if config.num_classes is None:
            raise ValueError("MaskRCNN: model.num_classes must be set; got null")
        self.config = config
        classes, size = config.num_classes, config.mask_head.pool_size
        self.backbone = ResNet(config.backbone, in_channels, 4 if config.features == "c4" else 5)
        channels = self.backbone.out_channels[2 if config.features == "c4" else 3]
        if config.features == "fpn":
            channels = config.fpn.channels
            self.fpn = FPN(config.fpn, self.backbone.out_channels)
        self.rpn = RPN(config.rpn, config.anchors, channels)
        if config.features == "c4":  # regions go through res5 before they reach the heads
            channels = self.backbone.out_channels[3]
            size = -(-size // config.backbone.res5_stride)
        self.box_head = BoxHead(config.box_head, channels, classes)
        if config.masks:
            self.mask_head = MaskHead(config.mask_head, channels, classes, size)
        if config.keypoints:
            self.keypoint_head = KeypointHead(config.keypoint_head, channels)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        image_sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        batch = pad_images(images)
        features = self._features(batch)
        batch_size = (batch.shape[-2], batch.shape[-1])
        if not self.training:
            proposals, _ = self.rpn(features, batch_size, image_sizes, None)
            return self._detections(features, proposals, image_sizes)
        if targets is None:
            raise ValueError("MaskRCNN: targets must be given in training; got None")
        proposals, losses = self.rpn(features, batch_size, image_sizes, targets)
        return losses | self._head_losses(features, proposals, targets)

    def _features(self, batch: Tensor) -> list[Tensor]:
        stages = self.backbone(batch)
        return self.fpn(stages) if self.config.features == "fpn" else stages[-1:]

    def _head_losses(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        targets: Sequence[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        config = self.config
        sampled = sample_proposals(config.box_head, proposals, targets)
        pooled = self._pool(features, [s.boxes for s in sampled], config.box_head.pool_size)
        class_logits, box_deltas = self.box_head(pooled)
        losses = box_losses(config.box_head, class_logits, box_deltas, sampled, targets)
        # Masks and keypoints are learnt on the positive proposals only.
        positives = [
            SampledProposals(*(part[image.labels > 0] for part in image)) for image in sampled
        ]
        boxes = [image.boxes for image in positives]
        if config.masks:
            if config.features == "c4":  # the same cells, which are through res5 already
                pooled = pooled[torch.cat([image.labels for image in sampled]) > 0]
            else:
                pooled = self._pool(features, boxes, config.mask_head.pool_size)
            mask_logits = self.mask_head(pooled)
            losses["mask"] = mask_loss(config.mask_head, mask_logits, positives, targets)
        if config.keypoints:
            pooled = self._pool(features, boxes, config.keypoint_head.pool_size)
            losses["keypoint"] = keypoint_loss(self.keypoint_head(pooled), positives, targets)
        return losses

    def _detections(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        config = self.config
        pooled = self._pool(features, proposals, config.box_head.pool_size)
        detections = detect(config.box_head, *self.box_head(pooled), proposals, image_sizes)
        # Masks and keypoints are predicted on the final boxes, not on the proposals.
        boxes = [image["boxes"] for image in detections]
        found: dict[str, list[Tensor]] = {}
        if config.masks:
            pooled = self._pool(features, boxes, config.mask_head.pool_size)
            mask_logits = self.mask_head(pooled)
            found["masks"] = mask_probabilities(config.mask_head, mask_logits, detections)
        if config.keypoints:
            pooled = self._pool(features, boxes, config.keypoint_head.pool_size)
            found["keypoints"] = find_keypoints(self.keypoint_head(pooled), detections)
        return [
            image | {name: values[index] for name, values in found.items()}
            for index, image in enumerate(detections)
        ]

    def _pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
        """(R, C, size, size) for the heads; in a C4 model, what res5 makes of it."""
        pooled = pool_regions(
            self.config.pooling, features, boxes, size, STRIDES[self.config.features]
        )
        return self.backbone.res5(pooled) if self.config.features == "c4" else pooled


def build_model(config: Config) -> MaskRCNN:
    """The model of a resolved configuration (`model.num_classes` set)."""
    return MaskRCNN(config.model, in_channels=len(config.input.mean))


def pad_images(images: Sequence[Tensor]) -> Tensor:
    """(N, C, H, W): zeros below and to the right, up to common multiples of 32."""
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in (height, width))
    batch = images[0].new_zeros(len(images), images[0].shape[0], height, width)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[-2], : image.shape[-1]].copy_(image)
    return batch


def pool_regions(
    config: PoolingConfig,
    features: Sequence[Tensor],
    boxes: Sequence[Tensor],
    size: int,
    strides: Sequence[int],
) -> Tensor:
    """(R, C, size, size): every box of every image (R of them, in order) from the level that its
    size tells. `strides` are those of the first features; others are for the RPN only."""
    features = list(features[: len(strides)])
    scales = [1 / stride for stride in strides]
    level_of = {
        "canonical_scale": config.canonical_scale,
        "canonical_level": config.canonical_level,
    }
    if config.operator == "roi_align":
        return roiops.multiscale_roi_align(
            features,
            list(boxes),
            size,
            scales,
            config.sampling_ratio,
            config.aligned,
            reduction=config.reduction,
            **level_of,
        )
    images = [torch.full_like(b[:, :1], index) for index, b in enumerate(boxes)]
    rois = torch.cat([torch.cat(images), torch.cat(list(boxes))], 1)
    finest, coarsest = (stride.bit_length() - 1 for stride in (strides[0], strides[-1]))
    levels = roiops.fpn_levels(rois, finest, coarsest, **level_of) - finest
    pooled, rows = [], []
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        rows.append(torch.where(levels == level)[0])
        region = (feature, rois[rows[-1]], size, scale)
        pooled.append(
            roiops.roi_pool(*region)
            if config.operator == "roi_pool"
            else roiops.roi_warp(*region, config.sampling_ratio, reduction=config.reduction)
        )
    return torch.cat(pooled)[torch.cat(rows).argsort()]
