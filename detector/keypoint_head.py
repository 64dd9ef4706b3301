"""Keypoint head: a heatmap for each keypoint, with one cell to be found (section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import roiops
from detector.backbone import conv_block, he_normal
from detector.config import KeypointHeadConfig
from detector.sampler import SampledProposals


class KeypointHead(nn.Module):
    """Pooled features (R, C, S, S) → keypoint logits (R, P, 4S, 4S) of P keypoints.

    The transposed convolution doubles the side, bilinear interpolation doubles it again.
    """

    def __init__(self, config: KeypointHeadConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        for index, out in enumerate(config.convs, start=1):
            self.add_module(f"conv{index}", conv_block(channels, out, 3, None, relu=True))
            channels = out
        self.deconv = nn.ConvTranspose2d(channels, config.num_keypoints, 4, stride=2, padding=1)
        he_normal(self)

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled
        for index in range(1, len(self.config.convs) + 1):
            x = self.get_submodule(f"conv{index}")(x)
        return F.interpolate(self.deconv(x), scale_factor=2.0, mode="bilinear")


def keypoint_loss(
    keypoint_logits: Tensor,
    positives: Sequence[SampledProposals],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Mean cross entropy over the cells of each heatmap whose keypoint is visible in the region.

    keypoint_logits: (R, P, M, M) of the positives of all images in order.
    """
    keypoints = torch.cat(
        [
            target["keypoints"][image.matched_idxs]
            for image, target in zip(positives, targets, strict=True)
        ]
    )
    boxes = torch.cat([image.boxes for image in positives])
    cells, valid = roiops.keypoints_to_heatmap(keypoints, boxes, keypoint_logits.shape[-1])
    visible = valid.flatten() == 1
    if not visible.any():
        return keypoint_logits.sum() * 0  # keeps the head in the graph, as every other step does
    return F.cross_entropy(
        keypoint_logits.flatten(2).flatten(0, 1)[visible], cells.flatten()[visible]
    )


def find_keypoints(
    keypoint_logits: Tensor, detections: Sequence[dict[str, Tensor]]
) -> list[Tensor]:
    """(D_i, P, 3) [x, y, score] of each image's detections; the score is the largest logit."""
    boxes = torch.cat([image["boxes"] for image in detections])
    found = roiops.heatmaps_to_keypoints(keypoint_logits, boxes)
    return list(found.split([len(image["boxes"]) for image in detections]))
