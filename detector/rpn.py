"""Region proposal network (Ren et al. 2015) on every level of the pyramid.

Details left open by the papers follow torchvision 0.29: sigmoid before NMS, proposals clipped to
the image without padding, sides below 1e-3 dropped, NMS within a level, then the best of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import roiops
from detector.config import AnchorConfig, RpnConfig
from detector.sampler import sample_balanced

MIN_SIDE = 1e-3


class RPN(nn.Module):
    def __init__(self, config: RpnConfig, anchors: AnchorConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.anchors = anchors
        per_cell = len(anchors.sizes[0]) * len(anchors.aspect_ratios)
        for index in range(1, config.convs + 1):
            self.add_module(f"conv{index}", nn.Conv2d(channels, channels, 3, padding=1))
        self.objectness = nn.Conv2d(channels, per_cell, 1)
        self.deltas = nn.Conv2d(channels, 4 * per_cell, 1)
        for layer in self.children():
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        features: Sequence[Tensor],
        batch_size: tuple[int, int],
        image_sizes: Sequence[tuple[int, int]],
        targets: Sequence[dict[str, Tensor]] | None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals (P_i, 4) of each image by descending score, and the losses in training.

        batch_size: (height, width) of the padded batch; image_sizes: of each image in it.
        """
        objectness, deltas = self._predict(features)
        per_level = self._anchors(features, batch_size)
        proposals = self._propose(objectness, deltas, per_level, image_sizes)
        if targets is None:
            return proposals, {}
        losses = self._losses(
            torch.cat(objectness, 1), torch.cat(deltas, 1), torch.cat(per_level), targets
        )
        return proposals, losses

    def _predict(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level objectness logits (N, A) and deltas (N, A, 4), A in the anchors' order."""
        objectness, deltas = [], []
        for x in features:
            for index in range(1, self.config.convs + 1):
                x = F.relu(self.get_submodule(f"conv{index}")(x))
            n, _, height, width = x.shape
            objectness.append(self.objectness(x).permute(0, 2, 3, 1).reshape(n, -1))
            level = self.deltas(x).reshape(n, -1, 4, height, width)
            deltas.append(level.permute(0, 3, 4, 1, 2).reshape(n, -1, 4))
        return objectness, deltas

    def _anchors(self, features: Sequence[Tensor], batch_size: tuple[int, int]) -> list[Tensor]:
        sizes = [(f.shape[-2], f.shape[-1]) for f in features]
        # Subsampled levels round up, so their stride is not always a power of two.
        strides = [(batch_size[0] // height, batch_size[1] // width) for height, width in sizes]
        return roiops.grid_anchors(
            sizes,
            strides,
            self.anchors.sizes,
            [self.anchors.aspect_ratios] * len(sizes),
            convention=self.anchors.convention,
            like=features[0].detach(),
        )

    @torch.no_grad()
    def _propose(
        self,
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[Tensor]:
        """Without gradients: the heads must not move their regions (joint training)."""
        config = self.config
        before = config.train_pre_nms_top_n if self.training else config.test_pre_nms_top_n
        after = config.train_post_nms_top_n if self.training else config.test_post_nms_top_n
        logits, boxes, levels = [], [], []
        for level, (o, d, a) in enumerate(zip(objectness, deltas, anchors, strict=True)):
            top, index = o.topk(min(before, o.shape[1]), dim=1)
            chosen = d.gather(1, index[..., None].expand(-1, -1, 4))
            logits.append(top)
            boxes.append(roiops.decode_boxes(chosen, a[index]))
            levels.append(index.new_full((top.shape[1],), level))
        scores = torch.cat(logits, 1).sigmoid()
        all_boxes, all_levels = torch.cat(boxes, 1), torch.cat(levels)
        proposals = []
        for image_boxes, image_scores, size in zip(all_boxes, scores, image_sizes, strict=True):
            image_boxes = roiops.clip_boxes_to_image(image_boxes, size)
            sides = image_boxes[:, 2:] - image_boxes[:, :2]
            large = torch.where((sides >= MIN_SIDE).all(1))[0]
            image_boxes = image_boxes[large]
            keep = roiops.batched_nms(
                image_boxes, image_scores[large], all_levels[large], config.nms_threshold
            )
            proposals.append(image_boxes[keep[:after]])
        return proposals

    def _losses(
        self,
        objectness: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        targets: Sequence[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """objectness (N, A), deltas (N, A, 4), anchors (A, 4) shared by the images."""
        config = self.config
        matched_idxs, match_labels, _ = roiops.match_boxes(
            [target["boxes"] for target in targets],
            anchors,
            config.positive_iou,
            config.negative_iou,
            allow_low_quality=True,
        )
        logits, labels, predicted, wanted = [], [], [], []
        for image, target in enumerate(targets):
            sampled = sample_balanced(
                match_labels[image], config.anchors_per_image, config.positive_fraction
            )
            positive = sampled[match_labels[image, sampled] == 1]
            logits.append(objectness[image, sampled])
            labels.append((match_labels[image, sampled] == 1).to(objectness))
            predicted.append(deltas[image, positive])
            matched = target["boxes"][matched_idxs[image, positive]]
            wanted.append(roiops.encode_boxes(matched, anchors[positive]))
        logits_, labels_ = torch.cat(logits), torch.cat(labels)
        count = max(len(labels_), 1)
        return {
            "rpn_objectness": F.binary_cross_entropy_with_logits(logits_, labels_, reduction="sum")
            / count,
            "rpn_box": F.smooth_l1_loss(
                torch.cat(predicted),
                torch.cat(wanted),
                beta=config.smooth_l1_beta,
                reduction="sum",
            )
            / count,
        }
