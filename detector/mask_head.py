"""Mask head: one bitmap for each class and region (He et al. 2017, Figure 4, right)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import roiops
from detector.backbone import conv_block, he_normal
from detector.config import MaskHeadConfig
from detector.sampler import SampledProposals


class MaskHead(nn.Module):
    """Pooled features (R, C, S, S) → mask logits (R, 1 + K, M, M), M = 2S.

    Class 0 is background, which only a softmax asks for. Class-agnostic: (R, 1, M, M). With fully
    connected layers the last one gives all cells of all masks.
    """

    def __init__(self, config: MaskHeadConfig, channels: int, num_classes: int, size: int) -> None:
        """size: S, that of the pooled features as they arrive."""
        super().__init__()
        self.config = config
        self.masks = 1 + num_classes if config.class_specific else 1
        for index, out in enumerate(config.convs, start=1):
            self.add_module(f"conv{index}", conv_block(channels, out, 3, config.norm, relu=True))
            channels = out
        if config.fc:
            width = channels * size**2
            for index, out in enumerate(config.fc, start=1):
                self.add_module(f"fc{index}", nn.Linear(width, out))
                width = out
            self.logits: nn.Module = nn.Linear(width, self.masks * (2 * size) ** 2)
        else:
            self.deconv = nn.ConvTranspose2d(channels, config.deconv, 2, stride=2)
            self.logits = nn.Conv2d(config.deconv, self.masks, 1)
        he_normal(self)

    def forward(self, pooled: Tensor) -> Tensor:
        if self.config.fc:
            x = pooled.flatten(1)
            for index in range(1, len(self.config.fc) + 1):
                x = F.relu(self.get_submodule(f"fc{index}")(x))
            size = 2 * pooled.shape[-1]
            return self.logits(x).reshape(len(x), self.masks, size, size)
        for index in range(1, len(self.config.convs) + 1):
            pooled = self.get_submodule(f"conv{index}")(pooled)
        return self.logits(F.relu(self.deconv(pooled)))


def mask_loss(
    config: MaskHeadConfig,
    mask_logits: Tensor,
    positives: Sequence[SampledProposals],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Mean cross entropy over the cells of the positives: of their own masks with a sigmoid, of all
    classes with a softmax, where a cell belongs to the object's class or to the background.

    mask_logits: (R, 1 + K or 1, M, M) of the positives of all images in order. The target of a
    region is the bitmap of its object pooled by RoIAlign: soft values, as in torchvision.
    """
    labels = torch.cat([image.labels for image in positives])
    if len(labels) == 0:
        return mask_logits.sum() * 0  # keeps the head in the graph, as every other step does
    size = mask_logits.shape[-1]
    wanted = []
    for image, target in zip(positives, targets, strict=True):
        if len(image.labels) == 0:
            continue
        rois = torch.cat([image.matched_idxs[:, None].to(image.boxes), image.boxes], 1)
        bitmaps = target["masks"][:, None].to(rois)
        wanted.append(roiops.roi_align(bitmaps, rois, size)[:, 0])
    if config.loss == "softmax":
        cells = (torch.cat(wanted) >= 0.5) * labels[:, None, None]
        return F.cross_entropy(mask_logits, cells)
    own = _own_masks(mask_logits, labels)
    return F.binary_cross_entropy_with_logits(own, torch.cat(wanted))


def mask_probabilities(
    config: MaskHeadConfig, mask_logits: Tensor, detections: Sequence[dict[str, Tensor]]
) -> list[Tensor]:
    """(D_i, M, M) probabilities of each image's detections, for the class each was given."""
    labels = torch.cat([image["labels"] for image in detections])
    softmax = config.loss == "softmax"
    masks = mask_logits.softmax(1) if softmax else mask_logits.sigmoid()
    own = _own_masks(masks, labels)
    return list(own.split([len(image["labels"]) for image in detections]))


def _own_masks(mask_logits: Tensor, labels: Tensor) -> Tensor:
    """(R, M, M): of each region the mask of its class, or the one for all classes."""
    if mask_logits.shape[1] == 1:
        return mask_logits[:, 0]
    return mask_logits[torch.arange(len(labels), device=labels.device), labels]
