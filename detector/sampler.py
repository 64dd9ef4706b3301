"""Which boxes of an image take part in the losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import roiops
from detector.config import BoxHeadConfig


class SampledProposals(NamedTuple):
    """The proposals of one image that the losses see."""

    boxes: Tensor
    """(S, 4)."""
    labels: Tensor
    """(S,) int64, 0 is background."""
    matched_idxs: Tensor
    """(S,) index of the object a proposal was matched to; without meaning for background."""


def sample_balanced(match_labels: Tensor, count: int, positive_fraction: float) -> Tensor:
    """Indices of at most `count` boxes, at most `positive_fraction` of them positive.

    match_labels: (N,) 1 positive, 0 negative, −1 ignored. Negatives fill what positives leave.
    Returns int64 indices in ascending order. Two draws, positives first, from the default
    generator of the labels' device: the order torchvision's sampler draws in.
    """
    positive = torch.where(match_labels == 1)[0]
    negative = torch.where(match_labels == 0)[0]
    positives = min(len(positive), int(count * positive_fraction))
    negatives = min(len(negative), count - positives)
    device = match_labels.device
    positive = positive[torch.randperm(len(positive), device=device)[:positives]]
    negative = negative[torch.randperm(len(negative), device=device)[:negatives]]
    return torch.cat([positive, negative]).sort().values


@torch.no_grad()
def sample_proposals(
    config: BoxHeadConfig, proposals: Sequence[Tensor], targets: Sequence[dict[str, Tensor]]
) -> list[SampledProposals]:
    """Labels the proposals and draws those of the loss; the objects themselves join them.

    (Without the objects, an untrained RPN would give the mask head nothing to learn from.)
    """
    proposals = [
        torch.cat([boxes, target["boxes"]])
        for boxes, target in zip(proposals, targets, strict=True)
    ]
    all_matched, all_labels, _ = roiops.match_boxes(
        [target["boxes"] for target in targets], proposals, config.positive_iou, config.positive_iou
    )
    sampled = []
    for boxes, target, matched_idxs, match_labels in zip(
        proposals, targets, all_matched, all_labels, strict=True
    ):
        chosen = sample_balanced(match_labels, config.rois_per_image, config.positive_fraction)
        positive = match_labels[chosen] == 1
        labels = torch.zeros_like(chosen)
        labels[positive] = target["labels"][matched_idxs[chosen[positive]]]
        sampled.append(SampledProposals(boxes[chosen], labels, matched_idxs[chosen]))
    return sampled
