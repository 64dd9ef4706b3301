"""Box head: classifies proposals and refines their boxes (second stage of Faster R-CNN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import roiops
from detector.backbone import conv_block, he_normal
from detector.config import BoxHeadConfig
from detector.sampler import SampledProposals

MIN_SIDE = 1e-2


class BoxHead(nn.Module):
    """Pooled features (R, C, S, S) → class logits (R, 1 + K), deltas (R, 4 * (1 + K)).

    Class 0 is background, as in torchvision and Detectron. Without fully connected layers the cells
    are averaged: in a C4 model they come from res5.
    """

    def __init__(self, config: BoxHeadConfig, channels: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        for index, out in enumerate(config.convs, start=1):
            conv = conv_block(channels, out, 3, config.norm, relu=True)
            he_normal(conv)
            self.add_module(f"conv{index}", conv)
            channels = out
        width = channels * config.pool_size**2 if config.fc else channels
        for index, out in enumerate(config.fc, start=1):
            self.add_module(f"fc{index}", nn.Linear(width, out))
            width = out
        self.cls = nn.Linear(width, 1 + num_classes)
        self.deltas = nn.Linear(width, 4 * (1 + num_classes))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        for index in range(1, len(self.config.convs) + 1):
            pooled = self.get_submodule(f"conv{index}")(pooled)
        x = pooled.flatten(1) if self.config.fc else pooled.mean((2, 3))
        for index in range(1, len(self.config.fc) + 1):
            x = F.relu(self.get_submodule(f"fc{index}")(x))
        return self.cls(x), self.deltas(x)


def box_losses(
    config: BoxHeadConfig,
    class_logits: Tensor,
    box_deltas: Tensor,
    sampled: Sequence[SampledProposals],
    targets: Sequence[dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Both are sums over the sampled proposals divided by their number."""
    labels = torch.cat([image.labels for image in sampled])
    positive = torch.where(labels > 0)[0]
    wanted = []
    for image, target in zip(sampled, targets, strict=True):
        foreground = image.labels > 0
        matched = target["boxes"][image.matched_idxs[foreground]]
        wanted.append(roiops.encode_boxes(matched, image.boxes[foreground], config.weights))
    predicted = box_deltas.reshape(len(labels), -1, 4)[positive, labels[positive]]
    count = max(len(labels), 1)
    return {
        "box_class": F.cross_entropy(class_logits, labels, reduction="sum") / count,
        "box_deltas": F.smooth_l1_loss(
            predicted, torch.cat(wanted), beta=config.smooth_l1_beta, reduction="sum"
        )
        / count,
    }


def detect(
    config: BoxHeadConfig,
    class_logits: Tensor,
    box_deltas: Tensor,
    proposals: Sequence[Tensor],
    image_sizes: Sequence[tuple[int, int]],
) -> list[dict[str, Tensor]]:
    """Detections of each image (boxes, scores, labels) by descending score, after NMS per class."""
    counts = [len(boxes) for boxes in proposals]
    detections = []
    for scores, deltas, boxes, size in zip(
        class_logits.softmax(-1).split(counts),
        box_deltas.split(counts),
        proposals,
        image_sizes,
        strict=True,
    ):
        decoded = roiops.decode_boxes(deltas, boxes, config.weights, clip_to=size)
        decoded = decoded.reshape(len(boxes), -1, 4)
        sides = decoded[..., 2:] - decoded[..., :2]
        candidate = (scores > config.score_threshold) & (sides >= MIN_SIDE).all(-1)
        candidate[:, 0] = False  # background
        index, labels = torch.where(candidate)
        chosen, chosen_scores = decoded[index, labels], scores[index, labels]
        keep = roiops.batched_nms(chosen, chosen_scores, labels, config.nms_threshold)
        keep = keep[: config.max_detections]
        detections.append(
            {"boxes": chosen[keep], "scores": chosen_scores[keep], "labels": labels[keep]}
        )
    return detections
