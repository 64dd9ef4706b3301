"""Mask R-CNN here beside torchvision's: the same weights, image, process and threads, by turns."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from detector.config import Config, update
from detector.convert import convert_weights
from detector.data.transforms import prepare
from detector.layouts import LAYOUTS, infer_config
from detector.mask_rcnn import MaskRCNN, build_model
from detector.results import in_image

OBJECTS = 8
"""In the image of the training step."""
LOGIT_SPREAD = 2.0
"""Standard deviation of a class's logit over regions: scores then reach from nothing to 0.9."""
STAGES = ("backbone", "fpn", "rpn", "box_head", "mask_head")


class BenchError(RuntimeError):
    """What the comparison needs is not there."""


@dataclass
class Comparison:
    """Seconds of each turn, theirs and ours, and where ours go."""

    inference: tuple[list[float], list[float]]
    training: tuple[list[float], list[float]]
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of one of our inferences, by part of the model."""


class Models:
    """Both models with the same random weights, their norms calibrated so that scores spread."""

    def __init__(self, image_size: tuple[int, int], short_edge: int) -> None:
        try:
            from torchvision.models.detection import MaskRCNN as TheirMaskRCNN
            from torchvision.models.detection import maskrcnn_resnet50_fpn
            from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
        except ImportError as error:
            raise BenchError(f"the comparison needs torchvision: {error}") from None
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        self.image = torch.randint(0, 256, (*image_size, 3), generator=generator).byte().numpy()
        self.tensor = torch.from_numpy(self.image).permute(2, 0, 1) / 255
        self.target = _objects(image_size, generator)
        source = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=160).train()
        with torch.no_grad():
            for _ in range(4):
                source([self.tensor], [dict(self.target)])
        _spread_scores(source.eval(), self.tensor)
        config = update(
            infer_config(LAYOUTS["torchvision"], source.state_dict()),
            {"input": {"short_edge": [short_edge]}},
        )
        self.config: Config = config
        # Frozen norms and two frozen stages, as both have them with pretrained weights.
        backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
        self.theirs = TheirMaskRCNN(backbone, num_classes=91, min_size=short_edge)
        self.theirs.load_state_dict(source.state_dict(), strict=False)
        self.ours: MaskRCNN = build_model(config)
        conversion = convert_weights(
            source.state_dict(), LAYOUTS["torchvision"], config, self.ours.state_dict()
        )
        self.ours.load_state_dict(conversion.weights)
        self.optimizers = [
            torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
            for model in (self.theirs, self.ours)
        ]

    def infer_theirs(self) -> Any:
        """Boxes, and a mask of the image's size for each."""
        self.theirs.eval()
        with torch.no_grad():
            return self.theirs([self.tensor])[0]

    def infer_ours(self) -> Any:
        """Boxes, and the run lengths of a mask of the image's size for each."""
        self.ours.eval()
        tensor = prepare(self.image, self.config.input)
        with torch.no_grad():
            (found,) = self.ours([tensor])
        height, width = self.image.shape[:2]
        return in_image(found, (tensor.shape[1], tensor.shape[2]), (height, width))

    def train_theirs(self) -> None:
        self.theirs.train()
        self._step(self.theirs([self.tensor], [dict(self.target)]), self.optimizers[0])

    def train_ours(self) -> None:
        self.ours.train()
        tensor = prepare(self.image, self.config.input)
        ratio_y, ratio_x = (
            side / of for side, of in zip(tensor.shape[1:], self.image.shape, strict=False)
        )
        boxes = self.target["boxes"] * torch.tensor([ratio_x, ratio_y, ratio_x, ratio_y])
        masks = nn.functional.interpolate(self.target["masks"][None], size=tensor.shape[1:])[0]
        target = {"boxes": boxes, "labels": self.target["labels"], "masks": masks}
        self._step(self.ours([tensor], [target]), self.optimizers[1])

    @staticmethod
    def _step(losses: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()


def compare(
    image_size: tuple[int, int] = (480, 640),
    short_edge: int = 800,
    turns: int = 5,
) -> Comparison:
    """Times `turns` inferences and training steps of each, after one of each that is not counted.

    Raises: BenchError when torchvision is not installed.
    """
    models = Models(image_size, short_edge)
    inference = by_turns(models.infer_theirs, models.infer_ours, turns)
    stages = stage_seconds(models)
    training = by_turns(models.train_theirs, models.train_ours, turns)
    return Comparison(inference, training, stages)


def by_turns(
    first: Callable[[], Any], second: Callable[[], Any], turns: int
) -> tuple[list[float], list[float]]:
    """Seconds of each call; whatever slows the machine for a while slows both."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for call, seconds in zip((first, second), times, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return times


def stage_seconds(models: Models) -> dict[str, float]:
    """Seconds of one inference of ours by part; the rest is pooling, NMS and pasting of masks."""
    seconds: dict[str, float] = defaultdict(float)
    started: dict[str, float] = {}
    hooks = []
    for name in STAGES:
        part = models.ours.get_submodule(name)

        def begin(module: nn.Module, inputs: Any, name: str = name) -> None:
            started[name] = time.perf_counter()

        def end(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            seconds[name] += time.perf_counter() - started[name]

        hooks += [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]
    start = time.perf_counter()
    models.infer_ours()
    total = time.perf_counter() - start
    for hook in hooks:
        hook.remove()
    return dict(seconds) | {"input, pooling, NMS, pasting": total - sum(seconds.values())}


def print_comparison(comparison: Comparison, console: Console) -> None:
    table = Table(title="Median seconds, torchvision's maskrcnn_resnet50_fpn and this")
    for heading in ("", "torchvision", "here", "times as fast", "turn by turn"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (theirs, ours) in (
        ("inference", comparison.inference),
        ("training step", comparison.training),
    ):
        ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
        table.add_row(
            name,
            f"{statistics.median(theirs):.3f}",
            f"{statistics.median(ours):.3f}",
            f"{statistics.median(ratios):.2f}",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        )
    console.print(table)
    parts = Table(title="Where an inference here spends its time")
    parts.add_column("")
    parts.add_column("seconds", justify="right")
    parts.add_column("share", justify="right")
    total = sum(comparison.stages.values())
    for name, value in comparison.stages.items():
        parts.add_row(name, f"{value:.3f}", f"{value / total:.0%}")
    console.print(parts)


def _spread_scores(model: nn.Module, image: Tensor) -> None:
    """Makes a random classifier sure enough of some regions that it finds objects.

    One that is not trained gives all of 91 classes about the same score, below the threshold.
    """
    logits: list[Tensor] = []
    layer = model.get_submodule("roi_heads.box_predictor.cls_score")
    hook = layer.register_forward_hook(lambda module, inputs, output: logits.append(output))
    with torch.no_grad():
        model([image])
        hook.remove()
        centre, spread = logits[0].mean(0), logits[0].std(0).mean()
        # Without their means over regions, by which one class would win everywhere.
        layer.bias.sub_(centre).mul_(LOGIT_SPREAD / spread)
        layer.weight.mul_(LOGIT_SPREAD / spread)


def _objects(image_size: tuple[int, int], generator: torch.Generator) -> dict[str, Tensor]:
    height, width = image_size
    sides = torch.tensor([width, height])
    corners = torch.rand(OBJECTS, 2, generator=generator) * 0.6 * sides
    spans = (0.1 + 0.25 * torch.rand(OBJECTS, 2, generator=generator)) * sides
    boxes = torch.cat([corners, corners + spans], 1)
    masks = torch.zeros(OBJECTS, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    labels = torch.randint(1, 91, (OBJECTS,), generator=generator)
    return {"boxes": boxes, "labels": labels, "masks": masks}
