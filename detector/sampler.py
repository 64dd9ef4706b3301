"""Which labelled boxes of an image take part in the loss."""

from __future__ import annotations

import torch
from torch import Tensor


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
