"""From an image to the tensor the network sees, and the random changes of training.

The order is one for training and testing: values in 0..1 of the whole image, (training: random
changes of these values,) normalisation, resizing, (training: crop, rotation, mirroring). Resizing
is torchvision's: sides are rounded down, boxes follow the actual ratio of the sides, masks take
the nearest pixel, by torchvision's rule unless the scale is jittered (see `Geometry.centred`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detector.config import AugmentConfig, InputConfig
from detector.data.coco import Sample

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""
MIN_VISIBLE_SIDE = 2
"""Network pixels; an object of which a crop leaves less is no target."""
ROUNDING = 1e-3
"""Network pixels by which float32 arithmetic may put a box beyond the window."""


def prepare(image: np.ndarray, config: InputConfig) -> Tensor:
    """The network's input for testing, from an image uint8 (H, W, 3).

    Returns: float32 (C, H', W'); H' and W' as `network_size` says.
    """
    values = normalise(intensities(image, config), config)
    return resize(values, network_size(image.shape[0], image.shape[1], config))


def augment(
    sample: Sample, input_config: InputConfig, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's input for training, randomly changed, and its targets.

    Crowds and objects that the crop leaves out are no targets.

    Returns: image float32 (C, H', W'); targets with boxes float32 (G, 4), labels int64 (G,), masks
    uint8 (G, H', W') and image_id int64 ().
    """
    values = change_values(intensities(sample.image, input_config), config, rng)
    geometry = draw_geometry(
        sample.image.shape[0], sample.image.shape[1], input_config, config, rng
    )
    image = geometry.image(normalise(values, input_config))
    height, width = sample.image.shape[:2]
    wanted = ~sample.crowd
    wanted[wanted] = geometry.sees(sample.boxes[wanted], height, width)
    boxes = geometry.boxes(sample.boxes[wanted], height, width)
    masks = geometry.masks(sample.masks[wanted])
    boxes, visible = fit_to_window(boxes, masks)
    targets = {
        "boxes": torch.from_numpy(boxes[visible]),
        "labels": torch.from_numpy(sample.labels[wanted][visible]),
        "masks": torch.from_numpy(masks[visible]),
        "image_id": torch.tensor(sample.image_id),
    }
    return image, targets


def intensities(image: np.ndarray, config: InputConfig) -> np.ndarray:
    """The values in 0..1 that `config.channels` asks for: float32 (C, H, W)."""
    if config.channels == "rgb":
        return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
    grey = image.astype(np.float32) @ LUMA
    dark, low, median, high, bright = np.percentile(grey, (0.2, 1, 50, 99, 99.8))
    # Percentiles of the inverted image are those of the image from the other end.
    black, white = (low, bright) if median <= (low + bright) / 2 else (high, dark)
    scale = np.float32(1 / (white - black)) if white != black else np.float32(0)
    return np.clip((grey - np.float32(black)) * scale, 0, 1)[None]


def normalise(values: np.ndarray, config: InputConfig) -> Tensor:
    """(values - mean) / std per channel: float32 (C, H, W)."""
    mean, std = torch.tensor(config.mean), torch.tensor(config.std)
    return (torch.from_numpy(values) - mean[:, None, None]) / std[:, None, None]


def change_values(
    values: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """Gamma, brightness and noise, for float32 values in 0..1; the result stays within them."""
    if config.gamma > 1:
        values = values ** np.float32(_log_uniform(rng, config.gamma))
    if config.brightness > 0:
        values = values * np.float32(rng.uniform(1 - config.brightness, 1 + config.brightness))
    if config.noise > 0:
        deviation = np.float32(rng.uniform(0, config.noise))
        values = values + deviation * rng.standard_normal(values.shape, dtype=np.float32)
    return np.clip(values, 0, 1)


def network_size(
    height: int, width: int, config: InputConfig, short_edge: int | None = None, zoom: float = 1.0
) -> tuple[int, int]:
    """Height and width of the resized image.

    `short_edge`: one of `config.short_edge`, for testing the last. `zoom` multiplies the scale.
    """
    if config.scale is not None:
        scale = config.scale
    else:
        assert config.short_edge is not None  # InputConfig allows no other case
        length = config.short_edge[-1] if short_edge is None else short_edge
        scale = min(length / min(height, width), config.max_edge / max(height, width))
    scale *= zoom
    return max(math.floor(height * scale), 1), max(math.floor(width * scale), 1)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, pixel centres at half-integers, without smoothing: (C, H, W) -> (C, *size).

    In one thread: the last bits depend on how torch splits the work, and a worker process, which
    has one thread, must give what the training process would.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Geometry:
    """Resize the image to `size`, cut out a window, mirror it, rotate it anticlockwise."""

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    mirror: bool = False
    flip: bool = False
    quarter_turns: int = 0
    centred: bool = False
    """Whether a mask's pixel is the one its centre falls on. torchvision takes the one its upper
    left corner falls on, which shifts masks against the image: not at whole scales, but by half a
    network pixel on average at others, enough to spoil the masks of small objects."""

    def image(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H', W')."""
        window = resize(image, self.size)[
            :, self.top : self.top + self.height, self.left : self.left + self.width
        ]
        flipped = window.flip([axis for axis, on in ((2, self.mirror), (1, self.flip)) if on])
        return torch.rot90(flipped, self.quarter_turns, (1, 2)).contiguous()

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """(G, H, W) -> (G, H', W')."""
        point = 0.5 if self.centred else 0.0
        rows = _nearest(self.top, self.height, self.size[0], masks.shape[1], point)
        columns = _nearest(self.left, self.width, self.size[1], masks.shape[2], point)
        # Copying the part that is used first makes picking its pixels three times as fast.
        top, left = rows[0], columns[0]
        part = np.ascontiguousarray(masks[:, top : rows[-1] + 1, left : columns[-1] + 1])
        rows, columns = rows - top, columns - left
        if self.flip:
            rows = rows[::-1]
        if self.mirror:
            columns = columns[::-1]
        return np.ascontiguousarray(
            np.rot90(part[:, rows][:, :, columns], self.quarter_turns, (1, 2))
        )

    def boxes(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
        """(G, 4) in the image of this height and width -> (G, 4) in the window, not clipped."""
        x1, y1, x2, y2 = self._in_window(boxes, height, width)
        if self.mirror:
            x1, x2 = self.width - x2, self.width - x1
        if self.flip:
            y1, y2 = self.height - y2, self.height - y1
        window_width, window_height = self.width, self.height
        for _ in range(self.quarter_turns):
            # One turn anticlockwise takes (x, y) to (y, width - x).
            x1, y1, x2, y2 = y1, window_width - x2, y2, window_width - x1
            window_width, window_height = window_height, window_width
        return np.stack([x1, y1, x2, y2], axis=1)

    def sees(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
        """bool (G,): whether any of the box is in the window."""
        x1, y1, x2, y2 = self._in_window(boxes, height, width)
        return (x1 < self.width) & (y1 < self.height) & (x2 > 0) & (y2 > 0)

    def _in_window(self, boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
        ratio_y = np.float32(self.size[0]) / np.float32(height)
        ratio_x = np.float32(self.size[1]) / np.float32(width)
        x1, y1, x2, y2 = boxes.T
        return (
            x1 * ratio_x - self.left,
            y1 * ratio_y - self.top,
            x2 * ratio_x - self.left,
            y2 * ratio_y - self.top,
        )


def draw_geometry(
    height: int,
    width: int,
    input_config: InputConfig,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> Geometry:
    """Draws the scale, the crop, the mirroring and the rotation for an image of this size."""
    lengths = input_config.short_edge
    short_edge = None if lengths is None else int(lengths[rng.integers(len(lengths))])
    zoom = _log_uniform(rng, config.scale_jitter)
    size = network_size(height, width, input_config, short_edge, zoom)
    if config.crop is None:
        window, corner = size, (0, 0)
    else:
        window = min(config.crop, size[0]), min(config.crop, size[1])
        corner = (
            int(rng.integers(size[0] - window[0] + 1)),
            int(rng.integers(size[1] - window[1] + 1)),
        )
    return Geometry(
        size,
        *corner,
        *window,
        mirror=config.flip and bool(rng.integers(2)),
        flip=config.vertical_flip and bool(rng.integers(2)),
        quarter_turns=int(rng.integers(4)) if config.rotate90 else 0,
        centred=config.scale_jitter > 1,
    )


def fit_to_window(boxes: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits boxes that reach beyond the window to what the window shows of their masks.

    What is left of an object in a crop may be much smaller than what is left of its box. Boxes
    within the window stay as annotated.

    Returns: boxes float32 (G, 4); bool (G,), whether enough of the object is left to be a target.
    """
    height, width = masks.shape[1:]
    fitted = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
    visible = np.ones(len(boxes), bool)
    for i in np.flatnonzero((np.abs(fitted - boxes) > ROUNDING).any(axis=1)):
        rows, columns = np.flatnonzero(masks[i].any(1)), np.flatnonzero(masks[i].any(0))
        if len(rows):
            fitted[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        visible[i] = len(rows) >= MIN_VISIBLE_SIDE and len(columns) >= MIN_VISIBLE_SIDE
    return fitted, visible


def _nearest(start: int, length: int, resized: int, original: int, point: float) -> np.ndarray:
    """Source indices of outputs start..start+length of `F.interpolate(mode="nearest")`.

    `point` within the output pixel decides: 0 for "nearest", 0.5 for "nearest-exact".
    """
    scale = np.float32(original) / np.float32(resized)
    positions = (np.arange(start, start + length, dtype=np.float32) + np.float32(point)) * scale
    return np.minimum(positions.astype(np.int64), original - 1)


def _log_uniform(rng: np.random.Generator, limit: float) -> float:
    """A factor between 1 / limit and limit."""
    return math.exp(rng.uniform(-1, 1) * math.log(limit))
