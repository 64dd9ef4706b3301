"""Pictures of detections and annotations, drawn with Pillow."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pycocotools import mask as coco_mask

from detector.data.coco import Category, Sample
from detector.results import ImageDetections, encode_masks

Colour = tuple[int, int, int]

SMALL_IMAGE = 1000
"""Images whose longer side is shorter are enlarged until it is not, so that labels can be read."""
MASK_OPACITY = 0.42
CROWD = 12
"""So many objects of one class need no names: they would all say the same and hide much."""
HIDDEN_SHARE = 0.3
"""A label is left out where it would hide more than this of an object."""
DARKEST = 105
"""Luma (0 to 255) that every colour has at least, to be seen on black."""
UNMATCHED = (235, 20, 35)
MATCHING_IOU = 0.5
"""An overview gives a prediction the colour of the annotated object it overlaps by so much."""
LEGEND = (
    "A prediction has the colour of the annotated object it overlaps by half or more; "
    "red: it overlaps none, or one that has a surer prediction."
)


def draw(
    image: np.ndarray,
    detections: ImageDetections,
    categories: Sequence[Category],
    *,
    colours: Sequence[Colour] | None = None,
    longer_side: int | None = None,
    label: Literal["full", "name", "none"] = "full",
) -> Image.Image:
    """The image, uint8 (H, W, 3), with masks and keypoints, if any, boxes, class names and scores.

    Small images are enlarged by a whole number, unless `longer_side` gives the length in pixels of
    the picture's longer side. `label` "full": boxes, names and scores. They are left out where they
    would hide an object or another label, and with more than a dozen objects of a single class.
    "name": no scores; "none": masks only, or boxes where there are no masks. Without `colours`, one
    for each detection, they follow from the class and the detection's place in the list.
    """
    longer = max(image.shape[:2])
    zoom = -(-SMALL_IMAGE // longer) if longer_side is None else longer_side / longer
    size = (max(round(image.shape[1] * zoom), 1), max(round(image.shape[0] * zoom), 1))
    picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    colours = colours or instance_colours(detections["labels"], len(categories))
    unit = max(size) / 1000
    line = max(round(1.5 * unit), 1)
    # Small objects are drawn last, so that large ones do not cover them.
    masks = detections.get("masks")
    x1, y1, x2, y2 = detections["boxes"].T
    areas = (x2 - x1) * (y2 - y1) if masks is None else np.array([coco_mask.area(m) for m in masks])
    order = np.argsort(-areas, kind="stable")
    importance = np.zeros((size[1], size[0]), np.float32)
    if masks is not None:
        for i in order:
            _draw_mask(picture, importance, masks[i], colours[i], zoom, line)
    pen = ImageDraw.Draw(picture)
    if "keypoints" in detections:
        for i in order:
            for x, y, _ in (detections["keypoints"][i] * zoom).tolist():
                pen.circle((x, y), 2 * line, fill=colours[i], outline="black")
    crowded = len(categories) == 1 and len(order) > CROWD
    if masks is not None and (label == "none" or crowded):
        return picture

    boxes = detections["boxes"] * zoom
    for i in order:
        pen.rectangle(_outline(boxes[i], size), outline=colours[i], width=line)
    if label == "none" or crowded:
        return picture
    font = ImageFont.load_default(size=max(13, round(16 * unit)))
    taken: list[tuple[float, ...]] = []
    # The surest detections choose the place of their label first.
    for i in np.argsort(-detections["scores"], kind="stable"):
        text = categories[int(detections["labels"][i]) - 1].name
        if label == "full":
            text += f" {detections['scores'][i]:.2f}"
        _draw_label(pen, boxes[i], text, colours[i], font, importance, taken)
    return picture


def annotated(sample: Sample) -> ImageDetections:
    """The annotations of a sample in the form of detections, without crowds; scores are 1."""
    single = ~sample.crowd
    return {
        "boxes": sample.boxes[single],
        "labels": sample.labels[single],
        "scores": np.ones(int(single.sum()), np.float32),
        "masks": encode_masks(sample.masks[single]),
    }


def overview(
    samples: Sequence[Sample],
    detections: Sequence[ImageDetections],
    categories: Sequence[Category],
    path: Path,
    *,
    panel: int = 480,
) -> None:
    """Writes a picture of annotated (left) and predicted (right) objects of each sample.

    A prediction has the colour of the annotated object it matches (same class, mask IoU at least
    0.5), so that what was missed or doubled stands out. The format follows from the suffix.
    """
    gap, caption, head = 12, 28, 76
    columns = math.ceil(math.sqrt(len(samples) / 2))  # about as wide as it is high
    font, title_font = ImageFont.load_default(size=16), ImageFont.load_default(size=24)
    pairs = [
        _pair(sample, found, categories, panel)
        for sample, found in zip(samples, detections, strict=True)
    ]
    rows = [pairs[i : i + columns] for i in range(0, len(pairs), columns)]
    heights = [max(left.height for left, _ in row) for row in rows]
    pair_width = 2 * panel + gap // 2
    sheet = Image.new(
        "RGB",
        (
            columns * pair_width + (columns + 1) * 2 * gap,
            head + sum(height + caption + gap for height in heights),
        ),
        "white",
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * gap, 14), "Annotated (left) and predicted (right)", "black", title_font)
    pen.text((2 * gap, 46), LEGEND, (90, 90, 90), font)
    top = head
    for row_number, row in enumerate(rows):
        for column, pictures in enumerate(row):
            number = row_number * columns + column
            sample, found = samples[number], detections[number]
            texts = (
                f"{sample.file_name}: {_count(int((~sample.crowd).sum()))} annotated",
                f"{_count(len(found['labels']))} predicted",
            )
            for side, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
                x = 2 * gap + column * (pair_width + 2 * gap) + side * (panel + gap // 2)
                pen.text((x, top + 4), text, "black", font)
                sheet.paste(picture, (x, top + caption))
        top += heights[row_number] + caption + gap
    sheet.save(path, quality=88)


def _pair(
    sample: Sample, found: ImageDetections, categories: Sequence[Category], panel: int
) -> tuple[Image.Image, Image.Image]:
    truth = annotated(sample)
    colours = instance_colours(truth["labels"], len(categories))
    matched = _matched_colours(truth, found, colours)
    # With one class there is nothing to name, and colours already tell what belongs together.
    named = len(categories) > 1
    return (
        draw(
            sample.image,
            truth,
            categories,
            colours=colours,
            longer_side=panel,
            label="name" if named else "none",
        ),
        draw(
            sample.image,
            found,
            categories,
            colours=matched,
            longer_side=panel,
            label="full" if named else "none",
        ),
    )


def instance_colours(labels: np.ndarray, num_categories: int) -> list[Colour]:
    """A colour for each object, stable from run to run.

    With several classes the class decides the hue and the instance the shade; with one class the
    instance decides the hue, so that neighbours differ.
    """
    seen: dict[int, int] = {}
    colours = []
    for label in labels.tolist():
        instance = seen.get(label, 0)
        seen[label] = instance + 1
        key = instance if num_categories == 1 else label - 1
        shade = 0 if num_categories == 1 else instance % 3
        # Steps of the golden ratio keep any number of hues apart; red is kept for UNMATCHED.
        hue = 0.07 + 0.86 * ((0.56 + key * 0.618034) % 1)
        lightness = (0.55, 0.67, 0.43)[shade] if num_categories > 1 else (0.5, 0.62)[key % 2]
        colours.append(_rgb(hue, lightness))
    return colours


def _rgb(hue: float, lightness: float) -> Colour:
    rgb = np.array(colorsys.hls_to_rgb(hue, lightness, 0.85)) * 255
    luma = _luma(rgb)
    if luma < DARKEST:
        rgb += (255 - rgb) * (DARKEST - luma) / (255 - luma)
    red, green, blue = (round(float(v)) for v in rgb)
    return red, green, blue


def _luma(colour: Sequence[float] | np.ndarray) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def _draw_mask(
    picture: Image.Image,
    importance: np.ndarray,
    rle: dict[str, Any],
    colour: Colour,
    zoom: float,
    line: int,
) -> None:
    """Covers the mask with the translucent colour and draws its contour in full colour.

    `importance`, float32 of the picture's size, gets at the mask's pixels the share of the object
    that one pixel is: its sum over a region says how much of objects the region holds.
    """
    x, y, width, height = (int(v) for v in coco_mask.toBbox(rle))
    if not width or not height:
        return
    # A margin, so that the contour closes where the mask ends at its box.
    part = np.pad(coco_mask.decode(rle)[y : y + height, x : x + width], 1) * np.uint8(255)
    left, top = round((x - 1) * zoom), round((y - 1) * zoom)
    size = (max(round(part.shape[1] * zoom), 1), max(round(part.shape[0] * zoom), 1))
    resized = Image.fromarray(part).resize(size, Image.Resampling.BILINEAR)
    mask = resized.point(lambda value: 255 * (value > 127))
    inner = mask.filter(ImageFilter.MinFilter(2 * line + 1))
    contour = Image.fromarray(np.asarray(mask) - np.asarray(inner))
    picture.paste(colour, (left, top), mask.point(lambda value: round(value * MASK_OPACITY)))
    picture.paste(colour, (left, top), contour)

    covered = np.asarray(mask)[max(-top, 0) :, max(-left, 0) :] > 0
    window = importance[max(top, 0) :, max(left, 0) :][: covered.shape[0], : covered.shape[1]]
    covered = covered[: window.shape[0], : window.shape[1]]
    window[covered] = np.maximum(window[covered], 1 / max(int(covered.sum()), 1))


def _outline(box: np.ndarray, size: tuple[int, int]) -> tuple[float, ...]:
    """The corner pixels of a box, within a picture of this (width, height)."""
    x1, y1, x2, y2 = (float(v) for v in box)
    x1, y1 = min(max(x1, 0), size[0] - 1), min(max(y1, 0), size[1] - 1)
    return x1, y1, max(min(x2, size[0]) - 1, x1), max(min(y2, size[1]) - 1, y1)


def _draw_label(
    pen: ImageDraw.ImageDraw,
    box: np.ndarray,
    text: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    importance: np.ndarray,
    taken: list[tuple[float, ...]],
) -> None:
    """Writes the label above, in or below its box, where it hides least; nowhere, if too much."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    pad = max(2, round((bottom - top) * 0.2))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x1, y1, x2, y2 = (float(v) for v in box)
    picture_height, picture_width = importance.shape
    best, least = None, HIDDEN_SHARE
    for x, y in ((x1, y1 - height), (x1, y1), (x1, y2), (x2 - width, y2 - height)):
        x = min(max(x, 0), max(picture_width - width, 0))
        y = min(max(y, 0), max(picture_height - height, 0))
        place = (x, y, x + width, y + height)
        if any(_intersect(place, other) for other in taken):
            continue
        hidden = importance[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1].sum()
        # Small differences must not move a label from its usual place.
        if hidden < least - (0.02 if best else 0):
            best, least = place, float(hidden)
    if best is None:
        return
    taken.append(best)
    pen.rectangle(best, fill=colour)
    corner = (best[0] + pad - left, best[1] + pad - top)
    pen.text(corner, text, "black" if _luma(colour) > 140 else "white", font)


def _intersect(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _matched_colours(
    truth: ImageDetections, found: ImageDetections, truth_colours: Sequence[Colour]
) -> list[Colour]:
    """For each detection the colour of its annotated object, taken in the order of the scores."""
    colours = [UNMATCHED] * len(found["boxes"])
    if not len(truth["boxes"]) or not len(found["boxes"]):
        return colours
    shapes = [
        shown["masks"] if "masks" in found else _corner_and_sides(shown["boxes"])
        for shown in (found, truth)
    ]
    overlap = coco_mask.iou(*shapes, [0] * len(truth["boxes"]))
    overlap[found["labels"][:, None] != truth["labels"][None]] = 0
    for i in np.argsort(-found["scores"], kind="stable"):
        best = int(overlap[i].argmax())
        if overlap[i, best] >= MATCHING_IOU:
            colours[i] = truth_colours[best]
            overlap[:, best] = 0
    return colours


def _corner_and_sides(boxes: np.ndarray) -> np.ndarray:
    """float64 (N, 4) x, y, width, height of boxes x1, y1, x2, y2."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)


def _count(count: int) -> str:
    return f"{count} object" if count == 1 else f"{count} objects"
